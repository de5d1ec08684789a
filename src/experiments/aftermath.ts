// What follows a decision: the version's status, its promotion by compare-and-swap, or the reason why it is held. Each step may be
// taken again after a crash, and changes nothing then.

import type {
  Aftermath,
  ExperimentRow,
  ExperimentStore,
  Move,
  Rule,
  Rules,
} from '../../replay/experiment.ts'
import { maySelfPromote } from '../../replay/promotion.ts'
import type { ExperimentStatus, Registry } from '../registry/registry.ts'
import type { Postgres } from '../stores/postgres.ts'
import { findBaseline } from './baseline.ts'
import { beginLive, stepLive } from './live.ts'
import {
  atOf,
  beside,
  endLive,
  engineActor,
  held,
  type Live,
  type LiveDeps,
  MovedMeanwhile,
} from './live-moves.ts'
import { beginReference, notHolding, stepReference } from './reference.ts'

export type AftermathDeps = {
  postgres: Postgres
  store: ExperimentStore
  registry: Registry
  rules: Rules
  live: LiveDeps
  /** Tells whoever listens that a version that is live was proven worse. */
  tellRegression: (row: ExperimentRow) => Promise<void>
}

export function openAftermath(deps: AftermathDeps): Aftermath {
  const { registry, store } = deps

  async function setStatus(row: ExperimentRow, status: ExperimentStatus): Promise<void> {
    await registry.setStatus({
      ...atOf(row),
      version: row.candidate,
      status,
      actor: engineActor,
      reason: row.reason,
      evidence: evidenceOf(row),
    })
  }

  /** Undefined: promoted, and the experiment says so. */
  async function promote(row: ExperimentRow): Promise<Move | undefined> {
    const at = atOf(row)
    const found = await registry.findRegistry(at)
    if (!found) return held('The registry is gone.')
    const { state } = found
    if (state.promoted !== row.candidate) {
      const baseline = await findBaseline(deps.postgres, at, state)
      if (baseline !== row.baseline) {
        return held(`${row.registryId}@${baseline} took the baseline's place meanwhile.`)
      }
    }
    const moved = await registry.promote({
      ...at,
      version: row.candidate,
      expected: state.promoted,
      actor: engineActor,
      reason: row.reason,
      evidence: evidenceOf(row),
      beside: beside(row, {
        ...{ status: 'passed', promotionStatus: 'promoted', reason: row.reason, live: null },
      }),
    })
    if (moved.outcome === 'moved') return undefined
    if (moved.outcome === 'refused') return held(moved.why)
    return held(`Another version was promoted meanwhile: ${moved.present ?? 'none'}.`)
  }

  async function afterPass(row: ExperimentRow): Promise<Move | undefined> {
    const { decision } = row
    await setStatus(row, 'passed')
    const rule = await deps.rules.of(row.workspace, row.registryId)
    if (decision === null || !maySelfPromote(decision, rule)) {
      const why =
        rule.autoPromote === 'off'
          ? 'the policy promotes nothing by itself'
          : 'threshold evidence does not route traffic'
      return held(`Held: ${why}.`)
    }
    const judge = row.registered?.registration.judge ?? 'deterministic_replay'
    if (judge !== 'deterministic_replay') {
      const { isCalibrated, labels, j } = await deps.rules.calibration(
        row.workspace,
        row.registryId,
        judge,
      )
      const shown = j === null ? '' : `, J ${j.toFixed(2)}`
      if (!isCalibrated)
        return held(`Held: the judge is not calibrated (${labels} labels${shown}).`)
    }
    const reference = row.registered?.registration.reference
    if (reference === undefined) return onward(row, rule)
    await setStatus(row, 'shadow')
    const why = await beginReference({ ...deps.live, ...deps }, row, { reference, rule })
    if (why === undefined) return undefined
    await setStatus(row, 'passed')
    return held(why)
  }

  /** Nothing stands against it any more. */
  async function onward(row: ExperimentRow, rule: Rule): Promise<Move | undefined> {
    if (rule.mode === 'observe') return promote(row)
    await setStatus(row, 'shadow')
    return beginLive(deps.live.nowMs())
  }

  /** A look at what is compared with the reference; the conversations that are to be replayed for it. */
  async function guard(
    row: ExperimentRow,
    phase: Extract<Live, { phase: 'reference' }>,
  ): Promise<number[]> {
    const looked = await stepReference(deps.postgres, row, phase)
    if ('open' in looked) return looked.open
    const { decision } = looked
    const rule = await deps.rules.of(row.workspace, row.registryId)
    const isPass = maySelfPromote(decision, rule)
    const move = isPass ? await onward(row, rule) : notHolding(row, phase, decision)
    if (move === undefined) return []
    if (move.status === 'failed') {
      // As it is told of any: the version that it was proven worse than stands in the baseline's place.
      await deps.tellRegression({ ...row, ...move, baseline: phase.version, decision })
    }
    if (move.promotionStatus === undefined) await store.move(row, move)
    else await endLive(deps.live, row, move)
    return []
  }

  async function passed(row: ExperimentRow): Promise<void> {
    try {
      const move = await afterPass(row)
      if (move !== undefined) await store.move(row, move)
    } catch (error) {
      // Another process was at it too, and was first.
      if (!(error instanceof MovedMeanwhile)) throw error
    }
  }

  /** Nothing of this is an answer about the prompt: whatever was not decided is held, and no traffic is left with the candidate. */
  async function giveUp(row: ExperimentRow, reason: string): Promise<void> {
    switch (row.status) {
      case 'queued':
      case 'replaying':
        // What follows an error follows at the next look.
        return void (await store.move(row, { status: 'error', reason }))
      case 'shadow':
      case 'canary':
        return endLive(deps.live, row, { status: 'error', ...held(reason) })
      case 'passed':
      case 'failed':
      case 'inconclusive':
      case 'error':
      case 'cancelled':
        // What is watched goes on being watched, at the longest pause; nothing is undone without proof.
        if (row.promotionStatus === 'pending') await store.move(row, held(reason))
        return
      default:
        return row.status satisfies never
    }
  }

  return {
    giveUp,
    async afterDecision(row) {
      switch (row.status) {
        case 'passed':
          return passed(row)
        case 'failed':
          await setStatus(row, 'failed')
          await deps.tellRegression(row)
          return void (await store.move(row, not(row)))
        case 'inconclusive':
        case 'error':
          await setStatus(row, 'inconclusive')
          return void (await store.move(row, held(row.reason)))
        case 'cancelled':
          await setStatus(row, 'observed')
          return void (await store.move(row, not(row)))
        case 'queued':
        case 'replaying':
        case 'shadow':
        case 'canary':
          return
        default:
          return row.status satisfies never
      }
    },
    async live(row) {
      const live = row.live as Live | null // written by this folder alone
      if (live?.phase !== 'reference') return stepLive(deps.live, row)
      try {
        return await guard(row, live)
      } catch (error) {
        if (error instanceof MovedMeanwhile) return []
        throw error
      }
    },
  }
}

function not(row: ExperimentRow): Move {
  return { promotionStatus: 'not_promoted', reason: row.reason }
}

/** What the registry's history keeps of why. */
export function evidenceOf(row: ExperimentRow) {
  return {
    experiment_id: row.experimentId,
    regression_id: row.regressionId,
    preregistration_hash: row.registered?.hash ?? null,
    evidence: row.decision?.evidence ?? null,
    sample_count: row.decision?.sampleCount ?? 0,
    spent_usd: row.spentNanoUsd / 1e9,
  }
}
