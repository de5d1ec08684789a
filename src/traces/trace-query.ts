// The one place where a query over spans is put together. It binds the workspace first; there is no other way to get a WHERE.

import { toAttributeNumber } from '../q/sql.ts'
import { equalColumns, type TraceFilters } from './trace-filters.ts'

export type Params = Record<string, string | number | bigint | string[] | number[] | bigint[]>
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

/** Whether a clause says more than the workspace. */
export function isNarrowed(where: Where): boolean {
  return where.sql !== inWorkspace('').sql
}

/** The spans by which a trace is found. Its status, its latency and its having no prompt are asked of the whole trace. */
export function matchingParts(workspace: string, filters: TraceFilters): Where {
  let where =
    filters.traceId === undefined ? inWorkspace(workspace) : ofTrace(workspace, filters.traceId)
  for (const [name, column] of Object.entries(equalColumns)) {
    const value = filters.equals[name as keyof typeof equalColumns] // the keys of that very table
    if (value && name !== 'status')
      where = and(where, `${column} = {f_${name}:String}`, { [`f_${name}`]: value })
  }
  const prompt = filters.equals.prompt_version_id
  if (prompt && prompt !== 'default')
    where = and(where, 'prompt_version_id = {prompt:String}', { prompt })
  filters.attributes.forEach(([key, value], i) => {
    const asNumber = toAttributeNumber(value)
    // A key that is not there reads as an empty text.
    const text = `(mapContains(attr_str, {k${i}:String}) AND attr_str[{k${i}:String}] = {v${i}:String})`
    const number = `(mapContains(attr_num, {k${i}:String}) AND attr_num[{k${i}:String}] = {n${i}:Float64})`
    where = and(where, asNumber === undefined ? text : `(${text} OR ${number})`, {
      [`k${i}`]: key,
      [`v${i}`]: value,
      ...(asNumber === undefined ? {} : { [`n${i}`]: asNumber }),
    })
  })
  if (filters.q) where = and(where, filters.q.sql, filters.q.params)
  return where
}

export function latencyOf(filters: TraceFilters) {
  const toNs = (ms: number | undefined) => (ms === undefined ? undefined : Math.round(ms * 1e6))
  return { minNs: toNs(filters.minLatencyMs), maxNs: toNs(filters.maxLatencyMs) }
}

/** Narrows a clause to spans that start in [fromMs, toMs). */
export function between(where: Where, fromMs: number, toMs: number): Where {
  return and(
    where,
    'start_time >= fromUnixTimestamp64Milli({fromMs:Int64}) AND start_time < fromUnixTimestamp64Milli({toMs:Int64})',
    { fromMs: Math.max(0, Math.floor(fromMs)), toMs: Math.ceil(toMs) },
  )
}

export type TimeRange = { fromNs: bigint; toNs: bigint }

// The bucket of the key. A trace that lasts longer than so many is read by its range, whatever else lies in it.
const bucketS = 900
export const bucketNs = 900_000_000_000n
const bucketsOfTraceMax = 16n

/**
 * The spans of these traces, where the ranges say when each of them ran, so that only those granules are read. As a set of buckets:
 * fifty ranges joined by OR cost the engine 20 ms of looking at its index (44 M spans).
 */
export function ofTraces(workspace: string, ids: string[], ranges: TimeRange[]): Where {
  const byIds = and(inWorkspace(workspace), inIds, { ids })
  const params: Params = {}
  const buckets = new Set<number>()
  const parts: string[] = []
  for (const [i, { fromNs, toNs }] of ranges.entries()) {
    const [first, last] = [fromNs / bucketNs, toNs / bucketNs]
    if (last - first < bucketsOfTraceMax)
      for (let bucket = first; bucket <= last; bucket++) buckets.add(Number(bucket) * bucketS)
    else {
      Object.assign(params, { [`from${i}`]: fromNs, [`to${i}`]: toNs })
      parts.push(
        `start_time BETWEEN fromUnixTimestamp64Nano({from${i}:Int64}) AND fromUnixTimestamp64Nano({to${i}:Int64})`,
      )
    }
  }
  if (buckets.size > 0) {
    params.buckets = [...buckets]
    parts.push(
      'toStartOfFifteenMinutes(start_time) IN (SELECT toDateTime(arrayJoin({buckets:Array(UInt32)})))',
    )
  }
  return parts.length === 0 ? byIds : and(byIds, `(${parts.join(' OR ')})`, params)
}

// Without the fixed length a set of strings never matches an id that ends in a zero byte, one in 256.
export const inIds = 'trace_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))'

/** A column of the span that stands for its trace: the one without a parent, else the earliest. */
export function rootOf(column: string): string {
  return `argMin(${column}, (parent_span_id != unhex('0000000000000000'), start_time))`
}
