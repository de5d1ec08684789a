// The one place where a query over spans is put together. It binds the workspace first; there is no other way to get a WHERE.

import { Fault } from '../schemas/faults.ts'
import { parseTraceId } from '../schemas/ids.ts'
import { runStatuses } from '../schemas/run.ts'

const hourMs = 3_600_000
// A filter may match a span that starts long after its trace did; beyond this distance the trace is listed by the span.
const slackMs = 6 * hourMs
// "Newest first" cannot read in key order, so it looks at a short window first and widens it until the page is full.
export const windowsMs = [hourMs, 24 * hourMs, 7 * 24 * hourMs, 400 * 24 * hourMs] as const

export type Params = Record<string, string | number | bigint | string[]>
/** A WHERE clause that names the workspace, with every value bound. */
export type Where = { sql: string; params: Params }

export type TraceFilters = {
  fromMs: number | undefined
  toMs: number | undefined
  /** Column filters of the query string, by the names of the contract. */
  equals: Partial<Record<EqualName, string>>
  attributes: [key: string, value: string][]
  q: string | undefined
  minLatencyMs: number | undefined
  maxLatencyMs: number | undefined
}

// The contract's filter names and the columns they compare with.
const equalColumns = {
  service: 'service',
  name: 'name',
  model: 'model',
  provider: 'provider',
  route_id: 'route_id',
  environment: 'environment',
  status: 'status',
  source: 'source',
  session_id: 'session_id',
  user_id: 'user_id',
} as const
type EqualName = keyof typeof equalColumns | 'prompt_version_id'

const known = new Set([
  'limit',
  'cursor',
  'from',
  'to',
  'q',
  'min_latency_ms',
  'max_latency_ms',
  'prompt_version_id',
  'format',
  'trace_id',
])
const textLengthMax = 1_000
const attributesMax = 10

/** The filters of a query string. Throws `invalid_request` naming the parameter; an unknown one is a mistake, not ignored. */
export function readFilters(query: URLSearchParams): TraceFilters {
  const filters: TraceFilters = {
    fromMs: readTime(query, 'from'),
    toMs: readTime(query, 'to'),
    equals: {},
    attributes: [],
    q: query.get('q') || undefined,
    minLatencyMs: readNumber(query, 'min_latency_ms'),
    maxLatencyMs: readNumber(query, 'max_latency_ms'),
  }
  for (const [name, value] of query) {
    if (value.length > textLengthMax)
      throw invalid(name, `is longer than ${textLengthMax} characters`)
    if (name.startsWith('attr.') && name.length > 5) filters.attributes.push([name.slice(5), value])
    else if (name === 'prompt_version_id' || Object.hasOwn(equalColumns, name)) {
      if (value !== '') filters.equals[name as EqualName] = value // hasOwn has just said so
    } else if (!known.has(name)) throw invalid(name, 'is not a filter')
  }
  if (filters.attributes.length > attributesMax)
    throw invalid('attr', `may be given at most ${attributesMax} times`)
  const { status, source } = filters.equals
  if (status && !runStatuses.some((known) => known === status))
    throw invalid('status', `must be one of ${runStatuses.join(', ')}`)
  if (source && source !== 'otlp' && source !== 'native')
    throw invalid('source', 'must be otlp or native')
  if (filters.fromMs !== undefined && filters.toMs !== undefined && filters.fromMs >= filters.toMs)
    throw invalid('from', 'must be before `to`')
  return filters
}

export function isFiltered(filters: TraceFilters): boolean {
  return Boolean(
    filters.q ||
      filters.minLatencyMs !== undefined ||
      filters.maxLatencyMs !== undefined ||
      filters.attributes.length > 0 ||
      Object.keys(filters.equals).length > 0,
  )
}

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

/** The spans that match every filter but the times. */
export function matching(workspace: string, filters: TraceFilters): Where {
  let where = inWorkspace(workspace)
  for (const [name, value] of Object.entries(filters.equals)) {
    if (name === 'prompt_version_id') {
      where = and(where, 'prompt_version_id = {prompt:String}', {
        prompt: value === 'default' ? '' : value,
      })
      if (value === 'default') where = and(where, "run_id != unhex(repeat('00', 16))")
    } else
      where = and(
        where,
        `${equalColumns[name as keyof typeof equalColumns]} = {f_${name}:String}`,
        { [`f_${name}`]: value },
      )
  }
  filters.attributes.forEach(([key, value], i) => {
    const asNumber = /^(true|false)$/.test(value) ? (value === 'true' ? 1 : 0) : Number(value)
    const text = `attr_str[{k${i}:String}] = {v${i}:String}`
    const params: Params = { [`k${i}`]: key, [`v${i}`]: value }
    if (value === '' || Number.isNaN(asNumber)) where = and(where, text, params)
    else
      where = and(
        where,
        `(${text} OR (mapContains(attr_num, {k${i}:String}) AND attr_num[{k${i}:String}] = {n${i}:Float64}))`,
        { ...params, [`n${i}`]: asNumber },
      )
  })
  if (filters.minLatencyMs !== undefined)
    where = and(where, 'duration_ns >= {minNs:UInt64}', {
      minNs: Math.round(filters.minLatencyMs * 1e6),
    })
  if (filters.maxLatencyMs !== undefined)
    where = and(where, 'duration_ns <= {maxNs:UInt64}', {
      maxNs: Math.round(filters.maxLatencyMs * 1e6),
    })
  if (filters.q !== undefined)
    where = and(where, textMatch, {
      q: filters.q,
      qHex: parseTraceId(filters.q.trim()) ?? '',
    })
  return where
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
  const candidates = isFiltered(filters)
    ? ` AND trace_id IN (SELECT trace_id FROM spans WHERE ${withTimes(matching(workspace, filters).sql)})`
    : ''
  const after = range.after
    ? ' AND (started, trace_id) < (fromUnixTimestamp64Nano({afterNs:Int64}), toFixedString(unhex({afterId:String}), 16))'
    : ''
  return {
    sql: `SELECT lower(hex(trace_id)) AS id, toString(toUnixTimestamp64Nano(min(start_time) AS started)) AS start_ns
      FROM spans WHERE ${spans.sql}${candidates}
      GROUP BY trace_id
      HAVING started >= fromUnixTimestamp64Milli({lowMs:Int64}) AND started < fromUnixTimestamp64Milli({highMs:Int64})${after}
      ORDER BY started DESC, trace_id DESC LIMIT {limit:UInt32}`,
    params: {
      ...matching(workspace, filters).params,
      ...spans.params,
      lowMs: Math.max(0, Math.floor(range.fromMs)),
      highMs: Math.ceil(range.toMs),
      limit: range.limit,
      ...(range.after ? { afterNs: range.after.startNs, afterId: range.after.traceId } : {}),
    },
  }
}

function withTimes(sql: string): string {
  return `${sql} AND start_time >= fromUnixTimestamp64Milli({fromMs:Int64}) AND start_time < fromUnixTimestamp64Milli({toMs:Int64})`
}

function readTime(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (!text) return undefined
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms))
    throw invalid(name, 'must be an RFC 3339 time, such as 2026-01-31T12:00:00Z')
  return ms
}

function readNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (!text) return undefined
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0 || value > 1e12)
    throw invalid(name, 'must be a number, 0 or more')
  return value
}

/** A whole number between bounds, or its default; outside is a mistake, never clamped in silence. */
export function readLimit(
  query: URLSearchParams,
  bounds: { fallback: number; max: number },
): number {
  const text = query.get('limit')
  if (text === null || text === '') return bounds.fallback
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > bounds.max)
    throw invalid('limit', `must be a whole number from 1 to ${bounds.max}`)
  return value
}

export function invalid(param: string, what: string): Fault {
  return new Fault('invalid_request', {
    message: `\`${param}\` ${what}.`,
    param,
  })
}
