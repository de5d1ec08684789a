// The sampler's laws: conversations not turns, distinct inputs, one seeded order of which a sample is a prefix, caps, reasons.

import { expect, test } from 'vitest'
import { drawFrame, type FrameRun, type LoadedRun } from '../replay/sampler.ts'

const nowMs = 1_800_000_000_000
const run = (n: number, more: Partial<FrameRun> = {}): FrameRun => ({
  traceId: `trace-${n}`,
  spanId: `span-${n}`,
  conversation: `session ${n}`,
  hasSession: true,
  userId: '',
  keyId: 'key',
  model: 'm',
  environment: 'production',
  routeId: 'r',
  status: 'ok',
  startMs: nowMs - 1_000,
  latencyMs: 10,
  outputTokens: 10,
  costNanoUsd: null,
  hasOptedOut: false,
  ...more,
})
const many = (count: number, more: (n: number) => Partial<FrameRun> = () => ({})) =>
  Array.from({ length: count }, (_, n) => run(n, more(n)))

const loaded = (input: string, opening = input): LoadedRun => {
  const arm = { model: 'm', messages: [], parameters: {} }
  return {
    request: { baseline: arm, candidate: arm, results: [] },
    ...{
      inputHash: input,
      openingHash: opening,
      tier: 'R1',
      recordedOutput: null,
      hasTools: false,
    },
  }
}
const load = async (page: readonly FrameRun[]) => page.map(({ traceId }) => loaded(traceId))
const draw = (runs: FrameRun[], unitsMax = 1_000, from = load, seed = 'pexp_1') =>
  drawFrame(runs, from, { seed, unitsMax, nowMs })
const names = async (frame: ReturnType<typeof draw>) =>
  (await frame).units.map(({ source }) => source.traceId)

test('a longer sample only appends, the same seed draws the same, another one another', async () => {
  const runs = many(300)
  const long = await names(draw(runs, 200))
  expect(await names(draw(runs, 50))).toEqual(long.slice(0, 50))
  expect(await names(draw(runs.toReversed(), 200))).toEqual(long)
  expect(await names(draw(runs, 200, load, 'pexp_2'))).not.toEqual(long)
})

test('of a conversation one turn is drawn, any of them as likely', async () => {
  const turns = Array.from({ length: 400 }, (_, n) => [
    run(n, { spanId: 'first', conversation: `session ${n}` }),
    run(n, { spanId: 'second', conversation: `session ${n}` }),
  ]).flat()
  const { units, report } = await draw(turns)
  expect(units).toHaveLength(400)
  expect(report).toMatchObject({ runs: 800, conversations: 400, keptShare: 1, note: null })
  const first = units.filter(({ source }) => source.spanId === 'first').length
  expect(first).toBeGreaterThan(150)
  expect(first).toBeLessThan(250)
})

test('equal inputs are one unit that stands for all of them; so are calls without a session that open alike', async () => {
  const { units } = await draw(many(90), 1_000, async (page) =>
    page.map(({ traceId }) => loaded(`input ${Number(traceId.slice(6)) % 3}`)),
  )
  expect(units.map(({ source }) => source.multiplicity).sort()).toEqual([30, 30, 30])
  const turns = many(10, () => ({ hasSession: false }))
  const opened = await draw(turns, 1_000, async (page) =>
    page.map(({ traceId }) => loaded(traceId, 'hello')),
  )
  expect(opened.units).toHaveLength(1)
})

test('recent conversations are likelier to be drawn', async () => {
  const runs = many(400, (n) => ({ startMs: nowMs - (n < 200 ? 0 : 14 * 86_400_000) }))
  const drawn = await names(draw(runs, 100))
  const recent = drawn.filter((name) => Number(name.slice(6)) < 200).length
  expect(recent).toBeGreaterThan(65)
})

test('one user has two in a hundred and one key ten, where there are enough of them to share', async () => {
  const runs = many(1_000, (n) => ({
    userId: n < 500 ? 'loud' : `user-${n % 60}`,
    keyId: n < 500 ? 'busy' : `key-${n % 12}`,
  }))
  const { units, report } = await draw(runs, 200)
  const ofLoud = units.filter(({ source }) => Number(source.traceId.slice(6)) < 500)
  expect(ofLoud.length).toBeLessThanOrEqual(4)
  expect(report.rejected.user_cap).toBeGreaterThan(0)
  const few = await draw(many(100, () => ({ userId: 'only', keyId: 'one' })))
  expect(few.units).toHaveLength(100)
})

test('what is not replayed is counted by its reason, and a frame that loses more than half says so', async () => {
  const runs = [
    ...many(40),
    ...many(30, () => ({ status: 'error' })).map((one, n) => ({
      ...one,
      conversation: `error ${n}`,
    })),
    run(900, { hasOptedOut: true }),
    run(901, { environment: 'test' }),
  ]
  const half = async (page: readonly FrameRun[]) =>
    page.map(
      ({ traceId }): LoadedRun =>
        Number(traceId.slice(6)) % 2 === 0 ? loaded(traceId) : { rejected: 'missing_variable' },
    )
  const { units, report } = await draw(runs, 1_000, half)
  expect(units).toHaveLength(20)
  expect(report.rejected).toEqual({
    unfinished: 30,
    opted_out: 1,
    test_environment: 1,
    missing_variable: 20,
  })
  expect(report.note).toMatch(/Only 28 %/)
})
