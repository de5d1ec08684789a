// Registries and versions as Postgres holds them, and what they are to the rest. Every query binds the workspace.

import type { Template } from '../../replay/discovery/template.ts'
import type { VersionHashes } from '../../schemas/discovery.ts'
import type { PromptContent } from '../../schemas/prompt-content.ts'
import type { Actor, Canary, RegistryState } from '../../schemas/prompt-history.ts'
import type { PolicyChoices, PromptMode } from '../../schemas/prompt-policy.ts'
import type { Sql } from '../accounts/keys.ts'

export type RegistryAt = { workspace: string; registry: string }
export type VersionAt = RegistryAt & { version: string }

/** What a version is made of: what was declared, or what was learned of it in traffic. */
export type StoredContent =
  | ({ kind: 'declared' } & PromptContent)
  | { kind: 'discovered'; template: Template; tools?: unknown; response_format?: unknown }

export type VersionFacts = VersionAt & {
  versionId: string
  status: string
  source: 'auto_backfill' | 'declared'
  contentHash: string | null
  hashes: Omit<VersionHashes, 'content'> | null
  /** Undefined: known by name only. */
  content: StoredContent | undefined
  conflict: boolean
  mergedInto: string | null
  note: string | null
  firstSeenAt: Date
}

export type RegistryFacts = RegistryAt & {
  source: 'auto_backfill' | 'declared'
  state: RegistryState
}

type RegistryRow = {
  workspace: string
  registry_id: string
  display_name: string
  source: RegistryFacts['source']
  mode: PromptMode
  policy: PolicyChoices
  promoted: string | null
  promoted_by: Actor['kind'] | null
  earlier: string[]
  baseline: string | null
  pinned: string | null
  canary: Canary | null
  flooded: boolean
  held_back: string[]
  head_seq: number
  head_hash: string
}

type VersionRow = {
  workspace: string
  registry_id: string
  version: string
  status: string
  source: VersionFacts['source']
  content_hash: string | null
  hashes: VersionFacts['hashes']
  content: StoredContent | null
  conflict: boolean
  merged_into: string | null
  note: string | null
  first_seen_at: Date
}

const registryColumns = `workspace, registry_id, display_name, source, mode, policy, promoted, promoted_by, earlier, baseline,
  pinned, canary, flooded, held_back, head_seq, head_hash`
const versionColumns = `workspace, registry_id, version, status, source, content_hash, hashes, content, conflict, merged_into,
  note, first_seen_at`

export async function findRegistry(sql: Sql, at: RegistryAt): Promise<RegistryFacts | undefined> {
  const [row] = await sql.query<RegistryRow>(
    `SELECT ${registryColumns} FROM prompt_registries WHERE workspace = $1 AND registry_id = $2`,
    [at.workspace, at.registry],
  )
  return row && toRegistry(row)
}

/**
 * The row, held until the transaction ends, with the head of its history. Its key never changes, so rows that refer to it may
 * come meanwhile.
 */
export async function lockRegistry(
  sql: Sql,
  at: RegistryAt,
): Promise<(RegistryFacts & { head: { seq: number; hash: string } }) | undefined> {
  const [row] = await sql.query<RegistryRow>(
    `SELECT ${registryColumns} FROM prompt_registries WHERE workspace = $1 AND registry_id = $2 FOR NO KEY UPDATE`,
    [at.workspace, at.registry],
  )
  return row && { ...toRegistry(row), head: { seq: row.head_seq, hash: row.head_hash } }
}

export async function findVersion(sql: Sql, at: VersionAt): Promise<VersionFacts | undefined> {
  const [row] = await sql.query<VersionRow>(
    `SELECT ${versionColumns} FROM prompt_versions WHERE workspace = $1 AND registry_id = $2 AND version = $3`,
    [at.workspace, at.registry, at.version],
  )
  return row && toVersion(row)
}

/** All versions of a registry, in the order they were seen in. */
export async function listVersions(sql: Sql, at: RegistryAt): Promise<VersionFacts[]> {
  const rows = await sql.query<VersionRow>(
    `SELECT ${versionColumns} FROM prompt_versions WHERE workspace = $1 AND registry_id = $2 ORDER BY ordinal`,
    [at.workspace, at.registry],
  )
  return rows.map(toVersion)
}

/** Stores what the events fold to, and tells the processes that serve prompts. */
export async function saveState(
  sql: Sql,
  at: RegistryAt,
  given: { state: RegistryState; head: { seq: number; hash: string } },
): Promise<void> {
  const { state, head } = given
  await sql.query(
    `UPDATE prompt_registries SET display_name = $3, mode = $4, policy = $5, promoted = $6, promoted_by = $7, earlier = $8,
       baseline = $9, pinned = $10, canary = $11, flooded = $12, held_back = $13, head_seq = $14, head_hash = $15,
       changed = nextval('prompt_changes')
     WHERE workspace = $1 AND registry_id = $2`,
    [
      at.workspace,
      at.registry,
      state.displayName,
      state.mode,
      JSON.stringify(state.policy),
      state.promoted,
      state.promotedBy,
      state.earlier,
      state.baseline,
      state.pinned,
      state.canary && JSON.stringify(state.canary),
      state.flooded,
      state.heldBack,
      head.seq,
      head.hash,
    ],
  )
}

export async function setVersionStatus(sql: Sql, at: VersionAt, status: string): Promise<void> {
  await sql.query(
    'UPDATE prompt_versions SET status = $4 WHERE workspace = $1 AND registry_id = $2 AND version = $3',
    [at.workspace, at.registry, at.version, status],
  )
}

function toRegistry(row: RegistryRow): RegistryFacts {
  return {
    workspace: row.workspace,
    registry: row.registry_id,
    source: row.source,
    state: {
      displayName: row.display_name,
      mode: row.mode,
      policy: row.policy,
      promoted: row.promoted,
      promotedBy: row.promoted_by,
      earlier: row.earlier,
      baseline: row.baseline,
      pinned: row.pinned,
      canary: row.canary,
      flooded: row.flooded,
      heldBack: row.held_back,
    },
  }
}

export function toVersion(row: VersionRow): VersionFacts {
  return {
    workspace: row.workspace,
    registry: row.registry_id,
    version: row.version,
    versionId: `${row.registry_id}@${row.version}`,
    status: row.status,
    source: row.source,
    contentHash: row.content_hash,
    hashes: row.hashes,
    content: row.content ?? undefined,
    conflict: row.conflict,
    mergedInto: row.merged_into,
    note: row.note,
    firstSeenAt: row.first_seen_at,
  }
}
