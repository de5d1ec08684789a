// Shapes become versions: provisional, then numbered; merged when a variable was learned, folded when rare, paused in a flood.

import type { DiscoveryEvent } from '../../schemas/discovery.ts'
import { fixedPartsOf, hasPartSince, shapeOf, skeletonOf } from './family.ts'
import * as limit from './limits.ts'
import type { Entry, Family, Version } from './state.ts'
import { hashesOf } from './template.ts'

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

function close(family: Family, move: { from: number; into: number; isVariant: boolean }): void {
  const [gone, kept] = [family.versions.get(move.from)!, family.versions.get(move.into)!]
  kept.runs += gone.runs
  if (move.isVariant) {
    gone.status = 'variant'
    gone.into = move.into
    gone.runs = 0
    gone.sample = undefined
  } else {
    family.versions.delete(move.from)
    for (const other of family.versions.values()) if (other.into === move.from) other.into = move.into
  }
  kept.firstSeenMs = Math.min(kept.firstSeenMs, gone.firstSeenMs)
  kept.lastSeenMs = Math.max(kept.lastSeenMs, gone.lastSeenMs)
  wait(kept, gone.waiting)
  gone.waiting = []
  for (const entry of family.recent) if (entry.version === move.from) entry.version = move.into
}

function wait(version: Version, refs: string[]): void {
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

function move(family: Family, entry: Entry, index: number): void {
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
    ([, a], [, b]) =>
      rankOf(a) - rankOf(b) || a.lastSeenMs - b.lastSeenMs,
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

function nameOfShape(family: Family, index: number): string {
  return `${family.registry}#${index}`
}

/** Provisional versions that have shown enough get their number; those that never do are folded. */
export function settle(family: Family, atMs: number, tell: Tell): void {
  family.newVersionsAt = family.newVersionsAt.filter((at) => at > atMs - limit.hourMs)
  for (const [index, version] of [...family.versions]) {
    if (version.status === 'variant' && hasTakenOver(family, version.key)) reopen(family, index)
    if (version.status !== 'provisional') continue
    if (isProven(family, index, atMs)) number(family, { index, atMs, tell })
    else fold(family, index, tell)
  }
}

function isProven(family: Family, index: number, atMs: number): boolean {
  const version = family.versions.get(index)!
  const isOneUser = version.users.length === 1
  const isMany = version.runs >= (isOneUser ? limit.oneUserStableMin : limit.stableMin)
  const isOld =
    version.runs >= limit.stableSlowMin && atMs - version.firstSeenMs >= limit.stableAfterMs
  if (!isMany && !(isOld && !isOneUser)) return false
  const nearest = nearestOf(family, index, true)
  return nearest < 0 || isNews(family, version, nearest) || hasTakenOver(family, version.key)
}

// Something that no version had before it, or another set of tools. What merely lacks a line, or mixes parts that were there
// all along, may be a condition or a variable.
function isNews(family: Family, version: Version, nearest: number): boolean {
  const other = family.versions.get(nearest)!
  return (
    other.exemplar.around !== version.exemplar.around ||
    hasPartSince(family, version.exemplar, other.bornAt)
  )
}

function hasTakenOver(family: Family, key: number): boolean {
  const latest = family.recent.slice(-limit.takeoverWindow)
  const own = latest.filter((entry) => entry.key === key)
  return own.length >= limit.takeoverShareMin * latest.length
}

function number(family: Family, given: { index: number; atMs: number; tell: Tell }): void {
  if (family.paused) return
  if (family.newVersionsAt.length >= limit.newVersionsPerHour) {
    family.paused = true
    given.tell({
      type: 'registry_paused',
      registry: family.registry,
      newVersions: family.newVersionsAt.length + 1,
    })
    return
  }
  const version = family.versions.get(given.index)!
  const names = new Set([...family.versions.values()].map((other) => other.name))
  while (names.has(`v${family.nextNumber}`)) family.nextNumber++
  version.name = `v${family.nextNumber++}`
  version.status = 'stable'
  // A family's first version is no edit, so it does not count towards a flood.
  if (version.name !== 'v1') family.newVersionsAt.push(given.atMs)
  given.tell({
    type: 'version_stable',
    registry: family.registry,
    shape: nameOfShape(family, given.index),
    versionId: `${family.registry}@${version.name}`,
    hashes: hashesOf(family, version),
    runs: version.runs,
    firstSeenMs: version.firstSeenMs,
    rendered: { checked: version.checked, equal: version.equal },
  })
}

// A line that was optional for long is gone for good, or the other way round.
function reopen(family: Family, index: number): void {
  const version = family.versions.get(index)!
  version.status = 'provisional'
  version.into = -1
  version.bornAt = family.clock
  for (const entry of family.recent) if (entry.key === version.key) move(family, entry, index)
}

function fold(family: Family, index: number, tell: Tell): void {
  const into = nearestOf(family, index, true)
  if (into < 0) return
  const version = family.versions.get(index)!
  const after = isNews(family, version, into) ? limit.variantAfter : limit.mixtureAfter
  if (family.clock - version.bornAt <= after) return
  tell({
    type: 'variant_folded',
    registry: family.registry,
    shape: nameOfShape(family, index),
    into: `${family.registry}@${family.versions.get(into)!.name}`,
    runs: version.runs,
  })
  close(family, { from: index, into, isVariant: true })
}

/** The version with the fewest fixed parts that only one of the two has. */
function nearestOf(family: Family, index: number, isNamed = false): number {
  return nearestTo(
    family,
    family.versions.get(index)!.exemplar,
    (other) => other !== index && (!isNamed || family.versions.get(other)!.name !== undefined),
  )
}

function nearestTo(family: Family, entry: Entry, accept: (index: number) => boolean): number {
  const own = new Set(fixedPartsOf(family, entry))
  let best = -1
  let least = Number.POSITIVE_INFINITY
  for (const [index, other] of family.versions) {
    if (!accept(index)) continue
    if (other.status === 'variant') continue
    const theirs = fixedPartsOf(family, other.exemplar)
    const shared = theirs.filter((part) => own.has(part)).length
    const distance = own.size + theirs.length - 2 * shared
    if (distance < least) [best, least] = [index, distance]
  }
  return best
}

/** A request leaves memory: it is counted where it stands, with the nearest version if its shape is none. */
export function forget(family: Family, entry: Entry): void {
  if (entry.version < 0) {
    const index = nearestTo(
      family,
      entry,
      (other) => family.versions.get(other)!.name !== undefined,
    )
    if (index < 0) return
    entry.version = index
    countRun(family.versions.get(index)!, entry)
  }
  if (entry.told !== entry.version && entry.ref !== undefined)
    wait(family.versions.get(entry.version)!, [entry.ref])
}

/** Tells which runs belong to which numbered version, where that is not what their callers were told. */
export function report(family: Family, tell: Tell): void {
  for (const entry of family.recent) {
    const version = family.versions.get(entry.version)
    if (version?.name === undefined || entry.told === entry.version) continue
    entry.told = entry.version
    if (entry.ref !== undefined) version.waiting.push(entry.ref)
  }
  for (const version of family.versions.values()) {
    if (version.name === undefined || version.waiting.length === 0) continue
    tell({
      type: 'assigned',
      registry: family.registry,
      versionId: `${family.registry}@${version.name}`,
      refs: version.waiting,
    })
    version.waiting = []
  }
}

/** One explicit name over two skeletons, each seen often. Told once a name. */
export function findConflicts(family: Family, tell: Tell): void {
  const byLabel = new Map<string, Map<number, number>>()
  for (const entry of family.recent) {
    if (entry.label === undefined || family.conflicts.has(entry.label)) continue
    const shapes = byLabel.get(entry.label) ?? new Map<number, number>()
    const key = skeletonOf(family, entry)
    shapes.set(key, (shapes.get(key) ?? 0) + 1)
    byLabel.set(entry.label, shapes)
  }
  for (const [label, shapes] of byLabel) {
    const second = [...shapes.values()].sort((a, b) => b - a)[1] ?? 0
    if (second < limit.stableSlowMin || family.conflicts.size >= limit.versionsMax) continue
    family.conflicts.add(label)
    tell({
      type: 'version_conflict',
      registry: family.registry,
      versionId: `${family.registry}@${label}`,
      runs: second,
    })
  }
}
