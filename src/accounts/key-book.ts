// The keys of a workspace: made, listed, changed, revoked. A key in clear leaves this file once, when it is made.

import { defaultScopes, type Scope } from '../../schemas/caller.ts'
import { newId, toUuid } from '../../schemas/ids.ts'
import { centsToNano, nanoToCents } from '../money/amounts.ts'
import { digestOf, newToken, type Sql } from './keys.ts'

// A workspace with more keys than this has lost track of them.
const keysMax = 1_000

export type KeyWish = {
  name?: string | undefined
  rate_limit_rpm?: number | null | undefined
  monthly_budget_cents?: number | null | undefined
  scopes?: readonly Scope[] | undefined
  responses_streaming?: boolean | undefined
}

/** A key as it is shown; `key_prefix` is all that is left of the secret. */
export type ListedKey = {
  id: string
  key_prefix: string
  name: string
  scopes: readonly Scope[]
  rate_limit_rpm: number | null
  monthly_budget_cents: number | null
  /** Of that budget, in the present month in UTC; null for a key without one. A second old at most. */
  month_spent_cents: number | null
  responses_streaming: boolean
  is_active: boolean
  created_at: string
  revoked_at: string | null
}

type Row = Omit<
  ListedKey,
  'key_prefix' | 'monthly_budget_cents' | 'month_spent_cents' | 'created_at' | 'revoked_at'
> & {
  budget: string | null
  spent: string | null
  created_at: Date
  revoked_at: Date | null
}

const columns = `id, name, scopes, rate_limit_rpm, monthly_budget_nano_usd::text AS budget, responses_streaming, is_active,
  created_at, revoked_at,
  (SELECT spent_nano_usd::text FROM purses p WHERE p.purse = keys.id AND p.period = to_char(now() AT TIME ZONE 'utc', 'YYYY-MM')) AS spent`

/** The new key with its token, shown this once; undefined when the workspace has as many keys as it may. */
export async function issueKey(
  sql: Sql,
  workspace: string,
  wish: KeyWish,
): Promise<(ListedKey & { key: string }) | undefined> {
  const token = newToken()
  const [row] = await sql.query<Row>(
    `INSERT INTO keys (id, user_id, digest, name, scopes, rate_limit_rpm, monthly_budget_nano_usd, responses_streaming)
     SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE (SELECT count(*) FROM keys WHERE user_id = $2 AND is_active) < $9
     RETURNING ${columns}`,
    [
      toUuid(newId()),
      workspace,
      digestOf(token),
      wish.name ?? 'API key',
      wish.scopes ?? defaultScopes,
      wish.rate_limit_rpm ?? null,
      toBudget(wish.monthly_budget_cents),
      wish.responses_streaming ?? true,
      keysMax,
    ],
  )
  return row && { ...toListed(row), key: token }
}

/** Newest first. Revoked ones are left out unless asked for: usage still names them. */
export async function listKeys(
  sql: Sql,
  workspace: string,
  revokedToo: boolean,
): Promise<ListedKey[]> {
  const rows = await sql.query<Row>(
    `SELECT ${columns} FROM keys WHERE user_id = $1 AND (is_active OR $2) ORDER BY created_at DESC, id DESC LIMIT $3`,
    [workspace, revokedToo, 2 * keysMax],
  )
  return rows.map(toListed)
}

/** The key with its new terms; undefined when the workspace has no such key. Members that are absent stay as they are. */
export async function changeKey(
  sql: Sql,
  of: { workspace: string; keyId: string },
  wish: Omit<KeyWish, 'scopes'>,
): Promise<ListedKey | undefined> {
  const [row] = await sql.query<Row>(
    `UPDATE keys SET name = coalesce($3, name), responses_streaming = coalesce($4, responses_streaming),
       rate_limit_rpm = CASE WHEN $5 THEN $6 ELSE rate_limit_rpm END,
       monthly_budget_nano_usd = CASE WHEN $7 THEN $8 ELSE monthly_budget_nano_usd END
     WHERE id = $1 AND user_id = $2 AND is_active RETURNING ${columns}`,
    [
      of.keyId,
      of.workspace,
      wish.name ?? null,
      wish.responses_streaming ?? null,
      wish.rate_limit_rpm !== undefined,
      wish.rate_limit_rpm ?? null,
      wish.monthly_budget_cents !== undefined,
      toBudget(wish.monthly_budget_cents),
    ],
  )
  return row && toListed(row)
}

/** False when the workspace has no such key, or it was revoked before. Sessions that stand for it end with it. */
export async function revokeKey(sql: Sql, workspace: string, keyId: string): Promise<boolean> {
  const revoked = await sql.query(
    'UPDATE keys SET is_active = false, revoked_at = now() WHERE id = $1 AND user_id = $2 AND is_active RETURNING id',
    [keyId, workspace],
  )
  return revoked.length > 0
}

function toBudget(cents: number | null | undefined): string | null {
  return cents === undefined || cents === null ? null : String(centsToNano(cents))
}

function toListed({ budget, spent, created_at, revoked_at, ...row }: Row): ListedKey {
  return {
    ...row,
    key_prefix: 'batchin_api',
    monthly_budget_cents: budget === null ? null : nanoToCents(BigInt(budget)),
    month_spent_cents: budget === null ? null : nanoToCents(BigInt(spent ?? 0)),
    created_at: created_at.toISOString(),
    revoked_at: revoked_at?.toISOString() ?? null,
  }
}
