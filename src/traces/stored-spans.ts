// Spans as they came: the stored message bytes with their envelopes, for the span page and for export.

import { Fault } from '../../schemas/faults.ts'
import type { TraceFilters } from './trace-filters.ts'
import { and, between, inWorkspace, matching, ofTrace, type Where } from './trace-query.ts'
import {
  type SkeletonRow,
  type SpanSkeleton,
  skeletonSql,
  toIdOrNull,
  toSkeleton,
} from './trace-rows.ts'
import type { Rows } from './traces.ts'

export type StoredSpan = {
  traceId: string
  spanId: string
  /** Place in ingest order; never repeats, so a cursor on it resumes exactly. */
  seq: bigint
  /** False for the same bytes again, as a client's retry brings them. */
  isFirst: boolean
  /** ResourceSpans and ScopeSpans messages without their children, and the Span message, as protobuf bytes. */
  resource: Buffer
  scope: Buffer
  span: Buffer
}

export type ExportRange = {
  /** Exclusive: the last place already seen. */
  after: bigint
  /** Exclusive: everything below it has been loaded. */
  before: bigint
  limit: number
}

/** `reached`: the place up to which everything was looked at; where to go on from, also when nothing matched. */
export type ExportPage = { spans: StoredSpan[]; reached: bigint }

export type StoredSpans = ReturnType<typeof openStoredSpans>

// A page ends early rather than holding more base64 than this in memory; its cursor stands after the last span kept.
const pageTextMax = 48 * 1024 * 1024
// Planes that share these stores, at most; each may have a row of its own at one place.
const tiesMax = 100
// A minute of ingest, as places count time; eight times more when it does not fill the page.
const stretchFirst = 60_000n << 20n
const timeOpenMs = 8_000_000_000_000
// Fixed lengths for the reason given in traces.ts; the traces alone use the key.
const bySpans = `trace_id IN (SELECT toFixedString(unhex(arrayJoin({traces:Array(String)})), 16)) AND (trace_id, span_id) IN (
    SELECT toFixedString(unhex(pair.1), 16), toFixedString(unhex(pair.2), 8)
    FROM (SELECT arrayJoin(arrayZip({traces:Array(String)}, {spans:Array(String)})) AS pair))`

export function openStoredSpans(rows: Rows) {
  /** Spans of a clause over the payload table, in ingest order. Of a span sent again with other content the latest counts. */
  function latest(where: Where, limit: number): Promise<StoredSpan[]> {
    const order = 'ORDER BY ingest_seq DESC LIMIT 1 BY trace_id, span_id'
    const spans = `SELECT *, 1 AS is_first FROM payloads WHERE ${where.sql} ${order}`
    return load(spans, where.params, limit)
  }

  async function load(
    spans: string,
    params: Where['params'],
    limit: number,
  ): Promise<StoredSpan[]> {
    const found = await rows.query<StoredRow>({
      sql: `SELECT lower(hex(trace_id)) AS trace, lower(hex(span_id)) AS span, toString(ingest_seq) AS seq,
          hex(resource_hash) AS resource, hex(scope_hash) AS scope, base64Encode(raw) AS bytes, is_first
        FROM (${spans}) ORDER BY ingest_seq LIMIT {limit:UInt32}`,
      params: { ...params, limit },
    })
    const kept = withinBytes(found)
    const envelopes = await loadEnvelopes(String(params.workspace), kept)
    return kept.map((row) => ({
      traceId: row.trace,
      spanId: row.span,
      seq: BigInt(row.seq),
      isFirst: Number(row.is_first) === 1,
      resource: getEnvelope(envelopes, row.resource),
      scope: getEnvelope(envelopes, row.scope),
      span: Buffer.from(row.bytes, 'base64'),
    }))
  }

  async function loadEnvelopes(
    workspace: string,
    found: StoredRow[],
  ): Promise<Map<string, Buffer>> {
    const hashes = [...new Set(found.flatMap((row) => [row.resource, row.scope]))]
    if (hashes.length === 0) return new Map()
    const where = and(
      inWorkspace(workspace),
      'hash IN (SELECT toFixedString(unhex(arrayJoin({hashes:Array(String)})), 16))',
      { hashes },
    )
    const loaded = await rows.query<{ name: string; bytes: string }>({
      sql: `SELECT hex(hash) AS name, base64Encode(raw) AS bytes FROM envelopes WHERE ${where.sql} LIMIT 1 BY hash`,
      params: where.params,
    })
    return new Map(loaded.map((row) => [row.name, Buffer.from(row.bytes, 'base64')]))
  }

  /** One span: its skeleton, the record that vouches for it, its stored bytes. */
  async function find(
    workspace: string,
    traceId: string,
    spanId: string,
  ): Promise<{ skeleton: SpanSkeleton; recordId: string | null; stored: StoredSpan } | undefined> {
    const where = and(ofTrace(workspace, traceId), 'span_id = unhex({span:String})', {
      span: spanId,
    })
    const [[row], [stored]] = await Promise.all([
      rows.query<SkeletonRow>({ sql: skeletonSql(where), params: where.params }),
      latest(where, 1),
    ])
    return (
      row &&
      stored && { skeleton: toSkeleton(row), recordId: toIdOrNull('vaas', row.record), stored }
    )
  }

  /** These spans, in ingest order; those that are gone are left out. */
  function ofSpans(
    workspace: string,
    spans: readonly { traceId: string; spanId: string }[],
  ): Promise<StoredSpan[]> {
    if (spans.length === 0) return Promise.resolve([])
    const where = and(inWorkspace(workspace), bySpans, {
      traces: spans.map(({ traceId }) => traceId),
      spans: spans.map(({ spanId }) => spanId),
    })
    return latest(where, spans.length)
  }

  /** Every span of a trace, bounded by `limit`. */
  function ofWholeTrace(workspace: string, traceId: string, limit: number): Promise<StoredSpan[]> {
    return latest(ofTrace(workspace, traceId), limit)
  }

  /** Spans in ingest order, strictly inside the range, that match the filters; retries too, marked as such. */
  async function inOrder(
    workspace: string,
    filters: TraceFilters,
    range: ExportRange,
  ): Promise<ExportPage> {
    let asked = matching(workspace, filters)
    if (filters.fromMs !== undefined || filters.toMs !== undefined)
      asked = between(asked, filters.fromMs ?? 0, filters.toMs ?? timeOpenMs)
    const end = await endOfPage(asked, range)
    if (end === undefined) return { spans: [], reached: max(range.after, range.before - 1n) }
    const placed = inPlaces(asked, range.after, end + 1n)
    const where = and(
      inWorkspace(workspace),
      `(trace_id, span_id, ingest_seq) IN (SELECT trace_id, span_id, ingest_seq FROM spans WHERE ${placed.sql})`,
      placed.params,
    )
    // Two planes may give out the same place: a page ends behind all that have it, so that none is passed over.
    const page = `SELECT * FROM payloads WHERE ${where.sql} ORDER BY ingest_seq LIMIT {page:UInt32} WITH TIES`
    const same = 'trace_id, span_id, cityHash64(raw)'
    const firsts = `SELECT ${same}, min(ingest_seq) FROM payloads
      WHERE workspace = {workspace:String} AND (trace_id, span_id) IN (SELECT trace_id, span_id FROM (${page})) GROUP BY ${same}`
    const spans = `SELECT *, (${same}, ingest_seq) IN (${firsts}) AS is_first FROM (${page})`
    const found = await load(spans, { ...where.params, page: range.limit }, range.limit + tiesMax)
    return { spans: found, reached: found.at(-1)?.seq ?? end }
  }

  /**
   * The place of the last span of a page; undefined when there is none. The spans lie nearly in ingest order, the payloads not at
   * all, so the page is found in the former: in a short stretch behind the cursor, then in longer ones.
   */
  async function endOfPage(found: Where, range: ExportRange): Promise<bigint | undefined> {
    let end: bigint | undefined
    let left = range.limit
    let from = range.after
    let stretch = stretchFirst
    while (left > 0 && from < range.before - 1n) {
      const to = min(range.before, from + stretch + 1n)
      const where = inPlaces(found, from, to)
      const [page] = await rows.query<{ spans: string; last: string }>({
        sql: `SELECT count() AS spans, toString(max(ingest_seq)) AS last FROM (
          SELECT ingest_seq FROM spans WHERE ${where.sql} ORDER BY ingest_seq LIMIT {left:UInt32})`,
        params: { ...where.params, left },
      })
      const spans = Number(page?.spans ?? 0)
      if (page && spans > 0) end = BigInt(page.last)
      left -= spans
      from = to - 1n
      stretch *= 8n
      if (spans === 0 && left > 0) from = (await nextPlace(found, from, range.before)) - 1n
    }
    return end
  }

  /** The first place behind `from` that the workspace has, or `before`. */
  async function nextPlace(found: Where, from: bigint, before: bigint): Promise<bigint> {
    const where = inPlaces(inWorkspace(String(found.params.workspace)), from, before)
    const [next] = await rows.query<{ at: string }>({
      sql: `SELECT toString(min(ingest_seq)) AS at FROM spans WHERE ${where.sql}`,
      params: where.params,
    })
    const at = BigInt(next?.at ?? 0)
    return at === 0n ? before : at
  }

  return { find, ofSpans, ofWholeTrace, inOrder }
}

/** Strictly between two places in ingest order. */
function inPlaces(where: Where, after: bigint, before: bigint): Where {
  return and(where, 'ingest_seq > {after:UInt64} AND ingest_seq < {before:UInt64}', {
    after,
    before,
  })
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

type StoredRow = Record<'trace' | 'span' | 'seq' | 'resource' | 'scope' | 'bytes', string> & {
  is_first: number
}

function getEnvelope(envelopes: Map<string, Buffer>, hash: string): Buffer {
  const bytes = envelopes.get(hash)
  // Both are loaded from the same spool record; between the two inserts a reader may see one without the other.
  if (!bytes)
    throw new Fault('service_unavailable', {}, { cause: new Error(`no envelope ${hash}`) })
  return bytes
}

function withinBytes(found: StoredRow[]): StoredRow[] {
  let size = 0
  for (const [i, row] of found.entries()) {
    size += row.bytes.length
    if (size > pageTextMax && found[i - 1]?.seq !== row.seq) return found.slice(0, Math.max(1, i))
  }
  return found
}
