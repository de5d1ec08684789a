// Money that a workspace has paid in. A payment is known by its own name, and credits once however often it is told.

import type { Postgres, Sql } from '../postgres.ts'
import { nanoToCents } from './amounts.ts'

export type Credit = {
  workspace: string
  amountNanoUsd: bigint
  /** Where it came from: `stripe`, `alipay`, … */
  kind: string
  /** The payment's id where it came from, with that place's name before it. */
  reference: string
}

export type CreditEntry = {
  reference: string
  kind: string
  amount_cents: number
  created_at: string
}

const entriesMax = 1_000

/** False when this payment was credited before; then nothing changes. */
export function addCredit(sql: Postgres, credit: Credit): Promise<boolean> {
  return sql.transaction(async (tx) => {
    const added = await tx.query(
      `INSERT INTO credits (reference, workspace, kind, amount_nano_usd) VALUES ($1, $2, $3, $4)
       ON CONFLICT (reference) DO NOTHING RETURNING reference`,
      [credit.reference, credit.workspace, credit.kind, String(credit.amountNanoUsd)],
    )
    if (added.length === 0) return false
    await tx.query('UPDATE users SET credited_nano_usd = credited_nano_usd + $2 WHERE id = $1', [
      credit.workspace,
      String(credit.amountNanoUsd),
    ])
    return true
  })
}

/** What was paid in, newest first. */
export async function listCredits(sql: Sql, workspace: string): Promise<CreditEntry[]> {
  const rows = await sql.query<{ reference: string; kind: string; amount: string; at: Date }>(
    `SELECT reference, kind, amount_nano_usd::text AS amount, created_at AS at FROM credits
     WHERE workspace = $1 ORDER BY created_at DESC, reference LIMIT ${entriesMax}`,
    [workspace],
  )
  return rows.map(({ reference, kind, amount, at }) => ({
    reference,
    kind,
    amount_cents: nanoToCents(BigInt(amount)),
    created_at: at.toISOString(),
  }))
}
