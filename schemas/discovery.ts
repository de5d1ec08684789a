// What prompt discovery is told about a call, and what it tells the registry: families found, versions numbered, merges.

/** A call as discovery sees it. Texts are read and let go; what stays is bounded (replay/discovery/limits.ts). */
export type Observation = {
  workspace: string
  /** The run this is; comes back in `assigned` events. Without one, a late assignment is not reported. */
  ref?: string
  /** System and developer messages are the prompt; without any, the first user message is. */
  messages: readonly { role: string; content: unknown }[]
  tools?: unknown
  responseFormat?: unknown
  /** Decoding parameters as a class (`deterministic`, `creative`), not as numbers: a nudge is no new version. */
  paramsClass?: string
  /** Explicit evidence: a slug and a version name that the caller gave. */
  slug?: string
  version?: string
  /** Who is behind the call, when known: a version that one user alone has seen stays provisional for longer. */
  user?: string
  /** `replay` never feeds discovery. */
  origin?: string
  atMs: number
}

/** What is known when headers leave. `versionId` is `support@v2`, absent while the version is provisional. */
export type Sighting = { registry?: string; versionId?: string }

/** A version's parts by hash, so that "same text, other tools" can be said. */
export type VersionHashes = {
  content: string
  text: string
  tools: string
  responseFormat: string
  params: string
}

export type DiscoveryEvent = { workspace: string; atMs: number } & (
  | { type: 'family_found'; registry: string; source: 'auto_backfill'; explicit: boolean }
  /** Seen often enough to be watched; `shape` names it until it has a number. */
  | { type: 'version_provisional'; registry: string; shape: string; runs: number }
  /** Numbered, status `observed`. From here on an experiment may start, unless `paused`. */
  | {
      type: 'version_stable'
      registry: string
      shape: string
      versionId: string
      hashes: VersionHashes
      runs: number
      firstSeenMs: number
      /** Of the prompts checked so far, how many the template gives back byte for byte. */
      rendered: { checked: number; equal: number }
    }
  /** Two versions turned out to differ in a variable only. Ids keep their meaning: this is an edge, history stays. */
  | { type: 'version_merged'; registry: string; from: string; into: string; reason: string }
  /** A shape too rare for a number is counted with its nearest version. */
  | { type: 'variant_folded'; registry: string; shape: string; into: string; runs: number }
  /** One explicit version name over two contents. */
  | { type: 'version_conflict'; registry: string; versionId: string; runs: number }
  /** Too many new versions within the hour: a variable rather than edits. No more are numbered until resumed. */
  | { type: 'registry_paused'; registry: string; newVersions: number }
  /** Runs that left without their version, or with another one. */
  | { type: 'assigned'; registry: string; versionId: string; refs: string[] }
)

/** What is told of a version once it is known well enough. */
export type StableEvent = Extract<DiscoveryEvent, { type: 'version_stable' }>
