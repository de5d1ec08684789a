// A purse as this process has it: what it leased and gave to no call, what calls hold, and what they have spent in all.

import { Fault } from '../../schemas/faults.ts'
import { toDollars } from './amounts.ts'
import type { Pot } from './pot.ts'

// After a refusal the store is not asked again for so long: a client that hammers an empty purse costs no queries.
const refusedMs = 250

export type PurseName = {
  /** A key's id, or a workspace's for its balance. */
  purse: string
  /** `2026-11`, or empty for a balance. */
  period: string
  workspace: string
}

/** What the store said about a purse when it was asked last. */
export type PurseState = { granted: bigint; roomLeft: bigint; bound: bigint }

export class Purse implements Pot {
  readonly name: PurseName
  free = 0n
  lent = 0n
  /** Since this was made: a total, so that writing it twice is no harm. */
  settled = 0n
  /**
   * What this till had told the store before this was made; undefined until the store said so. Nothing can be taken before, so
   * nothing is settled before.
   */
  toldBefore: bigint | undefined
  /** What the store has of `settled`. */
  written = 0n
  /** What went to costs that stand in the books by themselves: a total, of which the store has seen `bookedSeen` leave here. */
  booked = 0n
  bookedSeen = 0n
  isStored = false
  usedTick = 0
  readonly #order: (purse: Purse, amount: bigint) => Promise<void>
  readonly #tickMs: () => number
  #roomLeft = 0n
  #bound = 0n
  #refusedUntil = Number.NEGATIVE_INFINITY

  constructor(
    name: PurseName,
    deps: { order: (purse: Purse, amount: bigint) => Promise<void>; tickMs: () => number },
  ) {
    this.name = name
    this.#order = deps.order
    this.#tickMs = deps.tickMs
  }

  take(amount: bigint): void {
    this.free -= amount
    this.lent += amount
    this.usedTick = this.#tickMs()
  }

  /**
   * A call has ended that was lent `amount` and used `cost`. What it used beyond that is gone from the rest. `isBooked`: the store
   * has counted the cost as spent already.
   */
  settle(amount: bigint, cost: bigint, isBooked = false): void {
    this.lent -= amount
    if (isBooked) this.booked += cost
    else this.settled += cost
    const left = this.free + amount - cost
    this.free = left < 0n ? 0n : left
    this.usedTick = this.#tickMs()
  }

  refill(amount: bigint): Promise<void> {
    if (!this.mayHave(amount) && this.#tickMs() < this.#refusedUntil) return Promise.resolve()
    // Whoever waits for it takes from this one: the till must not let go of it meanwhile.
    this.usedTick = this.#tickMs()
    return this.#order(this, amount)
  }

  mayHave(amount: bigint): boolean {
    return amount <= this.free + this.#roomLeft
  }

  granted({ granted, roomLeft, bound }: PurseState): void {
    this.free += granted
    // Whoever it was leased for may still be waiting for another purse.
    this.usedTick = this.#tickMs()
    this.#roomLeft = roomLeft
    this.#bound = bound
    if (roomLeft === 0n) this.#refusedUntil = this.#tickMs() + refusedMs
  }

  refusal(amount: bigint): Fault {
    const isBalance = this.name.period === ''
    const left = this.free + this.#roomLeft
    const of = isBalance ? 'the balance' : `the key's monthly budget of ${toDollars(this.#bound)}`
    const message =
      left <= 0n
        ? `Nothing is left of ${of}.`
        : `This call may cost up to ${toDollars(amount)}, and ${toDollars(left)} is left of ${of}. A smaller max_tokens reserves less.`
    // Trying again cannot help, and the SDKs would, three times (C8).
    return new Fault('payment_required', { message, headers: { 'x-should-retry': 'false' } })
  }
}
