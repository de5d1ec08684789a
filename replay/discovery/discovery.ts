// Prompt versions from raw traffic, online: one call in, what is known out, events for the registry beside it. No clock, no
// chance, no I/O: the same observations in the same order give the same state.

import { deserialize, serialize } from 'node:v8'
import type { DiscoveryEvent, Observation, Sighting, StableEvent } from '../../schemas/discovery.ts'
import { toSlug, toVersion } from '../../schemas/prompt.ts'
import { addToPool, dropFamily, explicitFamily, formFamilies } from './families.ts'
import { place } from './family.ts'
import * as limit from './limits.ts'
import { findFamily } from './match.ts'
import { readObservation, type Seen } from './read.ts'
import { stableFactsOf } from './settle.ts'
import { keepWithin, weigh } from './size.ts'
import { type Family, keepBelow, newWorkspace, type Reserved, type Workspace } from './state.ts'
import { type Template, templateOf } from './template.ts'
import { admit, look } from './watch.ts'

// The form of a snapshot; another one is not read.
const snapshotForm = 2

export type Discovery = {
  /** What is known of a call's prompt now. Replays are not looked at. */
  observe(observation: Observation): Sighting
  /** Events since the last time, oldest first; at most `eventsMax` a workspace wait, older ones are let go and counted. */
  drain(): DiscoveryEvent[]
  /** Looks at everything again, at the end of a stream or before a snapshot, so that nothing waits for the next call. */
  look(atMs: number): void
  /** After a flood, when a person has looked: versions are numbered again. */
  resume(workspace: string, registry: string): void
  /** Lets go of every text of a workspace; what a version is stays, as numbers. Templates come again with the next call of each. */
  forgetTexts(workspace: string): void
  /** Names that the registry has: no other content gets them, and a declared registry is not taken for a found one. */
  reserve(workspace: string, registry: string, names: Reserved): void
  /** Literals and slots of a version; undefined while it has no sample. */
  template(workspace: string, versionId: string): Template | undefined
  /** Every version that was told, as it was. */
  versions(): StableEvent[]
  figures(): {
    workspaces: number
    families: number
    pooled: number
    poolDropped: number
    eventsDropped: number
    /** Families let go for room, and all that is held, as estimated. */
    dropped: number
    bytes: number
  }
  snapshot(): Uint8Array
}

/**
 * A new discovery, or one as it was when the snapshot was made. Throws for a snapshot of another form. It holds at most
 * `bytesMax`, as size.ts estimates them.
 */
export function openDiscovery(snapshot?: Uint8Array, bytesMax: number = limit.bytesMax): Discovery {
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
      const workspace = workspaceOf(observation.workspace)
      const sighting = observe(workspace, observation)
      if (workspace.seq - workspace.weighedAt >= limit.weighEvery) {
        workspace.weighedAt = workspace.seq
        weigh(workspace)
        keepWithin(workspaces, bytesMax, dropFamily)
      }
      return sighting
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
    forgetTexts(workspace) {
      const found = workspaces.get(workspace)
      if (!found) return
      found.pool = []
      for (const family of found.families.values()) {
        family.latest = undefined
        for (const version of family.versions.values()) version.sample = undefined
      }
    },
    reserve(workspace, registry, names) {
      const { reserved } = workspaceOf(workspace)
      const known = reserved.get(registry)
      const all = new Map([...(known?.versions ?? []), ...names.versions])
      keepBelow(all, limit.reservedVersionsMax + 1)
      if (!known) keepBelow(reserved, limit.reservedMax)
      reserved.set(registry, { isDeclared: names.isDeclared, versions: all })
    },
    template(workspace, versionId) {
      const [registry, name] = versionId.split('@')
      const found = workspaces.get(workspace)
      const family = found?.families.get(found.bySlug.get(registry ?? '') ?? 0)
      const version = [...(family?.versions.values() ?? [])].find((one) => one.name === name)
      return family && version ? templateOf(family, version) : undefined
    },
    versions: () => [...workspaces.values()].flatMap(toldOf),
    figures: () => figuresOf([...workspaces.values()]),
    snapshot: () => serialize({ form: snapshotForm, workspaces }),
  }
}

function toldOf(workspace: Workspace): StableEvent[] {
  return [...workspace.families.values()].flatMap((family) =>
    [...family.versions.keys()].flatMap((index) => {
      const facts = stableFactsOf(family, index)
      return facts ? [{ workspace: workspace.id, atMs: family.lastSeenMs, ...facts }] : []
    }),
  )
}

function figuresOf(all: Workspace[]): ReturnType<Discovery['figures']> {
  const sum = (of: (workspace: Workspace) => number) => all.reduce((n, one) => n + of(one), 0)
  return {
    workspaces: all.length,
    families: sum((one) => one.families.size),
    pooled: sum((one) => one.pool.length),
    poolDropped: sum((one) => one.poolDropped),
    eventsDropped: sum((one) => one.eventsDropped),
    dropped: sum((one) => one.dropped),
    bytes: sum((one) => one.bytes),
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
