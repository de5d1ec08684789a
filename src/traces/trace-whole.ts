// What filters ask of a trace as a whole, over its rows of `traces`: its status, its latency, its having no prompt.

import { runStatuses } from '../../schemas/run.ts'
import type { TraceFilters } from './trace-filters.ts'
import { latencyOf, type Params } from './trace-query.ts'
import { extentOf, rootOfSpans, type SkeletonRow } from './trace-rows.ts'

/** `isRare`: worth looking for before spans are. `holds` says the same as `exact`, of all the spans of a trace by start. */
type Part = {
  exact: string
  loose: string
  isRare: boolean
  holds: (spans: SkeletonRow[]) => boolean
}
export type Whole = { parts: Part[]; params: Params }

// Bits of `traces.marks` and of `traces.root`; the statuses in the order of the view that writes them.
export const promptMark = 64
export const replayMark = 128
const noRoot = '9223372036854775808'
const extent = 'ended_ns - toUnixTimestamp64Nano(started)'
const wholeExtent = 'max(ended_ns) - toUnixTimestamp64Nano(min(started))'

/**
 * What is asked of a trace as a whole: `exact` over all its minutes, `loose` over each by itself. A minute without a root
 * passes for a least latency, because the trace began before it; a trace with several roots, minutes apart and each of them
 * short, is not found so.
 */
export function ofWholeTrace(filters: TraceFilters): Whole {
  const parts: Whole['parts'] = []
  const params: Params = {}
  const { status, prompt_version_id } = filters.equals
  if (status) {
    const place = runStatuses.map(String).indexOf(status) + 1
    Object.assign(params, { place, mark: 1 << (place - 1) })
    // The trace is as good as its root; the other words are those of a run, which may lie anywhere in it.
    const isOfRoot = status === 'ok' || status === 'error'
    parts.push({
      exact: isOfRoot
        ? 'bitAnd(min(root), 7) = {place:UInt8}'
        : 'bitAnd(groupBitOr(marks), {mark:UInt8}) != 0',
      // The minute of the root decides; without any root it is that of the earliest span.
      loose: isOfRoot ? 'bitAnd(root, 7) = {place:UInt8}' : 'bitAnd(marks, {mark:UInt8}) != 0',
      isRare: status !== 'ok',
      holds: (spans) =>
        isOfRoot
          ? rootOfSpans(spans)?.status === status
          : spans.some((span) => span.status === status),
    })
  }
  if (prompt_version_id === 'default')
    parts.push({
      exact: `bitAnd(groupBitOr(marks), ${promptMark}) = 0`,
      loose: `bitAnd(marks, ${promptMark}) = 0`,
      isRare: false,
      holds: (spans) => spans.every(({ prompt }) => prompt === ''),
    })
  const { minNs, maxNs } = latencyOf(filters)
  if (minNs !== undefined) {
    params.minNs = minNs
    const loose = `(${extent} >= {minNs:Int64} OR root >= ${noRoot})`
    const holds = (spans: SkeletonRow[]) => lengthOf(spans) >= minNs
    parts.push({ exact: `${wholeExtent} >= {minNs:Int64}`, loose, isRare: false, holds })
  }
  if (maxNs !== undefined) {
    params.maxNs = maxNs
    const loose = `${extent} <= {maxNs:Int64}`
    const holds = (spans: SkeletonRow[]) => lengthOf(spans) <= maxNs
    parts.push({ exact: `${wholeExtent} <= {maxNs:Int64}`, loose, isRare: false, holds })
  }
  return { parts, params }
}

function lengthOf(spans: SkeletonRow[]): number {
  const { fromNs, toNs } = extentOf(spans)
  return Number(toNs - fromNs)
}
