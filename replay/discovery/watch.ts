// A request in its family: counted, given its version if that has a number, and at times the occasion to look at it all again.

import type { Sighting } from '../../schemas/discovery.ts'
import { count, forgetWords } from './family.ts'
import * as limit from './limits.ts'
import { fixSteady, sortMixed } from './look.ts'
import { refreshCore } from './match.ts'
import type { Seen } from './read.ts'
import * as settling from './settle.ts'
import { shapeOf } from './shape.ts'
import { bytesOfFamily, weigh } from './size.ts'
import type { Entry, Family, Version, Workspace } from './state.ts'
import { isRendered, isStatic, templateOf } from './template.ts'
import * as versions from './versions.ts'

// Of the prompts of a version, every so many is checked against its template.
const checkEvery = 8

/** Counts a placed request with its family and says which version it is of, if that has a number. */
export function admit(workspace: Workspace, family: Family, seen: Seen): Sighting {
  const { entry } = seen
  const tell = teller(workspace, entry.atMs)
  const { forgotten, isReworded } = count(family, entry)
  for (const gone of forgotten) settling.forget(family, gone)
  if (isReworded) versions.reshape(family, [], tell)
  entry.key = shapeOf(family, entry)
  let index = versions.homeOf(family, entry.key)
  if (index === undefined && entry.label !== undefined)
    index = versions.begin(family, { key: entry.key, entries: [], exemplar: entry, tell })
  const version = index === undefined ? undefined : family.versions.get(index)
  if (version && index !== undefined) {
    entry.version = index
    versions.countRun(version, entry)
    check(family, version, seen)
    // Whoever names a version of one text need not wait for a look.
    if (!version.announced && entry.label !== undefined && isStatic(version))
      settling.announce(family, { index, tell })
  }
  family.latest = seen.text.length <= limit.sampleCharsMax ? { entry, text: seen.text } : undefined
  if (version?.status === 'stable') entry.told = entry.version
  else family.unsettled = true
  const since = family.clock - family.evaluatedAt
  const isDue =
    since >= limit.lookAnywayEvery ||
    (since >= limit.lookEvery && family.unsettled) ||
    entry.atMs - family.evaluatedMs >= limit.lookAfterMs
  if (isDue) look(workspace, family, entry.atMs)
  const id = version?.status === 'stable' && entry.told === index ? version.name : undefined
  return {
    registry: family.registry,
    ...(id === undefined ? {} : { versionId: `${family.registry}@${id}` }),
  }
}

// A provisional version is checked every time, so that it knows its rate by the time it gets its number.
function check(family: Family, version: Version, seen: Seen): void {
  if (version.sample === undefined) {
    if (seen.text.length <= limit.sampleCharsMax) takeSample(version, seen)
    version.compared = 1
    version.same = 1
    return
  }
  version.compared++
  if (seen.text === version.sample.text) version.same++
  if (version.status === 'stable' && version.runs % checkEvery !== 0) return
  const template = templateOf(family, version)
  if (!template) return
  version.checked++
  if (isRendered(template, seen.text)) version.equal++
}

function takeSample(version: Version, { entry, text }: { entry: Entry; text: string }): void {
  // A copy of its own: the text may be a piece of a whole request.
  version.sample = { text: Buffer.from(text).toString(), groups: entry.groups }
}

/** A version that the end of a burst was of has no call more to make a template from. */
function sampleLatest({ latest, versions: known }: Family): void {
  const version = latest && known.get(latest.entry.version)
  if (!latest || version === undefined || version.sample !== undefined) return
  takeSample(version, latest)
  version.compared = 1
  version.same = 1
}

export function look(workspace: Workspace, family: Family, atMs: number): void {
  const tell = teller(workspace, atMs)
  const steady = fixSteady(family)
  const mixed = sortMixed(family)
  versions.reshape(family, [...steady, ...mixed], tell)
  versions.regroup(family, tell)
  settling.settle(family, {
    atMs,
    tell,
    reserved: workspace.reserved.get(family.registry),
  })
  sampleLatest(family)
  settling.report(family, tell)
  if (family.explicit) settling.findConflicts(family, tell)
  forgetWords(family)
  refreshCore(workspace, family)
  family.bytes = bytesOfFamily(family)
  weigh(workspace)
  family.evaluatedAt = family.clock
  family.evaluatedMs = atMs
  family.unsettled = [...family.versions.values()].some((one) => one.status === 'provisional')
}

export function teller(workspace: Workspace, atMs: number): versions.Tell {
  return (fact) => {
    if (workspace.events.length >= limit.eventsMax) {
      workspace.events.shift()
      workspace.eventsDropped++
    }
    workspace.events.push({ workspace: workspace.id, atMs, ...fact })
  }
}
