// Money that a workspace has paid in. A payment is known by its own name, and credits once however often it is told.

import type { Postgres, Sql } from '../stores/postgres.ts'
import { nanoToCents } from './amounts.ts'

export type Credit = {
  workspace: string
  amountNanoUsd: bigint
  /** Where it came from: `stripe`, `alipay`, … */
  kind: string
  /** The payment's id there. */
  reference: string
}

export type CreditEntry = {
  id: string
  amount_cents: number
  source: string
  reference_id: string
  created_at: string
}

type Row = {
  id: string
  workspace: string
  kind: string
  reference: string
  amount: string
  at: Date
}

const entriesMax = 1_000
const columns =
  'id, workspace, kind, reference, amount_nano_usd::text AS amount, created_at AS at' as const

/** `again`: this payment was credited before, and nothing changes. Undefined when its name stands for another payment. */
export function addCredit(
  sql: Postgres,
  credit: Credit,
): Promise<{ entry: CreditEntry; again: boolean } | undefined> {
  const name = `${credit.kind}/${credit.reference}`
  const amount = String(credit.amountNanoUsd)
  return sql.transaction(async (tx) => {
    const [added] = await tx.query<Row>(
      `INSERT INTO credits (reference, workspace, kind, amount_nano_usd) VALUES ($1, $2, $3, $4)
       ON CONFLICT (reference) DO NOTHING RETURNING ${columns}`,
      [name, credit.workspace, credit.kind, amount],
    )
    if (!added) {
      const [before] = await tx.query<Row>(`SELECT ${columns} FROM credits WHERE reference = $1`, [
        name,
      ])
      const isSame = before?.workspace === credit.workspace && before.amount === amount
      return before && isSame ? { entry: toEntry(before), again: true } : undefined
    }
    await tx.query('UPDATE users SET credited_nano_usd = credited_nano_usd + $2 WHERE id = $1', [
      credit.workspace,
      amount,
    ])
    return { entry: toEntry(added), again: false }
  })
}

/** What was paid in, newest first. */
export async function listCredits(sql: Sql, workspace: string): Promise<CreditEntry[]> {
  const rows = await sql.query<Row>(
    `SELECT ${columns} FROM credits WHERE workspace = $1 ORDER BY created_at DESC, reference LIMIT ${entriesMax}`,
    [workspace],
  )
  return rows.map(toEntry)
}

function toEntry({ id, kind, reference, amount, at }: Row): CreditEntry {
  return {
    id,
    amount_cents: nanoToCents(BigInt(amount)),
    source: kind,
    reference_id: reference.slice(kind.length + 1),
    created_at: at.toISOString(),
  }
}
