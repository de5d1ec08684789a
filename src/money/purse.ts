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
  /** By this process since it started: a total, so that writing it twice is no harm. */
  settled = 0n
  /** What the store has of `settled`. */
  written = 0n
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

  /** A call has ended that was lent `amount` and used `cost`. What it used beyond that is gone from the rest. */
  settle(amount: bigint, cost: bigint): void {
    this.lent -= amount
    this.settled += cost
    const left = this.free + amount - cost
    this.free = left < 0n ? 0n : left
    this.usedTick = this.#tickMs()
  }

  refill(amount: bigint): Promise<void> {
    const isHopeless = amount > this.free + this.#roomLeft
    if (isHopeless && this.#tickMs() < this.#refusedUntil) return Promise.resolve()
    return this.#order(this, amount)
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
