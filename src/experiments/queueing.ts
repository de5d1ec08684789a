// A new experiment into the queue of its registry. One waits, one runs; the newest takes the place of one that has not begun.

import type { Asked } from '../../replay/experiment.ts'
import { newId, toPrefixed, toUuid } from '../../schemas/ids.ts'
import { changeRegistry } from '../registry/history.ts'
import { tellStatus } from '../registry/promotion.ts'
import type { Postgres, Sql } from '../stores/postgres.ts'

export type QueueAsk = {
  workspace: string
  registry: string
  baseline: string
  candidate: string
  /** `machine`, or whose key it was. */
  startedBy: string
  asked: Asked
}

export type QueueAnswer = { experimentId: string; regressionId: string }

const actor = { kind: 'machine', id: 'experiments' } as const

/**
 * The experiment and what the versions are called from now on become true together. Undefined when another process was first to
 * try this version by itself.
 */
export async function queueExperiment(
  deps: { postgres: Postgres },
  ask: QueueAsk,
): Promise<QueueAnswer | undefined> {
  const [experiment, regression] = [newId(), newId()]
  const at = { workspace: ask.workspace, registry: ask.registry }
  const isQueued = await changeRegistry(deps.postgres, at, async (held) => {
    if (ask.startedBy === 'machine' && (await wasTried(held.sql, ask))) return false
    const replaced = await held.sql.query<{ candidate: string }>(
      `UPDATE experiments SET status = 'cancelled', promotion_status = 'not_promoted', decided_at = now(),
         reason = 'A newer version took its place before it began.'
       WHERE workspace = $1 AND registry_id = $2 AND status = 'queued' RETURNING candidate`,
      [ask.workspace, ask.registry],
    )
    await insert(held.sql, ask, { experiment: toUuid(experiment), regression: toUuid(regression) })
    for (const { candidate: version } of replaced) {
      const reason = 'A newer version took its place.'
      await tellStatus(held, { ...at, version, status: 'observed', actor, reason })
    }
    const reason = `Queued as ${toPrefixed('pexp', experiment)}.`
    await tellStatus(held, { ...at, version: ask.candidate, status: 'candidate', actor, reason })
    return true
  })
  if (!isQueued) return undefined
  return {
    experimentId: toPrefixed('pexp', experiment),
    regressionId: toPrefixed('preg', regression),
  }
}

async function wasTried(sql: Sql, ask: QueueAsk): Promise<boolean> {
  const found = await sql.query(
    'SELECT 1 FROM experiments WHERE workspace = $1 AND registry_id = $2 AND candidate = $3 LIMIT 1',
    [ask.workspace, ask.registry, ask.candidate],
  )
  return found.length > 0
}

async function insert(
  sql: Sql,
  ask: QueueAsk,
  { experiment, regression }: { experiment: string; regression: string },
): Promise<void> {
  await sql.query(
    `INSERT INTO experiments (experiment_id, regression_id, workspace, registry_id, baseline, candidate, status, started_by, asked)
     VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8)`,
    [
      experiment,
      regression,
      ask.workspace,
      ask.registry,
      ask.baseline,
      ask.candidate,
      ask.startedBy,
      JSON.stringify(ask.asked),
    ],
  )
  await sql.query(
    `INSERT INTO experiment_events (experiment_id, actor, status, promotion_status, reason) VALUES ($1, $2, 'queued', 'pending', '')`,
    [experiment, ask.startedBy],
  )
}
