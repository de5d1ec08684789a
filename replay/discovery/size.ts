// What discovery holds, in bytes as V8 lays them out: estimated at each look, so that memory has a bound and not only counts do.

import type { Entry, Family, Known, Line, Workspace } from './state.ts'

// Measured with `--expose-gc` on generated traffic: estimates were 1.0 to 1.15 times what the heap had grown by.
const presenceBytes = 220
const groupBytes = 520
const entryBytes = 600
const versionBytes = 640
const lineBytes = 150
const slotBytes = 20
const keyBytes = 48

export function bytesOfFamily(family: Family): number {
  let bytes = 4_096 + family.byKey.size * keyBytes + family.byPlace.size * 2 * keyBytes
  for (const group of family.groups.values())
    bytes += groupBytes + (group.words?.size ?? 0) * presenceBytes
  for (const entry of family.recent) bytes += bytesOfEntry(entry)
  bytes += 2 * (family.latest?.text.length ?? 0)
  for (const version of family.versions.values())
    bytes += versionBytes + 2 * (version.sample?.text.length ?? 0) + bytesOfEntry(version.exemplar)
  return bytes
}

function bytesOfEntry(entry: Entry): number {
  return entryBytes + entry.lines.length * slotBytes
}

/** Without its families. */
export function bytesOfRest(workspace: Workspace): number {
  let bytes = 4_096 + workspace.index.size * 2 * keyBytes
  for (const line of workspace.lines.values()) bytes += bytesOfLine(line)
  for (const known of workspace.exact.values()) bytes += bytesOfKnown(known)
  for (const { entry, head } of workspace.pool) bytes += bytesOfEntry(entry) + head.length
  return bytes
}

function bytesOfLine(line: Line): number {
  return lineBytes + keyBytes + line.tokens.length * 8
}

function bytesOfKnown(known: Known): number {
  return 2 * keyBytes + known.lines.length * slotBytes
}

/** Counts a workspace anew after one of its families, or nothing of it but its lines, has changed. */
export function weigh(workspace: Workspace): void {
  workspace.bytes = bytesOfRest(workspace)
  for (const family of workspace.families.values()) workspace.bytes += family.bytes
}

/**
 * Brings everything below the bound again: the largest workspace lets its longest unseen family go, and with no family left,
 * its lines. `drop` forgets a family and its names.
 */
export function keepWithin(
  workspaces: ReadonlyMap<string, Workspace>,
  bytesMax: number,
  drop: (workspace: Workspace, family: Family) => void,
): void {
  let total = 0
  for (const workspace of workspaces.values()) total += workspace.bytes
  while (total > bytesMax) {
    const [largest] = [...workspaces.values()].sort((a, b) => b.bytes - a.bytes)
    if (!largest) return
    const before = largest.bytes
    const oldest = oldestOf(largest)
    if (oldest && largest.families.size > 1) drop(largest, oldest)
    else {
      largest.lines.clear()
      largest.exact.clear()
      largest.pool = []
      if (oldest && bytesOfRest(largest) + oldest.bytes > bytesMax) drop(largest, oldest)
    }
    largest.dropped++
    weigh(largest)
    total += largest.bytes - before
    // Nothing more to let go: what is left is the fixed part.
    if (largest.bytes >= before) return
  }
}

export function oldestOf(workspace: Workspace): Family | undefined {
  let oldest: Family | undefined
  for (const family of workspace.families.values())
    if (!oldest || family.lastSeenMs < oldest.lastSeenMs) oldest = family
  return oldest
}
