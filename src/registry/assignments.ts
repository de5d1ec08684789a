// Runs whose version was found after they were stored: written down first, then told to the stored runs, until those bear it.
// The evidence of such a run keeps saying `default`, which is what was known when it was signed.

import type { Counters } from '../../schemas/counters.ts'
import { parsePromptVersionId } from '../../schemas/ids.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Late } from './sights.ts'

// Of one round: a change of stored rows rewrites parts of the table, so few large ones are better than many small.
const roundMax = 5_000
// A run that is in no table after this time never was stored: its row leaves.
const giveUpAfterS = 3_600

/** What this needs of ClickHouse. */
export type StoredRuns = {
  query<T>(q: { sql: string; params?: Record<string, unknown> }): Promise<T[]>
  change(q: { sql: string; params: Record<string, unknown> }): Promise<void>
}

export async function keepAssignments(sql: Sql, late: readonly Late[]): Promise<void> {
  if (late.length === 0) return
  // One run may have been told twice within a batch; a statement may not touch a row twice.
  const last = new Map(
    late.map((one) => [`${one.workspace} ${Buffer.from(one.runId).toString('hex')}`, one]),
  )
  const rows = [...last.values()]
  await sql.query(
    `INSERT INTO prompt_assignments (workspace, run_id, version_id)
     SELECT users.id, r, v FROM unnest($1::text[], $2::bytea[], $3::text[]) AS given (w, r, v) JOIN users ON users.id = w::uuid
     ON CONFLICT (workspace, run_id) DO UPDATE SET version_id = EXCLUDED.version_id, assigned_at = now()`,
    [
      rows.map((one) => one.workspace),
      rows.map((one) => Buffer.from(one.runId)),
      rows.map((one) => one.versionId),
    ],
  )
}

type Row = { workspace: string; run_id: Buffer; version_id: string; is_late: boolean }

/** One round. Returns how many assignments are still waiting to be told. */
export async function tellStoredRuns(deps: {
  sql: Sql
  runs: StoredRuns
  counters: Counters
}): Promise<number> {
  const { sql, runs, counters } = deps
  const rows = await sql.query<Row>(
    `SELECT workspace, run_id, version_id, assigned_at < now() - make_interval(secs => $2) AS is_late
     FROM prompt_assignments ORDER BY assigned_at LIMIT $1`,
    [roundMax, giveUpAfterS],
  )
  const groups = new Map<string, Row[]>()
  for (const row of rows) {
    const key = `${row.workspace} ${row.version_id}`
    groups.set(key, [...(groups.get(key) ?? []), row])
  }
  let left = rows.length
  for (const group of groups.values()) {
    const { workspace, version_id: versionId } = group[0]!
    const stored = await findStored(runs, workspace, group)
    if (stored.length > 0) await change(runs, { workspace, versionId, ids: stored })
    // Only what is in the table can be told; what is still in the spool waits for the next round.
    const done = new Set(stored)
    const gone = group.filter((row) => row.is_late || done.has(row.run_id.toString('hex')))
    await forget(sql, versionId, gone)
    counters.count('prompt_assignments_total', { outcome: 'told' }, stored.length)
    counters.count(
      'prompt_assignments_total',
      { outcome: 'never_stored' },
      gone.length - stored.length,
    )
    left -= gone.length
  }
  return left
}

async function findStored(runs: StoredRuns, workspace: string, rows: Row[]): Promise<string[]> {
  const found = await runs.query<{ id: string }>({
    sql: `SELECT DISTINCT lower(hex(run_id)) AS id FROM spans WHERE workspace = {workspace:String}
      AND run_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))`,
    params: { workspace, ids: rows.map((row) => row.run_id.toString('hex')) },
  })
  return found.map((row) => row.id)
}

async function change(
  runs: StoredRuns,
  given: { workspace: string; versionId: string; ids: string[] },
): Promise<void> {
  const { workspace, versionId, ids } = given
  const registry = parsePromptVersionId(versionId)?.slug ?? ''
  const params = { workspace, registry, version: versionId, ids }
  await runs.change({
    sql: `ALTER TABLE spans UPDATE prompt_registry = {registry:String}, prompt_version_id = {version:String}
      WHERE workspace = {workspace:String} AND run_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))
      SETTINGS mutations_sync = 1`,
    params,
  })
  // Quarters of an hour that were rolled up before are rolled up again: to them this is an arrival, as of now (src/rollups).
  await runs.change({
    sql: `INSERT INTO arrivals (workspace, quarter, last_seq, ingested_at)
      SELECT workspace, toStartOfFifteenMinutes(start_time) AS quarter,
        bitShiftLeft(toUInt64(toUnixTimestamp64Milli(now64(3))), 20), max(ingested_at)
      FROM spans WHERE workspace = {workspace:String}
        AND run_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))
      GROUP BY workspace, quarter`,
    params: { workspace, ids },
  })
}

async function forget(sql: Sql, versionId: string, rows: Row[]): Promise<void> {
  if (rows.length === 0) return
  // Another version may have been found meanwhile: that row stays.
  await sql.query(
    'DELETE FROM prompt_assignments WHERE workspace = $1 AND version_id = $2 AND run_id = ANY ($3::bytea[])',
    [rows[0]!.workspace, versionId, rows.map((row) => row.run_id)],
  )
}
