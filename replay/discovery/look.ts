// A family looks at what it has seen lately and decides which parts are fixed: the skeleton that versions are told apart by.

import { fixedPartsOf } from './family.ts'
import { explainedMin, mixedMin } from './limits.ts'
import { demote, isSteady } from './presence.ts'
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
      group.presence.fixed = true
      found.push(group.id)
    }
    if (!group.presence.fixed || !group.words) continue
    for (const [word, presence] of group.words) {
      if (presence.fixed || !isSteady(presence)) continue
      presence.fixed = true
      found.push(mix(group.id, word))
    }
  }
  return found
}

/**
 * Fixed parts that come and go. One other part in their place: a rollout or an A/B test, and that part is fixed too. No such
 * part, for long: a conditional line or a variable that kept one value for a while, and it is fixed no longer.
 */
export function sortMixed(family: Family): { fixed: number[]; loosened: number } {
  const { recent } = family
  const parts = recent.map((entry) => new Set(fixedPartsOf(family, entry)))
  const counts = new Map<number, number>()
  for (const set of parts) for (const part of set) counts.set(part, (counts.get(part) ?? 0) + 1)
  const fixed: number[] = []
  let loosened = 0
  // Parts that are missing from the same requests have the same explanation: looked for once.
  const seen = new Map<string, Explanation>()
  for (const [part, times] of counts) {
    const absences = recent.length - times
    if (absences < explainedMin) continue
    const absent = parts.map((set) => !set.has(part))
    const where = absent.map((isAbsent) => (isAbsent ? '1' : '0')).join('')
    let why = seen.get(where)
    if (!why) {
      why = explain(family, absent, parts)
      seen.set(where, why)
    }
    for (const found of why.unfixed) {
      if (found.presence.fixed) continue
      found.presence.fixed = true
      fixed.push(found.part)
    }
    if (why.isExplained || !isMixed(absent)) continue
    const presence = presenceOf(family, part)
    if (!presence) continue
    demote(presence)
    loosened++
  }
  return { fixed, loosened }
}

type Found = { part: number; presence: Presence }
type Explanation = { unfixed: Found[]; isExplained: boolean }

function explain(family: Family, absent: boolean[], fixed: Set<number>[]): Explanation {
  const inside = new Map<number, { times: number; presence: Presence }>()
  const absences = absent.filter(Boolean).length
  family.recent.forEach((entry, i) => {
    if (!absent[i]) return
    eachUnfixed(family, entry, (part, presence) => {
      const known = inside.get(part)
      if (known) known.times++
      else inside.set(part, { times: 1, presence })
    })
    for (const part of fixed[i]!) {
      const known = inside.get(part)
      if (known) known.times++
      else inside.set(part, { times: 1, presence: alreadyFixed })
    }
  })
  for (const [part, found] of inside) if (found.times < standsInMin * absences) inside.delete(part)
  const beside = new Map<number, number>()
  family.recent.forEach((entry, i) => {
    if (absent[i]) return
    const tally = (part: number) => {
      if (inside.has(part)) beside.set(part, (beside.get(part) ?? 0) + 1)
    }
    eachUnfixed(family, entry, tally)
    for (const part of fixed[i]!) tally(part)
  })
  const presences = family.recent.length - absences
  const standIns = [...inside].filter(([part]) => (beside.get(part) ?? 0) <= besideMax * presences)
  return {
    isExplained: standIns.length > 0,
    unfixed: standIns
      .filter(([, found]) => found.presence !== alreadyFixed)
      .map(([part, found]) => ({ part, presence: found.presence })),
  }
}

const alreadyFixed: Presence = {
  count: 0,
  first: 0,
  last: 0,
  born: 0,
  full: 0,
  block: 0,
  inBlock: 0,
  fixed: true,
  demoted: 0,
}

function eachUnfixed(
  family: Family,
  entry: Entry,
  visit: (part: number, presence: Presence) => void,
): void {
  for (let i = 0; i < entry.lines.length; i++) {
    const group = family.groups.get(entry.groups[i]!)
    if (!group) continue
    if (!group.presence.fixed) {
      visit(group.id, group.presence)
      continue
    }
    if (!group.words) continue
    for (const word of entry.lines[i]!.tokens) {
      const presence = group.words.get(word)
      if (presence && !presence.fixed) visit(mix(group.id, word), presence)
    }
  }
}

// With and without alternate over many requests, and do not just follow each other once.
function isMixed(absent: boolean[]): boolean {
  const begin = Math.max(absent.indexOf(true), absent.indexOf(false))
  const end = Math.min(absent.lastIndexOf(true), absent.lastIndexOf(false))
  const length = end - begin + 1
  if (length < mixedMin) return false
  let switches = 0
  let absences = 0
  for (let i = begin; i <= end; i++) {
    if (absent[i]) absences++
    if (i > begin && absent[i] !== absent[i - 1]) switches++
  }
  const share = absences / length
  return switches >= share * (1 - share) * length
}

function presenceOf(family: Family, part: number): Presence | undefined {
  const group = family.groups.get(part)
  if (group) return group.presence
  for (const other of family.groups.values()) {
    if (!other.words) continue
    for (const [word, presence] of other.words)
      if (presence.fixed && mix(other.id, word) === part) return presence
  }
  return undefined
}
