// From stored rows to a decision: a pure function of the registration and the rows, whatever order they arrived in.
// It reads the longest complete prefix of the drawn order; short answers finish first, and must not decide for that.

import type {
  Decision,
  DecisionPolicy,
  DecisionReason,
  DecisionStatus,
  MetricReading,
  Registered,
  Sample,
  SliceReading,
  Verdict,
} from '../schemas/experiment.ts'
import { boundOf } from './e-process.ts'
import { llmJudge } from './judges/asked.ts'
import { readLatency } from './latency.ts'
import { activeMetrics, failAlpha, type Judged, toUnitValue } from './metrics.ts'
import { Monitor } from './monitor.ts'
import { checkRegistered, provableUnitsMin } from './registration.ts'
import { findMisses, noteOf, toNoiseFloor } from './threshold.ts'

export type StopReason = 'budget' | 'cancelled'

/**
 * Decides on the rows so far. `stopped`: no more will come; without a decision that is inconclusive, never a pass. Throws when
 * the registration is not the hashed one, or when two rows claim the same turn and differ.
 */
export function decide(
  registered: Registered,
  samples: readonly Sample[],
  stopped?: StopReason,
): Decision {
  checkRegistered(registered)
  const { policy } = registered.registration
  const committed: Sample[][] = []
  const monitor = new Monitor(policy)
  const active = activeMetrics(policy)
  for (const unit of inOrder(samples, policy.unitsMax)) {
    committed.push(unit)
    const judged = unit.filter((turn) => turn.outcome === 'judged')
    if (judged.length > 0)
      monitor.add(
        active.map((metric) => toUnitValue(metric, judged)),
        judged.flatMap(({ slices = [] }) => slices),
      )
    const isLast = committed.length === policy.unitsMax
    if (!isLast && (judged.length === 0 || monitor.units % policy.batch !== 0)) continue
    const look = monitor.look()
    if (look === 'failed') return conclude(registered, monitor, committed, worse(monitor))
    if (look === 'passed' && canProve(registered) && !isUnusable(committed.flat(), policy)) {
      return conclude(registered, monitor, committed, {
        status: 'passed',
        reason: 'non_inferior',
        detail: `Proven to hold on ${monitor.units} conversations, every guardrail too.`,
      })
    }
  }
  const isExhausted = committed.length >= policy.unitsMax
  return conclude(
    registered,
    monitor,
    committed,
    isExhausted ? atTheEnd(registered, monitor, committed.flat()) : pending(monitor, stopped),
  )
}

/** Conversations complete from unit 0 on; a gap ends the prefix. */
export function inOrder(samples: readonly Sample[], unitsMax: number): Sample[][] {
  const units = new Map<number, Map<number, Sample>>()
  for (const sample of samples) {
    const turns = units.get(sample.unit) ?? new Map<number, Sample>()
    units.set(sample.unit, turns)
    const known = turns.get(sample.turn)
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(sample)) {
      throw new Error(`Two rows for turn ${sample.turn} of unit ${sample.unit} differ.`)
    }
    turns.set(sample.turn, sample)
  }
  const prefix: Sample[][] = []
  for (let unit = 0; unit < unitsMax; unit++) {
    const turns = units.get(unit)
    const expected = turns?.values().next().value?.turns ?? 0
    if (turns === undefined || turns.size < expected) break
    prefix.push([...turns.values()].sort((a, b) => a.turn - b.turn))
  }
  return prefix
}

type Conclusion = {
  status: DecisionStatus
  reason: DecisionReason
  detail: string
  evidence?: 'threshold'
}

function canProve({ registration }: Registered): boolean {
  return registration.frame.units >= provableUnitsMin
}

function isUnusable(rows: readonly Sample[], policy: DecisionPolicy): boolean {
  const unusable = rows.filter(({ outcome }) => outcome !== 'judged').length
  return unusable > rows.length * policy.unusableShareMax
}

function worse(monitor: Monitor): Conclusion {
  const names = [
    ...monitor.watched.filter((one) => one.worse).map((one) => one.metric.name),
    ...monitor.slices
      .filter((one) => one.worse)
      .map(({ name, units }) => `quality for ${name} (${units} of them)`),
  ]
  return {
    status: 'failed',
    reason: 'worse',
    detail: `Proven worse after ${monitor.units} conversations: ${names.join(', ')}.`,
  }
}

function pending(monitor: Monitor, stopped: StopReason | undefined): Conclusion {
  if (stopped === undefined) {
    return {
      status: 'replaying',
      reason: 'not_decided_yet',
      detail: `${monitor.units} conversations compared.`,
    }
  }
  return {
    status: 'inconclusive',
    reason: stopped,
    detail: `Stopped (${stopped}) after ${monitor.units} conversations without proof either way.`,
  }
}

function atTheEnd(registered: Registered, monitor: Monitor, rows: readonly Sample[]): Conclusion {
  const { policy } = registered.registration
  const held = (reason: DecisionReason, detail: string): Conclusion => ({
    status: 'inconclusive',
    reason,
    detail,
  })
  if (isUnusable(rows, policy)) {
    const share = Math.round(policy.unusableShareMax * 100)
    return held('unusable_samples', `More than ${share} % of the samples have no verdict.`)
  }
  if (!canProve(registered)) {
    const latency = readLatency(judgedOf(rows))
    const misses = findMisses({ verdicts: verdictsOf(rows), latency })
    if (misses.length > 0) return held('threshold_missed', misses.join(' '))
    const detail = `Every sample held; too few for proof.${noteOf(latency)}`
    return { status: 'passed', reason: 'threshold_met', detail, evidence: 'threshold' }
  }
  const unmeasured = monitor.unmeasured()
  if (unmeasured.length > 0) {
    return held('unmeasured', `Not measured: ${unmeasured.map(({ name }) => name).join(', ')}.`)
  }
  const open = monitor.watched.filter(({ holds }) => !holds).map(({ metric }) => metric.name)
  return held(
    'samples_exhausted',
    open.length > 0
      ? `${monitor.units} conversations did not prove: ${open.join(', ')}.`
      : `${monitor.units} conversations are fewer than the ${policy.unitsMin} that a pass needs.`,
  )
}

function conclude(
  { registration, hash }: Registered,
  monitor: Monitor,
  committed: readonly Sample[][],
  conclusion: Conclusion,
): Decision {
  const rows = committed.flat()
  const verdicts = verdictsOf(rows)
  const isPass = (verdict: (typeof verdicts)[number]) =>
    verdict.direction >= 0 && !verdict.candidateHard
  const count = (outcome: Sample['outcome']) => rows.filter((row) => row.outcome === outcome).length
  const { status, reason, detail } = conclusion
  return {
    status,
    evidence: conclusion.evidence ?? (status === 'passed' || status === 'failed' ? 'proven' : null),
    reason,
    detail,
    preregistrationHash: hash,
    units: monitor.units,
    sampleCount: verdicts.length,
    passCount: verdicts.filter(isPass).length,
    failCount: verdicts.filter((verdict) => !isPass(verdict)).length,
    errorCount: count('error'),
    divergedCount: count('diverged'),
    notReplayableCount: count('not_replayable'),
    avgSimilarity: mean(verdicts.map(({ similarity }) => similarity)),
    noiseFloorSimilarity: toNoiseFloor(verdicts),
    selfAgreement: mean(verdicts.map(({ selfAgrees }) => selfAgrees).map(toNumber)),
    judgeInconsistency: inconsistencyOf(verdicts),
    candidateAgreement: mean(
      verdicts.map((one) => Number(!one.candidateHard && !one.candidateDeviates)),
    ),
    ...latencies(rows),
    costUsd: sum(
      judgedOf(rows).flatMap(({ baseline, candidate }) => [baseline.costUsd, candidate.costUsd]),
    ),
    metrics: monitor.watched.map((watched) => toReading(watched, registration.policy)),
    ...(monitor.slices.length === 0 ? {} : { slices: monitor.slices.map(toSliceReading) }),
  }
}

function toReading(watched: Monitor['watched'][number], policy: DecisionPolicy): MetricReading {
  const { metric, values, holds, worse } = watched
  return {
    name: metric.name,
    units: values.length,
    mean: mean(values),
    low: boundOf(values, 'above', policy.alpha),
    high: boundOf(values, 'below', failAlpha(policy, metric.name)),
    holdsAbove: metric.holdsAbove(policy),
    worseBelow: metric.worseBelow,
    logPass: watched.logPass(),
    logFail: watched.logFail(),
    holds,
    worse,
  }
}

function toSliceReading(slice: Monitor['slices'][number]): SliceReading {
  const { name, units, sum: total, worse } = slice
  return { name, units, mean: units === 0 ? null : total / units, logFail: slice.logFail(), worse }
}

function judgedOf(rows: readonly Sample[]): Judged[] {
  return rows.filter((row) => row.outcome === 'judged')
}

function verdictsOf(rows: readonly Sample[]) {
  return judgedOf(rows).map(({ verdict }) => verdict)
}

/** Of the pairs that have both: an average over other pairs would compare other questions. */
function latencies(rows: readonly Sample[]) {
  const both = judgedOf(rows).filter(
    ({ baseline, candidate }) => baseline.latencyMs !== null && candidate.latencyMs !== null,
  )
  return {
    baselineAvgLatencyMs: mean(both.map(({ baseline }) => baseline.latencyMs)),
    candidateAvgLatencyMs: mean(both.map(({ candidate }) => candidate.latencyMs)),
  }
}

function inconsistencyOf(verdicts: readonly Verdict[]): number | null {
  const asked = verdicts.flatMap(({ findings }) =>
    findings.filter(({ judge }) => judge.startsWith(llmJudge)),
  )
  return mean(asked.map(({ detail }) => Number(detail.startsWith('inconsistent'))))
}

function toNumber(value: boolean | null): number | null {
  return value === null ? null : Number(value)
}

function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0)
}

function mean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : (sum(known) ?? 0) / known.length
}
