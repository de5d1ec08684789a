// The error rates that the rule promises, on populations whose truth is known. Seeded; the bounds leave room for the luck of
// the draw and none for a rule that is wrong. The full grid is `npm run bench -- decisions --long`.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { boundOf, Evidence } from '../replay/e-process.ts'
import { failAlpha } from '../replay/metrics.ts'
import { Monitor } from '../replay/monitor.ts'
import { planPolicy } from '../replay/registration.ts'
import { coreCells } from './decision-grid.ts'
import { randomFrom, tally } from './decision-world.ts'
import { failedShare } from './mutation-world.ts'
import { mutations } from './mutations.ts'

const replications = 400

/** Counts above it come once in a million times if the true share is `share` (normal bound with its own continuity). */
const atMostCount = (share: number, of: number) =>
  Math.ceil(share * of + 4.75 * Math.sqrt(share * (1 - share) * of) + 1)

for (const [i, cell] of coreCells.entries()) {
  test(`${cell.name} as promised`, () => {
    const result = tally(cell.truth, cell.policy, { replications, seed: 77 + i })
    const count = result[cell.measure] * replications
    if (cell.atMost !== undefined) {
      expect(count).toBeLessThanOrEqual(atMostCount(cell.atMost, replications))
    }
    if (cell.atLeast !== undefined) {
      const others = replications - count
      expect(others).toBeLessThanOrEqual(atMostCount(1 - cell.atLeast, replications))
    }
    // The means' own error at 400 runs is about 3 %; the percentile's, one look.
    expect(result.meanUnits).toBeLessThan((cell.unitsMeanMax ?? Infinity) * 1.1)
    expect(result.p90Units).toBeLessThanOrEqual((cell.unitsP90Max ?? Infinity) + 25)
  })
}

test('ten slices share what they may fail by mistake', () => {
  const slices = Array.from({ length: 10 }, (_, i) => ({ name: `s${i}`, share: 0.1, delta: 0 }))
  const policy = planPolicy(2_000, { guardrails: [], slices: slices.map(({ name }) => name) })
  const runs = 600
  const { failed } = tally({ discordance: 0.3, delta: 0, slices }, policy, {
    replications: runs,
    seed: 8,
  })
  expect(failed * runs).toBeLessThanOrEqual(atMostCount(0.01, runs))
})

test('looking after every pair promises no less than looking once', () => {
  const policy = planPolicy(2_000, { guardrails: [], batch: 1, unitsMin: 0 })
  const count = (delta: number, measure: 'passed' | 'failed') =>
    tally({ discordance: 0.3, delta }, policy, { replications: 300, seed: 5 })[measure] * 300
  expect(count(0, 'failed')).toBeLessThanOrEqual(atMostCount(0.01, 300))
  expect(count(-0.05, 'passed')).toBeLessThanOrEqual(atMostCount(0.01, 300))
})

test('turns taken for conversations would break the promise: the test sees what the unit is for', () => {
  const random = randomFrom(12)
  let failed = 0
  const runs = 200
  for (let run = 0; run < runs; run++) {
    const fail = new Evidence(0, 'below')
    for (let unit = 0; unit < 200; unit++) {
      const drawn = random()
      const common = drawn < 0.05 ? -1 : drawn < 0.1 ? 1 : 0
      for (let turn = 0; turn < 5; turn++) fail.add(common)
      if (fail.log() >= Math.log(100)) {
        failed++
        break
      }
    }
  }
  expect(failed).toBeGreaterThan(atMostCount(0.01, runs))
})

test('an e-value is the average wealth of its bets, by hand', () => {
  const bets = Array.from({ length: 7 }, (_, i) => 0.14 * (0.9 / 0.14) ** (i / 6))
  const evidence = new Evidence(-0.05, 'above')
  for (const value of [0, 1, -1, 0]) evidence.add(value)
  const wealth = bets.map((bet) => (1 + bet * 0.05) ** 2 * (1 + bet * 1.05) * (1 - bet * 0.95))
  const mean = wealth.reduce((sum, one) => sum + one, 0) / bets.length
  expect(evidence.log()).toBeCloseTo(Math.log(mean), 12)
})

test('under the hypothesis at its edge, wealth is fair: its mean over all outcomes is 1', () => {
  // Every sequence of six outcomes, each with its probability under mean -0.05: exact, no draw.
  const chances = { '-1': 0.1, '0': 0.85, '1': 0.05 } as const
  const outcomes = [-1, 0, 1] as const
  let sequences: { values: number[]; chance: number }[] = [{ values: [], chance: 1 }]
  for (let i = 0; i < 6; i++) {
    sequences = sequences.flatMap(({ values, chance }) =>
      outcomes.map((value) => ({
        values: [...values, value],
        chance: chance * chances[`${value}`],
      })),
    )
  }
  for (const side of ['above', 'below'] as const) {
    const mean = sequences.reduce((sum, { values, chance }) => {
      const evidence = new Evidence(-0.05, side)
      for (const value of values) evidence.add(value)
      return sum + chance * Math.exp(evidence.log())
    }, 0)
    expect(mean).toBeCloseTo(1, 10)
  }
})

const values = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { maxLength: 60 })
const nulls = fc.double({ min: -0.5, max: 0.5, noNaN: true })

test('exchanging the arms exchanges the sides', () => {
  fc.assert(
    fc.property(values, nulls, (given, at) => {
      const [above, below] = [new Evidence(at, 'above'), new Evidence(-at, 'below')]
      for (const value of given) {
        above.add(value)
        below.add(-value)
      }
      expect(above.log()).toBeCloseTo(below.log(), 9)
    }),
    { seed: 1 },
  )
})

test('the drawn bounds never contradict the rule', () => {
  fc.assert(
    fc.property(values, nulls, (given, at) => {
      const low = boundOf(given, 'above', 0.01)
      const high = boundOf(given, 'below', 0.01)
      const evidence = new Evidence(at, 'above')
      for (const value of given) evidence.add(value)
      const isRejected = evidence.log() >= Math.log(100)
      // Bisection stops within 1e-4 of the edge.
      if (low > at + 1e-3) expect(isRejected).toBe(true)
      if (low < at - 1e-3) expect(isRejected).toBe(false)
      expect(low).toBeLessThanOrEqual(high)
    }),
    { seed: 2 },
  )
})

test('what was proven once stays proven while another metric is still open', () => {
  const monitor = new Monitor(planPolicy(2_000, { guardrails: ['latency'] }))
  const feed = (units: number, values: number[]) => {
    for (let i = 0; i < units; i++) monitor.add(values)
    return monitor.look()
  }
  expect(feed(120, [1, 0])).toBe('continue')
  expect(monitor.watched.map(({ holds }) => holds)).toEqual([true, false])
  expect(feed(100, [-1, 1])).toBe('passed')
  expect(monitor.watched[0]?.logPass()).toBeLessThan(Math.log(100))
})

test('chances to fail by mistake add up to α, whichever guardrails are watched', () => {
  const all = planPolicy(2_000).guardrails
  for (let count = 0; count <= all.length; count++) {
    const policy = planPolicy(2_000, { guardrails: all.slice(0, count) })
    const names = ['quality' as const, ...policy.guardrails]
    const sum = names.reduce((total, name) => total + failAlpha(policy, name), 0)
    expect(sum).toBeCloseTo(policy.alpha, 12)
  }
})

test('a critical mutation of one output in five is found, a harmless one of every output is not blamed', () => {
  const policy = planPolicy(2_000, { guardrails: [] })
  for (const mutation of mutations) {
    const fraction = mutation.isCritical ? 0.2 : 1
    const share = failedShare(mutation, fraction, { policy, runs: 8, seed: 21 })
    // Three of eight blamed at 2 % each, or missed at 5 %, is one chance in 150 at most, and the seed is fixed.
    if (mutation.isCritical) expect(share, mutation.name).toBeGreaterThan(0.65)
    else expect(share, mutation.name).toBeLessThan(0.35)
  }
})
