// What a candidate is compared with: the version in force, else the registry's first.

import type { RegistryState } from '../../schemas/prompt-history.ts'
import type { Sql } from '../accounts/keys.ts'

/** Undefined for a registry of one version. */
export async function findBaseline(
  sql: Sql,
  at: { workspace: string; registry: string },
  state: Pick<RegistryState, 'promoted' | 'baseline'>,
): Promise<string | undefined> {
  if (state.promoted !== null) return state.promoted
  if (state.baseline !== null) return state.baseline
  const [first] = await sql.query<{ version: string }>(
    `SELECT version FROM prompt_versions WHERE workspace = $1 AND registry_id = $2 AND merged_into IS NULL
     ORDER BY coalesce(${numberOf('prompt_versions')}, 0), ordinal LIMIT 1`,
    [at.workspace, at.registry],
  )
  return first?.version
}

/**
 * The version that losses are counted from: the last that a person put in force or pinned, else the first. A person who lets a
 * version stand says that it is good enough to start from; the machine only says that it is no worse than the one before.
 */
export async function findReference(
  sql: Sql,
  at: { workspace: string; registry: string },
  state: Pick<RegistryState, 'baseline'>,
): Promise<string | undefined> {
  const [last] = await sql.query<{ version: string }>(
    `SELECT fact->>'version' AS version FROM prompt_events
     WHERE workspace = $1 AND registry_id = $2 AND actor->>'kind' = 'person' AND fact->>'version' IS NOT NULL
       AND fact->>'type' IN ('promoted', 'rolled_back', 'pinned') ORDER BY seq DESC LIMIT 1`,
    [at.workspace, at.registry],
  )
  return last?.version ?? findBaseline(sql, at, { promoted: null, baseline: state.baseline })
}

/** SQL: N of a version named vN, else null. Traffic may bring v2 before v1; their names say which came first. */
export function numberOf(table: 'v' | 'o' | 'prompt_versions'): string {
  return `CASE WHEN ${table}.version ~ '^v[0-9]{1,9}$' THEN substr(${table}.version, 2)::int END`
}

/** The same for two versions in hand; false where their names do not tell. */
export function isEarlier(version: string, other: string): boolean {
  const [a, b] = [version, other].map((name) => /^v(\d{1,9})$/.exec(name)?.[1])
  return a !== undefined && b !== undefined && Number(a) < Number(b)
}
