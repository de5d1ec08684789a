// What may be said of too few samples to prove anything: every one of them held. Named `threshold` evidence, never `proven`.

import type { Verdict } from '../schemas/experiment.ts'
import { latencyLimitMs } from './metrics.ts'

export const thresholdSamplesMin = 3
// The similarity asked of a candidate when the baseline repeats itself letter for letter, or was not repeated at all.
const similarityMin = 0.85
// The candidate may be as unlike the baseline as the baseline is unlike itself in all but this share of its repeats.
const noiseQuantile = 0.05
// Unrelated English texts reach 0.54 at 800 characters: a baseline noisier than this makes similarity say nothing.
const noiseFloorMin = 0.55

/** The low end of how alike two answers of the same prompt are. Null: the baseline was never replayed twice. */
export function toNoiseFloor(verdicts: readonly Verdict[]): number | null {
  const sorted = verdicts
    .map(({ selfSimilarity }) => selfSimilarity)
    .filter((value) => value !== null)
    .sort((a, b) => a - b)
  return sorted[Math.floor(noiseQuantile * sorted.length)] ?? null
}

export type ThresholdFacts = {
  verdicts: readonly Verdict[]
  /** A pair each that was measured; the baseline's is the longest of its `answers`. */
  latencies: readonly { baselineMs: number; answers: number; candidateMs: number }[]
}

// Pairs are counted, not averaged: of a handful of calls one that stalled must not decide, nor a busy minute. The candidate is
// called slower when so many pairs beyond the margin would be a rare accident between equal prompts.
const latencyChance = 0.05

/** The chance that equal prompts show this many slower pairs: the slowest of three answers is the candidate's in one of three. */
function chanceOf(slower: number, latencies: ThresholdFacts['latencies']): number {
  // Of independent pairs, each with a chance of its own, how many: the distribution grown pair by pair.
  let chances = [1]
  for (const { answers } of latencies) {
    const share = 1 / (answers + 1)
    chances = [...chances, 0].map(
      (chance, count) => chance * (1 - share) + (chances[count - 1] ?? 0) * share,
    )
  }
  return chances.slice(slower).reduce((sum, chance) => sum + chance, 0)
}

/** Why the threshold is missed, a sentence each; empty: it is met. */
export function findMisses(facts: ThresholdFacts): string[] {
  const { verdicts, latencies } = facts
  if (verdicts.length < thresholdSamplesMin) {
    return [`${verdicts.length} of at least ${thresholdSamplesMin} samples have a verdict.`]
  }
  const count = (is: (verdict: Verdict) => boolean) => verdicts.filter(is).length
  const misses: string[] = []
  const hard = count(({ candidateHard }) => candidateHard)
  if (hard > 0) misses.push(`${hard} of ${verdicts.length} samples fail a validator.`)
  const deviating = count(({ candidateDeviates }) => candidateDeviates)
  if (deviating > 0) {
    misses.push(`${deviating} of ${verdicts.length} samples change what the baseline said.`)
  }
  const floor = toNoiseFloor(verdicts)
  const asked = Math.min(floor ?? similarityMin, similarityMin)
  if (floor !== null && floor < noiseFloorMin) {
    misses.push(`The baseline is too unlike itself (${floor.toFixed(2)}) to compare with.`)
  }
  const unlike = count(({ similarity }) => similarity < asked)
  if (unlike > 0) {
    misses.push(`${unlike} of ${verdicts.length} samples are less alike than ${asked.toFixed(2)}.`)
  }
  const slower = latencies.filter((one) => one.candidateMs > latencyLimitMs(one.baselineMs)).length
  if (latencies.length === 0) misses.push('Latency was not measured.')
  else if (chanceOf(slower, latencies) < latencyChance) {
    misses.push(`Latency rose beyond the margin in ${slower} of ${latencies.length} samples.`)
  }
  return misses
}
