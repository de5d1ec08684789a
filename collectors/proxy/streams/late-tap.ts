// A tap that is told late: the events of a stream are kept as bytes and read many at a time, because a parser that is called once for
// each chunk of 300 streams is cold every time. Law: whoever asks for what has come is told of all of it.

import type { Completion } from '../completion.ts'
import type { StreamTap } from '../operation.ts'

// Of one stream. Larger: fewer rounds, each of which holds the loop longer; 16 KiB are some 70 events.
const keptBytesMax = 16 * 1024
// A larger event is rare, and read at once.
const copiedBytesMax = 2 * 1024

export class LateTap implements StreamTap {
  readonly #tap: StreamTap
  #kept: Buffer | undefined
  // Where each kept block ends.
  #ends: number[] = []
  #length = 0

  constructor(tap: StreamTap) {
    this.#tap = tap
  }

  /** The first tokens are read at once: their time is measured. */
  take(block: Buffer): void {
    const mayWait = this.#tap.started && block.length <= copiedBytesMax
    if (!mayWait || this.#length + block.length > keptBytesMax) this.#readOn()
    if (!mayWait) {
      this.#tap.take(block)
      return
    }
    this.#kept ??= Buffer.allocUnsafeSlow(keptBytesMax)
    this.#kept.set(block, this.#length)
    this.#length += block.length
    this.#ends.push(this.#length)
  }

  completion(): Completion {
    this.#readOn()
    return this.#tap.completion()
  }

  get malformed(): number {
    this.#readOn()
    return this.#tap.malformed
  }

  get started(): boolean {
    return this.#tap.started
  }

  #readOn(): void {
    const kept = this.#kept
    if (!kept || this.#length === 0) return
    let start = 0
    for (const end of this.#ends) {
      this.#tap.take(kept.subarray(start, end))
      start = end
    }
    this.#ends = []
    this.#length = 0
  }
}
