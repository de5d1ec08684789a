// Model calls as the stores have them, in ingest order, of whichever plane or exporter they came from: where they lie, then what
// they said. Law: replays are none of them, nor are calls made on the way of one.

import type { StoredSpan, StoredSpans } from '../traces/stored-spans.ts'
import { and, bucketNs, ofTraces } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'
import type { SpanAt } from './assignments.ts'

// What an upstream tells of a replay began after the replay did, and no call of ours takes longer.
const replayBeforeNs = bucketNs
// Clocks of strangers may say anything; the key of the table holds seconds in 32 bits.
const timeEndNs = 4_294_967_295n * 1_000_000_000n

/** Strictly between two places in ingest order. */
export type Stretch = { after: bigint; before: bigint }

export type CallAt = SpanAt & {
  workspace: string
  /** In hex; empty for a span that is no run of ours. */
  runId: string
  seq: bigint
  /** The version that it bears; empty for none. */
  versionId: string
  startNs: bigint
  durationNs: bigint
}

export type StoredCalls = {
  /** Everything with a smaller place in ingest order is in the stores. */
  loadedBefore(): bigint
  /** How many calls of each workspace lie in a stretch. */
  count(stretch: Stretch): Promise<Map<string, number>>
  /** In ingest order, one in `oneIn` of each workspace that it names; whole, but for those beyond `limit`. */
  list(
    stretch: Stretch,
    wanted: { oneIn: ReadonlyMap<string, number>; limit: number },
  ): Promise<CallAt[]>
  /** The spans of these calls, by `nameOf`; one that is gone is missing. */
  load(workspace: string, calls: readonly CallAt[]): Promise<Map<string, StoredSpan>>
  /** Those of which a call below them tells better, and those on the way of a replay, by `nameOf`. */
  findShadowed(workspace: string, calls: readonly CallAt[]): Promise<Set<string>>
}

// With a text to show, since only then can there be a prompt; runs of other operations have prompts that are no conversation.
const isCall = `type = 'llm' AND origin != 'replay' AND input_preview != ''
  AND (source = 'otlp' OR attr_str['gen_ai.operation.name'] = 'chat')`
const inStretch = 'ingest_seq > {after:UInt64} AND ingest_seq < {before:UInt64}'

export function openStoredCalls(deps: {
  rows: Rows
  storedSpans: Pick<StoredSpans, 'ofSpans'>
  loadedBefore: () => bigint
}): StoredCalls {
  const { rows, storedSpans } = deps

  // These two ask across workspaces, because discovery follows all of them: names and places, nothing of what calls say.
  async function count(stretch: Stretch): Promise<Map<string, number>> {
    const found = await rows.query<{ workspace: string; calls: string }>({
      sql: `SELECT workspace, count() AS calls FROM spans WHERE ${inStretch} AND ${isCall} GROUP BY workspace`,
      params: stretch,
    })
    return new Map(found.map((row) => [row.workspace, Number(row.calls)]))
  }

  async function list(
    stretch: Stretch,
    { oneIn, limit }: Parameters<StoredCalls['list']>[1],
  ): Promise<CallAt[]> {
    const found = await rows.query<CallRow>({
      sql: `SELECT workspace, lower(hex(trace_id)) AS trace, lower(hex(span_id)) AS span, hex(run_id) AS run, toString(ingest_seq) AS seq,
          prompt_version_id AS version, toString(toUnixTimestamp64Nano(start_time)) AS start, toString(duration_ns) AS duration,
          toUnixTimestamp(toStartOfFifteenMinutes(start_time)) AS quarter
        FROM spans WHERE ${inStretch} AND ${isCall}
          AND cityHash64(trace_id, span_id) % transform(workspace, {workspaces:Array(String)}, {oneIn:Array(UInt64)}, toUInt64(1)) = 0
        ORDER BY ingest_seq LIMIT {limit:UInt32} WITH TIES`,
      params: { ...stretch, workspaces: [...oneIn.keys()], oneIn: [...oneIn.values()], limit },
    })
    return found.map(toCallAt)
  }

  async function load(
    workspace: string,
    calls: readonly CallAt[],
  ): Promise<Map<string, StoredSpan>> {
    const spans = new Map<string, StoredSpan>()
    // A page of spans ends where it would be too large; what lies behind its end is asked for again.
    let asked = [...calls]
    while (asked.length > 0) {
      const page = await storedSpans.ofSpans(
        workspace,
        asked.map(({ trace, span }) => ({ traceId: trace, spanId: span })),
      )
      for (const stored of page) spans.set(`${stored.traceId} ${stored.spanId}`, stored)
      const end = page.at(-1)?.seq
      asked =
        end === undefined ? [] : asked.filter((call) => call.seq > end && !spans.has(nameOf(call)))
    }
    return spans
  }

  async function findShadowed(workspace: string, calls: readonly CallAt[]): Promise<Set<string>> {
    const ranges = calls.map(({ startNs, durationNs }) => ({
      fromNs: withinTime(startNs - replayBeforeNs),
      toNs: withinTime(startNs + durationNs),
    }))
    const traces = [...new Set(calls.map(({ trace }) => trace))]
    const where = and(
      ofTraces(workspace, traces, ranges),
      `(origin = 'replay' OR (type = 'llm' AND parent_span_id != unhex('0000000000000000')))`,
    )
    const found = await rows.query<{ trace: string; parent: string; is_replay: number }>({
      sql: `SELECT DISTINCT lower(hex(trace_id)) AS trace, lower(hex(parent_span_id)) AS parent, origin = 'replay' AS is_replay
        FROM spans WHERE ${where.sql}`,
      params: where.params,
    })
    const replayed = new Set(
      found.filter((row) => Number(row.is_replay) === 1).map((row) => row.trace),
    )
    const parents = new Set(found.map((row) => `${row.trace} ${row.parent}`))
    const names = calls.filter((call) => replayed.has(call.trace) || parents.has(nameOf(call)))
    return new Set(names.map(nameOf))
  }

  return { loadedBefore: deps.loadedBefore, count, list, load, findShadowed }
}

export function nameOf({ trace, span }: Pick<SpanAt, 'trace' | 'span'>): string {
  return `${trace} ${span}`
}

function withinTime(ns: bigint): bigint {
  if (ns < 0n) return 0n
  return ns < timeEndNs ? ns : timeEndNs
}

type CallRow = Record<
  'workspace' | 'trace' | 'span' | 'run' | 'seq' | 'version' | 'start' | 'duration',
  string
> & { quarter: number }

function toCallAt(row: CallRow): CallAt {
  return {
    workspace: row.workspace,
    trace: row.trace,
    span: row.span,
    runId: /^0*$/.test(row.run) ? '' : row.run.toLowerCase(),
    seq: BigInt(row.seq),
    versionId: row.version,
    quarter: Number(row.quarter),
    startNs: BigInt(row.start),
    durationNs: BigInt(row.duration),
  }
}
