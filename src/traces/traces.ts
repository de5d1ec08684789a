// Reading traces: the list, newest first, and one trace as skeletons. A span is taken once, however often it was sent.

import { type Id, toHex } from '../../schemas/ids.ts'
import { briefTracesMax, readBriefs } from './briefs.ts'
import type { FoundTrace } from './trace-facts.ts'
import type { TraceFilters } from './trace-filters.ts'
import { and, between, inWorkspace, ofTrace, ofTraces, type Where } from './trace-query.ts'
import {
  type SkeletonRow,
  type SpanSkeleton,
  type SummaryRow,
  skeletonSql,
  spansOfTraceMax,
  summarySql,
  type TraceItem,
  toIdOrNull,
  toItem,
  toSkeleton,
  toSummary,
} from './trace-rows.ts'
import { searchTraces, type TraceCursor } from './trace-search.ts'
import { countUsageOnce, type TraceUsage, type UsageSpan } from './usage.ts'

/** What reading needs of ClickHouse: rows as objects, by bound parameters. */
export type Rows = {
  query<T>(q: {
    sql: string
    params?: Record<string, unknown>
    settings?: Record<string, string | number>
  }): Promise<T[]>
}

export type TracePage = { items: TraceItem[]; next: TraceCursor | undefined }
export type Traces = ReturnType<typeof openTraces>

// How far the id of a run and the start of its span may lie apart.
const aheadMs = 86_400_000
// The spans of a whole page whose usage is counted by the tree. Beyond it the page would read without end.
const usageSpansMax = 500_000
export function openTraces(rows: Rows, nowMs: () => number) {
  /** The newest traces first, one page; the next page starts where this one ended. */
  async function list(
    workspace: string,
    filters: TraceFilters,
    page: { limit: number; after: TraceCursor | undefined },
  ): Promise<TracePage> {
    const { traces, next } = await searchTraces(rows, {
      workspace,
      filters,
      ...page,
      nowMs: nowMs(),
    })
    return { items: await itemsOf(workspace, traces), next }
  }

  /** An item a trace, in the order given, from its spans where they are at hand; what has none any more is left out. */
  async function itemsOf(workspace: string, traces: FoundTrace[]): Promise<TraceItem[]> {
    const spansOf = new Map(traces.flatMap(({ id, spans }) => (spans ? [[id, spans]] : [])))
    const unread = traces.filter(({ spans }) => !spans)
    const ids = unread.map(({ id }) => id)
    const read = unread.length > 0 && unread.length <= briefTracesMax
    const briefs = read ? await readBriefs(rows, workspace, ids) : undefined
    const ranges = unread.map(({ range }) => range)
    const summed = briefs ? [] : await summaries(ids, ofTraces(workspace, ids, ranges))
    const items = new Map(summed.map((item) => [item.trace_id, item]))
    return traces.flatMap(({ id }) => {
      const spans = spansOf.get(id) ?? briefs?.get(id)
      return (spans ? ofSpans(id, spans) : items.get(id)) ?? []
    })
  }

  /** One item per trace id, in the order given; ids without spans are left out. */
  async function summaries(ids: string[], where: Where): Promise<TraceItem[]> {
    if (ids.length === 0) return []
    const found = await rows.query<SummaryRow>({ sql: summarySql(where), params: where.params })
    const repeated = found.filter((row) => Number(row.usage_spans) > 1).map((row) => row.id)
    const usage = repeated.length > 0 ? await usageOnce(repeated, where) : new Map()
    const items = new Map(found.map((row) => [row.id, toItem(row, usage.get(row.id))]))
    return ids.flatMap((id) => items.get(id) ?? [])
  }

  async function usageOnce(ids: string[], page: Where): Promise<Map<string, TraceUsage>> {
    const where = { ...page, params: { ...page.params, ids } }
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

  /**
   * A clause over one trace, with the places in ingest order that its payloads say: they are sorted by trace, and the spans are
   * not. Read through the index of the trace id alone a trace of a large table takes five times as long.
   */
  async function placed(where: Where): Promise<Where> {
    const [at] = await rows.query<{ spans: string; first: string; last: string }>({
      sql: `SELECT count() AS spans, toString(min(ingest_seq)) AS first, toString(max(ingest_seq)) AS last FROM payloads WHERE ${where.sql}`,
      params: where.params,
    })
    // The two tables are filled one after the other: what has no payload yet is looked for everywhere.
    if (!at || at.spans === '0') return where
    return and(where, 'ingest_seq BETWEEN {first:UInt64} AND {last:UInt64}', {
      first: at.first,
      last: at.last,
    })
  }

  /** The item of one trace and every span of it as a skeleton, by start; undefined when there is none. */
  async function find(
    workspace: string,
    traceId: string,
  ): Promise<(TraceItem & { spans: SpanSkeleton[] }) | undefined> {
    const briefs = await readBriefs(rows, workspace, [traceId])
    if (briefs) {
      const spans = briefs.get(traceId.toLowerCase())
      const item = spans && ofSpans(traceId.toLowerCase(), spans)
      return item && { ...item, spans: spans.map(toSkeleton) }
    }
    const where = await placed(ofTrace(workspace, traceId))
    const spans = await rows.query<SkeletonRow>({ sql: skeletonSql(where), params: where.params })
    // Of a trace that was cut the spans at hand do not tell how many there are.
    const [row] =
      spans.length < spansOfTraceMax
        ? [toSummary(traceId.toLowerCase(), spans)]
        : await rows.query<SummaryRow>({ sql: summarySql(where), params: where.params })
    return row && { ...toItem(row, countUsageOnce(spans)), spans: spans.map(toSkeleton) }
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

  async function has(workspace: string, traceId: string): Promise<boolean> {
    const where = ofTrace(workspace, traceId)
    const found = await rows.query({
      sql: `SELECT 1 AS one FROM payloads WHERE ${where.sql} LIMIT 1`,
      params: where.params,
    })
    return found.length > 0
  }

  return { list, find, findRuns, has }
}

function ofSpans(id: string, spans: SkeletonRow[]): TraceItem | undefined {
  const row = toSummary(id, spans)
  return row && toItem(row, countUsageOnce(spans))
}
