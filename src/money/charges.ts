// What is charged at once, without a till: the cost of work that goes on after its call, and its return when the work fails. In
// the caller's transaction, with the row that remembers it.

import type { PurseRef } from '../../collectors/proxy/money.ts'
import type { Sql } from '../stores/postgres.ts'

/** Plain JSON: it is kept with the work. */
export type Charge = { purses: readonly PurseRef[]; nanoUsd: string }

export function takeCharge(tx: Sql, { purses, nanoUsd }: Charge): Promise<void> {
  return move(tx, purses, BigInt(nanoUsd))
}

export function giveBackCharge(tx: Sql, { purses, nanoUsd }: Charge): Promise<void> {
  return move(tx, purses, -BigInt(nanoUsd))
}

/** Locked in the order in which tills lock them, so that neither waits for the other. */
async function move(tx: Sql, purses: readonly PurseRef[], nanoUsd: bigint): Promise<void> {
  const names = [purses.map(({ purse }) => purse), purses.map(({ period }) => period)]
  const ours = '(purse, period) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))'
  await tx.query(`SELECT 1 FROM purses WHERE ${ours} ORDER BY purse, period FOR UPDATE`, names)
  await tx.query(`UPDATE purses SET spent_nano_usd = spent_nano_usd + $3 WHERE ${ours}`, [
    ...names,
    String(nanoUsd),
  ])
}
