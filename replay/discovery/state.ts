// What discovery remembers: plain data only, so that it can be written down and read back as it was.

import type { DiscoveryEvent, VersionHashes } from '../../schemas/discovery.ts'
import type { Line } from './text.ts'

export type { Line }

/** How regularly one part of a prompt has been there, on the clock of what it belongs to. */
export type Presence = {
  count: number
  first: number
  last: number
  /** When it was first seen, and when it became fixed, on the clock of its family; -1 while it is not. */
  born: number
  fixedAt: number
  /** Blocks in which it was never absent. */
  full: number
  block: number
  inBlock: number
  /** Part of the skeleton. Stays so through a rollout; taken back only when it proves to come and go. */
  fixed: boolean
  /** How often that was taken back; each time it must prove itself for longer. */
  demoted: number
  /** It came or went for a share of the traffic, at once: an edit, so that it may go on coming and going. */
  split?: boolean
}

/** Lines that are one line of the template, whatever its variables held. */
export type Group = {
  id: number
  presence: Presence
  /** Its own clock: lines seen. */
  seen: number
  /** The first line; while no other came, the group has no words of its own. */
  only: Line
  words?: Map<number, Presence>
  /** The fixed lines that it stood between, 0 for none: an edited line keeps its place, a retrieved one has none. */
  before: number
  after: number
  /** The line key and places it was filed under. */
  keys: number[]
}

/** A request as lines in groups. `lines` and `groups` go together. */
export type Entry = {
  seq: number
  ref: string | undefined
  atMs: number
  lines: Line[]
  groups: number[]
  /** Tools, response format and parameters in one. */
  around: number
  hashes: { tools: string; responseFormat: string; params: string }
  user: number
  /** The version name that the caller gave. */
  label: string | undefined
  key: number
  /** Index of the version it was counted with, or -1. */
  version: number
  /** The version whose id the caller was last told, or -1. */
  told: number
}

export type Version = {
  key: number
  exemplar: Entry
  runs: number
  firstSeenMs: number
  lastSeenMs: number
  /** Of the family's clock, when it was made. */
  bornAt: number
  users: number[]
  /** A variant is too rare or too mixed for a number, and is counted with the version `into`. */
  status: 'provisional' | 'stable' | 'variant'
  into: number
  /** `v2`; absent until stable. */
  name: string | undefined
  /** A prompt of this version as it came, to make the template from. */
  sample: { text: string; groups: number[] } | undefined
  checked: number
  equal: number
  /** Requests whose prompt was held against the sample, and how many were the very same text. */
  compared: number
  same: number
  /** What the registry was told that it is; later words do not change it. */
  announced: VersionHashes | undefined
  /** Runs of its own that nobody was told about yet. */
  waiting: string[]
}

export type Family = {
  id: number
  registry: string
  explicit: boolean
  clock: number
  nextGroup: number
  nextNumber: number
  groups: Map<number, Group>
  byKey: Map<number, number>
  byPlace: Map<number, number[]>
  recent: Entry[]
  versions: Map<number, Version>
  nextVersion: number
  /** Skeleton key to version. */
  byShape: Map<number, number>
  /** Where the index of the workspace knows it, and by which weight each counts. */
  core: number[][]
  tools: string
  evaluatedAt: number
  evaluatedMs: number
  /** Something appeared or vanished since the last look. */
  unsettled: boolean
  newVersionsAt: number[]
  paused: boolean
  conflicts: Set<string>
  lastSeenMs: number
  /** The latest call: a version found by it, and by no call after it, has its sample from here. */
  latest: { entry: Entry; text: string } | undefined
  /** As of the last look (size.ts), and the lines of `recent`. */
  bytes: number
  recentLines: number
}

export type Pooled = { entry: Entry; head: string }

export type Known = { family: number; lines: Line[]; groups: number[] }

export type Workspace = {
  id: string
  seq: number
  nextFamily: number
  families: Map<number, Family>
  bySlug: Map<string, number>
  /** Line and place keys of every family's core. */
  index: Map<number, number[]>
  pool: Pooled[]
  pooledSince: number
  poolDropped: number
  /** Lines by the hash of their text, and whole prompts by theirs. */
  lines: Map<number, Line>
  exact: Map<string, Known>
  events: DiscoveryEvent[]
  eventsDropped: number
  bytes: number
  weighedAt: number
  /** Families, or all lines, that were let go for room. */
  dropped: number
  /** Names that the registry has already: they are not given again, unless to the same content. */
  reserved: Map<string, Reserved>
}

/** Of one registry: its versions, by name, with the hash of their content where that is known. */
export type Reserved = { isDeclared: boolean; versions: Map<string, string> }

export function newWorkspace(id: string): Workspace {
  return {
    id,
    seq: 0,
    nextFamily: 1,
    families: new Map(),
    bySlug: new Map(),
    index: new Map(),
    pool: [],
    pooledSince: 0,
    poolDropped: 0,
    lines: new Map(),
    exact: new Map(),
    events: [],
    eventsDropped: 0,
    bytes: 0,
    weighedAt: 0,
    dropped: 0,
    reserved: new Map(),
  }
}

export function newPresence(born: number): Presence {
  return {
    count: 0,
    first: -1,
    last: -1,
    born,
    fixedAt: -1,
    full: 0,
    block: -1,
    inBlock: 0,
    fixed: false,
    demoted: 0,
  }
}

/** Makes room for one more: the first of a map is the one longest unused. */
export function keepBelow<K, V>(map: Map<K, V>, max: number): void {
  while (map.size >= max) map.delete(map.keys().next().value as K) // not empty: its size is above zero
}
