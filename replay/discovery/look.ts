// A family looks at what it has seen lately and decides which parts are fixed: the skeleton that versions are told apart by.

import { explainedMin, mixedAbsencesMin, mixedMin, ownShareMin, stretchMin } from './limits.ts'
import { asWord, demote, fix, isSteady } from './presence.ts'
import { findSplits } from './split.ts'
import type { Entry, Family, Presence } from './state.ts'
import { mix } from './text.ts'

// A part explains the absence of another when it stands in for it nearly always and nearly never beside it.
const standsInMin = 0.9
const besideMax = 0.02

/** Parts that are always there for a while become fixed. Returns them. */
export function fixSteady(family: Family): number[] {
  const found: number[] = []
  for (const group of family.groups.values()) {
    if (!group.presence.fixed && isSteady(group.presence)) {
      fix(group.presence, family.clock)
      found.push(group.id)
    }
    if (!group.presence.fixed || !group.words) continue
    for (const [word, presence] of group.words) {
      if (presence.fixed || !isSteady(presence, asWord)) continue
      fix(presence, family.clock)
      found.push(mix(group.id, word))
    }
  }
  return found
}

/**
 * Fixed parts that come and go. One newer part in their place: a rollout or an A/B test, and that part is fixed too. No such
 * part, for long: a conditional line, or a variable that kept one value for a while, and it is fixed no longer. Returns the
 * parts that became fixed.
 */
export function sortMixed(family: Family): number[] {
  const own = ownOf(family)
  const found = findSplits(
    family,
    own.map(({ entry }) => entry),
  )
  const parts = own.map((one) => one.parts)
  const counts = new Map<number, Part>()
  for (const list of parts)
    for (const [id, presence] of list) {
      const known = counts.get(id)
      if (known) known.times++
      else counts.set(id, { id, presence, times: 1 })
    }
  // Parts that are missing from the same requests have the same explanation: looked for once.
  const explained = new Map<string, Part[]>()
  for (const part of counts.values()) {
    if (!part.presence.fixed || parts.length - part.times < mixedAbsencesMin) continue
    const absent = parts.map((list) => !list.has(part.id))
    const where = absent.map(Number).join('')
    const standIns = explained.get(where) ?? findStandIns(parts, absent, counts)
    explained.set(where, standIns)
    // A value that was there before the part was taken for fixed is another value of a variable.
    const newer = standIns.filter((one) => one.presence.born >= part.presence.fixedAt)
    for (const { id, presence } of newer) {
      if (presence.fixed || parts.length - part.times < explainedMin) continue
      fix(presence, family.clock)
      found.push(id)
    }
    if (newer.length > 0 || part.presence.split || isReplacement(part, standIns)) continue
    if (!isMixed(absent)) continue
    demote(part.presence)
  }
  return found
}

type Own = { entry: Entry; parts: Map<number, Presence> }

function ownOf(family: Family): Own[] {
  const all = family.recent.map((entry) => ({ entry, parts: partsOf(family, entry) }))
  const sizes = all.map(({ parts }) => [...parts.values()].filter((part) => part.fixed).length)
  const usual = [...sizes].sort((a, b) => a - b)[sizes.length >> 1] ?? 0
  return all.filter((_, i) => sizes[i]! >= ownShareMin * usual)
}

type Part = { id: number; presence: Presence; times: number }

// The newer part of such a pair has the older one for its explanation.
function isReplacement(part: Part, standIns: Part[]): boolean {
  return standIns.some((one) => one.presence.fixed && part.presence.born >= one.presence.fixedAt)
}

function findStandIns(
  parts: Map<number, Presence>[],
  absent: boolean[],
  counts: Map<number, Part>,
): Part[] {
  const inside = new Map<number, number>()
  let absences = 0
  parts.forEach((list, i) => {
    if (!absent[i]) return
    absences++
    for (const id of list.keys()) inside.set(id, (inside.get(id) ?? 0) + 1)
  })
  const presences = parts.length - absences
  const found: Part[] = []
  for (const [id, times] of inside) {
    const part = counts.get(id)!
    if (times >= standsInMin * absences && part.times - times <= besideMax * presences)
      found.push(part)
  }
  return found
}

/** All parts of a request that a skeleton could have: lines, and the words of fixed lines that change. */
function partsOf(family: Family, entry: Entry): Map<number, Presence> {
  const found = new Map<number, Presence>()
  for (let i = 0; i < entry.lines.length; i++) {
    const group = family.groups.get(entry.groups[i]!)
    if (!group) continue
    found.set(group.id, group.presence)
    if (!group.presence.fixed || !group.words) continue
    for (const word of entry.lines[i]!.tokens) {
      const presence = group.words.get(word)
      if (presence) found.set(mix(group.id, word), presence)
    }
  }
  return found
}

// With and without alternate over many requests. Long stretches of either kind are versions that follow each other, even when
// one of them comes back.
function isMixed(absent: boolean[]): boolean {
  const begin = Math.max(absent.indexOf(true), absent.indexOf(false))
  const end = Math.min(absent.lastIndexOf(true), absent.lastIndexOf(false))
  if (end - begin + 1 < mixedMin) return false
  const longest = { with: 0, without: 0 }
  let run = 0
  absent.forEach((isAbsent, i) => {
    run = i > 0 && isAbsent === absent[i - 1] ? run + 1 : 1
    const kind = isAbsent ? 'without' : 'with'
    longest[kind] = Math.max(longest[kind], run)
  })
  return Math.min(longest.with, longest.without) < stretchMin
}
