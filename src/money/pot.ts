// What a call takes from: a purse or a bucket, as far as this process has leased from it. Taking is synchronous over all of
// them, so nothing comes between the check and the take; only a pot that has run out asks the store.

import { Fault } from '../../schemas/faults.ts'

// Each time others took what this call had asked for. So many in a row are a process that cannot keep up, not an empty pot.
const roundsMax = 50

export type Pot = {
  /** Leased to this process and given to no call. */
  readonly free: bigint
  take(amount: bigint): void
  /** Resolves when more was leased, as far as there was more. Rejects when the store cannot be asked. */
  refill(amount: bigint): Promise<void>
  /** True when the store, by what it said last, has enough for this. */
  mayHave(amount: bigint): boolean
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
  let rounds = 0
  for (
    let lacking = needs.filter(isLacking);
    lacking.length > 0;
    lacking = needs.filter(isLacking)
  ) {
    // Only the store's word refuses: what is lacking here may have been leased, and taken by others before this call had its turn.
    const refused = lacking.find(({ pot, amount }) => asked.has(pot) && !pot.mayHave(amount))
    if (refused) throw refused.pot.refusal(refused.amount)
    rounds += 1
    if (rounds > roundsMax) throw new Fault('service_unavailable')
    for (const { pot } of lacking) asked.add(pot)
    await Promise.all(lacking.map(({ pot, amount }) => pot.refill(amount)))
  }
  for (const { pot, amount } of needs) pot.take(amount)
}

function isLacking({ pot, amount }: Need): boolean {
  return pot.free < amount
}
