// The spans of whole traces as lists and trees show them, from the packed form in which `briefs` keeps them.
// Law: a span is given once, the latest of what was sent; what is too much, or cannot be told apart, is not given at all.

import { and, inIds, inWorkspace } from './trace-query.ts'
import type { SkeletonRow } from './trace-rows.ts'
import type { Rows } from './traces.ts'

/** Traces whose spans are read in one question. Each is a seek. */
export const briefTracesMax = 250
// Spans of one answer: some 250 bytes each on their way. Longer traces are summed up where they are.
const spansMax = 5_000

/** The spans by trace id, each list by start; undefined when there are too many, or a text holds the sign that divides texts. */
export async function readBriefs(
  rows: Rows,
  workspace: string,
  ids: string[],
): Promise<Map<string, SkeletonRow[]> | undefined> {
  const { sql, params } = and(inWorkspace(workspace), inIds, { ids })
  const found = await rows.query<{ id: string; packed: string }>({
    sql: `SELECT lower(hex(trace_id)) AS id, base64Encode(span) AS packed FROM briefs WHERE ${sql} LIMIT ${spansMax + 1}`,
    params,
  })
  if (found.length > spansMax) return undefined
  const traces = new Map<string, Map<string, Brief>>()
  for (const { id, packed } of found) {
    const brief = unpack(Buffer.from(packed, 'base64'))
    if (!brief) return undefined
    const spans = traces.get(id) ?? new Map<string, Brief>()
    traces.set(id, spans)
    const known = spans.get(brief.row.span)
    if (!known || known.seq < brief.seq) spans.set(brief.row.span, brief)
  }
  return new Map(
    [...traces].map(([id, spans]) => [id, [...spans.values()].sort(byStart).map(toRow)]),
  )
}

/**
 * A span as it is packed, for an INSERT that tells what has changed of it: `seq` is its place among what is known of the span, and
 * the last one counts.
 */
export function packedSql(seq: string): string {
  const numbers = ['start_time', 'duration_ns', seq, 'ttft_ns', 'cost_nano_usd', ...counts]
  const fixed = numbers.map((column) => `reinterpretAsFixedString(${column})`)
  const ids = ['span_id', 'parent_span_id', ...fixed, 'run_id', 'record_id']
  return `concat(${[...ids, texts.join(", '\\0', ")].join(', ')})`
}

const counts = [
  'input_tokens',
  'output_tokens',
  'cached_tokens',
  'reasoning_tokens',
  'usage',
  'kind',
]
const texts = [
  ...['name', 'type', 'service', 'status', 'environment', 'provider', 'model', 'route_id'],
  ...['route_label', 'prompt_version_id', 'session_id', 'user_id'],
]

type Brief = { row: SkeletonRow; startNs: bigint; seq: bigint }

// Where the fields of fixed length lie (schemas/clickhouse/0008-briefs.sql); numbers are little-endian. The texts follow.
const at = {
  ...{ span: 0, parent: 8, start: 16, duration: 24, seq: 32, ttft: 40, cost: 48 },
  ...{ input: 56, output: 60, cached: 64, reasoning: 68, usage: 72, kind: 73, run: 74, record: 90 },
  texts: 106,
} as const

function unpack(bytes: Buffer): Brief | undefined {
  const found = bytes.toString('utf8', at.texts).split('\0')
  if (found.length !== texts.length) return undefined
  const [
    name,
    type,
    service,
    status,
    environment,
    provider,
    model,
    route,
    label,
    prompt,
    session,
    user,
  ] = found as Twelve // as many as were just counted
  const hex = (from: number, size: number) => bytes.toString('hex', from, from + size)
  const startNs = bytes.readBigInt64LE(at.start)
  const row: SkeletonRow = {
    ...{
      span: hex(at.span, 8),
      parent: hex(at.parent, 8),
      name,
      type,
      service,
      status,
      environment,
    },
    ...{ provider, model, route, label, prompt, session, user },
    ...{ run: hex(at.run, 16), record: hex(at.record, 16), start_ns: String(startNs) },
    duration_ns: String(bytes.readBigUInt64LE(at.duration)),
    ttft_ns: String(bytes.readBigUInt64LE(at.ttft)),
    cost: String(bytes.readBigInt64LE(at.cost)),
    input: bytes.readUInt32LE(at.input),
    output: bytes.readUInt32LE(at.output),
    cached: bytes.readUInt32LE(at.cached),
    reasoning: bytes.readUInt32LE(at.reasoning),
    usage: bytes.readUInt8(at.usage),
    kind: bytes.readUInt8(at.kind),
  }
  return { row, startNs, seq: bytes.readBigUInt64LE(at.seq) }
}

type Twelve = [
  ...[string, string, string, string, string, string],
  ...[string, string, string, string, string, string],
]

function byStart(a: Brief, b: Brief): number {
  if (a.startNs !== b.startNs) return a.startNs < b.startNs ? -1 : 1
  return a.row.span < b.row.span ? -1 : 1
}

function toRow({ row }: Brief): SkeletonRow {
  return row
}
