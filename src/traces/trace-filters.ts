// The filters of the query string, by the names of the contract, read once and named when they are wrong.

import { Fault } from '../../schemas/faults.ts'
import { parseTraceId } from '../../schemas/ids.ts'
import { runStatuses } from '../../schemas/run.ts'
import { toCondition } from '../q/sql.ts'
import { parseQ } from '../q/syntax.ts'
import type { Params } from './trace-query.ts'

export type TraceFilters = {
  fromMs: number | undefined
  toMs: number | undefined
  traceId: string | undefined
  /** Column filters of the query string, by the names of the contract. */
  equals: Partial<Record<EqualName, string>>
  attributes: [key: string, value: string][]
  /** `q` as a condition on one span. */
  q: { sql: string; params: Params } | undefined
  minLatencyMs: number | undefined
  maxLatencyMs: number | undefined
}

// The contract's filter names and the columns they compare with.
export const equalColumns = {
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
  'trace_id',
])
// What the stores can name; a time before or after says that this end is open.
const timeMaxMs = Date.UTC(2106, 0, 1)
const textLengthMax = 1_000
const attributesMax = 10

/** The filters of a query string. Throws `invalid_request` naming the parameter; an unknown one is a mistake, not ignored. */
export function readFilters(query: URLSearchParams): TraceFilters {
  const filters: TraceFilters = {
    fromMs: readTime(query, 'from'),
    toMs: readTime(query, 'to'),
    traceId: readTraceId(query.get('trace_id')),
    equals: {},
    attributes: [],
    q: readQ(query.get('q') ?? ''),
    minLatencyMs: readNumber(query, 'min_latency_ms'),
    maxLatencyMs: readNumber(query, 'max_latency_ms'),
  }
  for (const [name, value] of query) {
    if (value.length > textLengthMax)
      throw invalid(name, `is longer than ${textLengthMax} characters`)
    if (!name.startsWith('attr.') && query.getAll(name).length > 1)
      throw invalid(name, 'may be given once')
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
  return { ...filters, fromMs: storable(filters.fromMs), toMs: storable(filters.toMs) }
}

function storable(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.min(Math.max(ms, 0), timeMaxMs)
}

function readTraceId(text: string | null): string | undefined {
  if (!text) return undefined
  const id = parseTraceId(text)
  if (!id) throw invalid('trace_id', 'must be 32 hex digits, not all zero')
  return id
}

function readQ(text: string): TraceFilters['q'] {
  // Before it is parsed: the bound of every parameter holds for this one too.
  if (text.length > textLengthMax) throw invalid('q', `is longer than ${textLengthMax} characters`)
  const tree = parseQ(text)
  return tree && toCondition(tree)
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/

/** How far the offset of an RFC 3339 time lies from UTC. */
function offsetMs(text: string): number {
  const [, sign, hours, minutes] = /([+-])(\d\d):(\d\d)$/.exec(text) ?? []
  const size = (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60_000
  return sign === '-' ? -size : size
}

export function readTime(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (!text) return undefined
  const ms = rfc3339.test(text) ? Date.parse(text) : Number.NaN
  // `Date` takes the 30th of February for the first of March.
  const isRolled = new Date(ms + offsetMs(text)).toJSON()?.slice(0, 10) !== text.slice(0, 10)
  if (Number.isNaN(ms) || isRolled)
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
  refuseRepeated(query, 'limit')
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > bounds.max)
    throw invalid('limit', `must be a whole number from 1 to ${bounds.max}`)
  return value
}

/** Of a parameter given twice one would be obeyed and the other not, and nobody could tell which. */
export function refuseRepeated(query: URLSearchParams, ...names: string[]): void {
  for (const name of names)
    if (query.getAll(name).length > 1) throw invalid(name, 'may be given once')
}

export function invalid(param: string, what: string): Fault {
  return new Fault('invalid_request', {
    message: `\`${param}\` ${what}.`,
    param,
  })
}
