// Calls whose version was found after they were stored: written down first, then told to the stored rows, until those bear it.
// The evidence of such a run keeps saying `default`, which is what was known when it was signed.

import type { Counters } from '../../schemas/counters.ts'
import { fromHex, parsePromptVersionId, toHex } from '../../schemas/ids.ts'
import type { Sql } from '../accounts/keys.ts'
import { packedSql } from '../traces/briefs.ts'
import { and, inWorkspace, type Where } from '../traces/trace-query.ts'
import { promptMark } from '../traces/trace-whole.ts'
import type { Late } from './sights.ts'

// Of one round: a change of stored rows rewrites parts of the table, so few large ones are better than many small.
const roundMax = 5_000
// A call that is in no table after this time never was stored: its row leaves.
const giveUpAfterS = 3_600
const refHexOfRun = 32

/** What this needs of ClickHouse. */
export type StoredRuns = {
  query<T>(q: { sql: string; params?: Record<string, unknown> }): Promise<T[]>
  change(q: { sql: string; params: Record<string, unknown> }): Promise<void>
}

/** Where a stored span lies: in hex, and its quarter of an hour in seconds, by which its row is found without a search. */
export type SpanAt = { trace: string; span: string; quarter: number }

/** 28 bytes: trace, span, quarter. A run is referred to by the 16 of its id. */
export function toRef({ trace, span, quarter }: SpanAt): Uint8Array {
  return fromHex(`${trace}${span}${quarter.toString(16).padStart(8, '0')}`)
}

function fromRef(ref: string): SpanAt {
  return {
    trace: ref.slice(0, 32),
    span: ref.slice(32, 48),
    quarter: Number.parseInt(ref.slice(48), 16),
  }
}

export async function keepAssignments(sql: Sql, late: readonly Late[]): Promise<void> {
  if (late.length === 0) return
  // One call may have been told twice within a batch; a statement may not touch a row twice.
  const last = new Map(late.map((one) => [`${one.workspace} ${toHex(one.ref)}`, one]))
  const rows = [...last.values()]
  await sql.query(
    `INSERT INTO prompt_assignments (workspace, ref, version_id)
     SELECT users.id, r, v FROM unnest($1::text[], $2::bytea[], $3::text[]) AS given (w, r, v) JOIN users ON users.id = w::uuid
     ON CONFLICT (workspace, ref) DO UPDATE SET version_id = EXCLUDED.version_id, assigned_at = now()`,
    [
      rows.map((one) => one.workspace),
      rows.map((one) => Buffer.from(one.ref)),
      rows.map((one) => one.versionId),
    ],
  )
}

type Row = { workspace: string; ref: string; version_id: string; is_late: boolean; waiting: number }

/** One round. Returns how many assignments are still waiting to be told. */
export async function tellStoredRuns(deps: {
  sql: Sql
  runs: StoredRuns
  counters: Counters
}): Promise<number> {
  const { sql, runs, counters } = deps
  const rows = await sql.query<Row>(
    `SELECT workspace, encode(ref, 'hex') AS ref, version_id, assigned_at < now() - make_interval(secs => $2) AS is_late,
       count(*) OVER () AS waiting
     FROM prompt_assignments ORDER BY assigned_at LIMIT $1`,
    [roundMax, giveUpAfterS],
  )
  const byWorkspace = new Map<string, Row[]>()
  for (const row of rows) {
    const group = byWorkspace.get(row.workspace)
    if (group) group.push(row)
    else byWorkspace.set(row.workspace, [row])
  }
  let left = rows[0]?.waiting ?? 0
  for (const [workspace, group] of byWorkspace) {
    const places = await findStored(runs, workspace, group)
    const told = group.flatMap((row) => {
      const at = places.get(row.ref)
      return at ? [{ ...at, versionId: row.version_id }] : []
    })
    if (told.length > 0) await change(runs, workspace, told)
    // Only what is in the table can be told; what is still in the spool waits for the next round.
    const gone = group.filter((row) => row.is_late || places.has(row.ref))
    await forget(sql, workspace, gone)
    counters.count('prompt_assignments_total', { outcome: 'told' }, told.length)
    counters.count(
      'prompt_assignments_total',
      { outcome: 'never_stored' },
      gone.length - told.length,
    )
    left -= gone.length
  }
  return left
}

/** Where each of these calls lies, by its ref; those that are not stored are left out. */
async function findStored(
  runs: StoredRuns,
  workspace: string,
  rows: readonly Row[],
): Promise<Map<string, SpanAt>> {
  const ids = rows.map(({ ref }) => ref).filter((ref) => ref.length === refHexOfRun)
  const refs = rows.map(({ ref }) => ref).filter((ref) => ref.length !== refHexOfRun)
  const places = new Map<string, SpanAt>()
  if (ids.length > 0) {
    const where = and(
      inWorkspace(workspace),
      'run_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))',
      { ids },
    )
    for (const { ref, ...at } of await findPlaces(runs, where)) places.set(ref, at)
  }
  if (refs.length === 0) return places
  const found = await findPlaces(runs, inPlaces(workspace, refs.map(fromRef)))
  const known = new Set(found.map(({ trace, span }) => trace + span))
  for (const ref of refs) {
    const at = fromRef(ref)
    if (known.has(at.trace + at.span)) places.set(ref, at)
  }
  return places
}

function findPlaces(runs: StoredRuns, where: Where): Promise<(SpanAt & { ref: string })[]> {
  return runs.query({
    sql: `SELECT lower(hex(run_id)) AS ref, lower(hex(trace_id)) AS trace, lower(hex(span_id)) AS span,
        toUnixTimestamp(toStartOfFifteenMinutes(start_time)) AS quarter
      FROM spans WHERE ${where.sql} LIMIT 1 BY trace_id, span_id`,
    params: where.params,
  })
}

/** By the key of the table: only the quarters are read in which they lie. */
function inPlaces(workspace: string, places: readonly SpanAt[]): Where {
  return and(
    inWorkspace(workspace),
    `toStartOfFifteenMinutes(start_time) IN (SELECT toDateTime(arrayJoin({quarters:Array(UInt32)})))
      AND (trace_id, span_id) IN (SELECT toFixedString(unhex(substring(key, 1, 32)), 16), toFixedString(unhex(substring(key, 33)), 8)
        FROM (SELECT arrayJoin({keys:Array(String)}) AS key))`,
    {
      quarters: [...new Set(places.map(({ quarter }) => quarter))],
      keys: places.map(({ trace, span }) => trace + span),
    },
  )
}

// A place in ingest order, as of now (collectors/spool/sequence.ts).
const nowSeq = 'bitShiftLeft(toUInt64(toUnixTimestamp64Milli(now64(3))), 20)'

/** One statement for all versions: each rewrites every part that a row of it lies in. */
async function change(
  runs: StoredRuns,
  workspace: string,
  told: readonly (SpanAt & { versionId: string })[],
): Promise<void> {
  const versions = [...new Set(told.map(({ versionId }) => versionId))]
  const where = inPlaces(workspace, told)
  const nth =
    'transform(lower(concat(hex(trace_id), hex(span_id))), {keys:Array(String)}, {nth:Array(UInt32)}, 0)'
  await runs.change({
    sql: `ALTER TABLE spans UPDATE prompt_registry = arrayElement({registries:Array(String)}, ${nth}),
        prompt_version_id = arrayElement({versions:Array(String)}, ${nth})
      WHERE ${where.sql} SETTINGS mutations_sync = 1`,
    params: {
      ...where.params,
      versions,
      registries: versions.map((id) => parsePromptVersionId(id)?.slug ?? ''),
      nth: told.map(({ versionId }) => versions.indexOf(versionId) + 1),
    },
  })
  // Lists read the last that is known of a span: that is told now, in a row that is erased by the place of the span. Of one that was
  // sent twice only the later: told both, it would be either.
  await runs.change({
    sql: `INSERT INTO briefs (workspace, trace_id, span, ingest_seq, ingested_at)
      SELECT workspace, trace_id, ${packedSql(nowSeq)} AS span, ingest_seq, ingested_at FROM spans WHERE ${where.sql}
      ORDER BY spans.ingest_seq DESC LIMIT 1 BY trace_id, span_id`,
    params: where.params,
  })
  // Their traces bear a version now, wherever that is asked of a whole trace.
  await runs.change({
    sql: `ALTER TABLE traces UPDATE marks = bitOr(marks, ${promptMark})
      WHERE workspace = {workspace:String} AND toStartOfFifteenMinutes(minute) IN (SELECT toDateTime(arrayJoin({quarters:Array(UInt32)})))
        AND trace_id IN (SELECT toFixedString(unhex(substring(arrayJoin({keys:Array(String)}), 1, 32)), 16))
      SETTINGS mutations_sync = 1`,
    params: where.params,
  })
  // Quarters of an hour that were rolled up before are rolled up again: to them this is an arrival, as of now (src/rollups).
  await runs.change({
    sql: `INSERT INTO arrivals (workspace, quarter, last_seq, ingested_at)
      SELECT workspace, toStartOfFifteenMinutes(start_time) AS quarter,
        ${nowSeq}, max(ingested_at)
      FROM spans WHERE ${where.sql} GROUP BY workspace, quarter`,
    params: where.params,
  })
}

async function forget(sql: Sql, workspace: string, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return
  // Another version may have been found meanwhile: that row stays.
  await sql.query(
    `DELETE FROM prompt_assignments USING unnest($2::text[], $3::text[]) AS gone (r, v)
     WHERE workspace = $1 AND ref = decode(gone.r, 'hex') AND version_id = gone.v`,
    [workspace, rows.map((row) => row.ref), rows.map((row) => row.version_id)],
  )
}
