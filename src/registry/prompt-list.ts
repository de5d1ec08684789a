// What GET /v1/prompts shows: registries and versions from Postgres, their figures from the stored runs.

import type { Canary } from '../../schemas/prompt-history.ts'
import {
  type PolicyChoices,
  type PromptMode,
  type PromptPolicy,
  policyInForce,
} from '../../schemas/prompt-policy.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Rows } from '../traces/traces.ts'

export type PromptVersion = {
  version_id: string
  status: string
  total_runs: number
  first_seen_at: string
  last_seen_at: string
  content_hash: string | null
  conflict: boolean
}

export type PromptRegistry = {
  registry_id: string
  display_name: string
  source: 'auto_backfill' | 'declared'
  latest_version_id: string | null
  promoted_version_id: string | null
  total_runs: number
  baseline_version_id: string | null
  pinned_version_id: string | null
  canary: { version_id: string; share: number } | null
  mode: PromptMode
  /** What a promotion does: gives the reference another name, or decides what answers. */
  promotion_effect: 'label_only' | 'routing'
  /** Too many new versions at once: no experiment starts by itself. */
  flooded: boolean
  policy: PromptPolicy
  versions: PromptVersion[]
}

/** A version as runs name it; times in milliseconds since 1970. */
export type SeenVersion = { version_id: string; runs: string; first: string; last: string }

// A call is counted once however often it was sent, and once when both its client and the proxy reported it: a linked span with
// a child that is linked to the same version is that call seen from outside. Replays are not traffic.
const seenSql = (
  ofOne: string,
) => `SELECT prompt_version_id AS version_id, uniqExact(trace_id, span_id) AS runs,
    toUnixTimestamp64Milli(min(start_time)) AS first, toUnixTimestamp64Milli(max(start_time)) AS last
  FROM spans WHERE workspace = {workspace:String} AND prompt_version_id != '' AND origin != 'replay' ${ofOne}
    AND (trace_id, span_id, prompt_version_id) NOT IN (
      SELECT trace_id, parent_span_id, prompt_version_id FROM spans
      WHERE workspace = {workspace:String} AND prompt_version_id != '' AND origin != 'replay' ${ofOne})
  GROUP BY prompt_version_id`

/** Of all registries, or of one. */
export function seenVersions(
  rows: Rows,
  workspace: string,
  registry?: string,
): Promise<SeenVersion[]> {
  const sql = seenSql(registry === undefined ? '' : 'AND prompt_registry = {registry:String}')
  return rows.query<SeenVersion>({ sql, params: { workspace, registry: registry ?? '' } })
}

type RegistryRow = Pick<
  PromptRegistry,
  'registry_id' | 'display_name' | 'source' | 'mode' | 'flooded'
> & {
  policy: PolicyChoices
  promoted: string | null
  baseline: string | null
  pinned: string | null
  canary: Canary | null
}
type VersionRow = {
  registry_id: string
  version: string
  status: string
  content_hash: string | null
  conflict: boolean
  first_seen_at: Date
}

export async function listRegistries(
  sql: Sql,
  workspace: string,
  asked: { seen: SeenVersion[]; registry?: string | undefined },
): Promise<PromptRegistry[]> {
  const { seen, registry: only = null } = asked
  const [registries, versions] = await Promise.all([
    sql.query<RegistryRow>(
      `SELECT registry_id, display_name, source, mode, policy, promoted, baseline, pinned, canary, flooded FROM prompt_registries
       WHERE workspace = $1 AND ($2::text IS NULL OR registry_id = $2) ORDER BY created_at, registry_id`,
      [workspace, only],
    ),
    sql.query<VersionRow>(
      `SELECT registry_id, version, status, content_hash, conflict, first_seen_at FROM prompt_versions
       WHERE workspace = $1 AND ($2::text IS NULL OR registry_id = $2) ORDER BY ordinal`,
      [workspace, only],
    ),
  ])
  const seenById = new Map(seen.map((row) => [row.version_id, row]))
  const byRegistry = new Map<string, VersionRow[]>(registries.map((row) => [row.registry_id, []]))
  for (const row of versions) byRegistry.get(row.registry_id)?.push(row)
  return registries.map((registry) => {
    const own = byRegistry.get(registry.registry_id) ?? []
    const listed = own
      .sort((a, b) => byNumber(a.version, b.version))
      .map((row) => toVersion(row, seenById))
    return toRegistry(registry, listed)
  })
}

function toRegistry(row: RegistryRow, versions: PromptVersion[]): PromptRegistry {
  const { promoted, baseline, pinned, canary, policy, ...registry } = row
  const idOf = (version: string | null) => version && `${row.registry_id}@${version}`
  return {
    ...registry,
    latest_version_id: versions.at(-1)?.version_id ?? null,
    promoted_version_id: idOf(promoted),
    baseline_version_id: idOf(promoted ?? baseline),
    pinned_version_id: idOf(pinned),
    canary: canary && { version_id: `${row.registry_id}@${canary.version}`, share: canary.share },
    total_runs: versions.reduce((sum, version) => sum + version.total_runs, 0),
    promotion_effect: row.mode === 'serve' ? 'routing' : 'label_only',
    policy: policyInForce(policy, row.mode),
    versions,
  }
}

function toVersion(row: VersionRow, seenById: Map<string, SeenVersion>): PromptVersion {
  const versionId = `${row.registry_id}@${row.version}`
  const runs = seenById.get(versionId)
  return {
    version_id: versionId,
    status: row.status,
    total_runs: Number(runs?.runs ?? 0),
    first_seen_at: (runs ? new Date(Number(runs.first)) : row.first_seen_at).toISOString(),
    last_seen_at: (runs ? new Date(Number(runs.last)) : row.first_seen_at).toISOString(),
    content_hash: row.content_hash,
    conflict: row.conflict,
  }
}

/** `v10` comes after `v9` whichever was seen first; versions of other names stay in the order they were seen in. */
export function byNumber(a: string, b: string): number {
  const left = Number(/^v(\d{1,9})$/.exec(a)?.[1] ?? Number.NaN)
  const right = Number(/^v(\d{1,9})$/.exec(b)?.[1] ?? Number.NaN)
  return Number.isNaN(left) || Number.isNaN(right) ? 0 : left - right
}
