// What retries may add to the load of a route, so that an outage is not multiplied: a share of its calls, and a few besides,
// saved up for at most ten seconds of them.

import type { RetryBudgetRule } from '../../../schemas/config.ts'

const savedSeconds = 10
// A route with little traffic may still try again a few times at once.
const savedMin = 10

export class RetryBudget {
  rule: RetryBudgetRule
  #tokens: number
  #filledAtMs: number

  constructor(rule: RetryBudgetRule, nowMs: number) {
    this.rule = rule
    this.#tokens = savedMin
    this.#filledAtMs = nowMs
  }

  /** A call was made. */
  earn(): void {
    this.#tokens = Math.min(this.#tokens + this.rule.ratio, this.#most())
  }

  /** True when a retry may be made; it is taken then. */
  spend(nowMs: number): boolean {
    const earned = ((nowMs - this.#filledAtMs) / 1000) * this.rule.perSecond
    this.#tokens = Math.min(this.#tokens + Math.max(0, earned), this.#most())
    this.#filledAtMs = nowMs
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  #most(): number {
    const { ratio, perSecond } = this.rule
    return ratio === 0 && perSecond === 0 ? 0 : Math.max(savedMin, perSecond * savedSeconds)
  }
}
