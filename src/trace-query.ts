// The one place where a query over spans is put together. It binds the workspace first; there is no other way to get a WHERE.

import { parseTraceId } from '../schemas/ids.ts'
import { equalColumns, type TraceFilters } from './trace-filters.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
// A filter may match a span that starts long after its trace did; beyond this distance the trace is listed by the span.
const slackMs = 6 * hourMs
// "Newest first" cannot read in key order, so it looks at a short window first and widens it until the page is full.
export const windowsMs = [hourMs, dayMs, 7 * dayMs, 20_000 * dayMs] as const

export type Params = Record<string, string | number | bigint | string[]>
/** A WHERE clause that names the workspace, with every value bound. */
export type Where = { sql: string; params: Params }

/** The spans of one workspace, and nothing else yet. */
export function inWorkspace(workspace: string): Where {
  return { sql: 'workspace = {workspace:String}', params: { workspace } }
}

export function and(where: Where, sql: string, params: Params = {}): Where {
  return {
    sql: `${where.sql} AND ${sql}`,
    params: { ...where.params, ...params },
  }
}

/** The spans of one trace. */
export function ofTrace(workspace: string, traceId: string): Where {
  return and(inWorkspace(workspace), 'trace_id = unhex({trace:String})', {
    trace: traceId,
  })
}

/** The spans that match every filter but the times, each by itself: for what is given out span by span. */
export function matching(workspace: string, filters: TraceFilters): Where {
  let where = matchingParts(workspace, filters)
  const { status, prompt_version_id } = filters.equals
  if (status) where = and(where, 'status = {f_status:String}', { f_status: status })
  if (prompt_version_id === 'default') where = and(where, "prompt_version_id = ''")
  const { minNs, maxNs } = latencyOf(filters)
  if (minNs !== undefined) where = and(where, 'duration_ns >= {minNs:UInt64}', { minNs })
  if (maxNs !== undefined) where = and(where, 'duration_ns <= {maxNs:UInt64}', { maxNs })
  return where
}

/** The spans by which a trace is found. Its status, its latency and its having no prompt are asked of the whole trace. */
function matchingParts(workspace: string, filters: TraceFilters): Where {
  let where = inWorkspace(workspace)
  for (const [name, column] of Object.entries(equalColumns)) {
    const value = filters.equals[name as keyof typeof equalColumns] // the keys of that very table
    if (value && name !== 'status')
      where = and(where, `${column} = {f_${name}:String}`, { [`f_${name}`]: value })
  }
  const prompt = filters.equals.prompt_version_id
  if (prompt && prompt !== 'default')
    where = and(where, 'prompt_version_id = {prompt:String}', { prompt })
  filters.attributes.forEach(([key, value], i) => {
    const asNumber = /^(true|false)$/.test(value) ? (value === 'true' ? 1 : 0) : Number(value)
    const text = `attr_str[{k${i}:String}] = {v${i}:String}`
    const number = `(mapContains(attr_num, {k${i}:String}) AND attr_num[{k${i}:String}] = {n${i}:Float64})`
    const isNumber = value !== '' && !Number.isNaN(asNumber)
    where = and(where, isNumber ? `(${text} OR ${number})` : text, {
      [`k${i}`]: key,
      [`v${i}`]: value,
      ...(isNumber ? { [`n${i}`]: asNumber } : {}),
    })
  })
  if (filters.q !== undefined)
    where = and(where, textMatch, { q: filters.q, qHex: parseTraceId(filters.q.trim()) ?? '' })
  return where
}

function latencyOf(filters: TraceFilters) {
  const toNs = (ms: number | undefined) => (ms === undefined ? undefined : Math.round(ms * 1e6))
  return { minNs: toNs(filters.minLatencyMs), maxNs: toNs(filters.maxLatencyMs) }
}

const textMatch = `(positionCaseInsensitiveUTF8(name, {q:String}) > 0 OR positionCaseInsensitiveUTF8(service, {q:String}) > 0
  OR positionCaseInsensitiveUTF8(model, {q:String}) > 0 OR positionCaseInsensitiveUTF8(input_preview, {q:String}) > 0
  OR positionCaseInsensitiveUTF8(output_preview, {q:String}) > 0 OR trace_id = unhex({qHex:String}))`

/** Narrows a clause to spans that start in [fromMs, toMs). */
export function between(where: Where, fromMs: number, toMs: number): Where {
  return and(
    where,
    'start_time >= fromUnixTimestamp64Milli({fromMs:Int64}) AND start_time < fromUnixTimestamp64Milli({toMs:Int64})',
    { fromMs: Math.max(0, Math.floor(fromMs)), toMs: Math.ceil(toMs) },
  )
}

/** What is asked of a trace as a whole, after its spans were put together. */
function ofWholeTrace(filters: TraceFilters): { sql: string; params: Params } {
  const parts: string[] = []
  const params: Params = {}
  const { status, prompt_version_id } = filters.equals
  if (status) {
    params.f_status = status
    // The trace is as good as its root; the other words are those of a run, which may lie anywhere in it.
    parts.push(
      status === 'ok' || status === 'error'
        ? `${rootOf('status')} = {f_status:String}`
        : 'countIf(status = {f_status:String}) > 0',
    )
  }
  if (prompt_version_id === 'default') parts.push("countIf(prompt_version_id != '') = 0")
  const latency =
    'max(toUnixTimestamp64Nano(start_time) + duration_ns) - toUnixTimestamp64Nano(min(start_time))'
  const { minNs, maxNs } = latencyOf(filters)
  if (minNs !== undefined) parts.push(`${latency} >= {minNs:UInt64}`)
  if (maxNs !== undefined) parts.push(`${latency} <= {maxNs:UInt64}`)
  if (minNs !== undefined) params.minNs = minNs
  if (maxNs !== undefined) params.maxNs = maxNs
  return { sql: parts.map((part) => ` AND ${part}`).join(''), params }
}

/** A column of the span that stands for its trace: the one without a parent, else the earliest. */
export function rootOf(column: string): string {
  return `argMin(${column}, (parent_span_id != unhex('0000000000000000'), start_time))`
}

/**
 * Ids and starts of the newest traces that begin in [fromMs, toMs), after the cursor. A trace belongs to a window by its own
 * first span, so that it is found in exactly one window however wide the search had to become.
 */
export function newestTraces(
  workspace: string,
  filters: TraceFilters,
  range: {
    fromMs: number
    toMs: number
    after: { startNs: string; traceId: string } | undefined
    limit: number
  },
): Where {
  const spans = between(inWorkspace(workspace), range.fromMs - slackMs, range.toMs + slackMs)
  const found = matchingParts(workspace, filters)
  const isNarrowed = found.sql !== inWorkspace(workspace).sql
  const candidates = isNarrowed
    ? ` AND trace_id IN (SELECT trace_id FROM spans WHERE ${between(found, 0, 0).sql})`
    : ''
  const whole = ofWholeTrace(filters)
  const after = range.after
    ? ' AND (started, trace_id) < (fromUnixTimestamp64Nano({afterNs:Int64}), toFixedString(unhex({afterId:String}), 16))'
    : ''
  return {
    sql: `SELECT lower(hex(trace_id)) AS id, toString(toUnixTimestamp64Nano(min(start_time) AS started)) AS start_ns
      FROM spans WHERE ${spans.sql}${candidates}
      GROUP BY trace_id
      HAVING started >= fromUnixTimestamp64Milli({lowMs:Int64}) AND started < fromUnixTimestamp64Milli({highMs:Int64})${after}${whole.sql}
      ORDER BY started DESC, trace_id DESC LIMIT {limit:UInt32}`,
    params: {
      ...found.params,
      ...whole.params,
      ...spans.params,
      lowMs: Math.max(0, Math.floor(range.fromMs)),
      highMs: Math.ceil(range.toMs),
      limit: range.limit,
      ...(range.after ? { afterNs: range.after.startNs, afterId: range.after.traceId } : {}),
    },
  }
}
