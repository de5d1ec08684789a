// The numbers of rows: a clock that never goes back, one for all lanes of a spool, so that one mark can be put between them.

/** `ingest_seq`: the milliseconds of arrival in the upper 44 bits while the clock goes forward, else one after the last. */
export class Sequence {
  #next = 0n

  /** Nothing below was ever given out. */
  startAt(next: bigint): void {
    if (next > this.#next) this.#next = next
  }

  /** The first of so many numbers, which are taken. */
  take(nowMs: number, count: number): bigint {
    const first = this.now(nowMs)
    this.#next = first + BigInt(count)
    return first
  }

  /** What would be taken now. */
  now(nowMs: number): bigint {
    const clock = BigInt(Math.floor(nowMs)) << 20n
    return clock > this.#next ? clock : this.#next
  }

  /** Every number from here on is still to be given out; all that were are below. */
  get next(): bigint {
    return this.#next
  }
}
