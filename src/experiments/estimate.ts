// What an experiment would replay and cost, before anything is called or stored.

import { draw, toRegistered } from '../../replay/prepare.ts'
import { thresholdSamplesMin } from '../../replay/threshold.ts'
import { newId, toPrefixed } from '../../schemas/ids.ts'
import type { Engine } from './engine.ts'
import type { QueueAsk } from './queueing.ts'

const callsPerPair = 3
const warmUpCalls = 2

/** The figures of a run by hand with `dry_run`. Costs are null for a model without a price. */
export async function estimate(engine: Engine, ask: Omit<QueueAsk, 'startedBy'>) {
  const row = { ...ask, registryId: ask.registry, experimentId: toPrefixed('pexp', newId()) }
  const rule = await engine.rules.of(ask.workspace, ask.registry)
  const frame = await draw({ frames: engine.frames, nowMs: Date.now }, row, rule)
  const { units, report } = frame
  const costs = units.map(({ source }) => source.recordedCostNanoUsd)
  const isPriced = units.length > 0 && costs.every((cost) => cost !== null)
  const sum = costs.reduce<number>((total, cost) => total + (cost ?? 0), 0)
  const isEnough = units.length >= thresholdSamplesMin
  const policy = isEnough ? toRegistered(row, rule, frame).registration.policy : undefined
  const budget = ask.asked.budgetNanoUsd ?? rule.budgetNanoUsd
  return {
    dry_run: true,
    registry_id: ask.registry,
    baseline_prompt_version_id: `${ask.registry}@${ask.baseline}`,
    candidate_prompt_version_id: `${ask.registry}@${ask.candidate}`,
    replayable: units.length,
    is_enough: isEnough,
    evidence: units.length >= 100 ? 'proven' : isEnough ? 'threshold' : null,
    call_count_max: units.length * callsPerPair + warmUpCalls,
    cost_usd_max: isPriced ? (sum * callsPerPair) / 1e9 : null,
    budget_usd: budget / 1e9,
    margin: policy?.margin ?? null,
    guardrails: policy?.guardrails ?? [],
    frame: report,
  }
}
