// The answers under way, so that a stop which cannot wait any longer ends each of them with its receipt.

type Answer = { interrupt(): void }

/** Where an answer stands while it is under way; it moves there when another has gone. */
export type Seat = { answer: Answer; at: number }

/**
 * A list, not a Set: a Set that is added to and deleted from is copied into a new table every few dozen calls, the tables that were
 * left behind lead from one to the next, and V8's young collections take all that stood in them for alive: each call with its texts
 * was moved to the old heap, which cost a collection of all of it every few thousand calls.
 */
export class LiveAnswers {
  readonly #seats: Seat[] = []

  get size(): number {
    return this.#seats.length
  }

  add(answer: Answer): Seat {
    const seat = { answer, at: this.#seats.length }
    this.#seats.push(seat)
    return seat
  }

  /** Twice is no harm. */
  delete(seat: Seat): void {
    if (this.#seats[seat.at] !== seat) return
    const last = this.#seats.pop()!
    if (last === seat) return
    this.#seats[seat.at] = last
    last.at = seat.at
  }

  /** Each is told once; it stores what was seen, says so to its client, and ends. */
  interrupt(): void {
    for (const { answer } of [...this.#seats]) answer.interrupt()
  }
}
