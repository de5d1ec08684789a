// The newest traces that match: candidates from a window, what each is as a whole, and on to older ones until the page is full.
// Law: a search is bounded by the candidates it looks at; one that stops before its end says where.

import { type Candidate, type FoundTrace, factsOf } from './trace-facts.ts'
import type { TraceFilters } from './trace-filters.ts'
import { and, bucketNs, inWorkspace, isNarrowed, matchingParts, type Where } from './trace-query.ts'
import { bucketEnd, inMinutes, lastMinute, max, min, toNs } from './trace-times.ts'
import { ofWholeTrace, replayMark, type Whole } from './trace-whole.ts'
import type { Rows } from './traces.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
// "Newest first" cannot read in key order, so it looks at a short window first, and then at as much more as the page seems to need.
const windowFirstMs = 2 * hourMs
// Of one user or one session there is little in any hour, and an index says where.
const windowFirstOfOneMs = dayMs
// A window is at most so many times longer than all before it: what is rare comes to its end in five questions a month.
const windowGrowth = 12
// The least by which it grows, of all before it: little is missing.
const windowGrowthLeast = 0.25
// Traces that are looked for beyond those that are missing, because what comes is never spread evenly.
const windowSpare = 1.5
// A filter may match a span that starts long after its trace did; beyond this distance the trace is listed by the span.
const slackMs = 6 * hourMs
// Spans of clients whose clock runs ahead are accepted up to a day; they are listed too.
const aheadMs = dayMs
// Traces looked for at first, where most of what is found is shown: so much more than the page, because some lie across its end.
const pageSpare = 1.25
// Traces looked at in one question and in one search: what no page is worth. The first is for those of which few are kept.
const candidatesFirst = 200
const candidatesFew = 16
const candidatesMax = 2_000
const examinedMax = 20_000
/** Ids that a cursor takes along; beyond, the search begins again as much earlier as it must. */
export const carriedMax = 16
// What is further back than this is looked at in one go: there is little of it, or nothing.
const allOfItNs = toNs(60 * dayMs)
// Of so many candidates at least that many must be kept, or traces are asked before spans are.
const rareAfter = { examined: 50, keptShare: 0.25 } as const

/** Where a page ended, and from where its search goes on. */
export type TraceCursor = {
  /** The start of its last trace, and its id among those of the same nanosecond. */
  startNs: string
  traceId: string
  /** What is later than this was searched. Absent: nothing was. */
  scanNs?: string
  /** Traces that were found there and belong below this page: they began long before what was found of them. */
  carried?: string[]
}
export type Found = { traces: FoundTrace[]; next: TraceCursor | undefined }

type Ask = {
  workspace: string
  filters: TraceFilters
  limit: number
  after: TraceCursor | undefined
  nowMs: number
}

/** Up to `limit` traces, newest first; `next` is where to go on, undefined when there is nothing more. */
export async function searchTraces(rows: Rows, ask: Ask): Promise<Found> {
  const look = prepare(ask)
  const seen = new Set<string>()
  const kept = new Map<string, FoundTrace>()
  let pending: Candidate[] = (ask.after?.carried ?? []).map((id) => ({
    id,
    at: String(look.upperNs),
  }))
  const settle = async () => {
    for (const trace of await look.facts(rows, pending)) kept.set(trace.id, trace)
    pending = []
  }
  let upperNs = look.upperNs
  let limit = look.first
  let baseNs = look.baseNs
  let floorNs = look.firstFloorNs
  let isHeld = false
  while (look.lowestNs < upperNs) {
    const isRare = seen.size >= rareAfter.examined && kept.size < seen.size * rareAfter.keptShare
    // What matches is nearly always shown: no more of it is looked up than the page needs.
    const missing = Math.max(limit - kept.size - pending.length, candidatesFew)
    const wanted: number = isHeld ? candidatesMax : look.isWhole ? limit : missing
    const window = { floorNs, toNs: upperNs, limit: wanted, isRare: look.isWhole && isRare }
    const candidates = await rows.query<Candidate>(look.candidates(window))
    for (const candidate of candidates) {
      if (!seen.has(candidate.id)) pending.push(candidate)
      seen.add(candidate.id)
    }
    const last = candidates.length < wanted ? undefined : BigInt(candidates.at(-1)?.at ?? '0')
    // Everything that starts at or after this has been looked at. Of one nanosecond there may be more than were asked for: it is
    // looked at again, for as many as there can be, and then left behind.
    isHeld = last === upperNs - 1n && wanted < candidatesMax
    const isPast = last === upperNs - 1n && !isHeld
    const reachedNs = last === undefined ? floorNs : isPast ? last : last + 1n
    const isOver = seen.size >= examinedMax
    // What is asked of spans alone is asked already: facts are read once there may be a page of them.
    if (look.isWhole || isOver || kept.size + pending.length > ask.limit) await settle()
    const sure = [...kept.values()].filter(({ startNs }) => BigInt(startNs) >= reachedNs)
    if (sure.length > ask.limit) return pageOf(kept, sure, ask.limit)
    upperNs = reachedNs
    if (isOver) {
      const stop = { startNs: String(min(reachedNs, look.topNs)), id: '0'.repeat(32) }
      return { traces: sure.sort(newestFirst), next: nextOf(kept, stop, reachedNs) }
    }
    const isFirst = seen.size === 0 && floorNs === look.firstFloorNs && floorNs > look.lowestNs
    const endNs = isFirst ? await look.lastBefore(rows, floorNs) : floorNs
    if (floorNs - endNs > toNs(windowFirstMs)) {
      upperNs = endNs
      baseNs = endNs
      floorNs = look.floorBelow(baseNs)
    } else if (last === undefined) {
      const found = look.isWhole ? sure.length : sure.length + pending.length
      floorNs = look.nextFloorNs({ baseNs, floorNs, found, missing: ask.limit + 1 - found })
    }
    if (look.isWhole || last !== undefined) limit = Math.min(candidatesMax, limit * 4)
  }
  await settle()
  // What lies below every window began before `from`, and the facts have left it out.
  return pageOf(kept, [...kept.values()], ask.limit)
}

function pageOf(kept: Map<string, FoundTrace>, found: FoundTrace[], limit: number): Found {
  const traces = found.sort(newestFirst)
  const last = traces[limit - 1]
  if (traces.length <= limit || !last) return { traces, next: undefined }
  const scanNs = BigInt(last.startNs) + 1n
  return { traces: traces.slice(0, limit), next: nextOf(kept, last, scanNs) }
}

/** Where the search goes on below a trace, when everything later than `scanNs` need not be searched again. */
function nextOf(
  kept: Map<string, FoundTrace>,
  last: Pick<FoundTrace, 'startNs' | 'id'>,
  scanNs: bigint,
): TraceCursor {
  const below = [...kept.values()]
    .filter((trace) => newestFirst(last, trace) < 0 && trace.atNs >= scanNs)
    .sort((a, b) => (a.atNs > b.atNs ? -1 : 1))
  const left = below[carriedMax]
  return {
    startNs: last.startNs,
    traceId: last.id,
    scanNs: String(left ? left.atNs + 1n : scanNs),
    carried: below.slice(0, carriedMax).map(({ id }) => id),
  }
}

function newestFirst(
  a: Pick<FoundTrace, 'startNs' | 'id'>,
  b: Pick<FoundTrace, 'startNs' | 'id'>,
): number {
  const [left, right] = [BigInt(a.startNs), BigInt(b.startNs)]
  if (left !== right) return left > right ? -1 : 1
  return a.id > b.id ? -1 : 1
}

type Looked = { baseNs: bigint; floorNs: bigint; found: number; missing: number }

function prepare({ workspace, filters, limit, after, nowMs }: Ask) {
  const found = withoutReplays(matchingParts(workspace, filters), filters)
  const whole = ofWholeTrace(filters)
  const isPlain = !isNarrowed(found) && whole.parts.length === 0
  const endMs = filters.toMs ?? nowMs + aheadMs
  const endNs = toNs(endMs)
  const afterNs = after && BigInt(after.startNs) + 1n
  const topNs = afterNs !== undefined && afterNs < endNs ? afterNs : endNs
  // What matches may lie later than the start of its trace, by which the page is ordered.
  const latestNs = bucketEnd(toNs(nowMs + aheadMs))
  const unsearchedNs = min(bucketEnd(isPlain ? topNs : topNs + toNs(slackMs)), latestNs)
  const upperNs = after?.scanNs === undefined ? unsearchedNs : min(BigInt(after.scanNs), latestNs)
  const baseNs = min(topNs, toNs(nowMs))
  const lowestMs = filters.fromMs ?? 0
  const lowestNs = toNs(lowestMs)
  // Windows begin and end with the buckets of the key: within one, the engine remembers which granules a filter did not match.
  const floorAt = (ns: bigint) => max(lowestNs, ns - (ns % bucketNs))
  const nextFloorNs = ({ baseNs, floorNs, found, missing }: Looked) => {
    const wide = max(baseNs - floorNs, bucketNs)
    const wanted = found === 0 ? windowGrowth : (windowSpare * missing) / found
    const times = Math.min(Math.max(wanted, windowGrowthLeast), windowGrowth)
    const next = floorNs - (wide * BigInt(Math.ceil(times * 100))) / 100n
    return baseNs - next > allOfItNs ? lowestNs : floorAt(next)
  }
  const candidates = (window: Window): Asked =>
    isNarrowed(found)
      ? spanCandidates(found, whole, window)
      : summaryCandidates(workspace, whole, window)

  const readMax = Math.ceil(limit * pageSpare) + 2
  const factsAsked = { workspace, whole, after, lowestNs, endNs, readMax }
  const facts = (rows: Rows, of: Candidate[]) => factsOf(rows, factsAsked, of)
  const isOfOne = filters.equals.user_id !== undefined || filters.equals.session_id !== undefined
  const firstMs = isOfOne ? windowFirstOfOneMs : windowFirstMs
  const floorBelow = (ns: bigint) => floorAt(max(0n, ns - toNs(firstMs)))
  const firstFloorNs = floorBelow(baseNs)
  const isWhole = whole.parts.length > 0
  const first = isWhole ? candidatesFirst : readMax

  // Where the spans of the workspace end before a time.
  const lastBefore = async (rows: Rows, ns: bigint) =>
    (await lastMinute(rows, inMinutes(inWorkspace(workspace), lowestNs, ns))) ?? lowestNs
  const floors = { baseNs, lowestNs, firstFloorNs, floorBelow, nextFloorNs, lastBefore }
  return { upperNs, topNs, ...floors, isWhole, first, candidates, facts }
}

/** Our own replays are listed for whoever asks for them: by their session, which is their experiment, or by their origin. */
function withoutReplays(found: Where, { equals, attributes }: TraceFilters): Where {
  const isAsked =
    equals.session_id !== undefined || attributes.some(([key]) => key === 'batchin.origin')
  return isAsked || !isNarrowed(found) ? found : and(found, "origin != 'replay'")
}

/** `isRare`: few of the traces whose spans match are what is asked of the whole. */
type Window = { floorNs: bigint; toNs: bigint; limit: number; isRare: boolean }
type Asked = Where & { settings?: Record<string, string> }

/** Traces by their summaries of single minutes. `loose` lets through whatever the whole trace may still turn out to be. */
function summaryCandidates(workspace: string, whole: Whole, window: Window): Asked {
  let where = inMinutes(inWorkspace(workspace), window.floorNs, window.toNs)
  where = and(where, `bitAnd(marks, ${replayMark}) = 0`)
  for (const { loose } of whole.parts) where = and(where, loose)
  where = and(
    where,
    'started >= fromUnixTimestamp64Nano({floorNs:Int64}) AND started < fromUnixTimestamp64Nano({toNs:Int64})',
    { ...whole.params, floorNs: window.floorNs, toNs: window.toNs, limit: window.limit },
  )
  return {
    sql: `SELECT lower(hex(trace_id)) AS id, toString(toUnixTimestamp64Nano(started)) AS at FROM traces WHERE ${where.sql}
      ORDER BY started DESC LIMIT {limit:UInt32}`,
    params: where.params,
  }
}

/** Traces by spans that match; when the trace as a whole is asked for something rare, only those that may be it. */
function spanCandidates(found: Where, whole: Whole, window: Window): Asked {
  let where = and(
    found,
    'start_time >= fromUnixTimestamp64Nano({floorNs:Int64}) AND start_time < fromUnixTimestamp64Nano({toNs:Int64})',
    { floorNs: window.floorNs, toNs: window.toNs, limit: window.limit },
  )
  const rare = whole.parts
    .filter((part) => (part.isRare && !isSelective(found)) || window.isRare)
    .map(({ loose }) => loose)
  if (rare.length > 0) {
    const summaries = inMinutes(
      inWorkspace(String(found.params.workspace)),
      window.floorNs - toNs(slackMs),
      window.toNs + toNs(slackMs),
    )
    where = and(
      where,
      `trace_id IN (SELECT trace_id FROM traces WHERE ${summaries.sql} AND ${rare.join(' AND ')})`,
      { ...summaries.params, ...whole.params },
    )
  }
  return {
    sql: `SELECT lower(hex(trace_id)) AS id, toString(toUnixTimestamp64Nano(max(start_time))) AS at FROM spans WHERE ${where.sql}
      GROUP BY trace_id ORDER BY max(start_time) DESC LIMIT {limit:UInt32}`,
    params: where.params,
    // A set of thousands of ids is in nearly every granule; asking the index of each takes longer than reading.
    ...(rare.length > 0 ? { settings: { ignore_data_skipping_indices: 'by_trace' } } : {}),
  }
}

/** Whether an index finds these spans: then there are fewer of them than of traces that are rare. */
function isSelective({ params }: Where): boolean {
  return ['f_session_id', 'f_user_id', 'k0', 'trace'].some((name) => Object.hasOwn(params, name))
}
