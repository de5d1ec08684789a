// The numbers of rows: a clock that never goes back, one for all lanes of a spool, so that one mark can be put between them.

/** `ingest_seq`: the milliseconds of arrival in the upper 44 bits while the clock goes forward, else one after the last. */
export class Sequence {
  #next = 0n

  /** Nothing below was ever given out. */
  startAt(next: bigint): void {
    if (next > this.#next) this.#next = next
  }

  /** The first of so many numbers, which are taken; of none, a mark between what was taken and what will be. */
  take(nowMs: number, count: number): bigint {
    const clock = seqOf(nowMs)
    const first = clock > this.#next ? clock : this.#next
    this.#next = first + BigInt(count)
    return first
  }

  /** Every number from here on is still to be given out; all that were are below. */
  get next(): bigint {
    return this.#next
  }
}

/** The first number of a millisecond. */
export function seqOf(ms: number): bigint {
  return BigInt(Math.floor(ms)) << 20n
}
