// Prompt registries and versions as traffic names them. A link is made at once, from memory; its registration follows, and one
// that a crash lost is made up for by the list, which asks the stored runs themselves.

import type { Counters } from '../../schemas/counters.ts'
import { parsePromptVersionId } from '../../schemas/ids.ts'
import type { PromptLinks } from '../../schemas/prompt.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Rows } from '../traces/traces.ts'
import {
  byNumber,
  listRegistries,
  type PromptRegistry,
  type SeenVersion,
  seenVersions,
} from './prompt-list.ts'

// How long a new name may wait for its registry; a burst of new names is one statement.
const registerEveryMs = 200
// Other processes register versions too; their latest is known here within this time.
const reloadEveryMs = 5_000
// A caller that puts a request id into the version, or into the name, meets these; its runs are kept and labelled all the same.
const versionsPerRegistryMax = 2_000
const registriesPerWorkspaceMax = 2_000
const waitingMax = 10_000
// Transactions commit out of order: a reload looks back this far, so that a late one is not missed.
const ordinalsBack = 1_000

type Registration = { workspace: string; slug: string; version: string }
type Registry = { versions: Set<string>; latest: string | undefined }

export type Prompts = PromptLinks & {
  /** All registries of a workspace, or the one that is named. */
  list(workspace: string, registry?: string): Promise<PromptRegistry[]>
  /** Once every name that was linked here before has its registry: who named it by a call may change it right after. */
  registered(): Promise<void>
  /** Registers what still waits, and stops. */
  close(): Promise<void>
}

export async function openPrompts(deps: {
  sql: Sql
  rows: Rows
  counters: Counters
  log: (line: string) => void
}): Promise<Prompts> {
  const workspaces = new Map<string, Map<string, Registry>>()
  let waiting: Registration[] = []
  let working: Promise<void> = Promise.resolve()
  let registering: Promise<void> = Promise.resolve()
  let lastOrdinal = 0

  /** True when this name is new and within the bounds, and so has to be registered. */
  function learn({ workspace, slug, version }: Registration): boolean {
    const registries = workspaces.get(workspace) ?? new Map<string, Registry>()
    const registry = registries.get(slug) ?? { versions: new Set<string>(), latest: undefined }
    if (registry.versions.has(version)) return false
    const isOver = registries.size >= registriesPerWorkspaceMax && !registries.has(slug)
    if (isOver || registry.versions.size >= versionsPerRegistryMax) {
      deps.counters.count('prompt_versions_over_limit_total', {})
      return false
    }
    registry.versions.add(version)
    if (registry.latest === undefined || byNumber(registry.latest, version) <= 0)
      registry.latest = version
    workspaces.set(workspace, registries.set(slug, registry))
    return true
  }

  function link(workspace: string, slug: string, version: string | undefined): string {
    const registry = workspaces.get(workspace)?.get(slug)
    const named = version ?? registry?.latest ?? 'v1'
    if (!registry?.versions.has(named)) enqueue({ workspace, slug, version: named })
    return `${slug}@${named}`
  }

  /** With the queue full the name stays unknown, so that the next call brings it again. */
  function enqueue(registration: Registration): void {
    if (waiting.length >= waitingMax) deps.counters.count('prompt_registrations_deferred_total', {})
    else if (learn(registration)) waiting.push(registration)
  }

  /** One batch at a time, so that whoever waits for its own has also waited for the one before. */
  function registered(): Promise<void> {
    registering = registering.catch(() => {}).then(registerWaiting)
    return registering
  }

  async function registerWaiting(): Promise<void> {
    const batch = waiting
    waiting = []
    if (batch.length === 0) return
    try {
      await register(deps.sql, batch)
    } catch (error) {
      waiting = batch.concat(waiting)
      throw error
    }
  }

  async function reload(): Promise<void> {
    const found = await deps.sql.query<Registration & { ordinal: number }>(
      `SELECT workspace, registry_id AS slug, version, ordinal FROM prompt_versions WHERE ordinal > $1 ORDER BY ordinal`,
      [lastOrdinal - ordinalsBack],
    )
    for (const row of found) learn(row)
    lastOrdinal = Number(found.at(-1)?.ordinal ?? lastOrdinal)
  }

  /** Registers versions that runs name and no registry has: those whose registration was lost with the process. */
  async function recover(workspace: string, seen: SeenVersion[]): Promise<void> {
    for (const { version_id } of seen) {
      const parts = parsePromptVersionId(version_id)
      if (parts) enqueue({ workspace, ...parts })
    }
    await registered()
  }

  const repeat = (everyMs: number, work: () => Promise<void>) => {
    const timer = setInterval(() => {
      working = working
        .then(work)
        .catch((error) => deps.log(`prompts, trying again: ${String(error)}`))
    }, everyMs)
    timer.unref()
    return timer
  }

  await reload()
  const timers = [repeat(registerEveryMs, registered), repeat(reloadEveryMs, reload)]

  return {
    link,
    registered,
    async list(workspace, registry) {
      const seen = await seenVersions(deps.rows, workspace, registry)
      await recover(workspace, seen)
      return listRegistries(deps.sql, workspace, { seen, registry })
    },
    async close() {
      for (const timer of timers) clearInterval(timer)
      await working
      await registered()
    },
  }
}

async function register(sql: Sql, batch: Registration[]): Promise<void> {
  const workspaces = batch.map((row) => row.workspace)
  const slugs = batch.map((row) => row.slug)
  // Other planes and discovery write the same rows: all take them in one order, or two could wait for each other for ever.
  await sql.query(
    `INSERT INTO prompt_registries (workspace, registry_id, display_name, source)
     SELECT DISTINCT w::uuid, r, r, 'auto_backfill' FROM unnest($1::text[], $2::text[]) AS given (w, r) ORDER BY 1, 2
     ON CONFLICT DO NOTHING`,
    [workspaces, slugs],
  )
  // Versions keep the order they were named in, so their registries are held instead, as `changeRegistry` holds the one it changes.
  await sql.query(
    `WITH given AS (SELECT w::uuid, r, v, n FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS given (w, r, v, n)),
       held AS MATERIALIZED (SELECT 1 FROM prompt_registries WHERE (workspace, registry_id) IN (SELECT w, r FROM given)
         ORDER BY workspace, registry_id FOR NO KEY UPDATE)
     INSERT INTO prompt_versions (workspace, registry_id, version)
     SELECT w, r, v FROM given WHERE (SELECT count(*) FROM held) > 0 ORDER BY n
     ON CONFLICT DO NOTHING`,
    [workspaces, slugs, batch.map((row) => row.version)],
  )
}
