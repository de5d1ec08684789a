// Populations with a known truth, drawn from a seed, and the decision rule run over them many times. The rule is the product's
// own (`Monitor`); only the rows are made here.

import { activeMetrics, type Judged, toUnitValue } from '../replay/metrics.ts'
import { type Look, Monitor } from '../replay/monitor.ts'
import { planPolicy } from '../replay/registration.ts'
import type { ArmFigures, DecisionPolicy } from '../schemas/experiment.ts'

export type Random = () => number

/** Mulberry32: one 32-bit seed, the same numbers on every machine. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export type Truth = {
  /** Share of pairs that differ although nothing changed (A/A discordance). */
  discordance: number
  /** Candidate minus baseline, as a mean of -1, 0 and 1. */
  delta: number
  /** Turns of a conversation, and the share of their variance that they have in common. */
  turns?: number
  icc?: number
  /** Replay one turn of each conversation, drawn at random, in place of all. */
  isOneTurnReplayed?: boolean
  /** Sensitivity and specificity alike, so J = 2 × this - 1; 1 without it. */
  judgeAccuracy?: number
  /** Parts of the traffic, each unit in one at most: their shares, and what the candidate loses in them beside `delta`. */
  slices?: { name: string; share: number; delta: number }[]
  /** Guardrails are drawn only when the policy watches them. */
  latencyRatio?: number
  latencySpread?: number
  costRatio?: number
  hardBaseline?: number
  hardAdded?: number
}

const medianLatencyMs = 800
const medianCostUsd = 0.002
const costSpread = 0.15
// Of the pairs where neither arm is better, those where both answers are good.
const bothGoodShare = 0.9

/** One conversation's rows under the truth. */
export function drawUnit(truth: Truth, random: Random): Judged[] {
  const { turns = 1, icc = 0, slices } = truth
  if (slices !== undefined) return drawSliced(truth, slices, random)
  const common = turns > 1 ? drawDirection(truth, random) : 0
  const rows = Array.from({ length: turns }, (_, turn) => {
    const isCommon = turns > 1 && random() < Math.sqrt(icc)
    const direction = isCommon ? common : drawDirection(truth, random)
    return toRow({ turn, turns }, judge(direction, truth.judgeAccuracy ?? 1, random), {
      truth,
      random,
    })
  })
  return truth.isOneTurnReplayed ? [rows[Math.floor(random() * turns)]!] : rows
}

function drawSliced(truth: Truth, slices: NonNullable<Truth['slices']>, random: Random): Judged[] {
  const drawn = random()
  const slice = slices.find((_, i) => {
    const upTo = slices.slice(0, i + 1).reduce((sum, { share }) => sum + share, 0)
    return drawn < upTo
  })
  const { slices: _, ...rest } = truth
  const rows = drawUnit({ ...rest, delta: truth.delta + (slice?.delta ?? 0) }, random)
  return slice === undefined ? rows : rows.map((row) => ({ ...row, slices: [slice.name] }))
}

function drawDirection({ discordance, delta }: Truth, random: Random): -1 | 0 | 1 {
  const worse = discordance / 2 + Math.max(0, -delta)
  const better = discordance / 2 + Math.max(0, delta)
  const drawn = random()
  return drawn < worse ? -1 : drawn < worse + better ? 1 : 0
}

/** What a judge that is wrong about each answer now and then makes of a pair. */
function judge(direction: -1 | 0 | 1, accuracy: number, random: Random): -1 | 0 | 1 {
  if (accuracy === 1) return direction
  const isGood = direction === 0 ? random() < bothGoodShare : undefined
  const seen = (good: boolean) => (random() < accuracy ? good : !good)
  const baseline = Number(seen(isGood ?? direction === -1))
  const candidate = Number(seen(isGood ?? direction === 1))
  return (candidate - baseline) as -1 | 0 | 1 // a difference of two bits
}

function toRow(
  { turn, turns }: { turn: number; turns: number },
  direction: -1 | 0 | 1,
  { truth, random }: { truth: Truth; random: Random },
): Judged {
  const hard = truth.hardBaseline ?? 0
  const spread = truth.latencySpread ?? 0
  const arm = (latencyRatio: number, costRatio: number): ArmFigures =>
    spread === 0
      ? { latencyMs: null, costUsd: null }
      : {
          latencyMs: medianLatencyMs * latencyRatio * Math.exp(spread * gaussian(random)),
          costUsd: medianCostUsd * costRatio * Math.exp(costSpread * gaussian(random)),
        }
  return {
    unit: 0,
    turn,
    turns,
    outcome: 'judged',
    verdict: {
      direction,
      baselineHard: hard > 0 && random() < hard,
      candidateHard: random() < hard + (truth.hardAdded ?? 0),
      candidateDeviates: false,
      similarity: 1,
      selfSimilarity: null,
      selfAgrees: null,
      decidedBy: 'drawn',
      findings: [],
    },
    baseline: arm(1, 1),
    repeat: arm(1, 1),
    candidate: arm(truth.latencyRatio ?? 1, truth.costRatio ?? 1),
  }
}

function gaussian(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

export type Tally = {
  replications: number
  passed: number
  failed: number
  inconclusive: number
  /** Conversations until the decision or the end. */
  meanUnits: number
  p90Units: number
}

/** Runs the rule to its end, so many times. */
export function tally(
  truth: Truth,
  policy: DecisionPolicy,
  { replications, seed }: { replications: number; seed: number },
): Tally {
  const random = randomFrom(seed)
  const counts = { passed: 0, failed: 0, continue: 0 }
  const lengths: number[] = []
  for (let i = 0; i < replications; i++) {
    const { look, units } = runOnce(truth, policy, random)
    counts[look]++
    lengths.push(units)
  }
  lengths.sort((a, b) => a - b)
  return {
    replications,
    passed: counts.passed / replications,
    failed: counts.failed / replications,
    inconclusive: counts.continue / replications,
    meanUnits: lengths.reduce((sum, length) => sum + length, 0) / replications,
    p90Units: lengths[Math.floor(0.9 * replications)] ?? 0,
  }
}

function runOnce(truth: Truth, policy: DecisionPolicy, random: Random) {
  const monitor = new Monitor(policy)
  const active = activeMetrics(policy)
  let look: Look = 'continue'
  while (look === 'continue' && monitor.units < policy.unitsMax) {
    const rows = drawUnit(truth, random)
    monitor.add(
      active.map((metric) => toUnitValue(metric, rows)),
      rows.flatMap(({ slices = [] }) => slices),
    )
    if (monitor.units % policy.batch === 0 || monitor.units === policy.unitsMax) {
      look = monitor.look()
    }
  }
  return { look, units: monitor.units }
}

/** The default rule for a frame of so many units, for the quality alone. */
export function qualityAlone(units: number, chosen: Partial<DecisionPolicy> = {}): DecisionPolicy {
  return planPolicy(units, { guardrails: [], ...chosen })
}
