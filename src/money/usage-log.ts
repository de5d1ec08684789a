// What a workspace has used, from its runs: each of them, in all, by model, by day. Replays are not among them; they are ours.

import { fromHex, toPrefixed, toUuid } from '../../schemas/ids.ts'
import { usageBits } from '../../schemas/tables.ts'
import { and, between, inWorkspace, type Where } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'
import { nanoToCents } from './amounts.ts'

// Clients whose clock runs ahead are accepted up to a day.
const aheadMs = 86_400_000
const modelsMax = 1_000
// The last year whose nanoseconds ClickHouse can hold.
const lastMs = Date.UTC(2262, 0, 1)
const hourMs = 3_600_000
// How far back the newest are looked for, until the page is full.
const windowsMs = [hourMs, 24 * hourMs, 7 * 24 * hourMs]
const zeros = '00000000000000000000000000000000'

export type UsageFilters = {
  fromMs: number | undefined
  toMs: number | undefined
  keyId: string | undefined
  model: string | undefined
}

export type UsageEntry = {
  /** The run's id as a UUID; `run_id` is the same one. */
  id: string
  run_id: string
  trace_id: string
  key_id: string | null
  model: string
  provider: string | null
  route_id: string | null
  type: string
  status: string
  input_tokens: number
  cached_tokens: number
  output_tokens: number
  reasoning_tokens: number
  usage_estimated: boolean
  cost_cents: number
  /** Null: the model had no price, and nothing was charged. */
  price_version: string | null
  latency_ms: number
  created_at: string
}

export type UsageTotals = {
  total_requests: number
  total_input_tokens: number
  total_output_tokens: number
  total_cost_cents: number
  /** Of the requests, those that used tokens at no known price: their cost is unknown, not nothing. */
  unpriced_requests: number
}

type TotalsRow = { requests: string; input: string; output: string; cost: string; unpriced: string }

export type UsageLog = {
  /** Newest first. */
  list(
    workspace: string,
    filters: UsageFilters,
    page: { limit: number; offset: number },
  ): Promise<UsageEntry[]>
  totals(workspace: string, filters: UsageFilters): Promise<UsageTotals>
  /** The dearest first. */
  byModel(workspace: string, filters: UsageFilters): Promise<({ model: string } & UsageTotals)[]>
  /** Every day in UTC on which there was a run, oldest first. */
  byDay(workspace: string, filters: UsageFilters): Promise<({ date: string } & UsageTotals)[]>
}

// What a run that was made elsewhere cost was reckoned, and charged to nobody.
const charged = "if(mapContains(attr_num, 'batchin.cost.computed'), 0, cost_nano_usd)"
const sums = `toString(count()) AS requests, toString(sum(input_tokens)) AS input, toString(sum(output_tokens)) AS output,
  toString(sum(charged)) AS cost, toString(countIf(NOT priced AND input_tokens + output_tokens > 0)) AS unpriced`
const priced = `bitAnd(usage, ${usageBits.cost}) != 0`

export function openUsageLog(rows: Rows, nowMs: () => number): UsageLog {
  async function grouped<T>(
    workspace: string,
    filters: UsageFilters,
    by: { column: string; order: string },
  ): Promise<(T & TotalsRow)[]> {
    const where = runsOf(workspace, filters)
    // A run posted twice within one batch is stored twice, and counts once.
    return rows.query<T & TotalsRow>({
      sql: `SELECT ${by.column} AS name, ${sums} FROM (
          SELECT model, start_time, input_tokens, output_tokens, ${charged} AS charged, ${priced} AS priced
          FROM spans
          WHERE ${where.sql} LIMIT 1 BY run_id
        ) GROUP BY name ORDER BY ${by.order} LIMIT ${modelsMax}`,
      params: where.params,
    })
  }

  return {
    async list(workspace, filters, page) {
      const toMs = filters.toMs ?? nowMs() + aheadMs
      // In key order there is no "newest": a short window first, wider until the page is full.
      const starts = filters.fromMs === undefined ? windowsMs.map((ms) => nowMs() - ms) : []
      let found: EntryRow[] = []
      for (const fromMs of [...starts, filters.fromMs ?? 0]) {
        const where = runsOf(workspace, { ...filters, fromMs, toMs })
        found = await rows.query<EntryRow>({
          sql: `${selectEntry} FROM spans WHERE ${where.sql} ORDER BY start_time DESC, run_id DESC LIMIT 1 BY run_id
            LIMIT {limit:UInt32} OFFSET {offset:UInt32}`,
          params: { ...where.params, ...page },
        })
        if (found.length === page.limit) break
      }
      return found.map(toEntry)
    },
    async totals(workspace, filters) {
      const [row] = await grouped(workspace, filters, { column: "''", order: 'name' })
      return toTotals(row ?? { requests: '0', input: '0', output: '0', cost: '0', unpriced: '0' })
    },
    async byModel(workspace, filters) {
      const order = 'sum(charged) DESC, count() DESC, name'
      const found = await grouped<{ name: string }>(workspace, filters, { column: 'model', order })
      return found.map((row) => ({ model: row.name, ...toTotals(row) }))
    },
    async byDay(workspace, filters) {
      const by = { column: "formatDateTime(start_time, '%Y-%m-%d', 'UTC')", order: 'name' }
      const found = await grouped<{ name: string }>(workspace, filters, by)
      return found.map((row) => ({ date: row.name, ...toTotals(row) }))
    },
  }
}

/** The runs of a workspace: spans of calls, and nothing that only happened on the way. */
function runsOf(workspace: string, filters: UsageFilters): Where {
  const { fromMs, toMs, keyId, model } = filters
  let where = inWorkspace(workspace)
  if (fromMs !== undefined || toMs !== undefined)
    where = between(where, fromMs ?? 0, Math.min(toMs ?? lastMs, lastMs))
  where = and(where, `run_id != unhex('${zeros}') AND origin != 'replay'`)
  if (keyId !== undefined)
    where = and(where, "attr_str['batchin.key.id'] = {keyId:String}", { keyId })
  if (model !== undefined) where = and(where, 'model = {model:String}', { model })
  return where
}

const selectEntry = `SELECT lower(hex(run_id)) AS run, lower(hex(trace_id)) AS trace, attr_str['batchin.key.id'] AS key, model,
  provider, route_id AS route, type, status, input_tokens AS input, cached_tokens AS cached, output_tokens AS output,
  reasoning_tokens AS reasoning, bitAnd(usage, ${usageBits.estimated}) AS estimated, toString(${charged}) AS cost,
  attr_str['batchin.price.version'] AS version, duration_ns / 1e6 AS latency, toString(toUnixTimestamp64Milli(start_time)) AS started`

type EntryRow = Record<'run' | 'trace' | 'key' | 'model' | 'provider' | 'route' | 'type', string> &
  Record<'status' | 'cost' | 'version' | 'started', string> &
  Record<'input' | 'cached' | 'output' | 'reasoning' | 'estimated' | 'latency', number>

function toEntry(row: EntryRow): UsageEntry {
  const run = fromHex(row.run)
  return {
    id: toUuid(run),
    run_id: toPrefixed('run', run),
    trace_id: row.trace,
    key_id: row.key || null,
    model: row.model,
    provider: row.provider || null,
    route_id: row.route || null,
    type: row.type,
    status: row.status,
    input_tokens: row.input,
    cached_tokens: row.cached,
    output_tokens: row.output,
    reasoning_tokens: row.reasoning,
    usage_estimated: Boolean(row.estimated),
    cost_cents: nanoToCents(BigInt(row.cost)),
    price_version: row.version || null,
    latency_ms: row.latency,
    created_at: new Date(Number(row.started)).toISOString(),
  }
}

function toTotals(row: TotalsRow): UsageTotals {
  return {
    total_requests: Number(row.requests),
    total_input_tokens: Number(row.input),
    total_output_tokens: Number(row.output),
    total_cost_cents: nanoToCents(BigInt(row.cost)),
    unpriced_requests: Number(row.unpriced),
  }
}
