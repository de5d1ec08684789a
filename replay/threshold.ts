// What may be said of too few samples to prove anything: every one of them held. Named `threshold` evidence, never `proven`.

import type { Verdict } from '../schemas/experiment.ts'
import type { LatencyReading } from './latency.ts'

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
  /** Undefined: it was not measured. */
  latency: LatencyReading | undefined
}

/** Why the threshold is missed, a sentence each; empty: it is met. */
export function findMisses(facts: ThresholdFacts): string[] {
  const { verdicts, latency } = facts
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
  if (latency === undefined) misses.push('Latency was not measured.')
  else if (latency.isSlower) {
    misses.push(
      `Latency rose beyond the margin in ${latency.beyond} of ${latency.pairs} samples, ${latency.ratio.toFixed(2)} times in the median.`,
    )
  }
  return misses
}

/** What a pass by threshold leaves open: a median beyond the margin that equal prompts would show as well. */
export function noteOf(latency: LatencyReading | undefined): string {
  if (latency === undefined || !latency.isBeyond) return ''
  const chance = Math.max(1, Math.round(latency.chance * 100))
  return ` Latency lies beyond the margin in ${latency.beyond} of ${latency.pairs}, as it would for equal prompts that answer so unevenly ${chance} times in 100.`
}
