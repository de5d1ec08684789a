// A request placed in its family: which line of the template each of its lines is, and what that says about every part.

import {
  groupsMax,
  keysPerFamilyMax,
  recentLinesMax,
  recentMax,
  tokensPerGroupMax,
  wordsPerFamilyMax,
} from './limits.ts'
import { inherit, touch } from './presence.ts'
import { type Entry, type Family, type Group, keepBelow, newPresence } from './state.ts'
import { type Line, mix } from './text.ts'

// Of a group's usual words, the share a line must have to be one of its lines, at least how many, and of the line's own.
const likenessMin = 0.6
const sharedMin = 3
const ownMin = 0.4
// The same while only one line of the group is known: of the longer of both.
const sameMin = 0.6
const placesPerKeyMax = 8
// Of however long requests, enough are remembered to tell a version from a variant.
const recentMin = 48

export function newFamily(given: {
  id: number
  registry: string
  explicit: boolean
  tools: string
  atMs: number
}): Family {
  return {
    ...given,
    clock: 0,
    nextGroup: 1,
    nextNumber: 1,
    groups: new Map(),
    byKey: new Map(),
    byPlace: new Map(),
    recent: [],
    versions: new Map(),
    nextVersion: 1,
    byShape: new Map(),
    core: [],
    evaluatedAt: 0,
    evaluatedMs: given.atMs,
    unsettled: true,
    newVersionsAt: [],
    paused: false,
    conflicts: new Set(),
    lastSeenMs: given.atMs,
    latest: undefined,
    bytes: 0,
    recentLines: 0,
  }
}

/**
 * The group of each line. Lines known word for word take their groups first, so that a changed line never takes the place
 * of one that is still there.
 */
export function place(family: Family, lines: Line[]): number[] {
  const groups: number[] = new Array(lines.length).fill(0)
  const taken = new Set<number>()
  const times = new Map<number, number>()
  const keys = lines.map((line) => {
    const time = times.get(line.key) ?? 0
    times.set(line.key, time + 1)
    return time === 0 ? line.key : mix(line.key, time)
  })
  keys.forEach((key, i) => {
    const id = family.byKey.get(key)
    if (id === undefined || taken.has(id) || !family.groups.has(id)) return
    taken.add(id)
    groups[i] = id
  })
  const [before, after] = neighboursOf(family, groups)
  lines.forEach((line, i) => {
    const near = { before: before[i]!, after: after[i]! }
    const known = family.groups.get(groups[i]!)
    if (known) {
      Object.assign(known, near)
      return
    }
    const group = findAlike(family, { line, taken, near }) ?? addGroup(family, line)
    Object.assign(group, near)
    const wrong = family.byKey.get(keys[i]!)
    if (wrong !== undefined) separate(family, { line, wrong, right: group.id })
    keepBelow(family.byKey, keysPerFamilyMax)
    family.byKey.set(keys[i]!, group.id)
    taken.add(group.id)
    groups[i] = group.id
  })
  return groups
}

// Two lines that were taken for one stand in the same request: what is remembered of the second is moved to its own group.
function separate(family: Family, lines: { line: Line; wrong: number; right: number }): void {
  for (const entry of family.recent)
    entry.lines.forEach((line, i) => {
      if (line.key !== lines.line.key || entry.groups[i] !== lines.wrong) return
      if (!entry.groups.includes(lines.right)) entry.groups = entry.groups.with(i, lines.right)
    })
}

type Near = { before: number; after: number }

// For each line the next fixed line above and below it, by group.
function neighboursOf(family: Family, groups: number[]): [number[], number[]] {
  const isFirm = groups.map((id) => id !== 0 && family.groups.get(id)!.presence.fixed)
  const sweep = (order: number[]) => {
    const found: number[] = []
    let last = 0
    for (const i of order) {
      found[i] = last
      if (isFirm[i]) last = groups[i]!
    }
    return found
  }
  const order = groups.map((_, i) => i)
  return [sweep(order), sweep(order.toReversed())]
}

function findAlike(
  family: Family,
  given: { line: Line; taken: Set<number>; near: Near },
): Group | undefined {
  const { line, taken, near } = given
  for (const key of [line.label, line.head, line.tail, line.opening]) {
    if (key === 0) continue
    for (const id of family.byPlace.get(key) ?? []) {
      const group = family.groups.get(id)
      if (!group || taken.has(id)) continue
      if (key === line.label) return group
      if (!hasLabel(group, line) || !isAlike(group, line)) continue
      // Retrieved text reads like the prompt at times, but does not stand where a line was taken away.
      const isThere = group.before === near.before || group.after === near.after
      if (isThere || !group.presence.fixed || group.words) return group
    }
  }
  return undefined
}

// A label is there to say which line it is.
function hasLabel(group: Group, line: Line): boolean {
  return group.only.label === line.label
}

function isAlike(group: Group, line: Line): boolean {
  const usual = group.words ? usualOf(group) : group.only.tokens
  const has = new Set(line.tokens)
  const shared = usual.filter((word) => has.has(word)).length
  if (shared < sharedMin) return false
  if (!group.words) return shared >= sameMin * Math.max(usual.length, line.tokens.length)
  return shared >= likenessMin * usual.length && shared >= ownMin * line.tokens.length
}

function usualOf(group: Group): number[] {
  return [...group.words!]
    .filter(([, presence]) => presence.fixed || presence.count * 2 >= group.seen)
    .map(([word]) => word)
}

function addGroup(family: Family, line: Line): Group {
  if (family.groups.size >= groupsMax) dropGroups(family)
  const keys = [line.label, line.head, line.tail, line.opening].filter((key) => key !== 0)
  const group: Group = {
    id: family.nextGroup++,
    presence: newPresence(family.clock),
    seen: 0,
    before: 0,
    after: 0,
    only: line,
    keys,
  }
  family.groups.set(group.id, group)
  for (const key of keys) {
    const ids = family.byPlace.get(key) ?? []
    if (ids.length >= placesPerKeyMax) ids.shift()
    ids.push(group.id)
    family.byPlace.set(key, ids)
  }
  return group
}

// A quarter at once, the longest unseen that are no part of a skeleton first: retrieved text comes and goes all day.
function dropGroups(family: Family): void {
  const versions = new Set(
    [...family.versions.values()].flatMap((version) => version.exemplar.groups),
  )
  const order = [...family.groups.values()]
    .filter((group) => !versions.has(group.id) || !group.presence.fixed)
    .sort(
      (a, b) =>
        Number(a.presence.fixed) - Number(b.presence.fixed) ||
        a.presence.last - b.presence.last ||
        a.id - b.id,
    )
  for (const group of order.slice(0, groupsMax / 4)) dropGroup(family, group)
}

function dropGroup(family: Family, group: Group): void {
  family.groups.delete(group.id)
  for (const key of group.keys) {
    const left = (family.byPlace.get(key) ?? []).filter((id) => id !== group.id)
    if (left.length > 0) family.byPlace.set(key, left)
    else family.byPlace.delete(key)
  }
}

/**
 * Counts a placed request and remembers it. Returns those that are forgotten for it, and whether shapes are written
 * differently from now on, because a line that was always the same has got words.
 */
export function count(family: Family, entry: Entry): { forgotten: Entry[]; isReworded: boolean } {
  let isReworded = false
  const clock = family.clock++
  family.lastSeenMs = entry.atMs
  entry.lines.forEach((line, i) => {
    const group = family.groups.get(entry.groups[i]!)
    if (!group) return
    touch(group.presence, clock, clock)
    if (!group.words && line.key !== group.only.key) {
      isReworded = true
      group.words = new Map(
        group.only.tokens.map((word) => [word, inherit(group.seen, group.presence)]),
      )
    }
    if (group.words) touchWords(group, line, clock)
    group.seen++
  })
  family.recent.push(entry)
  family.recentLines += entry.lines.length
  const forgotten: Entry[] = []
  while (family.recent.length > recentMax || isTooLong(family)) {
    const oldest = family.recent.shift()!
    family.recentLines -= oldest.lines.length
    forgotten.push(oldest)
  }
  return { forgotten, isReworded }
}

function isTooLong({ recent, recentLines }: Family): boolean {
  return recentLines > recentLinesMax && recent.length > recentMin
}

/** After a look: lines that changed words long ago, and were not fixed by it, lose them, so that words have a bound. */
export function forgetWords(family: Family): void {
  let words = 0
  for (const group of family.groups.values()) words += group.words?.size ?? 0
  if (words <= wordsPerFamilyMax) return
  const order = [...family.groups.values()]
    .filter((group) => group.words && !group.presence.fixed)
    .sort((a, b) => a.presence.last - b.presence.last || a.id - b.id)
  for (const group of order) {
    if (words <= wordsPerFamilyMax / 2) return
    words -= group.words!.size
    dropGroup(family, group)
  }
}

function touchWords(group: Group, line: Line, clock: number): void {
  const words = group.words!
  for (const word of line.tokens) {
    let presence = words.get(word)
    if (!presence) {
      if (words.size >= tokensPerGroupMax) dropWords(words)
      presence = newPresence(clock)
      words.set(word, presence)
    }
    touch(presence, group.seen, presence.born)
  }
}

function dropWords(words: Group['words'] & object): void {
  const order = [...words]
    .filter(([, presence]) => !presence.fixed)
    .sort((a, b) => a[1].last - b[1].last)
  for (const [word] of order.slice(0, tokensPerGroupMax / 4)) words.delete(word)
  // All fixed: a line that was edited very often. The oldest go, or the group would grow for ever.
  if (words.size >= tokensPerGroupMax) words.delete(words.keys().next().value as number)
}
