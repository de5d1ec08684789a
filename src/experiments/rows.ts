// Experiments as Postgres keeps them, and as the rest of the plane sees them.

import type {
  Asked,
  ExperimentRow,
  ExperimentStatus,
  PromotionStatus,
} from '../../replay/experiment.ts'
import type { FrameReport } from '../../replay/sampler.ts'
import type { Decision, Registration } from '../../schemas/experiment.ts'
import { parsePrefixed, parseUuid, toPrefixed, toUuid } from '../../schemas/ids.ts'

export type StoredExperiment = {
  experiment_id: string
  regression_id: string
  workspace: string
  registry_id: string
  baseline: string
  candidate: string
  status: ExperimentStatus
  promotion_status: PromotionStatus
  reason: string
  started_by: string
  asked: Asked
  registration: Registration | null
  registration_hash: string | null
  frame: FrameReport | null
  decision: Decision | null
  live: unknown
  budget_nano_usd: number | null
  spent_nano_usd: number
  calls: number
  duplicate_calls: number
  stopped: 'budget' | 'cancelled' | null
  attempts: number
  failures: number
  created_at: Date
  started_at: Date | null
  decided_at: Date | null
}

export const experimentColumns = `experiment_id, regression_id, workspace, registry_id, baseline, candidate, status,
  promotion_status, reason, started_by, asked, registration, registration_hash, frame, decision, live, budget_nano_usd,
  spent_nano_usd, calls, duplicate_calls, stopped, attempts, failures, created_at, started_at, decided_at`

export function toRow(stored: StoredExperiment): ExperimentRow {
  const { registration, registration_hash: hash } = stored
  return {
    experimentId: toPrefixed('pexp', bytesOf(stored.experiment_id)),
    regressionId: toPrefixed('preg', bytesOf(stored.regression_id)),
    workspace: stored.workspace,
    registryId: stored.registry_id,
    baseline: stored.baseline,
    candidate: stored.candidate,
    status: stored.status,
    promotionStatus: stored.promotion_status,
    reason: stored.reason,
    startedBy: stored.started_by,
    asked: stored.asked,
    registered: registration === null || hash === null ? null : { registration, hash },
    frame: stored.frame,
    decision: stored.decision,
    live: stored.live,
    stopped: stored.stopped,
    budgetNanoUsd: stored.budget_nano_usd,
    spentNanoUsd: stored.spent_nano_usd,
    calls: stored.calls,
    duplicateCalls: stored.duplicate_calls,
    attempts: stored.attempts,
    failures: stored.failures,
    createdAt: stored.created_at,
    startedAt: stored.started_at,
    decidedAt: stored.decided_at,
  }
}

/** The column's UUID of `pexp_…`; undefined for what is no such id. */
export function uuidOf(prefix: 'pexp' | 'preg', id: string): string | undefined {
  const bytes = parsePrefixed(prefix, id)
  return bytes && toUuid(bytes)
}

/** For ids of our own, which are well-formed. */
export function getUuid(experimentId: string): string {
  const uuid = uuidOf('pexp', experimentId)
  if (uuid === undefined) throw new Error(`${experimentId} is no experiment id.`)
  return uuid
}

function bytesOf(uuid: string): Uint8Array {
  const bytes = parseUuid(uuid)
  if (bytes === undefined) throw new Error(`${uuid} from Postgres is no UUID.`)
  return bytes
}
