// Experiments and regressions as the API answers them: one row, two names for it, and its samples side by side.

import { decide } from '../../replay/decide.ts'
import type { ExperimentRow } from '../../replay/experiment.ts'
import { unitInterval } from '../../replay/sampler.ts'
import type { Decision, Finding, MetricReading, Sample } from '../../schemas/experiment.ts'
import type { CallAnswer, ReplayMessage, UnitSource } from '../../schemas/replay.ts'

// Inputs that nobody sees before the decision: whoever tunes a prompt against the others has not seen these.
const withheldShare = 0.2

/** The decision on the rows so far, also before there is one. */
export function decisionOf(row: ExperimentRow, samples: readonly Sample[]): Decision | null {
  if (row.decision !== null || row.registered === null) return row.decision
  return decide(row.registered, samples, row.stopped ?? undefined)
}

export function toRegression(row: ExperimentRow, decision: Decision | null) {
  const quality = decision?.metrics.find(({ name }) => name === 'quality')
  const policy = row.registered?.registration.policy
  return {
    regression_id: row.regressionId,
    experiment_id: row.experimentId,
    registry_id: row.registryId,
    baseline_prompt_version_id: `${row.registryId}@${row.baseline}`,
    candidate_prompt_version_id: `${row.registryId}@${row.candidate}`,
    reference_prompt_version_id: referenceOf(row),
    status: row.status === 'shadow' || row.status === 'canary' ? 'passed' : row.status,
    promotion_status: row.promotionStatus,
    judge: row.registered?.registration.judge ?? 'deterministic_replay',
    judges: row.registered?.registration.judges ?? [],
    evidence: decision?.evidence ?? null,
    sample_count: decision?.sampleCount ?? 0,
    pass_count: decision?.passCount ?? 0,
    fail_count: decision?.failCount ?? 0,
    error_count: decision?.errorCount ?? 0,
    diverged_count: decision?.divergedCount ?? 0,
    not_replayable_count: decision?.notReplayableCount ?? 0,
    avg_similarity: rounded(decision?.avgSimilarity),
    noise_floor_similarity: rounded(decision?.noiseFloorSimilarity),
    self_agreement: rounded(decision?.selfAgreement),
    candidate_agreement: rounded(decision?.candidateAgreement),
    baseline_avg_latency_ms: rounded(decision?.baselineAvgLatencyMs),
    candidate_avg_latency_ms: rounded(decision?.candidateAvgLatencyMs),
    delta: rounded(quality?.mean),
    ci_low: rounded(quality?.low),
    ci_high: rounded(quality?.high),
    margin: policy?.margin ?? null,
    e_value_pass: eValue(quality?.logPass),
    e_value_fail: eValue(quality?.logFail),
    n_min: policy?.unitsMin ?? null,
    n_max: policy?.unitsMax ?? null,
    guardrails: (decision?.metrics ?? []).filter(({ name }) => name !== 'quality').map(toGuardrail),
    judge_inconsistency: decision?.judgeInconsistency ?? null,
    cost_usd: row.spentNanoUsd / 1e9,
    budget_usd: row.budgetNanoUsd === null ? null : row.budgetNanoUsd / 1e9,
    call_count: row.calls,
    duplicate_calls: row.duplicateCalls,
    decision_reason: row.status === 'error' ? 'error' : (decision?.reason ?? row.reason),
    summary: summaryOf(row, decision),
    preregistration_hash: row.registered?.hash ?? null,
    frame: row.frame,
    started_by: row.startedBy,
    created_at: row.createdAt.toISOString(),
    started_at: row.startedAt?.toISOString() ?? null,
    decided_at: row.decidedAt?.toISOString() ?? null,
  }
}

export function toExperiment(row: ExperimentRow, decision: Decision | null) {
  const regression = toRegression(row, decision)
  const { sample_count: count, pass_count: passed } = regression
  return {
    ...regression,
    status: row.status,
    pass_rate: count === 0 ? null : rounded(passed / count),
    live: row.live,
  }
}

/** The parts of the traffic that were tested for a loss of their own, beside the strata that are only shown. */
export function toSlices(decision: Decision | null) {
  return (decision?.slices ?? []).map(({ name, units, mean, logFail, worse }) => ({
    ...{ stratum: name, sample_count: units, delta: rounded(mean) },
    ...{ e_value_fail: eValue(logFail), worse },
  }))
}

/** What a pass is held against before the machine promotes; null when that is the baseline itself. */
function referenceOf({ registryId, registered }: ExperimentRow): string | null {
  const reference = registered?.registration.reference
  return reference === undefined ? null : `${registryId}@${reference}`
}

/** One to three sentences: what was decided, how far the baseline agrees with itself, and what becomes of it. */
function summaryOf(row: ExperimentRow, decision: Decision | null): string {
  if (decision === null) return row.reason || 'Waiting for its turn.'
  const { selfAgreement, candidateAgreement } = decision
  const agreement =
    selfAgreement === null || candidateAgreement === null
      ? ''
      : ` The baseline agrees with itself ${percent(selfAgreement)}, the candidate ${percent(candidateAgreement)}.`
  const what = row.status === 'error' ? row.reason : decision.detail
  const since = row.reason === '' || row.reason === what ? '' : ` ${row.reason}`
  return `${what}${agreement}${since}`
}

function toGuardrail(reading: MetricReading) {
  return {
    name: reading.name,
    units: reading.units,
    mean: rounded(reading.mean),
    low: rounded(reading.low),
    high: rounded(reading.high),
    holds_above: reading.holdsAbove,
    worse_below: reading.worseBelow,
    e_value_pass: eValue(reading.logPass),
    e_value_fail: eValue(reading.logFail),
    holds: reading.holds,
    worse: reading.worse,
  }
}

export type StoredSample = {
  unit: number
  source: UnitSource
  baseline_messages: ReplayMessage[]
  candidate_messages: ReplayMessage[]
  outcome: Sample | null
  label: string | null
  note: string | null
  answers: { arm: string; step: number; answer: CallAnswer }[]
}

/** The last answer of each arm beside what was asked; null parts are still to come. */
export function toSample(stored: StoredSample) {
  const { outcome, source } = stored
  const verdict = outcome?.outcome === 'judged' ? outcome.verdict : null
  const outputOf = (arm: string) => {
    const last = stored.answers.filter((one) => one.arm === arm).at(-1)?.answer
    if (last === undefined) return null
    return last.kind === 'answered' ? last.output : { error: last.message }
  }
  return {
    index: stored.unit,
    status: outcome === null ? 'pending' : outcome.outcome,
    direction: verdict?.direction ?? null,
    pass: verdict === null ? null : verdict.direction >= 0 && !verdict.candidateHard,
    similarity: rounded(verdict?.similarity),
    self_similarity: rounded(verdict?.selfSimilarity),
    self_agrees: verdict?.selfAgrees ?? null,
    decided_by: verdict?.decidedBy ?? null,
    findings: verdict?.findings ?? [],
    risk: riskOf(verdict?.findings ?? []),
    trace_id: source.traceId,
    span_id: source.spanId,
    stands_for: source.multiplicity,
    stratum: source.stratum,
    tier: source.tier,
    baseline_latency_ms: outcome?.outcome === 'judged' ? outcome.baseline.latencyMs : null,
    candidate_latency_ms: outcome?.outcome === 'judged' ? outcome.candidate.latencyMs : null,
    recorded_latency_ms: source.recordedLatencyMs,
    input: { baseline: stored.baseline_messages, candidate: stored.candidate_messages },
    recorded: source.recordedOutput,
    baseline: outputOf('baseline'),
    repeat: outputOf('repeat'),
    candidate: outputOf('candidate'),
    label: stored.label,
    note: stored.note,
  }
}

/** Risky spans first, then by how much was found; never by similarity alone, which is blind to a flipped negation. */
export function inOrderOfRisk(samples: ReturnType<typeof toSample>[]) {
  const rank = (sample: ReturnType<typeof toSample>) =>
    (sample.direction === -1 ? 100 : 0) + sample.risk
  return samples.sort((a, b) => rank(b) - rank(a) || a.index - b.index)
}

/** True while nobody is to see this sample. */
export function isWithheld(row: ExperimentRow, unit: number): boolean {
  const isOpen = row.status === 'queued' || row.status === 'replaying'
  return isOpen && unitInterval(row.experimentId, `withheld ${unit}`) < withheldShare
}

function riskOf(findings: readonly Finding[]): number {
  let risk = 0
  for (const { arm, kind, judge } of findings) {
    if (arm !== 'candidate') continue
    risk += kind === 'hard' ? 10 : judge.startsWith('critical_spans') ? 5 : 1
  }
  return risk
}

function rounded(value: number | null | undefined): number | null {
  return value === null || value === undefined ? null : Math.round(value * 1e6) / 1e6
}

/** Capped where a double ends; the decision itself compares logarithms. */
function eValue(log: number | undefined): number | null {
  return log === undefined ? null : Number(Math.exp(Math.min(log, 700)).toPrecision(6))
}

function percent(share: number): string {
  // A figure and its unit stay on one line.
  return `${Math.round(share * 100)}\u00a0%`
}
