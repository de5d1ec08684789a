// vaas-energy/1 gives what it was published with, for whatever a call claims.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type EnergyFacts, toEnergy } from '../schemas/energy.ts'
import { toJcs } from '../schemas/jcs.ts'

const usage = {
  inputTokens: 1000,
  cachedTokens: 0,
  outputTokens: 400,
  reasoningTokens: 0,
  estimated: false,
}
const call = (changes: Partial<EnergyFacts>): EnergyFacts => ({
  modelId: 'qwen3-8b',
  provider: 'openai',
  status: 'completed',
  usage,
  ...changes,
})

// The table of the formula's note: 400 tokens out, 1,000 in, PUE 1.2, the US grid.
test.each([
  ['llama-3.1-8b', 0.045, 0.045, 0.003],
  ['llama-3.1-70b', 0.346, 0.346, 0.02],
  ['gpt-4o-mini-2024-07-18', 0.045, 0.078, 0.003],
  ['gpt-4o', 0.9, 1.69, 0.09],
  ['mistral-large-123b', 0.511, 0.511, 0.029],
])('%s has the energy that the formula was published with', (modelId, low, high, embodiedG) => {
  const { energy, ...fields } = toEnergy(call({ modelId }))
  expect(energy!.low_uwh / 1e6).toBeCloseTo(low, 2)
  expect(energy!.high_uwh / 1e6).toBeCloseTo(high, 1)
  expect(energy!.embodied_ug / 1e6).toBeCloseTo(embodiedG, 1)
  expect(fields.energy_source).toBe('grid:US:2025:owid@ecologits-0.9.1')
  expect(fields.carbon_offset_vs_us_cloud).toBe(0)
})

test.each<[string, string, EnergyFacts['tier'], object]>([
  [
    'a size in the name',
    'qwen3.5-27b',
    undefined,
    { size_basis: 'name', total_m: [27000, 27000], active_m: [27000, 27000] },
  ],
  [
    'a mixture of experts',
    'Qwen3-235B-A22B-Instruct',
    undefined,
    { size_basis: 'name', total_m: [235000, 235000], active_m: [22000, 22000] },
  ],
  [
    'published experts',
    'mixtral-8x7b-instruct',
    undefined,
    { size_basis: 'published', total_m: [46700, 46700], active_m: [12900, 12900] },
  ],
  [
    'the tier of the settings',
    'house-model',
    'nano',
    { size_basis: 'assumed', total_m: [500, 4000] },
  ],
  [
    'a small model by its name',
    'claude-haiku-4',
    undefined,
    { size_basis: 'assumed', total_m: [8000, 28000] },
  ],
  [
    'nothing at all',
    'house-model',
    undefined,
    { size_basis: 'assumed', total_m: [8000, 440000], active_m: [8000, 132000] },
  ],
])('the size is taken from %s', (_, modelId, tier, inputs) => {
  const { energy } = toEnergy(call({ modelId, tier }))
  expect(energy!.inputs).toMatchObject(inputs)
  expect(energy!.is_estimated).toBe(
    (energy!.inputs as { size_basis: string }).size_basis === 'assumed',
  )
})

test('an unknown provider is put on the world’s grid', () => {
  expect(toEnergy(call({ provider: 'house' })).energy_source).toBe(
    'grid:WOR:2025:owid@ecologits-0.9.1',
  )
})

test('cached prompt tokens cost no prefill, and a call that was quicker than modelled has the quicker one’s machines', () => {
  const full = toEnergy(call({})).energy!
  const cached = toEnergy(call({ usage: { ...usage, cachedTokens: 1000 } })).energy!
  expect((full.energy_uwh - cached.energy_uwh) / 1e6).toBeCloseTo(1.2 * 1000 * 9.83e-7 * 8, 5)
  const quick = toEnergy(call({ latencyMs: 100 })).energy!
  expect(quick.energy_uwh).toBeLessThan(full.energy_uwh)
  expect(toEnergy(call({ latencyMs: 3_600_000 })).energy!.energy_uwh).toBe(full.energy_uwh)
})

test('a sandbox and a cache use none, and say why', () => {
  expect(toEnergy(call({ provider: 'sandbox' }))).toMatchObject({
    energy_wh: 0,
    carbon_grams_co2e: 0,
    energy_source: 'none:sandbox',
  })
  expect(toEnergy(call({ status: 'cache_hit' }))).toMatchObject({
    energy_wh: 0,
    energy_source: 'none:cache_hit',
  })
})

test('without token counts nothing is guessed', () => {
  expect(toEnergy(call({ usage: undefined }))).toEqual({
    energy_wh: null,
    carbon_grams_co2e: null,
    energy_source: null,
    carbon_offset_vs_us_cloud: null,
    energy: null,
  })
})

test('for any counts the value lies between low and high, grows with tokens, and has a canonical form without exponents', () => {
  const counts = fc.nat(2 ** 32 - 1)
  fc.assert(
    fc.property(
      counts,
      counts,
      fc.constantFrom('gpt-4o', 'x-0.1b', 'house'),
      (inputTokens, outputTokens, modelId) => {
        const at = (extra: number) =>
          toEnergy(
            call({ modelId, usage: { ...usage, inputTokens, outputTokens: outputTokens + extra } }),
          )
        const { energy, energy_wh } = at(0)
        expect(energy!.energy_uwh).toBeGreaterThanOrEqual(energy!.low_uwh)
        expect(energy!.energy_uwh).toBeLessThanOrEqual(energy!.high_uwh)
        expect(at(1000).energy!.energy_uwh).toBeGreaterThan(energy!.energy_uwh)
        expect(Math.round(energy_wh! * 1e6)).toBe(energy!.energy_uwh)
        expect(toJcs(at(0))).not.toMatch(/\de[-+]?\d/)
      },
    ),
    { seed: 21031, numRuns: 200 },
  )
})
