// Prompt versions from raw traffic, online: one call in, what is known out, events for the registry beside it. No clock, no
// chance, no I/O: the same observations in the same order give the same state.

import { deserialize, serialize } from 'node:v8'
import type { DiscoveryEvent, Observation, Sighting } from '../../schemas/discovery.ts'
import { toSlug, toVersion } from '../../schemas/prompt.ts'
import { count, newFamily, place } from './family.ts'
import * as limit from './limits.ts'
import { fixSteady, sortMixed } from './look.ts'
import { findFamily, refreshCore, unindex } from './match.ts'
import { nameFamily } from './naming.ts'
import { findClusters } from './pool.ts'
import { readObservation, type Seen } from './read.ts'
import * as settling from './settle.ts'
import { shapeOf } from './shape.ts'
import {
  type Entry,
  type Family,
  keepBelow,
  newWorkspace,
  type Version,
  type Workspace,
} from './state.ts'
import { isRendered, type Template, templateOf } from './template.ts'
import * as versions from './versions.ts'

// The form of a snapshot; another one is not read.
const snapshotForm = 1
// Of the prompts of a version, every so many is checked against its template.
const checkEvery = 8

export type Discovery = {
  /** What is known of a call's prompt now. Replays are not looked at. */
  observe(observation: Observation): Sighting
  /** Events since the last time, oldest first; at most `eventsMax` a workspace wait, older ones are let go and counted. */
  drain(): DiscoveryEvent[]
  /** Looks at everything again, at the end of a stream or before a snapshot, so that nothing waits for the next call. */
  look(atMs: number): void
  /** After a flood, when a person has looked: versions are numbered again. */
  resume(workspace: string, registry: string): void
  /** Literals and slots of a version; undefined while it has no sample. */
  template(workspace: string, versionId: string): Template | undefined
  figures(): {
    workspaces: number
    families: number
    pooled: number
    poolDropped: number
    eventsDropped: number
  }
  snapshot(): Uint8Array
}

/** A new discovery, or one as it was when the snapshot was made. Throws for a snapshot of another form. */
export function openDiscovery(snapshot?: Uint8Array): Discovery {
  const workspaces = snapshot ? readSnapshot(snapshot) : new Map<string, Workspace>()

  function workspaceOf(id: string): Workspace {
    let found = workspaces.get(id)
    if (found) workspaces.delete(id)
    else {
      keepBelow(workspaces, limit.workspacesMax)
      found = newWorkspace(id)
    }
    // The longest unseen is first, and goes first.
    workspaces.set(id, found)
    return found
  }

  return {
    observe(observation) {
      if (observation.origin === 'replay') return {}
      return observe(workspaceOf(observation.workspace), observation)
    },
    drain() {
      const all = [...workspaces.values()].flatMap((workspace) => workspace.events.splice(0))
      return all
    },
    look(atMs) {
      for (const workspace of workspaces.values()) {
        formFamilies(workspace, atMs)
        for (const family of workspace.families.values()) look(workspace, family, atMs)
      }
    },
    resume(workspace, registry) {
      const found = workspaces.get(workspace)
      const family = found?.families.get(found.bySlug.get(registry) ?? 0)
      if (!family) return
      family.paused = false
      family.newVersionsAt = []
    },
    template(workspace, versionId) {
      const [registry, name] = versionId.split('@')
      const found = workspaces.get(workspace)
      const family = found?.families.get(found.bySlug.get(registry ?? '') ?? 0)
      const version = [...(family?.versions.values() ?? [])].find((one) => one.name === name)
      return family && version ? templateOf(family, version) : undefined
    },
    figures() {
      const all = [...workspaces.values()]
      const sum = (of: (workspace: Workspace) => number) => all.reduce((n, one) => n + of(one), 0)
      return {
        workspaces: all.length,
        families: sum((one) => one.families.size),
        pooled: sum((one) => one.pool.length),
        poolDropped: sum((one) => one.poolDropped),
        eventsDropped: sum((one) => one.eventsDropped),
      }
    },
    snapshot: () => serialize({ form: snapshotForm, workspaces }),
  }
}

function readSnapshot(bytes: Uint8Array): Map<string, Workspace> {
  const read: unknown = deserialize(bytes)
  const { form, workspaces } = Object(read)
  if (form !== snapshotForm || !(workspaces instanceof Map))
    throw new Error(`A snapshot of discovery has form ${String(form)}; ${snapshotForm} is read.`)
  return workspaces
}

function observe(workspace: Workspace, observation: Observation): Sighting {
  const seen = readObservation(workspace, observation)
  if (!seen) return {}
  const { entry } = seen
  const slug = observation.slug === undefined ? undefined : toSlug(observation.slug)
  if (slug === undefined) entry.label = undefined
  else if (observation.version !== undefined) entry.label = toVersion(observation.version)
  const family =
    slug === undefined ? findKnownFamily(workspace, seen) : explicitFamily(workspace, slug, entry)
  if (!family) {
    addToPool(workspace, seen)
    return {}
  }
  const groups = seen.known?.family === family.id ? seen.known.groups : undefined
  entry.groups = groups ?? place(family, entry.lines)
  remember(workspace, seen, family)
  return admit(workspace, family, seen)
}

function findKnownFamily(workspace: Workspace, seen: Seen): Family | undefined {
  const known = seen.known && workspace.families.get(seen.known.family)
  return known ?? findFamily(workspace, seen.entry.lines, seen.entry.hashes.tools)
}

function remember(workspace: Workspace, seen: Seen, family: Family): void {
  workspace.exact.delete(seen.exactKey)
  keepBelow(workspace.exact, limit.exactMax)
  workspace.exact.set(seen.exactKey, {
    family: family.id,
    lines: seen.entry.lines,
    groups: seen.entry.groups,
  })
}

function explicitFamily(workspace: Workspace, slug: string, entry: Entry): Family {
  const known = workspace.families.get(workspace.bySlug.get(slug) ?? 0)
  if (known) return known
  return addFamily(workspace, { registry: slug, explicit: true, entry })
}

function addFamily(
  workspace: Workspace,
  given: { registry: string; explicit: boolean; entry: Entry },
): Family {
  if (workspace.families.size >= limit.familiesMax) dropFamily(workspace)
  const family = newFamily({
    id: workspace.nextFamily++,
    registry: given.registry,
    explicit: given.explicit,
    tools: given.entry.hashes.tools,
    atMs: given.entry.atMs,
  })
  workspace.families.set(family.id, family)
  workspace.bySlug.set(family.registry, family.id)
  teller(
    workspace,
    given.entry.atMs,
  )({
    type: 'family_found',
    registry: family.registry,
    source: 'auto_backfill',
    explicit: family.explicit,
  })
  return family
}

function dropFamily(workspace: Workspace): void {
  const [oldest] = [...workspace.families.values()].sort(
    (a, b) => a.lastSeenMs - b.lastSeenMs || a.id - b.id,
  )
  if (!oldest) return
  unindex(workspace, oldest)
  workspace.families.delete(oldest.id)
  workspace.bySlug.delete(oldest.registry)
}

/** Counts a placed request with its family and says which version it is of, if that has a number. */
function admit(workspace: Workspace, family: Family, seen: Seen): Sighting {
  const { entry } = seen
  const tell = teller(workspace, entry.atMs)
  const { forgotten, isReworded } = count(family, entry)
  if (forgotten) settling.forget(family, forgotten)
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
  }
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
    if (seen.text.length <= limit.sampleCharsMax)
      version.sample = { text: Buffer.from(seen.text).toString(), groups: seen.entry.groups }
    return
  }
  if (version.status === 'stable' && version.runs % checkEvery !== 0) return
  const template = templateOf(family, version)
  if (!template) return
  version.checked++
  if (isRendered(template, seen.text)) version.equal++
}

function look(workspace: Workspace, family: Family, atMs: number): void {
  const tell = teller(workspace, atMs)
  const steady = fixSteady(family)
  const mixed = sortMixed(family)
  versions.reshape(family, [...steady, ...mixed], tell)
  versions.regroup(family, tell)
  settling.settle(family, atMs, tell)
  settling.report(family, tell)
  if (family.explicit) settling.findConflicts(family, tell)
  refreshCore(workspace, family)
  family.evaluatedAt = family.clock
  family.evaluatedMs = atMs
  family.unsettled = [...family.versions.values()].some((one) => one.status === 'provisional')
}

function addToPool(workspace: Workspace, seen: Seen): void {
  if (workspace.pool.length >= limit.poolMax) {
    workspace.pool.shift()
    workspace.poolDropped++
  }
  workspace.pool.push({ entry: seen.entry, head: seen.head })
  workspace.pooledSince++
  if (workspace.pooledSince >= limit.poolEvery) formFamilies(workspace, seen.entry.atMs)
}

function formFamilies(workspace: Workspace, atMs: number): void {
  workspace.pooledSince = 0
  for (const members of findClusters(workspace.pool, workspace.seq)) {
    const first = members[0]!
    const registry = nameFamily(first.head, (slug) => workspace.bySlug.has(slug))
    const family = addFamily(workspace, { registry, explicit: false, entry: first.entry })
    for (const { entry } of members) {
      entry.groups = place(family, entry.lines)
      const { forgotten } = count(family, entry)
      if (forgotten) settling.forget(family, forgotten)
    }
    const gone = new Set(members)
    workspace.pool = workspace.pool.filter((pooled) => !gone.has(pooled))
    look(workspace, family, atMs)
  }
}

function teller(workspace: Workspace, atMs: number): versions.Tell {
  return (fact) => {
    if (workspace.events.length >= limit.eventsMax) {
      workspace.events.shift()
      workspace.eventsDropped++
    }
    workspace.events.push({ workspace: workspace.id, atMs, ...fact })
  }
}
