// Whether one provider's model is worth asking: closed while it answers, open for a while after it failed too often, then
// one call at a time tries it. A breaker chooses between targets; a call that has nowhere else to go is made all the same.

import type { BreakerRule } from '../../../schemas/config.ts'

export type BreakerState = 'closed' | 'open' | 'half_open'

export class Breaker {
  rule: BreakerRule
  #failuresInRow = 0
  #windowStartMs = 0
  #calls = 0
  #failures = 0
  #openedAtMs = 0
  #isOpen = false
  /** True while one call tries an open one. */
  #isProbing = false

  readonly #opened: () => void

  /** `opened` is called each time it opens. */
  constructor(rule: BreakerRule, opened: () => void) {
    this.rule = rule
    this.#opened = opened
  }

  /** `open`: not now, if there is another. */
  state(nowMs: number): BreakerState {
    if (!this.#isOpen) return 'closed'
    const isDue = !this.#isProbing && nowMs - this.#openedAtMs >= this.rule.openMs
    return isDue ? 'half_open' : 'open'
  }

  /** A call is about to be made; what comes of it is told by one of the three below. */
  begin(): void {
    if (this.#isOpen) this.#isProbing = true
  }

  succeeded(nowMs: number): void {
    this.#isOpen = false
    this.#isProbing = false
    this.#failuresInRow = 0
    this.#count(nowMs)
  }

  failed(nowMs: number): void {
    this.#failuresInRow += 1
    this.#count(nowMs)
    this.#failures += 1
    const isBad = this.#calls >= this.rule.callsMin && this.#share() >= this.rule.failureRatio
    if (!this.#isProbing && !isBad && this.#failuresInRow < this.rule.failuresInRow) return
    this.#isOpen = true
    this.#isProbing = false
    this.#openedAtMs = nowMs
    this.#calls = 0
    this.#failures = 0
    this.#opened()
  }

  /** The call ended without saying anything about the upstream: its client left. */
  left(): void {
    this.#isProbing = false
  }

  #share(): number {
    return this.#failures / this.#calls
  }

  #count(nowMs: number): void {
    if (nowMs - this.#windowStartMs >= this.rule.windowMs) {
      this.#windowStartMs = nowMs
      this.#calls = 0
      this.#failures = 0
    }
    this.#calls += 1
  }
}
