// What candidates are as whole traces: when they began and ended, and whether they are what was asked of the whole.

import { readBriefs } from './briefs.ts'
import { and, inIds, inWorkspace, type Params, type TimeRange } from './trace-query.ts'
import { extentOf, type SkeletonRow } from './trace-rows.ts'
import { inMinutes, max, min, toNs } from './trace-times.ts'
import type { Whole } from './trace-whole.ts'
import type { Rows } from './traces.ts'

// How far the minutes of one trace may lie apart and still be put together.
const traceSpreadMs = 86_400_000

export type Candidate = { id: string; at: string }
/** `spans`: all of them, where they had to be read to know the trace. */
export type FoundTrace = {
  id: string
  startNs: string
  range: TimeRange
  atNs: bigint
  spans: SkeletonRow[] | undefined
}
export type FactsAsked = {
  workspace: string
  whole: Whole
  after: { startNs: string; traceId: string } | undefined
  lowestNs: bigint
  endNs: bigint
  /** Of so many traces at most the spans are read: most of them are shown. Of more, single figures. */
  readMax: number
}

/** Those of the candidates that are what is asked, and belong below the page before. */
export async function factsOf(
  rows: Rows,
  asked: FactsAsked,
  of: Candidate[],
): Promise<FoundTrace[]> {
  if (of.length === 0) return []
  const atNs = new Map(of.map(({ id, at }) => [id, BigInt(at)]))
  if (atNs.size <= asked.readMax) {
    const briefs = await readBriefs(rows, asked.workspace, [...atNs.keys()])
    if (briefs)
      return [...briefs].flatMap(
        ([id, spans]) => toFound(asked, { id, spans, atNs: atNs.get(id) ?? 0n }) ?? [],
      )
  }
  return factsInMinutes(rows, asked, atNs)
}

function toFound(
  { whole, after, lowestNs, endNs }: FactsAsked,
  { id, spans, atNs }: { id: string; spans: SkeletonRow[]; atNs: bigint },
): FoundTrace | undefined {
  const range = extentOf(spans)
  const startNs = range.fromNs
  if (startNs < lowestNs || startNs >= endNs) return undefined
  if (after) {
    const afterNs = BigInt(after.startNs)
    if (startNs > afterNs || (startNs === afterNs && id >= after.traceId)) return undefined
  }
  if (!whole.parts.every(({ holds }) => holds(spans))) return undefined
  return { id, startNs: String(startNs), range, atNs, spans }
}

/** The same by the summaries of single minutes. */
async function factsInMinutes(
  rows: Rows,
  { workspace, whole, after, lowestNs, endNs }: FactsAsked,
  atNs: Map<string, bigint>,
): Promise<FoundTrace[]> {
  const having = [...whole.parts.map(({ exact }) => exact)]
  const params: Params = { ...whole.params, lowestNs, endNs }
  having.push(
    'min(started) >= fromUnixTimestamp64Nano({lowestNs:Int64}) AND min(started) < fromUnixTimestamp64Nano({endNs:Int64})',
  )
  if (after) {
    having.push(
      '(min(started), trace_id) < (fromUnixTimestamp64Nano({afterNs:Int64}), toFixedString(unhex({afterId:String}), 16))',
    )
    Object.assign(params, { afterNs: after.startNs, afterId: after.traceId })
  }
  const times = [...atNs.values()]
  const where = inMinutes(
    and(inWorkspace(workspace), inIds, { ids: [...atNs.keys()] }),
    times.reduce(min) - toNs(traceSpreadMs),
    times.reduce(max) + toNs(traceSpreadMs),
  )
  const facts = await rows.query<{ id: string; start_ns: string; end_ns: string }>({
    sql: `SELECT lower(hex(trace_id)) AS id, toString(toUnixTimestamp64Nano(min(started))) AS start_ns, toString(max(ended_ns)) AS end_ns
        FROM traces WHERE ${where.sql} GROUP BY trace_id HAVING ${having.join(' AND ')}`,
    params: { ...where.params, ...params },
  })
  return facts.map(({ id, start_ns, end_ns }) => {
    const fromNs = BigInt(start_ns)
    const range = { fromNs, toNs: max(fromNs, BigInt(end_ns)) }
    return { id, startNs: start_ns, range, atNs: atNs.get(id) ?? 0n, spans: undefined }
  })
}
