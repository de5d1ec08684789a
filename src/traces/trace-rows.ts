// The two shapes of a trace that readers get, and the SQL that gives them: an item of the list, a span as skeleton.

import { fromHex, type IdPrefix, toPrefixed } from '../../schemas/ids.ts'
import { rootOf, type TimeRange, type Where } from './trace-query.ts'
import type { TraceUsage } from './usage.ts'

// One trace is drawn whole; beyond this many spans the page would not survive it.
export const spansOfTraceMax = 200_000

const zeros16 = '00000000000000000000000000000000'
const zeros8 = '0000000000000000'

export type TraceItem = {
  trace_id: string
  customer_trace_id: string
  run_id: string | null
  record_id: string | null
  route_id: string | null
  public_route_label: string | null
  provider: string | null
  environment: string | null
  prompt_version_id: string
  model_id: string | null
  name: string
  service: string
  status: string
  started_at: string
  latency_ms: number
  ttft_ms: number | null
  input_tokens: number | null
  output_tokens: number | null
  cost_usd: number | null
  span_count: number
  run_count: number
  error_count: number
  session_id: string | null
  user_id: string | null
}

export type SpanSkeleton = {
  span_id: string
  parent_span_id: string | null
  name: string
  kind: number
  type: string
  service: string
  status: string
  started_at: string
  start_unix_nano: string
  duration_ms: number
  model_id: string | null
  provider: string | null
  prompt_version_id: string
  input_tokens: number | null
  output_tokens: number | null
  /** Of the input and of the output: parts of the two above, never beside them. */
  cached_tokens: number | null
  reasoning_tokens: number | null
  usage_estimated: boolean
  cost_usd: number | null
  run_id: string | null
}

export type SummaryRow = Record<
  | 'id'
  | 'run'
  | 'record'
  | 'route'
  | 'label'
  | 'provider'
  | 'environment'
  | 'prompt'
  | 'model'
  | 'name'
  | 'service'
  | 'status'
  | 'start_ns'
  | 'session'
  | 'user',
  string
> &
  Record<
    | 'latency_ns'
    | 'ttft_ns'
    | 'usage'
    | 'input'
    | 'output'
    | 'cost'
    | 'usage_spans'
    | 'spans'
    | 'runs'
    | 'errors',
    string | number
  >

export function summarySql(where: Where): string {
  const ofRun = (column: string) => `argMinIf(${column}, start_time, run_id != unhex('${zeros16}'))`
  return `SELECT lower(hex(trace_id)) AS id, hex(${ofRun('run_id')}) AS run, hex(${ofRun('record_id')}) AS record,
      ${ofRun('route_id')} AS route, ${ofRun('route_label')} AS label, ${ofRun('provider')} AS provider,
      ${ofRun('environment')} AS environment, ${ofRun('model')} AS model,
      argMinIf(prompt_version_id, start_time, prompt_version_id != '') AS prompt,
      ${rootOf('name')} AS name, ${rootOf('service')} AS service, ${rootOf('status')} AS status,
      toString(toUnixTimestamp64Nano(min(start_time))) AS start_ns,
      max(toUnixTimestamp64Nano(start_time) + duration_ns) - toUnixTimestamp64Nano(min(start_time)) AS latency_ns,
      ${ofRun('ttft_ns')} AS ttft_ns, groupBitOr(s.usage) AS usage, sum(input_tokens) AS input, sum(output_tokens) AS output,
      toString(sum(cost_nano_usd)) AS cost, countIf(s.usage != 0) AS usage_spans, count() AS spans,
      countIf(run_id != unhex('${zeros16}')) AS runs, countIf(s.status = 'error') AS errors,
      anyIf(session_id, session_id != '') AS session, anyIf(user_id, user_id != '') AS user
    FROM (SELECT * EXCEPT (attr_str, attr_num, input_preview, output_preview) FROM spans WHERE ${where.sql}
      ORDER BY ingest_seq DESC LIMIT 1 BY trace_id, span_id) AS s
    GROUP BY trace_id`
}

export function toItem(row: SummaryRow, once: TraceUsage | undefined): TraceItem {
  const usage = once?.usage ?? Number(row.usage)
  const isRun = row.run !== zeros16
  return {
    trace_id: row.id,
    customer_trace_id: row.id,
    run_id: toIdOrNull('run', row.run),
    record_id: toIdOrNull('vaas', row.record),
    route_id: isRun ? row.route : null,
    public_route_label: isRun ? row.label : null,
    provider: (isRun && row.provider) || null,
    environment: isRun ? row.environment : null,
    prompt_version_id: row.prompt || 'default',
    model_id: isRun ? row.model : null,
    name: row.name,
    service: row.service,
    status: row.status,
    started_at: toRfc3339(row.start_ns),
    latency_ms: toMs(row.latency_ns),
    ttft_ms: Number(row.ttft_ns) > 0 ? toMs(row.ttft_ns) : null,
    input_tokens: usage & 1 ? (once?.input ?? Number(row.input)) : null,
    output_tokens: usage & 1 ? (once?.output ?? Number(row.output)) : null,
    cost_usd: usage & 2 ? toUsd(once?.cost ?? BigInt(row.cost)) : null,
    span_count: Number(row.spans),
    run_count: Number(row.runs),
    error_count: Number(row.errors),
    session_id: row.session || null,
    user_id: row.user || null,
  }
}

export type SkeletonRow = Record<
  | 'span'
  | 'parent'
  | 'name'
  | 'type'
  | 'service'
  | 'status'
  | 'start_ns'
  | 'model'
  | 'provider'
  | 'prompt'
  | 'run'
  | 'cost'
  | 'record'
  | 'route'
  | 'label'
  | 'environment'
  | 'session'
  | 'user',
  string
> &
  Record<'kind' | 'usage' | 'input' | 'output' | 'cached' | 'reasoning', number> & {
    duration_ns: string | number
    ttft_ns: string | number
  }

export function skeletonSql(where: Where): string {
  return `SELECT lower(hex(span_id)) AS span, lower(hex(parent_span_id)) AS parent, name, kind, type, service, status,
      toString(toUnixTimestamp64Nano(start_time)) AS start_ns, duration_ns, model, provider, prompt_version_id AS prompt, usage,
      input_tokens AS input, output_tokens AS output, cached_tokens AS cached, reasoning_tokens AS reasoning, toString(cost_nano_usd) AS cost, hex(run_id) AS run, hex(record_id) AS record,
      route_id AS route, route_label AS label, environment, session_id AS session, user_id AS user, ttft_ns
    FROM (SELECT * EXCEPT (attr_str, attr_num, input_preview, output_preview) FROM spans WHERE ${where.sql}
      ORDER BY ingest_seq DESC LIMIT 1 BY trace_id, span_id LIMIT ${spansOfTraceMax})
    ORDER BY start_time, span_id`
}

/**
 * What `summarySql` says of one trace, of all its spans in the order of their starts: a question less, and the spans are at hand.
 * Among spans that start together the first one counts.
 */
export function toSummary(id: string, spans: SkeletonRow[]): SummaryRow | undefined {
  const [first, root] = [spans[0], rootOfSpans(spans)]
  if (!first || !root) return undefined
  const runs = spans.filter(({ run }) => run !== zeros16)
  const run = runs[0]
  const { fromNs, toNs } = extentOf(spans)
  const sums = { usage: 0, input: 0, output: 0, cost: 0n, usage_spans: 0, errors: 0 }
  for (const span of spans) {
    sums.usage |= Number(span.usage)
    sums.input += Number(span.input)
    sums.output += Number(span.output)
    sums.cost += BigInt(span.cost)
    if (Number(span.usage) !== 0) sums.usage_spans += 1
    if (span.status === 'error') sums.errors += 1
  }
  return {
    ...{ ...sums, cost: String(sums.cost), id, spans: spans.length, runs: runs.length },
    ...{ run: run?.run ?? zeros16, record: run?.record ?? zeros16, model: run?.model ?? '' },
    ...{ route: run?.route ?? '', label: run?.label ?? '', ttft_ns: run?.ttft_ns ?? 0 },
    ...{ provider: run?.provider ?? '', environment: run?.environment ?? '' },
    ...{ name: root.name, service: root.service, status: root.status },
    prompt: spans.find(({ prompt }) => prompt !== '')?.prompt ?? '',
    start_ns: first.start_ns,
    latency_ns: String(toNs - fromNs),
    session: spans.find(({ session }) => session !== '')?.session ?? '',
    user: spans.find(({ user }) => user !== '')?.user ?? '',
  }
}

/** The span that stands for its trace, of all spans by start: the first without a parent, else the first. */
export function rootOfSpans(spans: SkeletonRow[]): SkeletonRow | undefined {
  return spans.find(({ parent }) => parent === zeros8) ?? spans[0]
}

/** From the start of the first of these spans, which are sorted by start, to the end of the last. */
export function extentOf(spans: SkeletonRow[]): TimeRange {
  const fromNs = BigInt(spans[0]?.start_ns ?? 0)
  let toNs = fromNs
  for (const { start_ns, duration_ns } of spans) {
    const endNs = BigInt(start_ns) + BigInt(duration_ns)
    if (endNs > toNs) toNs = endNs
  }
  return { fromNs, toNs }
}

export function toSkeleton(row: SkeletonRow): SpanSkeleton {
  const usage = Number(row.usage)
  return {
    span_id: row.span,
    parent_span_id: row.parent === zeros8 ? null : row.parent,
    name: row.name,
    kind: Number(row.kind),
    type: row.type,
    service: row.service,
    status: row.status,
    started_at: toRfc3339(row.start_ns),
    start_unix_nano: row.start_ns,
    duration_ms: toMs(row.duration_ns),
    model_id: row.model || null,
    provider: row.provider || null,
    prompt_version_id: row.prompt || 'default',
    input_tokens: usage & 1 ? Number(row.input) : null,
    output_tokens: usage & 1 ? Number(row.output) : null,
    cached_tokens: usage & 1 ? Number(row.cached) : null,
    reasoning_tokens: usage & 1 ? Number(row.reasoning) : null,
    usage_estimated: (usage & 4) !== 0,
    cost_usd: usage & 2 ? toUsd(BigInt(row.cost)) : null,
    run_id: toIdOrNull('run', row.run),
  }
}

/** `run_…` of sixteen bytes in hex; null when they are all zero. */
export function toIdOrNull(prefix: IdPrefix, hex: string): string | null {
  return hex === zeros16 ? null : toPrefixed(prefix, fromHex(hex))
}

function toRfc3339(nanos: string): string {
  return new Date(Number(BigInt(nanos) / 1_000_000n)).toISOString()
}

function toMs(nanos: string | number): number {
  return Math.round(Number(nanos) / 1_000) / 1_000
}

function toUsd(nano: bigint): number {
  return Number(nano) / 1e9
}
