// The guard against drift: five versions that may each lose a little lose a lot together. Before the machine promotes over a version
// that it put in force itself, the candidate is held against the last one that a person or the beginning put there, by the same rule.

import { decide } from '../../replay/decide.ts'
import type { ExperimentRow, Frames, Rule } from '../../replay/experiment.ts'
import { draw } from '../../replay/prepare.ts'
import { planPolicy, register } from '../../replay/registration.ts'
import type { LoadedRun } from '../../replay/sampler.ts'
import { thresholdSamplesMin } from '../../replay/threshold.ts'
import type { Decision, Registered } from '../../schemas/experiment.ts'
import type { Postgres } from '../stores/postgres.ts'
import { held, type Live, MovedMeanwhile } from './live-moves.ts'
import { getUuid } from './rows.ts'
import { insertUnits, moveIn, openUnitsFrom, readOutcomesFrom } from './store.ts'

/** Numbers of these conversations lie above those of the decision and of the shadow. */
export const referenceFrom = 2_000_000

type Phase = Extract<Live, { phase: 'reference' }>
type Deps = { postgres: Postgres; frames: Frames; nowMs: () => number }

/**
 * Draws what is compared with the reference and registers the rule of it, before the first call of it. Resolves to why that cannot
 * be, or undefined. Throws MovedMeanwhile.
 */
export async function beginReference(
  deps: Deps,
  row: ExperimentRow,
  { reference, rule }: { reference: string; rule: Rule },
): Promise<string | undefined> {
  const name = `${row.registryId}@${reference}`
  const { units } = await draw({ ...deps, frames: under(deps.frames, reference) }, row, rule)
  if (units.length < thresholdSamplesMin || row.registered === null) {
    return `Only ${units.length} conversations can be replayed with ${name}, which was last put in force by a person or the beginning: that nothing was lost since is not shown.`
  }
  const registered = toRegistered(row.registered, rule, { reference, units: units.length })
  const live: Phase = { phase: 'reference', version: reference, sinceMs: deps.nowMs(), registered }
  await deps.postgres.transaction(async (tx) => {
    const drawn = units.map((one) => ({ ...one, unit: one.unit + referenceFrom }))
    await insertUnits(tx, getUuid(row.experimentId), drawn)
    const reason = `Compared with ${name} too, so that small losses do not add up.`
    if (!(await moveIn(tx, row, { status: 'shadow', reason, live })))
      throw new MovedMeanwhile(`${row.experimentId} has moved.`)
  })
  return undefined
}

/** The decision against the reference once there is one; until then the conversations that are to be replayed now. */
export async function stepReference(
  postgres: Postgres,
  row: ExperimentRow,
  { registered }: Phase,
): Promise<{ open: number[] } | { decision: Decision }> {
  const id = getUuid(row.experimentId)
  const { batch } = registered.registration.policy
  const open = await openUnitsFrom(postgres, id, { from: referenceFrom, batch })
  // Within a batch there is nothing to decide; between two there is a look, because what is decided is not paid for.
  const isWithin = open.length > 0 && open.length < batch
  if (isWithin && row.stopped === null) return { open }
  const outcomes = await readOutcomesFrom(postgres, id, referenceFrom)
  const samples = outcomes.map((one) => ({ ...one, unit: one.unit - referenceFrom }))
  const decision = decide(registered, samples, row.stopped ?? undefined)
  return decision.status === 'replaying' ? { open } : { decision }
}

/** What the drawn conversations ask of the reference in the baseline's place. */
function under(frames: Frames, reference: string): Frames {
  return {
    runs: frames.runs,
    async open(row) {
      const toReference = await frames.open({ ...row, candidate: reference })
      const toCandidate = await frames.open(row)
      return async (page) => {
        const [before, after] = await Promise.all([toReference(page), toCandidate(page)])
        return before.map((one, i): LoadedRun => {
          const other = after[i] ?? { rejected: 'deleted' }
          if ('rejected' in one) return one
          if ('rejected' in other) return other
          const { results } = one.request
          const arms = { baseline: one.request.candidate, candidate: other.request.candidate }
          return { ...one, request: { ...arms, results } }
        })
      }
    },
  }
}

function toRegistered(
  { registration }: Registered,
  rule: Rule,
  { reference, units }: { reference: string; units: number },
): Registered {
  const { reference: _, frame, policy, ...rest } = registration
  const { judgeJ, guardrails, slices } = policy
  return register({
    ...rest,
    baseline: reference,
    frame: { query: frame.query, units, seed: frame.seed },
    policy: {
      ...{ ...planPolicy(units, rule.chosen), judgeJ, guardrails },
      ...(slices === undefined ? {} : { slices }),
    },
  })
}

/** Why nothing is promoted, for a decision that is no pass. */
export function notHolding(row: ExperimentRow, { version }: Phase, decision: Decision) {
  const name = `${row.registryId}@${version}`
  const reason = `It holds against ${row.registryId}@${row.baseline}, but not against ${name}, from which the machine came there step by step. ${decision.detail}`
  return decision.status === 'failed'
    ? ({ status: 'failed', promotionStatus: 'not_promoted', reason } as const)
    : ({ status: 'inconclusive', ...held(reason) } as const)
}
