// A line or a word added or taken away for a share of the traffic only: told from a condition by when it began, since a
// condition of the prompt was there from the first requests on, and from retrieved text by its place, which is always the same.

import { splitAfterMin, splitOverMin, splitShareMin } from './limits.ts'
import { fix } from './presence.ts'
import type { Entry, Family, Group, Line, Presence } from './state.ts'
import { mix } from './text.ts'

// Of its sightings, how many have the same line above, or below.
const besideSameMin = 0.9
const togetherMin = 0.95

/** Parts by number that came or went at one moment, and in which requests it is as it was before. */
type Split = { parts: Map<number, Presence>; before: boolean[] }

/**
 * Marks parts that came or went at one moment and are now in a steady share of the requests. Several that do not come and go
 * together are conditions that an edit brought, and no versions. Returns the parts that became fixed by it.
 */
export function findSplits(family: Family, entries: readonly Entry[]): number[] {
  if (entries.length < splitAfterMin + splitOverMin) return []
  const found = [...linesOf(entries)].flatMap(([id, lines]) => {
    const group = family.groups.get(id)
    return (group && (splitOfLine(group, lines, entries) ?? splitOfWords(group, lines))) ?? []
  })
  if (!found.every((one) => isTogether(one.before, found[0]!.before))) return []
  const fixed: number[] = []
  for (const { parts } of found)
    for (const [part, presence] of parts) {
      presence.split = true
      if (presence.fixed) continue
      fix(presence, family.clock)
      fixed.push(part)
    }
  return fixed
}

/** Of each group its line in each request. */
function linesOf(entries: readonly Entry[]): Map<number, (Line | undefined)[]> {
  const found = new Map<number, (Line | undefined)[]>()
  entries.forEach((entry, i) => {
    entry.groups.forEach((id, at) => {
      let lines = found.get(id)
      if (!lines) {
        lines = new Array<Line | undefined>(entries.length).fill(undefined)
        found.set(id, lines)
      }
      lines[i] = entry.lines[at]
    })
  })
  return found
}

function splitOfLine(
  group: Group,
  lines: (Line | undefined)[],
  entries: readonly Entry[],
): Split | undefined {
  const before = lines.map((line) => (line !== undefined) === group.presence.fixed)
  if (!isHalved(before)) return undefined
  if (!group.presence.fixed && !isInPlace(group.id, entries)) return undefined
  return { parts: new Map([[group.id, group.presence]]), before }
}

// A fixed line that was one text until it became two.
function splitOfWords(group: Group, lines: (Line | undefined)[]): Split | undefined {
  const { words } = group
  const old = lines[0]
  const next = lines.find((line) => line?.key !== old?.key)
  if (!group.presence.fixed || !words || !old || !next) return undefined
  const before = lines.map((line) => line?.key === old.key)
  if (!isHalved(before) || !lines.every((line, i) => before[i] || line?.key === next.key))
    return undefined
  const parts = new Map<number, Presence>()
  for (const [some, others] of [
    [old, next],
    [next, old],
  ] as const)
    for (const word of some.tokens) {
      const presence = words.get(word)
      if (presence && !others.tokens.includes(word)) parts.set(mix(group.id, word), presence)
    }
  return { parts, before }
}

function isHalved(before: boolean[]): boolean {
  const change = before.indexOf(false)
  const since = before.length - change
  if (change < splitAfterMin || since < splitOverMin) return false
  const times = before.filter((isSame) => !isSame).length
  return times >= splitShareMin * since && times <= (1 - splitShareMin) * since
}

function isInPlace(id: number, entries: readonly Entry[]): boolean {
  const [above, below] = [new Map<number, number>(), new Map<number, number>()]
  let times = 0
  for (const { groups } of entries) {
    const at = groups.indexOf(id)
    if (at < 0) continue
    times++
    const [before, after] = [groups[at - 1] ?? 0, groups[at + 1] ?? 0]
    above.set(before, (above.get(before) ?? 0) + 1)
    below.set(after, (below.get(after) ?? 0) + 1)
  }
  return Math.max(...above.values(), ...below.values()) >= besideSameMin * times
}

// Lines that replace each other come and go together. A retrieved line that reads like one of them is seen beside it at times.
function isTogether(a: boolean[], b: boolean[]): boolean {
  const same = a.filter((isBefore, i) => isBefore === b[i]).length
  return same >= togetherMin * a.length
}
