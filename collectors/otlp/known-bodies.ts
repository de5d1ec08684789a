// Bodies taken before: a client that never heard our answer sends the same bytes again, and hears the same answer again.
// Law: only what became durable is known. Whoever comes while the first is still being taken waits for how it ends.

import { createHmac, randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'

// Exporters try for five minutes at most; what comes later is told apart by its span ids when it is read.
const knownMs = 10 * 60_000
// About 150 bytes each. At a hundred requests a second the last five minutes.
const knownMax = 32_768
// Hashing this much at a stretch holds the loop for two to three milliseconds.
const stretchBytes = 4 << 20

/** How a body was taken: what its sender was told, and how many of its spans were stored. */
export type Outcome = { accepted: number; rejected: number; message: string }

export type BodyKey = {
  workspace: string
  /** What else decides how the bytes are understood. */
  form: string
  bytes: Buffer
}

type Known = { outcome: Outcome; untilMs: number; workspace: string }

export class KnownBodies {
  /** Oldest first. */
  readonly #known = new Map<string, Known>()
  readonly #taking = new Map<string, Promise<Outcome>>()
  // A sender who does not know it cannot make two bodies that look the same.
  readonly #secret = randomBytes(32)
  readonly #nowMs: () => number
  #forgotten = 0

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs
  }

  /** Takes the body, unless it was taken before. Rejects as `take` does; then the bytes stay unknown. */
  async once(
    key: BodyKey,
    take: () => Promise<Outcome>,
  ): Promise<{ outcome: Outcome; isRepeated: boolean }> {
    const name = await this.#nameOf(key)
    for (let first = this.#taking.get(name); first; first = this.#taking.get(name)) {
      // How another's attempt failed says nothing about this one: it takes its own turn.
      const outcome = await first.catch(() => undefined)
      if (outcome) return { outcome, isRepeated: true }
    }
    const known = this.#find(name)
    if (known) return { outcome: known, isRepeated: true }
    const forgotten = this.#forgotten
    const taking = take()
    this.#taking.set(name, taking)
    try {
      const outcome = await taking
      if (forgotten === this.#forgotten) this.#remember(name, key.workspace, outcome)
      return { outcome, isRepeated: false }
    } finally {
      this.#taking.delete(name)
    }
  }

  /** Something of this workspace was deleted: who sends it again wants it stored again. */
  forget(workspace: string): void {
    this.#forgotten += 1
    for (const [name, known] of this.#known)
      if (known.workspace === workspace) this.#known.delete(name)
  }

  #find(name: string): Outcome | undefined {
    const known = this.#known.get(name)
    return known && known.untilMs > this.#nowMs() ? known.outcome : undefined
  }

  #remember(name: string, workspace: string, outcome: Outcome): void {
    const now = this.#nowMs()
    this.#known.delete(name)
    this.#known.set(name, { outcome, untilMs: now + knownMs, workspace })
    for (const [oldest, { untilMs }] of this.#known) {
      if (this.#known.size <= knownMax && untilMs > now) break
      this.#known.delete(oldest)
    }
  }

  /** 128 bits of HMAC-SHA-256. */
  async #nameOf({ workspace, form, bytes }: BodyKey): Promise<string> {
    const hash = createHmac('sha256', this.#secret).update(`${workspace}\n${form}\n`)
    for (let at = 0; at < bytes.length; at += stretchBytes) {
      if (at > 0) await nextTurn()
      hash.update(bytes.subarray(at, at + stretchBytes))
    }
    return hash.digest().toString('latin1', 0, 16)
  }
}
