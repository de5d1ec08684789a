// Which family a request belongs to: the one whose core it contains, where a line that many families share counts little.

import { coreShareMin, coreWindow, familiesPerKeyMax, sameToolsBonus } from './limits.ts'
import { keysOf } from './pool.ts'
import type { Entry, Family, Workspace } from './state.ts'
import type { Line } from './text.ts'

const triedMax = 4

/** The family of a request; undefined when none fits. */
export function findFamily(
  workspace: Workspace,
  lines: readonly Line[],
  tools: string,
): Family | undefined {
  const keys = new Set<number>()
  for (const line of lines) for (const key of keysOf(line)) keys.add(key)
  const votes = new Map<number, number>()
  for (const key of keys) {
    const families = workspace.index.get(key)
    if (!families) continue
    for (const id of families) votes.set(id, (votes.get(id) ?? 0) + 1 / families.length)
  }
  const tried = [...votes].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, triedMax)
  let best: Family | undefined
  let bestShare = coreShareMin
  for (const [id] of tried) {
    const family = workspace.families.get(id)
    if (!family) continue
    const bonus = tools !== '' && family.tools === tools ? sameToolsBonus : 0
    const share = shareOf(workspace, family, keys) + bonus
    if (share >= bestShare && (best === undefined || share > bestShare))
      [best, bestShare] = [family, share]
  }
  return best
}

function shareOf(workspace: Workspace, family: Family, keys: Set<number>): number {
  let [all, shared] = [0, 0]
  for (const places of family.core) {
    const weight = 1 / (workspace.index.get(places[0]!)?.length ?? 1)
    all += weight
    if (places.some((key) => keys.has(key))) shared += weight
  }
  return all === 0 ? 0 : shared / all
}

/** The core as of the latest requests: lines that half of them have. It follows the versions. */
export function refreshCore(workspace: Workspace, family: Family): void {
  unindex(workspace, family)
  const latest = family.recent.slice(-coreWindow)
  const counts = new Map<number, number>()
  for (const entry of latest)
    for (const id of entry.groups) counts.set(id, (counts.get(id) ?? 0) + 1)
  family.core = []
  const usual = [...counts].filter(
    ([id, times]) => times * 2 >= latest.length && family.groups.has(id),
  )
  const fixed = usual.filter(([id]) => family.groups.get(id)!.presence.fixed)
  for (const [id] of fixed.length > 0 ? fixed : usual) {
    const group = family.groups.get(id)!
    family.core.push(placesOf(latest, id, group.only))
  }
  for (const places of family.core)
    for (const key of places) {
      const families = workspace.index.get(key) ?? []
      if (families.length >= familiesPerKeyMax || families.includes(family.id)) continue
      families.push(family.id)
      workspace.index.set(key, families)
    }
}

// A group's lines as they came lately, as long as they are few; the places it is found by when its words change.
function placesOf(latest: readonly Entry[], id: number, only: Line): number[] {
  const lines = new Map<number, Line>()
  for (const entry of latest.slice(-8)) {
    const line = entry.lines[entry.groups.indexOf(id)]
    if (line) lines.set(line.key, line)
  }
  const found = new Set<number>()
  for (const line of lines.size > 0 ? lines.values() : [only])
    for (const key of lines.size > 1 ? keysOf(line) : [line.key]) found.add(key)
  return found.size > 0 ? [...found] : [only.key]
}

export function unindex(workspace: Workspace, family: Family): void {
  for (const places of family.core)
    for (const key of places) {
      const left = (workspace.index.get(key) ?? []).filter((id) => id !== family.id)
      if (left.length > 0) workspace.index.set(key, left)
      else workspace.index.delete(key)
    }
}
