// The keys of one provider: taken in turn, left alone for a while when the provider says too many, or does not know one.
// Law: a key is chosen before one that rests, never refused.

import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

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
    // A provider that asks for no key rests as if it had one.
    this.#restUntilMs = texts.length === 0 ? [0] : texts.map(() => 0)
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

  /** True while no key is worth a call, if there is another provider. */
  isResting(nowMs: number): boolean {
    return this.#restUntilMs.every((untilMs) => untilMs > nowMs)
  }

  /** The provider asked for fewer calls with this key, and perhaps said until when. */
  limited(at: number, headers: IncomingHttpHeaders, nowMs: number): void {
    const saidMs = saidIn(headers, nowMs)
    const restMs = saidMs > 0 ? Math.min(saidMs, restMsMax) : restMsElse
    this.#restUntilMs[Math.max(at, 0)] = nowMs + restMs
  }

  /** The provider does not know this key. */
  refused(at: number, nowMs: number): void {
    this.#restUntilMs[Math.max(at, 0)] = nowMs + refusedMs
  }
}

/** Milliseconds, seconds, or a date; NaN or less than 0 where nothing is said that could be kept. */
function saidIn(headers: IncomingHttpHeaders, nowMs: number): number {
  const { 'retry-after': seconds, 'retry-after-ms': ms } = headers
  if (typeof ms === 'string' && Number(ms) > 0) return Number(ms)
  if (seconds === undefined) return 0
  return Number.isNaN(Number(seconds)) ? Date.parse(seconds) - nowMs : Number(seconds) * 1000
}
