// Shapes become versions, provisional at first; two that turn out to differ in a variable only are merged.

import type { DiscoveryEvent } from '../../schemas/discovery.ts'
import * as limit from './limits.ts'
import { fixedPartsOf, shapeOf } from './shape.ts'
import type { Entry, Family, Version } from './state.ts'

type Fact = DiscoveryEvent extends infer E
  ? E extends unknown
    ? Omit<E, 'workspace' | 'atMs'>
    : never
  : never
export type Tell = (fact: Fact) => void

/** After the fixed parts changed: what each version's shape is now. Two with one shape are one. */
export function reshape(family: Family, newlyFixed: number[], tell: Tell): void {
  if (newlyFixed.length > 0) keepMeanings(family, new Set(newlyFixed))
  family.byShape.clear()
  for (const [index, version] of family.versions) {
    version.key = shapeOf(family, version.exemplar)
    const other = family.byShape.get(version.key)
    if (other === undefined) family.byShape.set(version.key, index)
    else merge(family, { from: index, into: other, tell })
  }
}

// A part that became fixed belongs to a version only if it always did: ids never change their meaning.
function keepMeanings(family: Family, newly: Set<number>): void {
  const fresh = (entry: Entry) => fixedPartsOf(family, entry).filter((part) => newly.has(part))
  for (const [index, version] of family.versions) {
    if (version.exemplar.label !== undefined || fresh(version.exemplar).length === 0) continue
    const own = family.recent.filter((entry) => entry.version === index)
    const counts = own.map((entry) => fresh(entry).length)
    const least = Math.min(...counts)
    if (counts.filter((count) => count === least).length < lackingShareMin * own.length) continue
    if (least < fresh(version.exemplar).length) version.exemplar = own[counts.indexOf(least)]!
  }
}
const lackingShareMin = 0.2

/** The version that a shape is counted with: itself, or the one its variant belongs to. */
export function homeOf(family: Family, key: number): number | undefined {
  const index = family.byShape.get(key)
  const version = index === undefined ? undefined : family.versions.get(index)
  return version?.status === 'variant' ? version.into : index
}

function merge(family: Family, pair: { from: number; into: number; tell: Tell }): void {
  let { from, into } = pair
  const isNumbered = (index: number) => family.versions.get(index)!.name !== undefined
  // A version that has its number stays; of two numbered ones, the older.
  if (!isNumbered(into) && isNumbered(from)) {
    ;[from, into] = [into, from]
    family.byShape.set(family.versions.get(into)!.key, into)
  }
  const [gone, kept] = [family.versions.get(from)!, family.versions.get(into)!]
  if (gone.name !== undefined && kept.name !== undefined)
    pair.tell({
      type: 'version_merged',
      registry: family.registry,
      from: `${family.registry}@${gone.name}`,
      into: `${family.registry}@${kept.name}`,
      reason: 'Their skeletons are the same since a variable was learned.',
    })
  close(family, { from, into, isVariant: false })
}

export function close(
  family: Family,
  move: { from: number; into: number; isVariant: boolean },
): void {
  const [gone, kept] = [family.versions.get(move.from)!, family.versions.get(move.into)!]
  kept.runs += gone.runs
  if (move.isVariant) {
    gone.status = 'variant'
    gone.into = move.into
    gone.runs = 0
    gone.sample = undefined
  } else {
    family.versions.delete(move.from)
    for (const other of family.versions.values())
      if (other.into === move.from) other.into = move.into
  }
  kept.firstSeenMs = Math.min(kept.firstSeenMs, gone.firstSeenMs)
  kept.lastSeenMs = Math.max(kept.lastSeenMs, gone.lastSeenMs)
  wait(kept, gone.waiting)
  gone.waiting = []
  for (const entry of family.recent) if (entry.version === move.from) entry.version = move.into
}

export function wait(version: Version, refs: string[]): void {
  version.waiting.push(...refs)
  if (version.waiting.length > limit.waitingMax)
    version.waiting.splice(0, version.waiting.length - limit.waitingMax)
}

/** Every remembered request counted with the version of its present shape; shapes seen often enough become versions. */
export function regroup(family: Family, tell: Tell): void {
  const unknown = new Map<number, Entry[]>()
  for (const entry of family.recent) {
    entry.key = shapeOf(family, entry)
    const index = homeOf(family, entry.key) ?? -1
    if (index < 0) {
      const same = unknown.get(entry.key)
      if (same) same.push(entry)
      else unknown.set(entry.key, [entry])
    }
    move(family, entry, index)
  }
  for (const [key, entries] of unknown) {
    if (entries.length < limit.provisionalMin && entries[0]!.label === undefined) continue
    if (fixedPartsOf(family, entries[0]!).length === 0 && entries[0]!.label === undefined) continue
    begin(family, { key, entries, exemplar: entries[0]!, tell })
  }
}

export function move(family: Family, entry: Entry, index: number): void {
  if (entry.version === index) return
  const [old, next] = [family.versions.get(entry.version), family.versions.get(index)]
  if (old) old.runs--
  if (next) countRun(next, entry)
  entry.version = index
}

/** Counts a run with its version. */
export function countRun(version: Version, entry: Entry): void {
  version.runs++
  version.firstSeenMs = Math.min(version.firstSeenMs, entry.atMs)
  version.lastSeenMs = Math.max(version.lastSeenMs, entry.atMs)
  if (
    entry.user !== 0 &&
    version.users.length < limit.usersMin &&
    !version.users.includes(entry.user)
  )
    version.users.push(entry.user)
}

/** A new version of these requests; a stable one when they name it. Returns its number in the family. */
export function begin(
  family: Family,
  found: { key: number; entries: Entry[]; exemplar: Entry; tell: Tell },
): number {
  const { exemplar } = found
  if (family.versions.size >= limit.versionsMax) retire(family)
  const index = family.nextVersion++
  family.versions.set(index, {
    key: found.key,
    exemplar,
    runs: 0,
    firstSeenMs: exemplar.atMs,
    lastSeenMs: exemplar.atMs,
    bornAt: family.clock,
    users: [],
    status: exemplar.label === undefined ? 'provisional' : 'stable',
    name: exemplar.label,
    into: -1,
    sample: undefined,
    checked: 0,
    equal: 0,
    compared: 0,
    same: 0,
    announced: undefined,
    waiting: [],
  })
  family.byShape.set(found.key, index)
  for (const entry of found.entries) move(family, entry, index)
  if (exemplar.label === undefined)
    found.tell({
      type: 'version_provisional',
      registry: family.registry,
      shape: nameOfShape(family, index),
      runs: found.entries.length,
    })
  return index
}

// The longest unseen makes room, one without a number first. Its number is not given again.
function retire(family: Family): void {
  const order = [...family.versions].sort(
    ([, a], [, b]) => rankOf(a) - rankOf(b) || a.lastSeenMs - b.lastSeenMs,
  )
  const [index, version] = order[0]!
  family.versions.delete(index)
  for (const [variant, other] of family.versions)
    if (other.into === index) family.versions.delete(variant)
  if (family.byShape.get(version.key) === index) family.byShape.delete(version.key)
  for (const entry of family.recent) if (entry.version === index) entry.version = -1
}

function rankOf(version: Version): number {
  return ['variant', 'provisional', 'stable'].indexOf(version.status)
}

export function nameOfShape(family: Family, index: number): string {
  return `${family.registry}#${index}`
}
