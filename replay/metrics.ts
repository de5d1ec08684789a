// What is measured of a conversation, each as a number in [-1, 1] where more is better, and what must be proven of its mean.

import {
  type DecisionPolicy,
  headroomBase,
  type MetricName,
  type Sample,
} from '../schemas/experiment.ts'
import { baselineMsOf, latencyLimitMs, tailDifference } from './latency.ts'

export type Judged = Extract<Sample, { outcome: 'judged' }>

export type Metric = {
  name: MetricName
  /** Undefined: this turn does not tell. */
  valueOf(sample: Judged): number | undefined
  /** Non-inferior when the mean is proven above it. */
  holdsAbove(policy: DecisionPolicy): number
  /** Worse when the mean is proven below it. */
  worseBelow: number
}

// Ratios of times and prices are compared as logarithms, clipped here so that one stalled call cannot decide.
const logRatioMax = Math.log(headroomBase)
const ratioMargin = 0.1
// So many more stalled calls than the baseline has. Small frames get the wider margin of rare events.
const tailMargin = 0.05
// Of the chance to fail a candidate by mistake, what the slices share alike where there are any; of the rest, what belongs to the
// quality; what is left the guardrails share alike.
const slicesShare = 0.2
const qualityShare = 0.6

/**
 * Any proven loss of quality or gain in hard failures is a failure. Latency and cost fail only beyond their margin, which for
 * the ratios is inside the value: 0 is exactly at it.
 */
export const metrics: readonly Metric[] = [
  {
    name: 'quality',
    valueOf: (sample) => sample.verdict.direction,
    holdsAbove: (policy) => -policy.margin * policy.judgeJ,
    worseBelow: 0,
  },
  {
    name: 'hard_failures',
    valueOf: ({ verdict }) => Number(verdict.baselineHard) - Number(verdict.candidateHard),
    holdsAbove: (policy) => -policy.hardFailureMargin,
    worseBelow: 0,
  },
  {
    name: 'latency',
    valueOf: (sample) => latencyHeadroom(baselineMsOf(sample), sample.candidate.latencyMs),
    holdsAbove: () => 0,
    worseBelow: 0,
  },
  {
    name: 'latency_tail',
    valueOf: tailDifference,
    holdsAbove: (policy) => -Math.max(tailMargin, policy.hardFailureMargin),
    worseBelow: -tailMargin,
  },
  {
    name: 'cost',
    valueOf: (sample) => costHeadroom(sample.baseline.costUsd, sample.candidate.costUsd),
    holdsAbove: () => 0,
    worseBelow: 0,
  },
]

export function activeMetrics(policy: DecisionPolicy): Metric[] {
  return metrics.filter(({ name }) => name === 'quality' || policy.guardrails.includes(name))
}

/** A pass needs every metric, so each may use all of α; a failure needs one, so they share it (weighted Bonferroni). */
export function failAlpha(policy: DecisionPolicy, name: MetricName): number {
  const guardrails = policy.guardrails.length
  const alpha = policy.slices?.length ? policy.alpha * (1 - slicesShare) : policy.alpha
  if (guardrails === 0) return alpha
  return alpha * (name === 'quality' ? qualityShare : (1 - qualityShare) / guardrails)
}

/** The share of each slice. */
export function sliceAlpha({ alpha, slices = [] }: DecisionPolicy): number {
  return (alpha * slicesShare) / slices.length
}

/** The mean over a conversation's turns: one draw, however many turns agree with each other. Undefined: no turn tells. */
export function toUnitValue(metric: Metric, turns: readonly Judged[]): number | undefined {
  let sum = 0
  let told = 0
  for (const turn of turns) {
    const value = metric.valueOf(turn)
    if (value === undefined) continue
    sum += value
    told++
  }
  return told === 0 ? undefined : sum / told
}

/** How far below its limit the candidate stayed: the baseline's time and 10 %, or 20 ms if that is more. */
export function latencyHeadroom(baselineMs: number | null, candidateMs: number | null) {
  if (baselineMs === null || candidateMs === null) return undefined
  const baseline = Math.max(baselineMs, 0.001)
  return headroom(latencyLimitMs(baseline), candidateMs)
}

function costHeadroom(baseline: number | null, candidate: number | null): number | undefined {
  if (baseline === null || candidate === null) return undefined
  if (baseline === 0 && candidate === 0) return headroom(1 + ratioMargin, 1)
  return headroom(baseline * (1 + ratioMargin), candidate)
}

function headroom(limit: number, value: number): number {
  const ratio = Math.log(limit / Math.max(value, Number.MIN_VALUE)) / logRatioMax
  return Math.max(-1, Math.min(1, ratio))
}
