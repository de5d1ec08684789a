// Reading traces: the list, newest first, and one trace as skeletons. A span is taken once, however often it was sent.

import { type Id, toHex } from '../schemas/ids.ts'
import type { TraceFilters } from './trace-filters.ts'
import { and, between, inWorkspace, newestTraces, ofTrace, windowsMs } from './trace-query.ts'
import {
  type SkeletonRow,
  type SpanSkeleton,
  type SummaryRow,
  skeletonSql,
  summarySql,
  type TraceItem,
  toIdOrNull,
  toItem,
  toSkeleton,
} from './trace-rows.ts'
import { countUsageOnce, type TraceUsage, type UsageSpan } from './usage.ts'

/** What reading needs of ClickHouse: rows as objects, by bound parameters. */
export type Rows = {
  query<T>(q: { sql: string; params?: Record<string, unknown> }): Promise<T[]>
}

/** Where a page ended: the start of its last trace, and its id among those of the same nanosecond. */
export type TraceCursor = { startNs: string; traceId: string }
export type TracePage = { items: TraceItem[]; next: TraceCursor | undefined }
export type Traces = ReturnType<typeof openTraces>

// Spans of clients whose clock runs ahead are accepted up to a day; they are listed too.
const aheadMs = 86_400_000
// The spans of a whole page whose usage is counted by the tree. Beyond it the page would read without end.
const usageSpansMax = 500_000
// Without the fixed length a set of strings never matches an id that ends in a zero byte, one in 256.
const byIds = 'trace_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))'

export function openTraces(rows: Rows, nowMs: () => number) {
  /** The newest traces first, one page; the next page starts where this one ended. */
  async function list(
    workspace: string,
    filters: TraceFilters,
    page: { limit: number; after: TraceCursor | undefined },
  ): Promise<TracePage> {
    const heads = await newest(workspace, filters, page)
    const shown = heads.slice(0, page.limit)
    const items = await summaries(
      workspace,
      shown.map((head) => head.id),
    )
    const last = shown.at(-1)
    const isMore = heads.length > page.limit && last !== undefined
    return { items, next: isMore ? { startNs: last.start_ns, traceId: last.id } : undefined }
  }

  async function newest(
    workspace: string,
    filters: TraceFilters,
    page: { limit: number; after: TraceCursor | undefined },
  ) {
    const now = nowMs()
    const afterMs = page.after && Number(BigInt(page.after.startNs) / 1_000_000n) + 1
    const toMs = Math.min(filters.toMs ?? now + aheadMs, afterMs ?? now + aheadMs)
    const windows =
      filters.fromMs === undefined
        ? windowsMs.map((ms) => Math.max(0, Math.min(toMs, now) - ms))
        : [filters.fromMs]
    let found: { id: string; start_ns: string }[] = []
    for (const fromMs of windows) {
      if (fromMs >= toMs) continue
      const range = { fromMs, toMs, after: page.after, limit: page.limit + 1 }
      found = await rows.query(newestTraces(workspace, filters, range))
      if (found.length > page.limit) break
    }
    return found
  }

  /** One item per trace id, in the order given; ids without spans are left out. */
  async function summaries(workspace: string, ids: string[]): Promise<TraceItem[]> {
    if (ids.length === 0) return []
    const where = and(inWorkspace(workspace), byIds, { ids })
    const found = await rows.query<SummaryRow>({ sql: summarySql(where), params: where.params })
    const repeated = found.filter((row) => Number(row.usage_spans) > 1).map((row) => row.id)
    const usage = repeated.length > 0 ? await usageOnce(workspace, repeated) : new Map()
    const items = new Map(found.map((row) => [row.id, toItem(row, usage.get(row.id))]))
    return ids.flatMap((id) => items.get(id) ?? [])
  }

  async function usageOnce(workspace: string, ids: string[]): Promise<Map<string, TraceUsage>> {
    const where = and(inWorkspace(workspace), byIds, { ids })
    const spans = await rows.query<UsageSpan & { id: string }>({
      sql: `SELECT lower(hex(trace_id)) AS id, hex(span_id) AS span, hex(parent_span_id) AS parent, usage,
          input_tokens AS input, output_tokens AS output, toString(cost_nano_usd) AS cost
        FROM spans WHERE ${where.sql} ORDER BY ingest_seq DESC LIMIT 1 BY trace_id, span_id LIMIT ${usageSpansMax}`,
      params: where.params,
    })
    const byTrace = new Map<string, UsageSpan[]>()
    for (const span of spans) {
      const list = byTrace.get(span.id)
      if (list) list.push(span)
      else byTrace.set(span.id, [span])
    }
    return new Map([...byTrace].map(([id, list]) => [id, countUsageOnce(list)]))
  }

  /** The item of one trace and every span of it as a skeleton, by start; undefined when there is none. */
  async function find(
    workspace: string,
    traceId: string,
  ): Promise<(TraceItem & { spans: SpanSkeleton[] }) | undefined> {
    const where = ofTrace(workspace, traceId)
    const [[item], spans] = await Promise.all([
      summaries(workspace, [traceId]),
      rows.query<SkeletonRow>({ sql: skeletonSql(where), params: where.params }),
    ])
    return item && { ...item, spans: spans.map(toSkeleton) }
  }

  /** The runs of these ids that are stored, by hex of the id. Ids carry their time, so only its days are looked at. */
  async function findRuns(
    workspace: string,
    ids: Id[],
  ): Promise<Map<string, { traceId: string; recordId: string }>> {
    const times = ids.map((id) => Number.parseInt(toHex(id.subarray(0, 6)), 16))
    const days = between(
      inWorkspace(workspace),
      Math.min(...times) - aheadMs,
      Math.max(...times) + aheadMs,
    )
    const where = and(
      days,
      'run_id IN (SELECT toFixedString(unhex(arrayJoin({runs:Array(String)})), 16))',
      { runs: ids.map(toHex) },
    )
    const found = await rows.query<{ run: string; trace: string; record: string }>({
      sql: `SELECT lower(hex(run_id)) AS run, lower(hex(trace_id)) AS trace, hex(record_id) AS record FROM spans WHERE ${where.sql} LIMIT 1 BY run_id`,
      params: where.params,
    })
    return new Map(
      found.map((row) => [
        row.run,
        { traceId: row.trace, recordId: toIdOrNull('vaas', row.record) ?? '' },
      ]),
    )
  }

  return { list, find, findRuns }
}
