// Figures of model calls over time: from the roll-ups where they hold, from the spans where they do not yet, in one answer.
// Law: every call counts once, whichever way it was read.

import type { TraceFilters } from '../traces/trace-filters.ts'
import { and, inWorkspace, isNarrowed, matching, type Where } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'
import { callsBetween, callsInQuarters, callsSql, figuresOfCalls } from './calls.ts'
import { arrivedSql, doneSql, rolledDimensions, staleSql } from './roll.ts'

export type Metric = 'requests' | 'errors' | 'p50' | 'p95' | 'p99' | 'ttft' | 'tokens' | 'cost'

/** What each metric is called in, and how it comes from summed rows. Without calls a sum is 0 and a quantile is unknown. */
export const metrics: Readonly<Record<Metric, { unit: string; statistic: string; sql: string }>> = {
  requests: { unit: 'requests', statistic: 'count', sql: 'toFloat64(sum(requests))' },
  errors: { unit: 'requests', statistic: 'count', sql: 'toFloat64(sum(errors))' },
  p50: { unit: 'ms', statistic: 'p50', sql: quantile('duration', 1) },
  p95: { unit: 'ms', statistic: 'p95', sql: quantile('duration', 2) },
  p99: { unit: 'ms', statistic: 'p99', sql: quantile('duration', 3) },
  ttft: { unit: 'ms', statistic: 'p50', sql: quantile('ttft', 1) },
  tokens: { unit: 'tokens', statistic: 'sum', sql: 'toFloat64(sum(input_tokens + output_tokens))' },
  cost: { unit: 'USD', statistic: 'sum', sql: 'sum(cost_nano_usd) / 1e9' },
}

function quantile(column: 'duration' | 'ttft', place: number): string {
  return `nullIf(ifNotFinite(quantilesBFloat16Merge(0.5, 0.95, 0.99)(${column})[${place}], 0) / 1e6, 0)`
}

/** Columns of a span by which figures may be told apart; the rolled ones are answered without reading spans. */
export const dimensions = [
  ...rolledDimensions.slice(1),
  'name',
  'type',
  'status',
  'source',
  'session_id',
  'user_id',
] as const
export type Dimension = (typeof dimensions)[number]

export type FiguresAsked = {
  workspace: string
  metric: Metric
  by: Dimension | undefined
  /** Seconds since 1970, on whole minutes; the end is outside. */
  fromS: number
  toS: number
  /** What the calls must match, each by itself; its times are not looked at. */
  filters: TraceFilters
}

export type TopRow = { key: string; value: number | null; calls: string }
export type PointRow = { key: string; at: number; value: number | null }

export type Figures = ReturnType<typeof openFigures>

export function openFigures(rows: Rows) {
  /** The values of the dimension with the largest figures. */
  async function top(asked: FiguresAsked, limit: number): Promise<TopRow[]> {
    const { sql, params } = await source(rows, asked)
    return rows.query<TopRow>({
      sql: `SELECT key, ${metrics[asked.metric].sql} AS value, toString(sum(requests)) AS calls
        FROM (${sql}) GROUP BY key HAVING sum(requests) > 0 OR value != 0
        ORDER BY value DESC NULLS LAST, key LIMIT {limit:UInt32}`,
      params: { ...params, limit },
    })
  }

  /** Figures of these values step by step, oldest first; steps without calls are left out. */
  async function series(
    asked: FiguresAsked,
    { stepS, keys }: { stepS: number; keys: string[] },
  ): Promise<PointRow[]> {
    const { sql, params } = await source(rows, asked)
    return rows.query<PointRow>({
      sql: `SELECT key, toUInt32(intDiv(toUnixTimestamp(minute), {step:UInt32}) * {step:UInt32}) AS at, ${metrics[asked.metric].sql} AS value
        FROM (${sql}) WHERE key IN {keys:Array(String)} GROUP BY key, at ORDER BY at, key`,
      params: { ...params, step: stepS, keys },
    })
  }

  return { top, series }
}

/** Rows of `key`, `minute` and the columns of figures; several rows may have the same key and minute. */
async function source(rows: Rows, asked: FiguresAsked): Promise<Where> {
  const { workspace, by = '', fromS, toS } = asked
  const calls = matching(workspace, asked.filters)
  const range = { from: fromS, to: toS }
  const isRolled = rolledDimensions.some((name) => name === by) && !isNarrowed(calls)
  if (!isRolled) return fromSpans(calls, by, { range, quarters: undefined })
  const stale = await staleQuarters(rows, workspace, range)
  const rolled = fromRollups(workspace, by, { range, stale })
  if (stale.length === 0) return rolled
  const spans = fromSpans(calls, by, { range, quarters: stale })
  return {
    sql: `${rolled.sql} UNION ALL ${spans.sql}`,
    params: { ...rolled.params, ...spans.params },
  }
}

/** Quarters of which more has arrived than was rolled, by the seconds at which they begin. */
async function staleQuarters(
  rows: Rows,
  workspace: string,
  range: { from: number; to: number },
): Promise<number[]> {
  const where = and(
    inWorkspace(workspace),
    'quarter >= toStartOfFifteenMinutes(toDateTime({from:UInt32})) AND quarter < toDateTime({to:UInt32})',
    range,
  )
  const found = await rows.query<{ quarter: number }>({
    sql: `SELECT toUnixTimestamp(quarter) AS quarter FROM (
        SELECT quarter, ${arrivedSql} FROM arrivals WHERE ${where.sql} GROUP BY quarter) AS arrived
      LEFT JOIN (SELECT quarter, ${doneSql} FROM rolled WHERE ${where.sql} GROUP BY quarter) AS done USING quarter
      WHERE ${staleSql}`,
    params: where.params,
  })
  return found.map(({ quarter }) => quarter)
}

const columns = 'requests, errors, input_tokens, output_tokens, cost_nano_usd, duration, ttft'

function fromRollups(
  workspace: string,
  by: string,
  { range, stale }: { range: { from: number; to: number }; stale: number[] },
): Where {
  const where = and(
    inWorkspace(workspace),
    'quarter >= toStartOfFifteenMinutes(toDateTime({from:UInt32})) AND quarter < toDateTime({to:UInt32}) AND NOT has({stale:Array(UInt32)}, toUnixTimestamp(quarter))',
    { ...range, stale, by },
  )
  const rolls = `SELECT quarter, argMax(roll, (seq, loads, roll)) FROM rolled WHERE ${where.sql} GROUP BY quarter`
  return {
    sql: `SELECT value AS key, minute, ${columns} FROM rollups
      WHERE workspace = {workspace:String} AND dimension = {by:String}
        AND minute >= toDateTime({from:UInt32}) AND minute < toDateTime({to:UInt32})
        AND (toStartOfFifteenMinutes(minute), roll) IN (${rolls})`,
    params: where.params,
  }
}

/** The same of the calls themselves; `quarters` narrows them to some. */
function fromSpans(
  calls: Where,
  by: string,
  { range, quarters }: { range: { from: number; to: number }; quarters: number[] | undefined },
): Where {
  const { from, to } = range
  const timed = callsBetween(calls, from, to)
  const { sql, params } = callsSql(quarters ? callsInQuarters(timed.calls, quarters) : timed)
  return {
    sql: `SELECT ${by === '' ? "''" : `toString(${by})`} AS key, toStartOfMinute(start_time) AS minute, ${figuresOfCalls}
      FROM (${sql}) GROUP BY key, minute`,
    params,
  }
}
