// What is remembered of targets: when one is left alone, what retries may cost, which key comes next.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Breaker } from '../collectors/proxy/targets/breaker.ts'
import { ProviderKeys } from '../collectors/proxy/targets/provider-keys.ts'
import { RetryBudget } from '../collectors/proxy/targets/retry-budget.ts'
import type { Target } from '../collectors/proxy/targets/routes.ts'
import { chooseTarget } from '../collectors/proxy/targets/target-choice.ts'

const rule = {
  failuresInRow: 3,
  failureRatio: 0.5,
  windowMs: 1_000,
  callsMin: 10,
  openMs: 500,
}

const fail = (breaker: Breaker, nowMs: number) => {
  breaker.begin()
  breaker.failed(nowMs)
}

test('a breaker opens after failures in a row, lets one call try, and opens again when that fails', () => {
  const breaker = new Breaker(rule, () => {})
  fail(breaker, 0)
  fail(breaker, 0)
  expect(breaker.state(0)).toBe('closed')
  fail(breaker, 10)
  expect([breaker.state(10), breaker.state(509), breaker.state(510)]).toEqual([
    'open',
    'open',
    'half_open',
  ])
  breaker.begin()
  expect(breaker.state(510)).toBe('open')
  breaker.failed(510)
  expect([breaker.state(1_009), breaker.state(1_010)]).toEqual(['open', 'half_open'])
  breaker.begin()
  breaker.succeeded(1_010)
  expect(breaker.state(1_010)).toBe('closed')
})

test('a call whose client left makes room for the next that tries', () => {
  const breaker = new Breaker({ ...rule, failuresInRow: 1 }, () => {})
  fail(breaker, 0)
  breaker.begin()
  breaker.left()
  expect(breaker.state(500)).toBe('half_open')
})

test('a breaker opens by the share of failures in a window, such as of streams that begin well and break', () => {
  const breaker = new Breaker(rule, () => {})
  for (let call = 0; call < 4; call++) {
    breaker.succeeded(call)
    breaker.failed(call)
  }
  expect(breaker.state(4)).toBe('closed')
  breaker.succeeded(5)
  breaker.failed(5)
  expect(breaker.state(5)).toBe('open')

  const slow = new Breaker(rule, () => {})
  for (let call = 0; call < 20; call++) {
    slow.succeeded(call * 400)
    slow.failed(call * 400)
  }
  expect(slow.state(20 * 400)).toBe('closed')
})

test('retries are at most the share of calls, the seconds, and what was there at first', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 400 }), fc.nat(50), (asks, stepMs) => {
      const budget = new RetryBudget({ ratio: 0.2, perSecond: 1 }, 0)
      let calls = 0
      let retries = 0
      let nowMs = 0
      for (const isRetry of asks) {
        nowMs += stepMs
        if (!isRetry) {
          calls += 1
          budget.earn()
        } else if (budget.spend(nowMs)) retries += 1
      }
      expect(retries).toBeLessThanOrEqual(10 + calls * 0.2 + nowMs / 1000 + 1e-9)
    }),
  )
})

test('keys are taken in turn, one that rests comes last, and one that was tried never', () => {
  const keys = new ProviderKeys(['a', 'b', 'c'])
  expect([keys.pick(0, 0), keys.pick(0, 0), keys.pick(0, 0), keys.pick(0, 0)]).toEqual([0, 1, 2, 0])
  keys.limited(1, { 'retry-after': '2' }, 0)
  expect([keys.pick(0, 1_999), keys.pick(0, 1_999)]).toEqual([2, 0])
  expect(keys.pick(0b101, 1_999)).toBe(1)
  expect(keys.pick(0b111, 1_999)).toBe(-1)
  expect(keys.pick(0b101, 2_000)).toBe(1)
})

test.each([
  ['milliseconds, before seconds', { 'retry-after-ms': '2500', 'retry-after': '9' }, 2_500],
  ['seconds', { 'retry-after': '2.5' }, 2_500],
  ['a date', { 'retry-after': 'Thu, 01 Jan 1970 00:00:03 GMT' }, 3_000],
  ['a date that is over', { 'retry-after': 'Wed, 31 Dec 1969 00:00:03 GMT' }, 1_000],
  ['words', { 'retry-after': 'soon' }, 1_000],
  ['nothing', {}, 1_000],
  ['a day, which is more than is heeded', { 'retry-after': '86400' }, 60_000],
])('keys rest for as long as the provider says: %s', (_what, headers, restMs) => {
  for (const [texts, at] of [
    [['a'], 0],
    [[], -1],
  ] as const) {
    const keys = new ProviderKeys(texts)
    expect(keys.isResting(0)).toBe(false)
    keys.limited(at, headers, 0)
    expect([keys.isResting(restMs - 1), keys.isResting(restMs)]).toEqual([true, false])
  }
})

test('each target is chosen once at most, and all of them before none is left', () => {
  const arbitrary = fc.record({
    weights: fc.array(fc.nat(5), { minLength: 1, maxLength: 16 }),
    open: fc.nat(2 ** 16 - 1),
    random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  })
  fc.assert(
    fc.property(arbitrary, ({ weights, open, random }) => {
      const targets = weights.map((weight, i) => {
        const breaker = new Breaker({ ...rule, failuresInRow: 1, openMs: 10 }, () => {})
        if (open & (1 << i)) fail(breaker, 0)
        return { weight, breaker, keys: new ProviderKeys([]) } as Target // what the choice looks at
      })
      let tried = 0
      const order: number[] = []
      for (;;) {
        const next = chooseTarget(targets, tried, { nowMs: 1, random: () => random })
        if (next < 0) break
        order.push(next)
        tried |= 1 << next
      }
      expect([...order].sort((a, b) => a - b)).toEqual(targets.map((_, i) => i))
      const rank = (i: number) => (open & (1 << i) ? 2 : weights[i] === 0 ? 1 : 0)
      if (targets.length > 1) expect(order.map(rank)).toEqual(order.map(rank).sort())
    }),
  )
})
