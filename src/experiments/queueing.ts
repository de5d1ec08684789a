// A new experiment into the queue of its registry. One waits, one runs; the newest takes the place of one that has not begun.

import type { Asked } from '../../replay/experiment.ts'
import { newId, toPrefixed, toUuid } from '../../schemas/ids.ts'
import type { Registry } from '../registry/registry.ts'
import { type Postgres, sqlState } from '../stores/postgres.ts'

const duplicateKey = '23505'

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

/** Undefined when another process has just queued one for this registry. */
export async function queueExperiment(
  deps: { postgres: Postgres; registry: Pick<Registry, 'setStatus'> },
  ask: QueueAsk,
): Promise<QueueAnswer | undefined> {
  const [experiment, regression] = [newId(), newId()]
  const setStatus = (version: string, status: 'candidate' | 'observed', reason: string) =>
    deps.registry.setStatus({
      workspace: ask.workspace,
      registry: ask.registry,
      version,
      status,
      actor: { kind: 'machine', id: 'experiments' },
      reason,
    })
  let replaced: { candidate: string }[] = []
  try {
    await deps.postgres.transaction(async (tx) => {
      replaced = await tx.query(
        `UPDATE experiments SET status = 'cancelled', promotion_status = 'not_promoted', decided_at = now(),
           reason = 'A newer version took its place before it began.'
         WHERE workspace = $1 AND registry_id = $2 AND status = 'queued' RETURNING candidate`,
        [ask.workspace, ask.registry],
      )
      await tx.query(
        `INSERT INTO experiments (experiment_id, regression_id, workspace, registry_id, baseline, candidate, status, started_by, asked)
         VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8)`,
        [
          toUuid(experiment),
          toUuid(regression),
          ask.workspace,
          ask.registry,
          ask.baseline,
          ask.candidate,
          ask.startedBy,
          JSON.stringify(ask.asked),
        ],
      )
      await tx.query(
        `INSERT INTO experiment_events (experiment_id, actor, status, promotion_status, reason) VALUES ($1, $2, 'queued', 'pending', '')`,
        [toUuid(experiment), ask.startedBy],
      )
    })
  } catch (error) {
    if (sqlState(error) === duplicateKey) return undefined
    throw error
  }
  for (const { candidate } of replaced) {
    await setStatus(candidate, 'observed', 'A newer version took its place.')
  }
  await setStatus(ask.candidate, 'candidate', `Queued as ${toPrefixed('pexp', experiment)}.`)
  return {
    experimentId: toPrefixed('pexp', experiment),
    regressionId: toPrefixed('preg', regression),
  }
}
