// Evidence that may be looked at after every batch: wealth of fixed bets against a hypothesis about a bounded mean.
// If the hypothesis holds, the average wealth ever reaches 1/α with probability at most α (Ville's inequality).

// Shares of wealth staked on each unit. Seven, geometric: small ones pay where pairs often disagree, large ones where they
// never do. More of them cost evidence (ln of their number); fewer leave noisy registries undecided.
const bets = Array.from({ length: 7 }, (_, i) => 0.14 * (0.9 / 0.14) ** (i / 6))

// e^700 is near the largest double; nothing is decided up there.
const logMax = 700

/** `above`: evidence against "the mean is at most `null`". `below`: against "the mean is at least `null`". */
export type Side = 'above' | 'below'

/**
 * One growing e-process. Values lie in [-1, 1]; each must have, given the past, the mean that the hypothesis speaks of, which
 * conversations drawn in random order have and turns of one conversation do not.
 */
export class Evidence {
  readonly #null: number
  readonly #sign: number
  readonly #wealth = new Float64Array(bets.length).fill(1)

  constructor(nullMean: number, side: Side) {
    this.#null = nullMean
    this.#sign = side === 'above' ? 1 : -1
    // A bet that could lose more than its wealth is not placed; its share of the average stays.
    for (let i = 0; i < bets.length; i++) {
      const worst = 1 - bets[i]! * (1 + this.#sign * nullMean)
      if (worst <= 0) this.#wealth[i] = 0
    }
  }

  add(value: number): void {
    const step = this.#sign * (value - this.#null)
    for (let i = 0; i < bets.length; i++) this.#wealth[i]! *= 1 + bets[i]! * step
  }

  /** Natural logarithm of the e-value, within ±700. */
  log(): number {
    let sum = 0
    for (const wealth of this.#wealth) sum += wealth
    return Math.max(-logMax, Math.min(logMax, Math.log(sum / bets.length)))
  }
}

/**
 * The bound on the mean that these bets support now: the largest null still rejected from above (or the smallest from
 * below), by bisection to 1e-4. It crosses a margin exactly when the evidence against that margin crosses 1/α.
 */
export function boundOf(values: readonly number[], side: Side, alpha: number): number {
  const isRejected = (nullMean: number) => {
    const evidence = new Evidence(nullMean, side)
    for (const value of values) evidence.add(value)
    return evidence.log() >= Math.log(1 / alpha)
  }
  const start = side === 'above' ? -1 : 1
  let rejected = start
  let open = -start
  if (!isRejected(start)) return start
  while (Math.abs(open - rejected) > 1e-4) {
    const middle = (rejected + open) / 2
    if (isRejected(middle)) rejected = middle
    else open = middle
  }
  return rejected
}
