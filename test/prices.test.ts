// What a call costs: to the millionth of a cent, whatever the price has for decimals, each kind of token in its own bucket.

import { describe, expect, test } from 'vitest'
import type { Config, ModelRow, Pricing, RouteRule } from '../schemas/config.ts'
import { readConfig } from '../schemas/config-file.ts'
import type { Usage } from '../schemas/run.ts'
import { centsToNano, nanoToCents } from '../src/money/amounts.ts'
import { mostOf, openPrices, priceOf } from '../src/money/prices.ts'

const noPrice: Pricing = {
  stdInput: 0,
  stdOutput: 0,
  cachedInput: undefined,
  reasoningOutput: undefined,
  audioSecond: undefined,
  imagePiece: undefined,
  videoSecond: undefined,
  millionCharacters: undefined,
}

function row(id: string, pricing: Partial<Pricing> | undefined, contextLength?: number): ModelRow {
  return {
    id,
    contextLength,
    license: undefined,
    status: 'always_on',
    tier: undefined,
    qualityFloor: undefined,
    pricing: pricing && { ...noPrice, ...pricing },
  }
}

// biome-ignore format: one file of one shape
const configOf = (models: ModelRow[], targets: string[] = []) =>
  ({ models, routes: [{ id: 'r', targets: targets.map((model) => ({ provider: 'p', model, weight: 1 })) } as unknown as RouteRule] }) as unknown as Config // prices read these two members alone

const usage = (inputTokens: number, outputTokens: number, more: Partial<Usage> = {}): Usage => ({
  inputTokens,
  outputTokens,
  cachedTokens: 0,
  reasoningTokens: 0,
  estimated: false,
  ...more,
})

const one = (pricing: Partial<Pricing>) =>
  openPrices(() => configOf([row('m', pricing)])).of('m', 'r')[0]!

describe('a price', () => {
  const rows: [string, Partial<Pricing>, Usage, bigint][] = [
    ['of the contract’s example', { stdInput: 0.02, stdOutput: 0.08 }, usage(1000, 500), 60_000n],
    ['of one token', { stdInput: 2.5, stdOutput: 10 }, usage(1, 1), 12_500n],
    [
      'with cached input',
      { stdInput: 0.02, stdOutput: 0.08, cachedInput: 0.01 },
      usage(1000, 0, { cachedTokens: 400 }),
      16_000n,
    ],
    [
      'without a price for cached input',
      { stdInput: 0.02, stdOutput: 0 },
      usage(1000, 0, { cachedTokens: 400 }),
      20_000n,
    ],
    [
      'with reasoning',
      { stdInput: 0, stdOutput: 8, reasoningOutput: 2 },
      usage(0, 100, { reasoningTokens: 75 }),
      350_000n,
    ],
    ['finer than is shown, rounded once', { stdInput: 0.00075, stdOutput: 0 }, usage(10, 0), 10n],
    ['whose parts would each round away', { stdInput: 0.003, stdOutput: 0.003 }, usage(1, 1), 10n],
    ['of a number that binary cannot hold', { stdInput: 0.1, stdOutput: 0.2 }, usage(3, 3), 900n],
    [
      'beyond 2^53',
      { stdInput: 1000, stdOutput: 0 },
      usage(4_294_967_295, 0),
      4_294_967_295_000_000n,
    ],
  ]
  test.each(rows)('%s is exact', (_what, pricing, used, nano) => {
    expect(one(pricing).cost(used, undefined)).toBe(nano)
  })

  test('counts pieces by piece, and seconds by their fraction', () => {
    const price = one({
      imagePiece: 0.04,
      audioSecond: 0.0001,
      videoSecond: 0.1,
      millionCharacters: 15,
    })
    expect(price.cost(undefined, { characters: 1_000 })).toBe(15_000_000n)
    expect(price.cost(undefined, { images: 3 })).toBe(120_000_000n)
    expect(price.cost(undefined, { audioSeconds: 12.5 })).toBe(1_250_000n)
    expect(price.cost(usage(0, 0), { videoSeconds: 4 })).toBe(400_000_000n)
  })

  test('that a kind of use has not, makes no cost rather than none', () => {
    const price = one({ stdInput: 1, stdOutput: 1 })
    expect(price.cost(undefined, { images: 1 })).toBeUndefined()
    expect(price.cost(undefined, { characters: 1 })).toBeUndefined()
    expect(price.cost(undefined, undefined)).toBeUndefined()
    expect(price.cost(usage(1, 0), { images: 1 })).toBe(1_000n)
  })

  test('is another version when it changes, and the same when only the file is read again', () => {
    const [a, b, c] = [one({ stdInput: 1 }), one({ stdInput: 1 }), one({ stdInput: 2 })]
    expect(a.version).toBe(b.version)
    expect(a.version).not.toBe(c.version)
  })

  test('that was looked up stays what it was when the file changes', () => {
    let config = configOf([row('m', { stdInput: 1 })])
    const prices = openPrices(() => config)
    const before = prices.of('m', 'r')[0]
    config = configOf([row('m', { stdInput: 5 })])
    expect(prices.of('m', 'r')[0]?.cost(usage(1, 0), undefined)).toBe(5_000n)
    expect(before?.cost(usage(1, 0), undefined)).toBe(1_000n)
  })
})

describe('a call', () => {
  const cheap = row('gpt-mini', { stdInput: 1, stdOutput: 2 }, 1000)
  const dear = row('gpt-large', { stdInput: 10, stdOutput: 20 }, 1000)
  const bounds = { inputTokensMax: 100, outputTokensMax: 10, pieces: undefined }

  test('is priced by the model that was asked for', () => {
    const prices = openPrices(() => configOf([cheap, dear], ['gpt-large']))
    expect(prices.of('gpt-mini', 'r').map(({ model }) => model)).toEqual(['gpt-mini'])
  })

  test('for a name without a price, by the target that answered; its bound is the dearest', () => {
    const prices = openPrices(() => configOf([cheap, dear], ['gpt-mini', 'gpt-large']))
    const found = prices.of('fast', 'r')
    expect(mostOf(found, bounds)).toBe(1_200_000n)
    expect(priceOf(found, 'gpt-mini')?.model).toBe('gpt-mini')
    expect(priceOf(found, 'gpt-mini-2026-01-01')?.model).toBe('gpt-mini')
    expect(priceOf(found, 'something else')?.model).toBe('gpt-large')
    expect(prices.of('fast', 'another route')).toEqual([])
  })

  test('of a route that is not public is priced by its label too', () => {
    const route = { id: 'secret', public_label: 'managed', public: false, models: ['fast'] }
    const text = JSON.stringify({
      models: [{ id: 'gpt-mini', pricing: { std_input: 1, std_output: 2 } }],
      routes: [{ ...route, targets: [{ provider: 'sandbox', model: 'gpt-mini' }] }],
    })
    const config = readConfig(text, {
      env: () => undefined,
      known: [{ id: 'sandbox', apiKeys: [], baseUrl: undefined, responses: undefined }],
    })
    const prices = openPrices(() => config)
    expect(prices.of('fast', 'managed').map(({ model }) => model)).toEqual(['gpt-mini'])
  })

  test('is bounded by what the model can hold where the request says no bound', () => {
    const found = openPrices(() => configOf([cheap])).of('gpt-mini', 'r')
    expect(mostOf(found, { ...bounds, outputTokensMax: undefined })).toBe(100_000n + 2_000_000n)
    expect(mostOf(found, { ...bounds, inputTokensMax: 5000 })).toBe(1_000_000n + 20_000n)
    expect(mostOf(found, { ...bounds, inputIsOpen: true })).toBe(1_000_000n + 20_000n)
    const endless = openPrices(() => configOf([row('m', { stdInput: 1, stdOutput: 2 })])).of(
      'm',
      '',
    )
    expect(mostOf(endless, { ...bounds, inputIsOpen: true })).toBe(131_072_000n + 20_000n)
  })

  test('never costs more than its bound, whatever its tokens are made of', () => {
    const price = one({ stdInput: 3, stdOutput: 15, cachedInput: 4, reasoningOutput: 20 })
    for (const cached of [0, 50, 100])
      for (const reasoning of [0, 5, 10]) {
        const used = usage(100, 10, { cachedTokens: cached, reasoningTokens: reasoning })
        expect(price.cost(used, undefined)! <= price.most(bounds)!).toBe(true)
      }
  })
})

test('cents go in and come out as they were, to a millionth', () => {
  for (const cents of [0, 1, 0.000001, 500_000, 12.345678, 899_999_999.999999])
    expect(nanoToCents(centsToNano(cents))).toBe(cents)
  expect(nanoToCents(14n)).toBe(0.000001)
  expect(nanoToCents(15n)).toBe(0.000002)
})
