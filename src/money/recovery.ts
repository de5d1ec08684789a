// Tills that were left behind: what their calls spent is what their runs say, and what they held is free again.
// Law: after it the books have every run of such a till once, however often it is done and wherever it was cut off.

import type { Postgres, Sql } from '../stores/postgres.ts'
import { and, between, inWorkspace } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'

const dayMs = 86_400_000
// A till that nobody has heard of for so long does not come back soon: what it held is wanted by others.
const lostAfter = '1 hour'
const zeroRun = '00000000000000000000000000000000'

type TillRow = { till: string; opened_at: Date; seen_at: Date }
type OwnRow = {
  purse: string
  period: string
  workspace: string
  settled: string
  held: string
}

type Deps = { sql: Postgres; rows: Rows }

/**
 * Settles the tills that earlier starts from this data directory left behind. Their runs have to be in ClickHouse by now: the
 * caller has waited for the spool.
 */
export async function settleOwn(deps: Deps, home: string, except: string): Promise<number> {
  const left = await deps.sql.query<TillRow>(
    'SELECT till, opened_at, seen_at FROM tills WHERE home = $1 AND till <> $2 ORDER BY opened_at',
    [home, except],
  )
  for (const till of left) await settleTill(deps, till, 'gone')
  return left.length
}

/**
 * Settles what is known of tills whose process is lost, and frees what they held. They stay in the books: should their data
 * directory come back, with runs that nobody had seen, it settles the rest. A machine that slept is not lost to itself.
 */
export async function settleLost(deps: Deps, except: string): Promise<number> {
  const lost = await deps.sql.query<TillRow>(
    `SELECT till, opened_at, seen_at FROM tills t WHERE seen_at < now() - interval '${lostAfter}'
     AND till <> $1 AND EXISTS (SELECT 1 FROM till_purses p WHERE p.till = t.till AND p.held_nano_usd > 0) ORDER BY opened_at LIMIT 100`,
    [except],
  )
  for (const till of lost) await settleTill(deps, till, 'kept')
  return lost.length
}

async function settleTill(
  { sql, rows }: Deps,
  { till, opened_at, seen_at }: TillRow,
  fate: 'gone' | 'kept',
): Promise<void> {
  const workspaces = await sql.query<{ workspace: string }>(
    `SELECT DISTINCT p.workspace FROM till_purses t JOIN purses p USING (purse, period) WHERE t.till = $1`,
    [till],
  )
  const spent = new Map<string, bigint>()
  for (const { workspace } of workspaces) {
    const range = { fromMs: opened_at.getTime() - dayMs, toMs: seen_at.getTime() + dayMs }
    for (const row of await runsOf(rows, { workspace, till, ...range })) {
      const cost = BigInt(row.cost)
      for (const purse of [`${row.key}/${row.period}`, `${workspace}/`])
        spent.set(purse, (spent.get(purse) ?? 0n) + cost)
    }
  }
  await sql.transaction(async (tx) => {
    // Whoever else settles this till waits here, and finds it settled.
    const [there] = await tx.query('SELECT 1 FROM tills WHERE till = $1 FOR UPDATE', [till])
    if (!there) return
    for (const own of await lockPurses(tx, till)) {
      const told = spent.get(`${own.purse}/${own.period}`) ?? 0n
      const owed = told > BigInt(own.settled) ? told - BigInt(own.settled) : 0n
      await tx.query(
        `UPDATE purses SET spent_nano_usd = spent_nano_usd + $3, held_nano_usd = held_nano_usd - $4
         WHERE purse = $1 AND period = $2`,
        [own.purse, own.period, String(owed), own.held],
      )
      await tx.query(
        `UPDATE till_purses SET settled_nano_usd = settled_nano_usd + $4, held_nano_usd = 0
         WHERE till = $1 AND purse = $2 AND period = $3`,
        [till, own.purse, own.period, String(owed)],
      )
    }
    if (fate === 'gone') await tx.query('DELETE FROM tills WHERE till = $1', [till])
  })
}

function lockPurses(tx: Sql, till: string): Promise<OwnRow[]> {
  return tx.query<OwnRow>(
    `SELECT t.purse, t.period, p.workspace, t.settled_nano_usd::text AS settled, t.held_nano_usd::text AS held
     FROM purses p JOIN till_purses t USING (purse, period) WHERE t.till = $1 ORDER BY purse, period FOR UPDATE`,
    [till],
  )
}

/** What the runs of a till cost, each run once, by key and month. */
function runsOf(
  rows: Rows,
  of: { workspace: string; till: string; fromMs: number; toMs: number },
): Promise<{ key: string; period: string; cost: string }[]> {
  const where = and(
    between(inWorkspace(of.workspace), of.fromMs, of.toMs),
    `run_id != unhex('${zeroRun}') AND mapContains(attr_str, 'batchin.till')
     AND startsWith(attr_str['batchin.till'], {till:String})`,
    { till: `${of.till}/` },
  )
  return rows.query({
    sql: `SELECT key, period, toString(sum(cost)) AS cost FROM (
        SELECT run_id, any(attr_str['batchin.key.id']) AS key, any(cost_nano_usd) AS cost,
          any(splitByChar('/', attr_str['batchin.till'])[2]) AS period
        FROM spans WHERE ${where.sql} GROUP BY run_id
      ) GROUP BY key, period`,
    params: where.params,
  })
}
