// A person ends an experiment: one that waits or replays is decided no further, one on its way into traffic gives its share back.

import type { ExperimentRow, ExperimentStore } from '../../replay/experiment.ts'
import type { Actor } from '../../schemas/prompt-history.ts'
import type { Registry } from '../registry/registry.ts'
import type { Postgres } from '../stores/postgres.ts'
import { endLive, type Live, MovedMeanwhile } from './live-moves.ts'
import { getUuid } from './rows.ts'

// Between our reading and our move it may take a step on its way; more than one is hardly taken meanwhile.
const attemptsMax = 5

export type Cancelling = { keyId: string; reason: string | undefined }

/** False: it is decided and carried out already, and what it did is undone by a rollback. */
export async function cancelExperiment(
  deps: { postgres: Postgres; store: ExperimentStore; registry: Registry },
  row: ExperimentRow,
  by: Cancelling,
): Promise<boolean> {
  let now: ExperimentRow | undefined = row
  for (let attempt = 0; attempt < attemptsMax && now !== undefined; attempt++) {
    if (now.status !== 'shadow' && now.status !== 'canary') {
      return stopReplaying(deps.postgres, now, by)
    }
    try {
      await stopLive(deps, now, by)
      return true
    } catch (error) {
      if (!(error instanceof MovedMeanwhile)) throw error
      now = await deps.store.find(row.experimentId)
    }
  }
  return false
}

function stopLive(
  deps: { store: ExperimentStore; registry: Registry },
  row: ExperimentRow,
  { keyId, reason }: Cancelling,
): Promise<void> {
  const by: Actor = { kind: 'person', id: keyId }
  return endLive(deps, row, {
    ...{ status: 'cancelled', promotionStatus: 'not_promoted', by, actor: `key ${keyId}` },
    reason: toReason((row.live as Live | null)?.phase ?? row.status, reason), // written by `live-moves` alone
  })
}

/** Nothing more is called. What was seen so far is folded once more, and stands as cancelled. */
function stopReplaying(
  postgres: Postgres,
  row: ExperimentRow,
  { keyId, reason }: Cancelling,
): Promise<boolean> {
  return postgres.transaction(async (tx) => {
    const id = getUuid(row.experimentId)
    const [before] = await tx.query<{ status: string }>(
      `SELECT status FROM experiments WHERE experiment_id = $1 AND status IN ('queued', 'replaying') FOR UPDATE`,
      [id],
    )
    if (before === undefined) return false
    const isQueued = before.status === 'queued'
    const said = toReason(before.status, reason)
    await tx.query(
      isQueued
        ? `UPDATE experiments SET status = 'cancelled', stopped = 'cancelled', reason = $2, decided_at = now(), due_at = now()
             WHERE experiment_id = $1`
        : `UPDATE experiments SET stopped = 'cancelled', reason = $2, due_at = now() WHERE experiment_id = $1`,
      [id, said],
    )
    await tx.query(
      `INSERT INTO experiment_events (experiment_id, actor, status, promotion_status, reason) VALUES ($1, $2, $3, 'pending', $4)`,
      [id, `key ${keyId}`, isQueued ? 'cancelled' : 'replaying', said],
    )
    return true
  })
}

const whiles: Record<string, string> = {
  queued: 'before it began',
  replaying: 'while it was replayed',
  reference: 'while it was held against an older version',
  shadow: 'in the shadow of live traffic',
  canary: 'with a share of live traffic',
}

function toReason(status: string, reason: string | undefined): string {
  const where = whiles[status] ?? status
  return reason === undefined || reason === ''
    ? `Cancelled ${where}.`
    : `Cancelled ${where}: ${reason}`
}
