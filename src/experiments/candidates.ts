// Which new versions are worth an experiment. Each costs money, so a version waits until there is enough of the baseline to replay
// and its traffic has settled; a registry with a flood of versions, or a pin, starts nothing by itself.

import type { Registry } from '../registry/registry.ts'
import type { Postgres } from '../stores/postgres.ts'
import { and, between, inWorkspace } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'
import { findBaseline, numberOf } from './baseline.ts'
import { type QueueAnswer, queueExperiment } from './queueing.ts'

// A version known by its name alone must have been used before it is believed; one with content was looked at already.
const namedRunsMin = 3
const conversationsMin = 3
// From here on more of them change no margin; below it a burst of calls may still be coming.
const conversationsEnough = 1_200
const settledAfterMs = 60_000
const firstWaitMs = 1_500
const waitMaxMs = 600_000
const frameDays = 14
const versionsPerHourMax = 5
const waitingMax = 5_000
const listedMax = 200

type Waiting = { sinceMs: number; nextMs: number; attempts: number; conversations: number }

export type Candidates = {
  /** Looks once at every version that might be one; those queued now are returned. */
  look(): Promise<QueueAnswer[]>
}

export function openCandidates(deps: {
  postgres: Postgres
  rows: Rows
  registry: Registry
  flush: () => Promise<void>
  nowMs: () => number
}): Candidates {
  const { postgres, nowMs } = deps
  const waiting = new Map<string, Waiting>()

  async function consider(version: Listed): Promise<QueueAnswer | undefined> {
    const at = { workspace: version.workspace, registry: version.registry_id }
    const found = await deps.registry.findRegistry(at)
    if (!found || found.state.heldBack.includes(version.version)) return undefined
    const baseline = await findBaseline(postgres, at, found.state)
    if (baseline === undefined || baseline === version.version) return undefined
    const counts = await countRuns(at, baseline, version)
    if (!isReady(version, counts)) return undefined
    return queueExperiment(deps, {
      ...at,
      baseline,
      candidate: version.version,
      startedBy: 'machine',
      asked: {},
    })
  }

  type Counts = { conversations: number; candidateRuns: number }

  async function countRuns(
    at: { workspace: string; registry: string },
    baseline: string,
    { version }: Listed,
  ): Promise<Counts> {
    const now = nowMs()
    const where = between(
      and(
        inWorkspace(at.workspace),
        `prompt_version_id IN ({baseline:String}, {candidate:String}) AND origin != 'replay' AND type = 'llm'`,
        { baseline: `${at.registry}@${baseline}`, candidate: `${at.registry}@${version}` },
      ),
      now - frameDays * 86_400_000,
      now + 86_400_000,
    )
    const [counted] = await deps.rows.query<{ conversations: string; runs: string }>({
      sql: `SELECT uniqExactIf(if(session_id = '', hex(trace_id), session_id), prompt_version_id = {baseline:String}) AS conversations,
          countIf(prompt_version_id = {candidate:String}) AS runs FROM spans WHERE ${where.sql}`,
      params: where.params,
    })
    return {
      conversations: Number(counted?.conversations ?? 0),
      candidateRuns: Number(counted?.runs ?? 0),
    }
  }

  /** Also false while there are more of them at every look, for a minute at most: a burst should be counted whole. */
  function isReady(version: Listed, counts: Counts): boolean {
    const held = waiting.get(keyOf(version))
    if (held === undefined) return false
    const isStill = held.conversations === counts.conversations
    held.conversations = counts.conversations
    if (counts.conversations < conversationsMin) return false
    if (!version.is_known && counts.candidateRuns < namedRunsMin) return false
    const hasWaited = nowMs() - held.sinceMs > settledAfterMs
    const isReadyNow = isStill || hasWaited || counts.conversations >= conversationsEnough
    // It grows: the next look is soon.
    if (!isReadyNow) held.attempts = 0
    return isReadyNow
  }

  /** True when it is this version's turn to be looked at. */
  function isDue(version: Listed): boolean {
    const key = keyOf(version)
    const now = nowMs()
    const held = waiting.get(key)
    if (held === undefined) {
      if (waiting.size >= waitingMax) waiting.clear()
      waiting.set(key, { sinceMs: now, nextMs: 0, attempts: 0, conversations: -1 })
      return true
    }
    if (held.nextMs > now) return false
    held.nextMs = now + Math.min(waitMaxMs, firstWaitMs * 2 ** Math.min(held.attempts, 20))
    held.attempts++
    return true
  }

  return {
    async look() {
      const due = (await listVersions(postgres)).filter(isDue)
      if (due.length === 0) return []
      await deps.flush()
      const queued: QueueAnswer[] = []
      for (const version of due) {
        const answer = await consider(version)
        if (answer === undefined) continue
        waiting.delete(keyOf(version))
        queued.push(answer)
      }
      return queued
    },
  }
}

type Listed = { workspace: string; registry_id: string; version: string; is_known: boolean }

function keyOf({ workspace, registry_id, version }: Listed): string {
  return `${workspace} ${registry_id}@${version}`
}

/** The newest version of each registry, if it came after the one in force and after every one that was tried: no way back by itself. */
function listVersions(postgres: Postgres): Promise<Listed[]> {
  return postgres.query<Listed>(
    `SELECT * FROM (SELECT DISTINCT ON (v.workspace, v.registry_id) v.workspace, v.registry_id, v.version, v.first_seen_at,
         v.content_hash IS NOT NULL AS is_known
       FROM prompt_versions v JOIN prompt_registries r USING (workspace, registry_id)
       WHERE v.status = 'observed' AND v.merged_into IS NULL AND NOT v.conflict AND NOT r.flooded AND r.pinned IS NULL
         AND v.version IS DISTINCT FROM r.promoted AND v.version IS DISTINCT FROM r.baseline
         AND NOT EXISTS (SELECT 1 FROM prompt_versions o WHERE o.workspace = v.workspace AND o.registry_id = v.registry_id
           AND (o.version = coalesce(r.promoted, r.baseline) OR EXISTS (SELECT 1 FROM experiments e
             WHERE e.workspace = o.workspace AND e.registry_id = o.registry_id AND e.candidate = o.version))
           AND (coalesce(${numberOf('v')}, ${numberOf('o')}, 0), v.ordinal) <= (coalesce(${numberOf('o')}, ${numberOf('v')}, 0), o.ordinal))
         AND v.first_seen_at > now() - make_interval(days => $1)
         AND (SELECT count(*) FROM prompt_versions o WHERE o.workspace = v.workspace AND o.registry_id = v.registry_id
           AND o.first_seen_at > now() - interval '1 hour') <= $2
       ORDER BY v.workspace, v.registry_id, coalesce(${numberOf('v')}, 0) DESC, v.ordinal DESC) AS newest
     ORDER BY first_seen_at DESC LIMIT $3`,
    [frameDays, versionsPerHourMax, listedMax],
  )
}
