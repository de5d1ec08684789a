// What a call takes from: a purse or a bucket, as far as this process has leased from it. Taking is synchronous over all of
// them, so nothing comes between the check and the take; only a pot that has run out asks the store.

import type { Fault } from '../../schemas/faults.ts'

export type Pot = {
  /** Leased to this process and given to no call. */
  readonly free: bigint
  take(amount: bigint): void
  /** Resolves when more was leased, as far as there was more. Rejects when the store cannot be asked. */
  refill(amount: bigint): Promise<void>
  /** Why a call cannot have this much. */
  refusal(amount: bigint): Fault
}

export type Need = { pot: Pot; amount: bigint }

/** Takes from every pot, or throws the refusal of one and takes from none. A promise only where a pot has to be refilled. */
export function takeAll(needs: readonly Need[]): undefined | Promise<void> {
  if (needs.some(isLacking)) return refillAndTake(needs)
  for (const { pot, amount } of needs) pot.take(amount)
  return undefined
}

async function refillAndTake(needs: readonly Need[]): Promise<void> {
  const asked = new Set<Pot>()
  // Each round asks a pot that has not been asked, so there are no more rounds than pots.
  for (
    let lacking = needs.filter(isLacking);
    lacking.length > 0;
    lacking = needs.filter(isLacking)
  ) {
    const refused = lacking.find(({ pot }) => asked.has(pot))
    if (refused) throw refused.pot.refusal(refused.amount)
    for (const { pot } of lacking) asked.add(pot)
    await Promise.all(lacking.map(({ pot, amount }) => pot.refill(amount)))
  }
  for (const { pot, amount } of needs) pot.take(amount)
}

function isLacking({ pot, amount }: Need): boolean {
  return pot.free < amount
}
