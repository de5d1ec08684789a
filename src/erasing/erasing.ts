// Deleting for good what a caller may have deleted: one trace, everything of a user, everything of a workspace.
// Law: when it resolves no query sees any of it, in any table, and its bytes are on their way off the disk; evidence stays, because
// it holds no text.

import type { MediaStore } from '../../collectors/proxy/media/store.ts'
import type { Erase } from '../../collectors/spool/spool.ts'
import { fromHex, parsePrefixed, toHex, toUuid } from '../../schemas/ids.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Clickhouse } from '../stores/clickhouse.ts'
import { and, inIds, inWorkspace, type Where } from '../traces/trace-query.ts'
import { eraseJobs, eraseMedia, eraseSharedMedia } from './erasing-media.ts'
import { eraseSamples } from './erasing-samples.ts'

// A statement names this many traces at most: their ids travel in its address.
const tracesAtOnce = 5_000
const deadlineMs = 600_000
// Places in ingest order carry the milliseconds of their acceptance above these bits (collectors/spool/sequence.ts).
const seqBits = 20n
// Between this plane, the one that took the wish, and Postgres.
const clockSkewMs = 60_000
// An envelope is written again after half a day of use; one that is older is not referred to by what comes in now.
const envelopeIdleS = 14 * 3_600
const hideable = ['traces', 'briefs', 'payloads', 'spans', 'rollups', 'envelopes']

type Alsos = Parameters<Erase>[1]['alsoOf']
type Stores = {
  clickhouse: Pick<Clickhouse, 'query' | 'command'>
  sql: Sql
  media: Pick<MediaStore, 'remove'>
}

/** For the spool, which calls it when all that was accepted before the wish is in ClickHouse. Safe to repeat. */
export function openEraser(stores: Stores): Erase {
  return async ({ workspace, traceId, userId, beforeSeq }, { signal, alsoOf }) => {
    await eraseJobs(stores, { workspace, traceId, userId })
    const all = and(inWorkspace(workspace), 'ingest_seq < {beforeSeq:UInt64}', { beforeSeq })
    if (traceId !== undefined) {
      await eraseTraces(stores, all, { ids: [traceId], beforeSeq, alsoOf })
    } else if (userId !== undefined) {
      for (;;) {
        signal.throwIfAborted()
        const ids = await findTraces(stores, and(all, 'user_id = {user:String}', { user: userId }))
        if (ids.length === 0) break
        await eraseTraces(stores, all, { ids, beforeSeq, alsoOf })
      }
    } else {
      await eraseSamples(stores.sql, { workspace, traceIds: undefined, beforeSeq })
      await eraseSpans(stores, all)
      await deleteFrom(
        stores,
        'envelopes',
        and(all, 'ingested_at < now() - {idle:UInt32}', { idle: envelopeIdleS }),
      )
      await stores.sql.query('DELETE FROM kept_answers WHERE workspace = $1', [workspace])
    }
    await dropHidden(stores)
    // A wish that another plane took first has left no row here to find them by.
    const madeMs = Number(beforeSeq >> seqBits) - clockSkewMs
    await eraseSharedMedia(stores, { workspace, madeMs })
  }
}

/** These traces, and those in which an experiment replayed them. */
async function eraseTraces(
  stores: Stores,
  all: Where,
  of: { ids: readonly string[]; beforeSeq: bigint; alsoOf: Alsos },
): Promise<void> {
  const { ids, beforeSeq, alsoOf } = of
  await alsoOf(ids)
  const workspace = String(all.params.workspace)
  const replays = await eraseSamples(stores.sql, { workspace, traceIds: ids, beforeSeq })
  for (let from = 0; from < replays.length; from += tracesAtOnce) {
    const runs = replays.slice(from, from + tracesAtOnce).flatMap((text) => {
      const id = parsePrefixed('run', text)
      return id ? [toHex(id)] : []
    })
    const replayed = await findTraces(stores, and(all, ofReplays, { runs }))
    if (replayed.length === 0) continue
    await alsoOf(replayed)
    await eraseSpans(stores, and(all, inIds, { ids: replayed }))
  }
  await eraseSpans(stores, and(all, inIds, { ids: [...ids] }))
}

const ofReplays =
  "origin = 'replay' AND run_id IN (SELECT toFixedString(unhex(arrayJoin({runs:Array(String)})), 16))"

async function findTraces({ clickhouse }: Stores, where: Where): Promise<string[]> {
  const found = await clickhouse.query<{ id: string }>({
    sql: `SELECT DISTINCT lower(hex(trace_id)) AS id FROM spans WHERE ${where.sql} LIMIT ${tracesAtOnce}`,
    params: where.params,
    lane: 'heavy',
  })
  return found.map(({ id }) => id)
}

/** The spans of a clause over `spans`, and everything that was made from them. Spans go last: by them the rest is found. */
async function eraseSpans(stores: Stores, where: Where): Promise<void> {
  const { clickhouse } = stores
  const touched = await clickhouse.query<{ quarter: number }>({
    sql: `SELECT DISTINCT toUnixTimestamp(toStartOfFifteenMinutes(start_time)) AS quarter FROM spans WHERE ${where.sql}`,
    params: where.params,
    lane: 'heavy',
  })
  const quarters = touched.map(({ quarter }) => quarter)
  const workspace = String(where.params.workspace)
  await forgetAnswers(stores, where)
  await eraseMedia(stores, where)
  // Before and after: a crash in between must not leave figures that nobody would make anew.
  await unroll(stores, workspace, quarters)
  const ofTraces = { ...where, sql: where.sql.replace('ingest_seq', 'last_seq') }
  await Promise.all([
    deleteFrom(stores, 'traces', ofTraces),
    deleteFrom(stores, 'briefs', where),
    deleteFrom(stores, 'payloads', where),
  ])
  await deleteFrom(stores, 'spans', where)
  // Once more: whoever read the spans to tell their version (src/registry/assignments.ts) may have written what it read since.
  await deleteFrom(stores, 'briefs', where)
  await unroll(stores, workspace, quarters)
}

/**
 * The bytes of hidden rows leave the disk when their parts have been written anew, behind this call. Every deletion ends with it: one
 * that is tried again after it was cut off here finds no row any more, and the parts tell what is left to do.
 */
async function dropHidden({ clickhouse }: Stores): Promise<void> {
  const hiding = await clickhouse.query<{ table: string }>({
    sql: `SELECT DISTINCT table FROM system.parts WHERE database = currentDatabase() AND active AND has_lightweight_delete
      AND table IN {tables:Array(String)}`,
    params: { tables: hideable },
  })
  for (const { table } of hiding)
    await clickhouse.command(
      `ALTER TABLE ${table} APPLY DELETED MASK SETTINGS mutations_sync = 0`,
      {
        deadlineMs,
      },
    )
}

/** Answers kept for an Idempotency-Key quote what a run said. */
async function forgetAnswers({ clickhouse, sql }: Stores, where: Where): Promise<void> {
  const runs = await clickhouse.query<{ run: string }>({
    sql: `SELECT DISTINCT lower(hex(run_id)) AS run FROM spans WHERE ${where.sql} AND run_id != unhex('${'0'.repeat(32)}')`,
    params: where.params,
    lane: 'heavy',
  })
  if (runs.length === 0) return
  await sql.query('DELETE FROM kept_answers WHERE workspace = $1 AND run_id = ANY($2::uuid[])', [
    where.params.workspace,
    runs.map(({ run }) => toUuid(fromHex(run))),
  ])
}

/** Figures of these quarters of an hour are read from the spans again until they are rolled up anew. */
async function unroll(stores: Stores, workspace: string, quarters: number[]): Promise<void> {
  for (let from = 0; from < quarters.length; from += tracesAtOnce) {
    const among = (column: string) =>
      and(
        inWorkspace(workspace),
        `${column} IN (SELECT toDateTime(arrayJoin({quarters:Array(UInt32)})))`,
        { quarters: quarters.slice(from, from + tracesAtOnce) },
      )
    const arrived = among('quarter')
    await stores.clickhouse.command(
      `INSERT INTO arrivals (workspace, quarter, last_seq, ingested_at)
       SELECT workspace, quarter, max(last_seq) + 1 AS last_seq, max(ingested_at) AS ingested_at FROM arrivals WHERE ${arrived.sql}
       GROUP BY workspace, quarter`,
      { params: arrived.params, deadlineMs },
    )
    await deleteFrom(stores, 'rollups', among('toStartOfFifteenMinutes(minute)'))
  }
}

/** Resolves when no query sees the rows any more. */
function deleteFrom({ clickhouse }: Stores, table: string, where: Where): Promise<void> {
  return clickhouse.command(`DELETE FROM ${table} WHERE ${where.sql}`, {
    params: where.params,
    deadlineMs,
  })
}
