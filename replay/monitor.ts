// The rule itself: one pair of e-processes a metric, looked at together. It remembers the running maximum, so what was once
// proven stays proven, and it says `passed` or `failed` at most once.

import type { DecisionPolicy } from '../schemas/experiment.ts'
import { Evidence } from './e-process.ts'
import { activeMetrics, failAlpha, type Metric, sliceAlpha } from './metrics.ts'

// A metric that most conversations do not tell is not proven by those that do: they are not a random part.
const measuredShareMin = 0.9

export type Watched = {
  metric: Metric
  values: number[]
  holds: boolean
  worse: boolean
  logPass(): number
  logFail(): number
}

export type WatchedSlice = {
  name: string
  units: number
  sum: number
  worse: boolean
  logFail(): number
}

export type Look = 'passed' | 'failed' | 'continue'

/**
 * The state of a running decision; add a unit's values in the registered order, look at batch boundaries. Values stand in
 * the order of `watched`, undefined where the unit does not tell. Error rates are promised for looks that ignore the values.
 */
export class Monitor {
  readonly watched: readonly Watched[]
  readonly slices: readonly WatchedSlice[]
  units = 0
  readonly #policy: DecisionPolicy
  readonly #sliceEvidence: readonly Evidence[]
  readonly #evidence: { pass: Evidence; fail: Evidence; passAt: number; failAt: number }[]

  constructor(policy: DecisionPolicy) {
    this.#policy = policy
    const active = activeMetrics(policy)
    this.#evidence = active.map((metric) => ({
      pass: new Evidence(metric.holdsAbove(policy), 'above'),
      fail: new Evidence(metric.worseBelow, 'below'),
      passAt: Math.log(1 / policy.alpha),
      failAt: Math.log(1 / failAlpha(policy, metric.name)),
    }))
    this.watched = active.map((metric, i) => ({
      metric,
      values: [],
      holds: false,
      worse: false,
      logPass: () => this.#evidence[i]!.pass.log(),
      logFail: () => this.#evidence[i]!.fail.log(),
    }))
    const names = policy.slices ?? []
    this.#sliceEvidence = names.map(() => new Evidence(0, 'below'))
    this.slices = names.map((name, i) => ({
      ...{ name, units: 0, sum: 0, worse: false },
      logFail: () => this.#sliceEvidence[i]!.log(),
    }))
  }

  /** `slices`: parts of the traffic that the unit belongs to, where its first value, the quality, counts as well. */
  add(values: readonly (number | undefined)[], slices: readonly string[] = []): void {
    this.units++
    const [quality] = values
    for (const [i, slice] of this.slices.entries()) {
      if (quality === undefined || !slices.includes(slice.name)) continue
      slice.units++
      slice.sum += quality
      this.#sliceEvidence[i]!.add(quality)
    }
    for (const [i, { pass, fail }] of this.#evidence.entries()) {
      const value = values[i]
      if (value === undefined) continue
      pass.add(value)
      fail.add(value)
      this.watched[i]!.values.push(value)
    }
  }

  /** A failure wins over a pass at the same look: whoever is in doubt does not promote. */
  look(): Look {
    for (const [i, { pass, fail, passAt, failAt }] of this.#evidence.entries()) {
      const watched = this.watched[i]!
      watched.holds ||= pass.log() >= passAt
      watched.worse ||= fail.log() >= failAt
    }
    for (const slice of this.slices)
      slice.worse ||= slice.logFail() >= Math.log(1 / sliceAlpha(this.#policy))
    if ([...this.watched, ...this.slices].some(({ worse }) => worse)) return 'failed'
    const isProven = this.watched.every(({ holds }) => holds) && this.unmeasured().length === 0
    return isProven && this.units >= this.#policy.unitsMin ? 'passed' : 'continue'
  }

  /** Metrics that too few of the units told. */
  unmeasured(): Metric[] {
    return this.watched
      .filter(({ values }) => values.length < this.units * measuredShareMin)
      .map(({ metric }) => metric)
  }
}
