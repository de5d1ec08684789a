// Requests that fit no family wait for others like them. What they always share together is a prompt; one-offs pass through.

import {
  coreShareMin,
  poolKnownShareMin,
  poolLikenessMin,
  poolMax,
  poolMembersMin,
  poolSupportMin,
  poolWait,
} from './limits.ts'
import type { Entry, Pooled } from './state.ts'
import type { Line } from './text.ts'

// Lines that are seen together this often are of one template; others are retrieved or conditional.
const togetherMin = 0.5
// What a line counts that nobody shares yet: enough that a common preamble alone makes no family.
const otherWeight = 0.4
const anchorsPerRequestMax = 60
const leadersMax = 64

/**
 * Clusters of waiting requests, each large enough for a family, in the order of their first requests. `now` is the count
 * of the workspace's requests.
 */
export function findClusters(pool: readonly Pooled[], now: number): Pooled[][] {
  const support = countKeys(pool)
  // A line that a prompt says again is one line here: anchors are counted once too.
  const sizes = pool.map(({ entry }) => keysIn(entry).size)
  const anchors = pool.map((pooled) => anchorsOf(pooled.entry.lines, support))
  const partners = partnersOf(anchors)
  const kept = anchors.map((list) => {
    const firm = list.filter(({ key }) => partners.has(key)).map(({ key }) => key)
    // A prompt of one line has no partners; an opening that many one-offs share is not enough.
    const whole = list.filter(({ isWhole }) => isWhole).map(({ key }) => key)
    return new Set(firm.length > 0 ? firm : whole.slice(0, 1))
  })
  const counts = new Map<number, number>()
  for (const set of kept) for (const key of set) counts.set(key, (counts.get(key) ?? 0) + 1)
  const weightOf = (key: number) => 1 + Math.log(pool.length / (counts.get(key) ?? 1))
  const clusters: { leader: Set<number>; others: number; members: Pooled[] }[] = []
  const othersOf = (i: number) => Math.max(0, sizes[i]! - kept[i]!.size)
  pool.forEach((pooled, i) => {
    const own = kept[i]!
    const isKnown = own.size >= poolKnownShareMin * sizes[i]!
    if (own.size === 0 || (!isKnown && now - pooled.entry.seq < poolWait)) return
    let best: (typeof clusters)[number] | undefined
    let bestLikeness = poolLikenessMin
    for (const cluster of clusters) {
      const others = (cluster.others + othersOf(i)) * otherWeight
      const likeness = likenessOf(cluster.leader, own, { weightOf, others })
      if (likeness >= bestLikeness) [best, bestLikeness] = [cluster, likeness]
    }
    if (best) best.members.push(pooled)
    else if (clusters.length < leadersMax)
      clusters.push({ leader: own, others: othersOf(i), members: [pooled] })
  })
  return clusters
    .map((cluster) => coherent(cluster.members, now))
    .filter((members) => members.length >= poolMembersMin)
}

// Members that have what most of them have. When that is little of a prompt, it is a preamble that several prompts share,
// and all wait on: after a while it is taken for what it is, a short prompt before much retrieved text.
function coherent(members: Pooled[], now: number): Pooled[] {
  const counts = new Map<number, number>()
  for (const { entry } of members)
    for (const key of keysIn(entry)) counts.set(key, (counts.get(key) ?? 0) + 1)
  const isCore = (line: Line) => (counts.get(line.key) ?? 0) * 2 > members.length
  const core = [...counts.values()].filter((times) => times * 2 > members.length).length
  const kept = members.filter(
    ({ entry }) => entry.lines.filter(isCore).length >= coreShareMin * core,
  )
  const isWhole = kept.filter(
    ({ entry }) => entry.lines.filter(isCore).length >= poolKnownShareMin * entry.lines.length,
  )
  const hasWaited = kept.length > 0 && now - kept[0]!.entry.seq >= poolMax
  return isWhole.length * 2 >= kept.length || hasWaited ? kept : []
}

function keysIn(entry: Entry): Set<number> {
  return new Set(entry.lines.map((line) => line.key))
}

function countKeys(pool: readonly Pooled[]): Map<number, number> {
  const support = new Map<number, number>()
  for (const { entry } of pool) {
    const keys = new Set<number>()
    for (const line of entry.lines) for (const key of keysOf(line)) keys.add(key)
    for (const key of keys) support.set(key, (support.get(key) ?? 0) + 1)
  }
  return support
}

/** Where a line can be found again: as it is, then by its label, its beginning, its end. */
export function keysOf(line: Line): number[] {
  return [line.key, line.label, line.head, line.tail].filter((key) => key !== 0)
}

type Anchor = { key: number; isWhole: boolean }

function anchorsOf(lines: readonly Line[], support: Map<number, number>): Anchor[] {
  const found = new Map<number, Anchor>()
  const isSupported = (key: number) => (support.get(key) ?? 0) >= poolSupportMin
  for (const line of lines) {
    const isWhole = isSupported(line.key)
    const keys = isWhole ? [line.key] : keysOf(line).filter(isSupported)
    for (const key of keys) found.set(key, { key, isWhole })
    if (found.size >= anchorsPerRequestMax) break
  }
  return [...found.values()]
}

function partnersOf(anchors: readonly Anchor[][]): Set<number> {
  const alone = new Map<number, number>()
  const together = new Map<number, Map<number, number>>()
  for (const list of anchors) {
    for (const { key } of list) {
      alone.set(key, (alone.get(key) ?? 0) + 1)
      let row = together.get(key)
      if (!row) {
        row = new Map()
        together.set(key, row)
      }
      for (const { key: other } of list)
        if (other !== key) row.set(other, (row.get(other) ?? 0) + 1)
    }
  }
  const found = new Set<number>()
  for (const [key, row] of together) {
    for (const [other, times] of row) {
      if (times < togetherMin * Math.max(alone.get(key)!, alone.get(other)!)) continue
      found.add(key)
      break
    }
  }
  return found
}

function likenessOf(
  a: Set<number>,
  b: Set<number>,
  by: { weightOf: (key: number) => number; others: number },
): number {
  const { weightOf } = by
  let shared = 0
  let all = by.others
  for (const key of a) {
    const weight = weightOf(key)
    all += weight
    if (b.has(key)) shared += weight
  }
  for (const key of b) if (!a.has(key)) all += weightOf(key)
  return all === 0 ? 0 : shared / all
}
