// The keys of one provider: taken in turn, left alone for a while when the provider says too many, or does not know one.

import { createHash } from 'node:crypto'

// As long as a Retry-After may keep a key from being tried.
const restMsMax = 60_000
const restMsElse = 1_000
// A key that was refused is tried again after this long, in case it was the provider's mistake.
const refusedMs = 60_000

/** Which key it was, for whoever keeps that: half of a digest tells keys apart and gives none away. */
export function toKeyTag(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

export class ProviderKeys {
  readonly texts: readonly string[]
  /** By the same positions. */
  readonly tags: readonly string[]
  readonly #restUntilMs: number[]
  #next = 0

  constructor(texts: readonly string[]) {
    this.texts = texts
    this.tags = texts.map(toKeyTag)
    this.#restUntilMs = texts.map(() => 0)
  }

  /** The position of a key that is not among `tried` (bits), rested ones first; -1 when there is none left. */
  pick(tried: number, nowMs: number): number {
    const count = this.texts.length
    let tired = -1
    for (let step = 0; step < count; step++) {
      const at = (this.#next + step) % count
      if (tried & (1 << at)) continue
      if (this.#restUntilMs[at]! <= nowMs) {
        this.#next = (at + 1) % count
        return at
      }
      if (tired < 0 || this.#restUntilMs[at]! < this.#restUntilMs[tired]!) tired = at
    }
    return tired
  }

  /** The provider asked for fewer calls with this key. */
  limited(at: number, retryAfter: string | undefined, nowMs: number): void {
    const seconds = Number(retryAfter)
    const restMs = seconds > 0 ? Math.min(seconds * 1000, restMsMax) : restMsElse
    this.#restUntilMs[at] = nowMs + restMs
  }

  /** The provider does not know this key. */
  refused(at: number, nowMs: number): void {
    this.#restUntilMs[at] = nowMs + refusedMs
  }
}
