// Families of a workspace: those that a caller names, and those that form among the requests that fit none.

import { count, newFamily, place } from './family.ts'
import * as limit from './limits.ts'
import { unindex } from './match.ts'
import { nameFamily } from './naming.ts'
import { findClusters } from './pool.ts'
import type { Seen } from './read.ts'
import * as settling from './settle.ts'
import { oldestOf } from './size.ts'
import type { Entry, Family, Workspace } from './state.ts'
import { look, teller } from './watch.ts'

export function explicitFamily(workspace: Workspace, slug: string, entry: Entry): Family {
  const known = workspace.families.get(workspace.bySlug.get(slug) ?? 0)
  if (known) return known
  return addFamily(workspace, { registry: slug, explicit: true, entry })
}

function addFamily(
  workspace: Workspace,
  given: { registry: string; explicit: boolean; entry: Entry },
): Family {
  if (workspace.families.size >= limit.familiesMax) dropFamily(workspace, oldestOf(workspace)!)
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

/** Forgets a family and where it is found; its names stay the registry's. */
export function dropFamily(workspace: Workspace, family: Family): void {
  unindex(workspace, family)
  workspace.families.delete(family.id)
  workspace.bySlug.delete(family.registry)
}

export function addToPool(workspace: Workspace, seen: Seen): void {
  if (workspace.pool.length >= limit.poolMax) {
    workspace.pool.shift()
    workspace.poolDropped++
  }
  workspace.pool.push({ entry: seen.entry, head: seen.head })
  workspace.pooledSince++
  if (workspace.pooledSince >= limit.poolEvery) formFamilies(workspace, seen.entry.atMs)
}

export function formFamilies(workspace: Workspace, atMs: number): void {
  workspace.pooledSince = 0
  for (const members of findClusters(workspace.pool, workspace.seq)) {
    const first = members[0]!
    const registry = nameFamily(
      first.head,
      (slug) => workspace.bySlug.has(slug) || workspace.reserved.get(slug)?.isDeclared === true,
    )
    const family = addFamily(workspace, { registry, explicit: false, entry: first.entry })
    for (const { entry } of members) {
      entry.groups = place(family, entry.lines)
      for (const gone of count(family, entry).forgotten) settling.forget(family, gone)
    }
    const gone = new Set(members)
    workspace.pool = workspace.pool.filter((pooled) => !gone.has(pooled))
    look(workspace, family, atMs)
  }
}
