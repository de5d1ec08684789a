// The moves of a candidate on its way into served traffic. What the registry does and what the experiment says of it become true in
// one transaction: a crash leaves both or neither, and an experiment that was cancelled meanwhile undoes the registry's half.

import type { ExperimentRow, ExperimentStore, Frames, Move } from '../../replay/experiment.ts'
import type { Registered } from '../../schemas/experiment.ts'
import type { Actor } from '../../schemas/prompt-history.ts'
import type { Beside, ExperimentStatus } from '../registry/promotion.ts'
import type { Registry } from '../registry/registry.ts'
import type { Postgres } from '../stores/postgres.ts'
import type { Rows } from '../traces/traces.ts'
import { moveIn } from './store.ts'

export type Live =
  | { phase: 'reference'; version: string; sinceMs: number; registered: Registered }
  | { phase: 'shadow'; sinceMs: number }
  | { phase: 'canary'; step: number; share: number; sinceMs: number; stepSinceMs: number }
  | { phase: 'watch'; sinceMs: number; untilMs: number; baselineUntilMs: number }

export type LiveDeps = {
  postgres: Postgres
  rows: Rows
  store: ExperimentStore
  frames: Frames
  registry: Registry
  flush: () => Promise<void>
  nowMs: () => number
}

export const engineActor = { kind: 'machine', id: 'experiments' } as const

/** The experiment is not where its caller saw it: somebody else moved it, and nothing was done. */
export class MovedMeanwhile extends Error {
  override name = 'MovedMeanwhile'
}

/** The experiment's half of a move. */
export function beside(row: ExperimentRow, to: Move): Beside {
  return async (sql) => {
    if (!(await moveIn(sql, row, to))) throw new MovedMeanwhile(`${row.experimentId} has moved.`)
  }
}

/** Gives the candidate this share. Throws MovedMeanwhile. */
export async function giveShare(
  deps: Pick<LiveDeps, 'registry' | 'store'>,
  row: ExperimentRow,
  { live, reason }: { live: Extract<Live, { phase: 'canary' }>; reason: string },
): Promise<void> {
  const moved = await deps.registry.setCanary({
    ...atOf(row),
    ...because(row, reason),
    canary: { version: row.candidate, share: live.share },
    candidate: { version: row.candidate, status: 'canary' },
    beside: beside(row, { status: 'canary', reason, live }),
  })
  if (moved.outcome === 'refused') await endLive(deps, row, held(moved.why))
}

/** Takes our share away and says how it ended. Throws MovedMeanwhile. */
export async function endLive(
  { registry }: Pick<LiveDeps, 'registry'>,
  row: ExperimentRow,
  move: Move & { by?: Actor },
): Promise<void> {
  const { by = engineActor, ...rest } = move
  const status = move.status ?? 'passed'
  await registry.setCanary({
    ...atOf(row),
    ...because(row, move.reason),
    actor: by,
    canary: null,
    candidate: { version: row.candidate, status: versionStatus(status) },
    beside: beside(row, { ...rest, status, live: null }),
  })
}

function versionStatus(status: ExperimentRow['status']): ExperimentStatus {
  if (status === 'failed') return 'failed'
  if (status === 'error' || status === 'inconclusive') return 'inconclusive'
  return status === 'cancelled' ? 'observed' : 'passed'
}

export function atOf(row: ExperimentRow) {
  return { workspace: row.workspace, registry: row.registryId }
}

export function because(row: ExperimentRow, reason: string) {
  return { actor: engineActor, reason, evidence: { experiment_id: row.experimentId } }
}

export function held(reason: string): Move {
  return { promotionStatus: 'held', reason }
}
