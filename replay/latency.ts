// How long a prompt takes beside another, measured on a busy machine: answers of one conversation come one after the other, so
// they are compared among themselves; what equal prompts would show by accident is reckoned from the same answers.

import type { ArmFigures } from '../schemas/experiment.ts'

const ratioMargin = 0.1
const marginMinMs = 20
// One call in twenty may be slower than this; twice, because at 1.25 times two calls of the same prompt disagree too often
// (log spread 0.3: 60 % of pairs) for five points ever to be proven.
const tailRatio = 2
// Equal prompts are called slower at most this often; of frames too small for that, when every single pair says so.
const chanceMax = 0.01

/** What one conversation's answers took. `repeat` is absent where the baseline answered once. */
export type Timed = { baseline: ArmFigures; repeat?: ArmFigures; candidate: ArmFigures }

/** The margin of the contract: 10 %, and at least 20 ms. */
export function latencyLimitMs(baselineMs: number): number {
  return Math.max(baselineMs * (1 + ratioMargin), baselineMs + marginMinMs)
}

/** The baseline's time: of two answers the geometric mean, for one alone is as noisy as what it is held against. */
export function baselineMsOf({ baseline, repeat }: Timed): number | null {
  const first = baseline.latencyMs
  const second = repeat?.latencyMs ?? null
  if (first === null || second === null) return first
  return Math.sqrt(Math.max(first, 0.001) * Math.max(second, 0.001))
}

/**
 * Whether the candidate stalled, against how often the baseline did: an answer stalls when it takes more than twice as long as
 * every other of its conversation. Each of three equal answers is as likely to be that one, so noise has no direction.
 */
export function tailDifference(timed: Timed): number | undefined {
  const candidateMs = timed.candidate.latencyMs
  const others = baselinesOf(timed)
  if (candidateMs === null || others.length === 0) return undefined
  const stalls = (ms: number, beside: readonly number[]) =>
    beside.every((other) => ms > other * tailRatio && ms > other + marginMinMs)
  let ofBaseline = 0
  for (const [i, ms] of others.entries()) {
    if (stalls(ms, [candidateMs, ...others.filter((_, at) => at !== i)])) ofBaseline++
  }
  return ofBaseline / others.length - Number(stalls(candidateMs, others))
}

export type LatencyReading = {
  pairs: number
  /** Of them, those in which the candidate took longer than the margin allows. */
  beyond: number
  /** Candidate over baseline, the median of the pairs. */
  ratio: number
  /** Half of the pairs or more lie beyond the margin: so does their median. */
  isBeyond: boolean
  /** How often equal prompts that answer as unevenly as these show so many pairs beyond it. */
  chance: number
  isSlower: boolean
}

/** The latency of a small frame; undefined: it was not measured. */
export function readLatency(rows: readonly Timed[]): LatencyReading | undefined {
  const triples = rows.flatMap((timed) => {
    const candidateMs = timed.candidate.latencyMs
    const baselines = baselinesOf(timed)
    return candidateMs === null || baselines.length === 0 ? [] : [[candidateMs, ...baselines]]
  })
  if (triples.length === 0) return undefined
  const beyond = triples.filter((answers) => isBeyondAt(answers, 0)).length
  const ratios = triples.map(([candidateMs = 0, ...others]) => candidateMs / meanOf(others))
  const isBeyond = beyond * 2 >= triples.length
  // If the prompts are equal, any answer of a conversation might as well have been called the candidate's.
  const shares = triples.map(
    (answers) => answers.filter((_, at) => isBeyondAt(answers, at)).length / answers.length,
  )
  const chance = chanceOf(beyond, shares)
  const smallest = triples.reduce((product, answers) => product / answers.length, 1)
  return {
    ...{ pairs: triples.length, beyond, ratio: medianOf(ratios), isBeyond, chance },
    isSlower: isBeyond && chance <= Math.max(chanceMax, smallest * (1 + 1e-9)),
  }
}

function baselinesOf({ baseline, repeat }: Timed): number[] {
  return [baseline.latencyMs, repeat?.latencyMs ?? null].filter((ms) => ms !== null)
}

function isBeyondAt(answers: readonly number[], at: number): boolean {
  const others = answers.filter((_, i) => i !== at)
  return (answers[at] ?? 0) > latencyLimitMs(meanOf(others))
}

function meanOf(answers: readonly number[]): number {
  const logs = answers.map((ms) => Math.log(Math.max(ms, 0.001)))
  return Math.exp(logs.reduce((sum, log) => sum + log, 0) / answers.length)
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]]
  return ((low ?? 0) + (high ?? 0)) / 2
}

/** Of independent events, each with a chance of its own, at least so many: the distribution grown one by one. */
function chanceOf(count: number, shares: readonly number[]): number {
  let chances = [1]
  for (const share of shares) {
    chances = [...chances, 0].map(
      (chance, at) => chance * (1 - share) + (chances[at - 1] ?? 0) * share,
    )
  }
  return chances.slice(count).reduce((sum, chance) => sum + chance, 0)
}
