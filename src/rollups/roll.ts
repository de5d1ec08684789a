// Rolling up: the figures of a quarter of an hour are made once it is quiet, and made anew when spans of it arrive later.
// Law: a roll is named in `rolled` after all of its rows are stored, so that readers see it whole or not at all.

import { randomBytes } from 'node:crypto'
import { type Repeated, repeatEvery } from '../repeat.ts'
import { type Clickhouse, ClickhouseError } from '../stores/clickhouse.ts'
import { inWorkspace } from '../traces/trace-query.ts'
import { callsInQuarters, callsSql, figuresOfCalls } from './calls.ts'

// How often it looks, and how long a quarter must have been over. Sooner means rolling again for late exporters.
const lookEveryMs = 20_000
const quietMs = 60_000
// A quarter to which spans still trickle is made anew this often at most.
const againMs = 300_000
const quarterMs = 900_000
// One statement and one look: what an idle moment can bear.
const quartersAtOnce = 96
const statementsAtOnce = 20
const deadlineMs = 300_000

/** What may be asked for without reading spans. The empty one is the sum of all. */
export const rolledDimensions = [
  '',
  'model',
  'provider',
  'route_id',
  'prompt_version_id',
  'environment',
  'service',
] as const

type Store = Pick<Clickhouse, 'query' | 'command'>
type Quarters = { quarters: string[]; seqs: string[]; loads: string[] }
type Due = Quarters & { workspace: string }

/** Rolls in the background until it is stopped. A failure is said and tried again at the next look. */
export function startRolling(
  store: Store,
  deps: { nowMs: () => number; log: (line: string) => void },
): Repeated {
  return repeatEvery(
    lookEveryMs,
    async () => void (await rollDue(store, deps.nowMs())),
    (error) => deps.log(`rollups, trying again: ${String(error)}`),
  )
}

/** Rolls what is due at this time, the newest first. Resolves to how many quarters it made. */
export async function rollDue(store: Store, nowMs: number): Promise<number> {
  const due = await store.query<Due>({
    sql: dueSql,
    params: {
      before: Math.floor((nowMs - quarterMs - quietMs) / 1000),
      again: Math.floor((nowMs - againMs) / 1000),
      atOnce: quartersAtOnce,
      statements: statementsAtOnce,
    },
    lane: 'heavy',
  })
  const failed: unknown[] = []
  // A quarter that the engine will not bear keeps no other workspace from its figures.
  for (const { workspace, ...quarters } of due)
    await rollInParts(store, workspace, quarters).catch((error) => failed.push(error))
  if (failed.length > 0) throw failed[0]
  return due.reduce((sum, { quarters }) => sum + quarters.length, 0)
}

// What has come of a quarter, and what its roll had seen: a span with an earlier place may be loaded later than the roll, by
// another lane or plane, so places alone do not tell.
export const arrivedSql = 'max(last_seq) AS seq, sum(loads) AS loads'
export const doneSql = 'max((seq, loads)) AS seen'
export const staleSql = '(arrived.seq > seen.1 OR arrived.loads > seen.2)'

// Across workspaces, because it is about no one's spans: names of quarters, nothing of what is in them.
const dueSql = `SELECT workspace, groupArray(toString(toUnixTimestamp(quarter))) AS quarters, groupArray(toString(seq)) AS seqs, groupArray(toString(loads)) AS loads
  FROM (
    SELECT workspace, quarter, arrived.seq AS seq, arrived.loads AS loads FROM (
      SELECT workspace, quarter, ${arrivedSql} FROM arrivals WHERE quarter < toDateTime({before:UInt32}) GROUP BY workspace, quarter) AS arrived
    LEFT JOIN (SELECT workspace, quarter, ${doneSql}, max(rolled_at) AS at FROM rolled GROUP BY workspace, quarter) AS done
      USING (workspace, quarter)
    WHERE ${staleSql} AND at < toDateTime({again:UInt32})
    ORDER BY workspace, quarter DESC LIMIT {atOnce:UInt32} BY workspace)
  GROUP BY workspace LIMIT {statements:UInt32}`

/** Busy quarters may be too much for one statement: what the engine refuses is tried by halves, down to single ones. */
async function rollInParts(
  store: Store,
  workspace: string,
  { quarters, seqs, loads }: Quarters,
): Promise<void> {
  try {
    await roll(store, workspace, { quarters, seqs, loads })
  } catch (error) {
    const isRefused = error instanceof ClickhouseError && error.code !== undefined
    if (!isRefused || quarters.length === 1) throw error
    const middle = quarters.length >> 1
    for (const [from, to] of [
      [0, middle],
      [middle, quarters.length],
    ])
      await rollInParts(store, workspace, {
        quarters: quarters.slice(from, to),
        seqs: seqs.slice(from, to),
        loads: loads.slice(from, to),
      })
  }
}

async function roll(
  store: Store,
  workspace: string,
  { quarters, seqs, loads }: Quarters,
): Promise<void> {
  const id = randomBytes(8).readBigUInt64LE()
  const { sql, params: scope } = callsSql(
    callsInQuarters(inWorkspace(workspace), quarters.map(Number)),
  )
  const pairs = rolledDimensions.map((name) => `('${name}', toString(${name || "''"}))`)
  const params = { ...scope, roll: id, seqs: seqs.map(BigInt), loads: loads.map(BigInt) }
  await store.command(
    `INSERT INTO rollups (workspace, dimension, minute, value, roll, requests, errors, input_tokens, output_tokens, cost_nano_usd, duration, ttft)
     SELECT {workspace:String}, pair.1 AS dimension, toStartOfMinute(start_time) AS minute, pair.2 AS value, {roll:UInt64}, ${figuresOfCalls}
     FROM (${sql}) ARRAY JOIN [${pairs.join(', ')}] AS pair
     GROUP BY dimension, minute, value`,
    { params, deadlineMs },
  )
  await store.command(
    `INSERT INTO rolled (workspace, quarter, seq, loads, roll)
     SELECT {workspace:String}, toDateTime(one.1), one.2, one.3, {roll:UInt64}
     FROM (SELECT arrayJoin(arrayZip({quarters:Array(UInt32)}, {seqs:Array(UInt64)}, {loads:Array(UInt64)})) AS one)`,
    { params, deadlineMs },
  )
}
