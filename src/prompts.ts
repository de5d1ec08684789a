// Prompt registries and versions as traffic names them. A link is made at once, from memory; the registry follows in the
// background, and the list counts from the runs themselves, so a lost registration changes no figure.

import type { Counters } from '../schemas/counters.ts'
import type { PromptLinks } from '../schemas/prompt.ts'
import type { Sql } from './keys.ts'
import type { Rows } from './traces.ts'

// How long a new name may wait for its registry; a burst of new names is one statement.
const registerEveryMs = 200
// Versions kept in memory and in a workspace's registries. A caller that puts a request id in the version meets this bound.
const versionsMax = 2_000
const waitingMax = 10_000
// Other processes register versions too; their latest is known here within this time.
const reloadEveryMs = 5_000

type Registration = { workspace: string; slug: string; version: string }

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
  mode: 'observe' | 'serve'
  policy: null
  versions: PromptVersion[]
}

export type Prompts = PromptLinks & {
  list(workspace: string): Promise<PromptRegistry[]>
  /** Registers what still waits, and stops. */
  close(): Promise<void>
}

export async function openPrompts(deps: {
  sql: Sql
  rows: Rows
  counters: Counters
  log: (line: string) => void
}): Promise<Prompts> {
  // workspace, slug → versions in the order they were first seen; the last is the latest.
  const known = new Map<string, Set<string>>()
  const counts = new Map<string, number>()
  let waiting: Registration[] = []
  let working: Promise<void> = Promise.resolve()

  const keyOf = (workspace: string, slug: string) => `${workspace}/${slug}`

  function learn(workspace: string, slug: string, version: string): boolean {
    const key = keyOf(workspace, slug)
    const versions = known.get(key) ?? new Set<string>()
    if (versions.has(version)) return false
    const count = counts.get(workspace) ?? 0
    if (count >= versionsMax) {
      deps.counters.count('prompt_versions_over_limit_total', {})
      return false
    }
    counts.set(workspace, count + 1)
    known.set(key, versions.add(version))
    return true
  }

  function link(workspace: string, slug: string, version: string | undefined): string {
    const named = version ?? latest(workspace, slug) ?? 'v1'
    if (learn(workspace, slug, named)) {
      if (waiting.length < waitingMax) waiting.push({ workspace, slug, version: named })
      else deps.counters.count('prompt_registrations_deferred_total', {})
    }
    return `${slug}@${named}`
  }

  function latest(workspace: string, slug: string): string | undefined {
    return [...(known.get(keyOf(workspace, slug)) ?? [])].sort(byNumber).at(-1)
  }

  async function registerWaiting(): Promise<void> {
    const batch = waiting
    waiting = []
    if (batch.length === 0) return
    try {
      await register(deps.sql, batch)
    } catch (error) {
      waiting = batch.concat(waiting).slice(0, waitingMax)
      deps.log(`prompts: not registered yet, trying again: ${String(error)}`)
    }
  }

  async function reload(): Promise<void> {
    const found = await deps.sql.query<{ workspace: string; registry_id: string; version: string }>(
      'SELECT workspace, registry_id, version FROM prompt_versions ORDER BY ordinal',
    )
    for (const row of found) learn(row.workspace, row.registry_id, row.version)
  }

  const repeat = (everyMs: number, work: () => Promise<void>) => {
    const timer = setInterval(() => {
      working = working.then(work).catch((error) => deps.log(`prompts: ${String(error)}`))
    }, everyMs)
    timer.unref()
    return timer
  }

  await reload()
  const timers = [repeat(registerEveryMs, registerWaiting), repeat(reloadEveryMs, reload)]

  return {
    link,
    async list(workspace) {
      await registerWaiting()
      return listRegistries(deps, workspace)
    },
    async close() {
      for (const timer of timers) clearInterval(timer)
      await working
      await registerWaiting()
    },
  }
}

// `v10` comes after `v9` whichever was seen first; versions of other names stay in the order they were seen in.
function byNumber(a: string, b: string): number {
  const [left, right] = [a, b].map((version) =>
    Number(/^v(\d{1,9})$/.exec(version)?.[1] ?? Number.NaN),
  )
  return Number.isNaN(left) || Number.isNaN(right) ? 0 : (left ?? 0) - (right ?? 0)
}

async function register(sql: Sql, batch: Registration[]): Promise<void> {
  const columns = [
    batch.map((row) => row.workspace),
    batch.map((row) => row.slug),
    batch.map((row) => row.version),
  ]
  await sql.query(
    `INSERT INTO prompt_registries (workspace, registry_id, display_name, source)
     SELECT DISTINCT w::uuid, r, r, 'auto_backfill' FROM unnest($1::text[], $2::text[]) AS given (w, r)
     ON CONFLICT DO NOTHING`,
    columns.slice(0, 2),
  )
  await sql.query(
    `INSERT INTO prompt_versions (workspace, registry_id, version)
     SELECT w::uuid, r, v FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS given (w, r, v, n) ORDER BY n
     ON CONFLICT DO NOTHING`,
    columns,
  )
}

type SeenRow = {
  registry: string
  version_id: string
  runs: string | number
  first: string
  last: string
}

async function listRegistries(
  deps: { sql: Sql; rows: Rows },
  workspace: string,
): Promise<PromptRegistry[]> {
  const [registries, versions, seen] = await Promise.all([
    deps.sql.query<{
      registry_id: string
      display_name: string
      source: 'auto_backfill' | 'declared'
      mode: 'observe' | 'serve'
    }>(
      'SELECT registry_id, display_name, source, mode FROM prompt_registries WHERE workspace = $1 ORDER BY created_at, registry_id',
      [workspace],
    ),
    deps.sql.query<{
      registry_id: string
      version: string
      status: string
      content_hash: string | null
      conflict: boolean
      first_seen_at: Date
    }>(
      `SELECT registry_id, version, status, content_hash, conflict, first_seen_at FROM prompt_versions
       WHERE workspace = $1 ORDER BY ordinal`,
      [workspace],
    ),
    deps.rows.query<SeenRow>({ sql: seenSql, params: { workspace } }),
  ])
  const seenById = new Map(seen.map((row) => [row.version_id, row]))
  versions.sort((a, b) => byNumber(a.version, b.version))
  return registries.map((registry) => {
    const own = versions.filter((row) => row.registry_id === registry.registry_id)
    const listed = own.map((row): PromptVersion => {
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
    })
    return {
      ...registry,
      latest_version_id: listed.at(-1)?.version_id ?? null,
      promoted_version_id: null,
      total_runs: listed.reduce((sum, version) => sum + version.total_runs, 0),
      policy: null,
      versions: listed,
    }
  })
}

// A run is counted once however often it was sent; replays are not traffic. A span linked by its attributes counts as a run
// when no native run stands for it: it is the call, seen from outside.
const seenSql = `SELECT any(prompt_registry) AS registry, prompt_version_id AS version_id, uniqExact(trace_id, span_id) AS runs,
    toUnixTimestamp64Milli(min(start_time)) AS first, toUnixTimestamp64Milli(max(start_time)) AS last
  FROM spans WHERE workspace = {workspace:String} AND prompt_version_id != '' AND origin != 'replay'
  GROUP BY prompt_version_id`
