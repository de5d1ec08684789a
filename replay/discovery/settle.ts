// Provisional versions get their number, are folded or wait; a flood pauses; and callers are told what was settled late.

import * as limit from './limits.ts'
import { fixedPartsOf, hasPartSince, lacksSplit, skeletonOf } from './shape.ts'
import type { Entry, Family, Reserved, Version } from './state.ts'
import { hashesOf, isStatic, templateOf } from './template.ts'
import { close, countRun, move, nameOfShape, type Tell, wait } from './versions.ts'

/** Provisional versions that have shown enough get their number; those that never do are folded. */
export function settle(
  family: Family,
  given: { atMs: number; tell: Tell; reserved: Reserved | undefined },
): void {
  const { atMs, tell } = given
  family.newVersionsAt = family.newVersionsAt.filter((at) => at > atMs - limit.hourMs)
  for (const [index, version] of [...family.versions]) {
    if (version.status === 'variant' && hasTakenOver(family, version.key)) reopen(family, index)
    if (isTellable(family, version)) announce(family, { index, tell })
    if (version.status !== 'provisional') continue
    if (isProven(family, index, atMs)) number(family, { ...given, index })
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

// Something that no version had before it, or another set of tools, or a line less that an edit took away. What merely lacks
// another line, or mixes parts that were there all along, may be a condition or a variable.
function isNews(family: Family, version: Version, nearest: number): boolean {
  const other = family.versions.get(nearest)!
  return (
    other.exemplar.around !== version.exemplar.around ||
    hasPartSince(family, version.exemplar, other.bornAt) ||
    lacksSplit(family, version.exemplar, other.exemplar)
  )
}

function hasTakenOver(family: Family, key: number): boolean {
  const latest = family.recent.slice(-limit.takeoverWindow)
  const own = latest.filter((entry) => entry.key === key)
  return own.length >= limit.takeoverShareMin * latest.length
}

// A version that its callers name, once enough is known to make prompts with it.
function isTellable(family: Family, version: Version): boolean {
  if (version.announced || version.exemplar.label === undefined) return false
  if (isStatic(version)) return true
  const template = templateOf(family, version)
  return version.runs >= limit.stableMin && template !== undefined && template.literals.length > 0
}

function number(
  family: Family,
  given: { index: number; atMs: number; tell: Tell; reserved: Reserved | undefined },
): void {
  const version = family.versions.get(given.index)!
  const names = new Set([...family.versions.values()].map((other) => other.name))
  // Found again after it was forgotten: the registry has a name for it.
  const known = nameOfContent(given.reserved, hashesOf(family, version).content)
  if (known !== undefined && !names.has(known)) {
    version.name = known
    announce(family, given)
    return
  }
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
  const isTaken = (name: string) => names.has(name) || given.reserved?.versions.has(name) === true
  while (isTaken(`v${family.nextNumber}`)) family.nextNumber++
  version.name = `v${family.nextNumber++}`
  // A family's first version is no edit, so it does not count towards a flood.
  if (version.name !== 'v1') family.newVersionsAt.push(given.atMs)
  announce(family, given)
}

function nameOfContent(reserved: Reserved | undefined, content: string): string | undefined {
  for (const [name, known] of reserved?.versions ?? []) if (known === content) return name
  return undefined
}

/** Tells what a version is, once. */
export function announce(family: Family, given: { index: number; tell: Tell }): void {
  const version = family.versions.get(given.index)!
  version.status = 'stable'
  version.announced = hashesOf(family, version)
  const facts = stableFactsOf(family, given.index)
  if (facts) given.tell(facts)
}

/** What was told of a version; undefined while nothing was. */
export function stableFactsOf(family: Family, index: number) {
  const version = family.versions.get(index)
  if (version?.announced === undefined || version.name === undefined) return undefined
  return {
    type: 'version_stable' as const,
    registry: family.registry,
    shape: nameOfShape(family, index),
    versionId: `${family.registry}@${version.name}`,
    hashes: version.announced,
    runs: version.runs,
    firstSeenMs: version.firstSeenMs,
    rendered: { checked: version.checked, equal: version.equal },
  }
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
