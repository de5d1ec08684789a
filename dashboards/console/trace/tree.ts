// Spans to the rows of a waterfall. Parents are claims, not structure: any set of spans draws every one of them exactly once.

import type { Skeleton } from '../wire.ts'

export type SpanRow = {
  kind: 'span'
  /** Unique in this trace even when span ids are not: the position among the spans as they came. */
  key: number
  span: Skeleton
  depth: number
  /** Rows below this one that belong to it. They follow it directly. */
  descendants: number
  /** The row that holds this one; -1 at the top. */
  parent: number
  startMs: number
  /** The chain of parents ran in a circle and was cut here. */
  cut: boolean
  /** Starts before its parent: their clocks differ. (Ending after it is what asynchronous work does.) */
  skewed: boolean
  /** Its clock is so far from the others' that it has no place on the axis. */
  adrift: boolean
}

export type MissingRow = {
  kind: 'missing'
  key: number
  parentSpanId: string
  depth: 0
  descendants: number
  parent: -1
}

export type Row = SpanRow | MissingRow

export type Tree = {
  rows: Row[]
  /** The time axis: zero is the earliest span whose clock can be believed, `endMs` the latest end. */
  endMs: number
  originUnixNano: bigint
}

// A clock further than this from the median start is wrong, not slow: one such span would squeeze all others to nothing.
const adriftNs = 7n * 86_400n * 1_000_000_000n
const rootKey = -1

export function toTree(spans: readonly Skeleton[]): Tree {
  const starts = spans.map((span) => toNano(span.startUnixNano))
  const order = spans
    .map((_, index) => index)
    .sort((a, b) => compare(starts[a]!, starts[b]!) || a - b)
  const claims = claimedParents(spans)
  const cut = cutCycles(claims.parents, order)
  const axis = toAxis(spans, { starts, order })
  const children = groupByParent(order, claims, cut)
  const rows = walk(spans, { ...axis, children, missing: claims.missing, cut })
  return { rows, endMs: axis.endMs, originUnixNano: axis.origin }
}

/** The rows left on screen when the rows with these keys are folded; the answer holds indexes into `rows`. */
export function visibleRows(rows: readonly Row[], folded: ReadonlySet<number>): number[] {
  const visible: number[] = []
  for (let at = 0; at < rows.length; at++) {
    const row = rows[at]!
    visible.push(at)
    if (folded.has(row.key)) at += row.descendants
  }
  return visible
}

type Claims = {
  /** Per span the index of its parent; `rootKey` without one; `-2 - n` under the n-th missing parent. */
  parents: Int32Array
  missing: string[]
}

function claimedParents(spans: readonly Skeleton[]): Claims {
  const byId = new Map<string, number>()
  spans.forEach((span, index) => {
    if (!byId.has(span.spanId)) byId.set(span.spanId, index)
  })
  const missing = new Map<string, number>()
  const parents = new Int32Array(spans.length)
  spans.forEach((span, index) => {
    const id = span.parentSpanId
    if (id === null || /^0*$/.test(id)) {
      parents[index] = rootKey
      return
    }
    const found = byId.get(id)
    if (found === undefined && !missing.has(id)) missing.set(id, missing.size)
    parents[index] = found ?? -2 - missing.get(id)!
  })
  return { parents, missing: [...missing.keys()] }
}

/** Follows every chain of parents once. Where one bites its tail, the member that started first is set free to be a root. */
function cutCycles(parents: Int32Array, order: readonly number[]): ReadonlySet<number> {
  const cut = new Set<number>()
  const rank = new Int32Array(order.length)
  order.forEach((index, at) => {
    rank[index] = at
  })
  const seenIn = new Int32Array(parents.length).fill(-1)
  for (const start of order) {
    let at = start
    while (at >= 0 && seenIn[at] === -1) {
      seenIn[at] = start
      at = parents[at]!
    }
    if (at < 0 || seenIn[at] !== start) continue
    // `order` is by start time, so the first span that walks into a circle need not lie on it: choose among its members.
    const first = earliest(parents, at, rank)
    parents[first] = rootKey
    cut.add(first)
  }
  return cut
}

function earliest(parents: Int32Array, member: number, rank: Int32Array): number {
  let first = member
  for (let at = parents[member]!; at !== member; at = parents[at]!) {
    if (rank[at]! < rank[first]!) first = at
  }
  return first
}

type Timed = { starts: readonly bigint[]; order: readonly number[] }
type Axis = { origin: bigint; endMs: number; startMs: Float64Array; adrift: Uint8Array }

/** One pass of big integers; everything after it works with milliseconds from the origin. */
function toAxis(spans: readonly Skeleton[], { starts, order }: Timed): Axis {
  const median = starts[order[order.length >> 1] ?? 0] ?? 0n
  const adrift = Uint8Array.from(starts, (start) => {
    const distance = start - median
    return distance > adriftNs || distance < -adriftNs ? 1 : 0
  })
  const first = order.find((index) => adrift[index] === 0)
  const origin = starts[first ?? 0] ?? 0n
  const startMs = new Float64Array(spans.length)
  let endMs = 0
  for (const index of order) {
    if (adrift[index] === 1) continue
    startMs[index] = toMs(starts[index]! - origin)
    endMs = Math.max(endMs, startMs[index]! + spans[index]!.durationMs)
  }
  return { origin, endMs, startMs, adrift }
}

type Children = { roots: number[]; of: Map<number, number[]> }

/** `order` is already by start time, so every list built from it in turn is sorted too. */
function groupByParent(
  order: readonly number[],
  { parents }: Claims,
  cut: ReadonlySet<number>,
): Children {
  const roots: number[] = []
  const of = new Map<number, number[]>()
  for (const index of order) {
    const parent = cut.has(index) ? rootKey : parents[index]!
    const list = of.get(parent)
    if (parent === rootKey) roots.push(index)
    else if (list) list.push(index)
    else of.set(parent, [index])
    // A missing parent stands where the first of its children would.
    if (parent < rootKey && !list) roots.push(parent)
  }
  return { roots, of }
}

type Grown = Axis & { children: Children; missing: readonly string[]; cut: ReadonlySet<number> }

/** Depth first with a stack of its own: a chain of 50,000 spans must not be a chain of 50,000 calls. */
function walk(spans: readonly Skeleton[], grown: Grown): Row[] {
  const { roots, of } = grown.children
  const rows: Row[] = []
  // Nodes yet to be drawn, the next one last, each beside the row it belongs to.
  const nodes = roots.toReversed()
  const parents = nodes.map(() => -1)
  while (nodes.length > 0) {
    const node = nodes.pop()!
    const parent = parents.pop()!
    const at = rows.length
    if (node < 0) rows.push(missingRow(spans.length, node, grown))
    else rows.push(spanRow(spans[node]!, node, { grown, parent, above: rows[parent] }))
    const below = of.get(node) ?? []
    for (let i = below.length - 1; i >= 0; i--) {
      nodes.push(below[i]!)
      parents.push(at)
    }
  }
  for (let at = rows.length - 1; at >= 0; at--) {
    const { parent, descendants } = rows[at]!
    if (parent >= 0) rows[parent]!.descendants += descendants + 1
  }
  return rows
}

type Hung = { grown: Grown; parent: number; above: Row | undefined }

function spanRow(span: Skeleton, index: number, { grown, parent, above }: Hung): SpanRow {
  const startMs = grown.startMs[index]!
  const adrift = grown.adrift[index] === 1
  return {
    kind: 'span',
    key: index,
    span,
    depth: above ? above.depth + 1 : 0,
    descendants: 0,
    parent,
    startMs,
    cut: grown.cut.has(index),
    skewed: above?.kind === 'span' && !adrift && !above.adrift && startMs < above.startMs,
    adrift,
  }
}

function missingRow(spanCount: number, node: number, { missing }: Grown): MissingRow {
  const which = -2 - node
  const parentSpanId = missing[which]!
  return {
    kind: 'missing',
    key: spanCount + which,
    parentSpanId,
    depth: 0,
    descendants: 0,
    parent: -1,
  }
}

function toNano(text: string): bigint {
  return /^\d{1,20}$/.test(text) ? BigInt(text) : 0n
}

/** A distance within a trace in milliseconds, exact to the microsecond; the axis excludes distances too long for that. */
function toMs(ns: bigint): number {
  return Number(ns / 1000n) / 1000
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
