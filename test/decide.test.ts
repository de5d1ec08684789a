// From rows to a decision: what may pass, what fails, what is held, and that nothing but the rows matters.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decide, inOrder } from '../replay/decide.ts'
import { maySelfPromote } from '../replay/promotion.ts'
import { checkRegistered, hashRegistration, planPolicy, register } from '../replay/registration.ts'
import { slicesOf, testedSlices } from '../replay/slices.ts'
import type { DecisionPolicy, Registered, Sample, Verdict } from '../schemas/experiment.ts'
import type { DrawnUnit } from '../schemas/replay.ts'
import { drawUnit, randomFrom, type Truth } from './decision-world.ts'

type Row = Extract<Sample, { outcome: 'judged' }>

const held: Verdict = {
  direction: 0,
  baselineHard: false,
  candidateHard: false,
  candidateDeviates: false,
  similarity: 0.95,
  selfSimilarity: 0.93,
  selfAgrees: true,
  decidedBy: 'similarity@1',
  findings: [],
}
const row = (unit: number, verdict: Partial<Verdict> = {}, more: Partial<Row> = {}): Row => ({
  unit,
  turn: 0,
  turns: 1,
  outcome: 'judged',
  verdict: { ...held, ...verdict },
  baseline: { latencyMs: 800, costUsd: 0.002 },
  candidate: { latencyMs: 810, costUsd: 0.002 },
  ...more,
})
const rows = (count: number, verdict: Partial<Verdict> = {}, more: Partial<Row> = {}): Sample[] =>
  Array.from({ length: count }, (_, unit) => row(unit, verdict, more))

const registered = (units: number, chosen: Partial<DecisionPolicy> = {}): Registered =>
  register({
    registryId: 'support',
    baseline: 'support@v1',
    candidate: 'support@v2',
    frame: { query: 'last 14 days, production', units, seed: '17' },
    judge: 'deterministic_replay',
    judges: ['equality@1'],
    expectations: {},
    budgetUsd: null,
    policy: planPolicy(units, chosen),
  })

/** Rows of a known truth, as many as the longest experiment may read. */
function drawn(truth: Truth, count: number, seed: number): Sample[] {
  const random = randomFrom(seed)
  return Array.from({ length: count }, (_, unit) =>
    drawUnit(truth, random).map((sample) => ({ ...sample, unit })),
  ).flat()
}

test('a decision is the same bytes from rows in any order, delivered twice, and read back from JSON', () => {
  const random = randomFrom(5)
  for (const delta of [0, -0.1, 0.03]) {
    const truth = { discordance: 0.1, delta, latencySpread: 0.3, turns: 2, icc: 0.5 }
    const samples = drawn(truth, 1_500, 9)
    const expected = JSON.stringify(decide(registered(1_500), samples))
    for (let i = 0; i < 3; i++) {
      const shuffled = [...samples, ...samples.slice(0, 50)]
        .map((sample) => ({ sample, key: random() }))
        .sort((a, b) => a.key - b.key)
        .map(({ sample }) => sample)
      const readBack: Sample[] = JSON.parse(JSON.stringify(shuffled))
      expect(JSON.stringify(decide(registered(1_500), readBack))).toBe(expected)
    }
  }
})

test('once made, a decision does not change, whatever rows come later; before it, every prefix is undecided', () => {
  const samples = drawn({ discordance: 0.1, delta: -0.1 }, 600, 3)
  const policy = { guardrails: [] }
  const final = decide(registered(2_000, policy), samples)
  expect(final.status).toBe('failed')
  const later = samples.map((sample) => (sample.unit < final.units ? sample : row(sample.unit)))
  expect(decide(registered(2_000, policy), later)).toEqual(final)
  expect(decide(registered(2_000, policy), samples.slice(0, final.units))).toEqual(final)
  for (let units = 0; units < final.units; units += 25) {
    const early = decide(registered(2_000, policy), samples.slice(0, units))
    expect(early).toMatchObject({ status: 'replaying', evidence: null, units })
  }
})

test('a row that is missing holds back everything after it', () => {
  const samples = rows(1_300, { direction: -1 }).filter(({ unit }) => unit !== 10)
  expect(decide(registered(1_300), samples)).toMatchObject({ status: 'replaying', units: 10 })
  const halves = [row(0, {}, { turns: 2 }), row(1)]
  expect(inOrder(halves, 10)).toEqual([])
  expect(inOrder([...halves, row(0, {}, { turns: 2, turn: 1 })], 10)).toHaveLength(2)
  expect(() => decide(registered(1_300), [row(0), row(0, { direction: 1 })])).toThrow('differ')
})

test('five turns of one conversation are one unit of evidence', () => {
  const worse = (unit: number) =>
    Array.from({ length: 5 }, (_, turn) => row(unit, { direction: -1 }, { turn, turns: 5 }))
  const samples = Array.from({ length: 25 }, (_, unit) => worse(unit)).flat()
  const decision = decide(registered(1_300), samples)
  expect(decision).toMatchObject({ status: 'failed', units: 25, sampleCount: 125, failCount: 125 })
  const alone = decide(registered(1_300), rows(25, { direction: -1 }))
  expect(decision.metrics[0]).toEqual(alone.metrics[0])
})

test('equal arms pass as proven, with the numbers that say why', () => {
  const decision = decide(registered(1_300), rows(1_300))
  expect(decision).toMatchObject({
    status: 'passed',
    evidence: 'proven',
    reason: 'non_inferior',
    sampleCount: decision.units,
    passCount: decision.units,
    failCount: 0,
    noiseFloorSimilarity: 0.93,
    selfAgreement: 1,
    baselineAvgLatencyMs: 800,
    candidateAvgLatencyMs: 810,
  })
  expect(decision.units).toBeLessThan(600)
  expect(decision.metrics.every(({ holds, worse }) => holds && !worse)).toBe(true)
})

test('each guardrail can fail a candidate whose answers are as good, and is named', () => {
  const broken: [string, Partial<Verdict>, Partial<Row>][] = [
    ['hard_failures', { candidateHard: true }, {}],
    ['latency', {}, { candidate: { latencyMs: 1_200, costUsd: 0.002 } }],
    ['latency_tail', {}, { candidate: { latencyMs: 1_700, costUsd: 0.002 } }],
    ['cost', {}, { candidate: { latencyMs: 800, costUsd: 0.004 } }],
  ]
  for (const [name, verdict, more] of broken) {
    const decision = decide(registered(1_300), rows(1_300, verdict, more))
    expect(decision).toMatchObject({ status: 'failed', evidence: 'proven', reason: 'worse' })
    expect(decision.detail).toContain(name)
    const without = { guardrails: [] }
    expect(decide(registered(1_300, without), rows(1_300, verdict, more)).status).toBe('passed')
  }
})

test('a guardrail fails a candidate on its own share of the chance for mistakes, not on all of it', () => {
  const rule = registered(1_300, { batch: 1 })
  const { metrics } = decide(rule, rows(1_300, { candidateHard: true }))
  const failed = metrics.filter(({ worse }) => worse)
  expect(failed.map(({ name }) => name)).toEqual(['hard_failures'])
  expect(failed[0]?.logFail).toBeGreaterThanOrEqual(Math.log(1 / 0.001))
})

test('no pass comes before the registered minimum, however good the candidate', () => {
  const better = rows(1_300, { direction: 1 })
  expect(decide(registered(1_300, { batch: 5, guardrails: [] }), better).units).toBe(50)
  expect(decide(registered(1_300, { batch: 5, guardrails: [], unitsMin: 0 }), better).units).toBe(
    10,
  )
})

test('twenty milliseconds more are no slowdown, however quick the baseline', () => {
  const at = (baselineMs: number, candidateMs: number) =>
    decide(
      registered(1_300, { guardrails: ['latency', 'latency_tail'] }),
      rows(
        1_300,
        {},
        {
          baseline: { latencyMs: baselineMs, costUsd: null },
          candidate: { latencyMs: candidateMs, costUsd: null },
        },
      ),
    ).status
  expect(at(5, 20)).toBe('passed')
  expect(at(100, 115)).toBe('passed')
  expect(at(5, 40)).toBe('failed')
  expect(at(1_000, 1_150)).toBe('failed')
  expect(at(1_000, 1_050)).toBe('passed')
})

test('what is not measured is not proven: a guardrail without figures holds the candidate', () => {
  const samples = rows(1_300, {}, { candidate: { latencyMs: 800, costUsd: null } })
  expect(decide(registered(1_300), samples)).toMatchObject({
    status: 'inconclusive',
    reason: 'unmeasured',
    detail: 'Not measured: cost.',
  })
  const partly = samples.map((sample) => (sample.unit % 2 === 0 ? row(sample.unit) : sample))
  expect(decide(registered(1_300), partly).reason).toBe('unmeasured')
})

test('a spent budget, a cancellation, too many rows without a verdict: never a pass', () => {
  const good = rows(200)
  expect(decide(registered(1_300), good, 'budget')).toMatchObject({
    status: 'inconclusive',
    reason: 'budget',
    evidence: null,
  })
  expect(decide(registered(1_300), good, 'cancelled').reason).toBe('cancelled')
  const holes = rows(1_300).map(
    (sample): Sample =>
      sample.unit % 5 === 0 ? { unit: sample.unit, turn: 0, turns: 1, outcome: 'error' } : sample,
  )
  expect(decide(registered(1_300), holes)).toMatchObject({
    status: 'inconclusive',
    reason: 'unusable_samples',
    errorCount: 260,
  })
})

test('three good samples of a small frame pass by threshold, and two do not', () => {
  expect(decide(registered(3), rows(3))).toMatchObject({
    status: 'passed',
    evidence: 'threshold',
    reason: 'threshold_met',
    sampleCount: 3,
  })
  expect(decide(registered(3), rows(2)).status).toBe('replaying')
  expect(decide(registered(2), rows(2))).toMatchObject({
    status: 'inconclusive',
    reason: 'threshold_missed',
  })
  expect(decide(registered(99, { guardrails: [] }), rows(99, { direction: 1 }))).toMatchObject({
    evidence: 'threshold',
    sampleCount: 99,
  })
})

test('one sample short of the threshold holds the candidate, and says which', () => {
  const misses: [Partial<Verdict>, Partial<Row>, RegExp][] = [
    [{ candidateHard: true, direction: -1 }, {}, /fail a validator/],
    [{ candidateDeviates: true }, {}, /change what the baseline said/],
    [{ similarity: 0.5 }, {}, /less alike than 0.85/],
  ]
  for (const [verdict, more, detail] of misses) {
    const decision = decide(registered(6), [...rows(5), row(5, verdict, more)])
    expect(decision).toMatchObject({ status: 'inconclusive', reason: 'threshold_missed' })
    expect(decision.evidence).toBeNull()
    expect(decision.detail).toMatch(detail)
  }
})

test('a small frame is held when its calls are slower, and not for one that stalled', () => {
  const slow = { candidate: { latencyMs: 1_800, costUsd: null } }
  const all = [0, 1, 2, 3, 4].map((unit) => row(unit, {}, slow))
  expect(decide(registered(5), all).detail).toMatch(/Latency rose/)
  expect(decide(registered(5), [...rows(4), row(4, {}, slow)]).status).toBe('passed')
})

test('similarity is asked in proportion to the noise: no more of a candidate than the baseline gives itself', () => {
  const at = (selfSimilarity: number | null, similarity: number) =>
    decide(registered(5), rows(5, { selfSimilarity, similarity })).status
  expect(at(0.7, 0.72)).toBe('passed')
  expect(at(0.7, 0.68)).toBe('inconclusive')
  expect(at(1, 0.86)).toBe('passed')
  expect(at(null, 0.86)).toBe('passed')
  expect(at(null, 0.72)).toBe('inconclusive')
  expect(at(0.3, 0.9)).toBe('inconclusive')
})

test('threshold evidence is for small frames only: a large one stopped early proves nothing', () => {
  expect(decide(registered(1_300, { unitsMax: 30 }), rows(30))).toMatchObject({
    status: 'inconclusive',
    reason: 'samples_exhausted',
  })
})

test('a failure may be proven at any size', () => {
  expect(decide(registered(25), rows(25, { direction: -1 }))).toMatchObject({
    status: 'failed',
    evidence: 'proven',
  })
  expect(decide(registered(12), rows(12, { direction: -1 })).status).toBe('failed')
  expect(decide(registered(3), rows(3, { direction: -1, candidateHard: true })).status).toBe(
    'inconclusive',
  )
})

test('a registration has one hash however its keys stand, and any changed value is another experiment', () => {
  const { registration, hash } = registered(500)
  const reversed = Object.fromEntries(Object.entries(registration).reverse())
  expect(hashRegistration(reversed as typeof registration)).toBe(hash) // the same members
  expect(hash).toMatch(/^sha256:[0-9a-f]{64}$/)
  const changes = [
    { candidate: 'support@v3' },
    { judges: ['equality@2'] },
    { policy: { ...registration.policy, margin: 0.2 } },
    { frame: { ...registration.frame, seed: '18' } },
  ]
  for (const change of changes) {
    const changed = { registration: { ...registration, ...change }, hash }
    expect(() => checkRegistered(changed)).toThrow('another experiment')
    expect(() => decide(changed, rows(3))).toThrow('another experiment')
  }
})

test('a rule that could not keep its promise is refused, every mistake at once', () => {
  const bad = { alpha: 0, batch: 0, judgeJ: 1.5 }
  expect(() => registered(500, bad)).toThrow(/alpha.*judgeJ.*batch/)
  const { registration } = registered(500)
  const endless = { ...registration, policy: { ...registration.policy, unitsMax: 501 } }
  expect(() => register(endless)).toThrow('never end')
  const expectations = { schema: 'an object' }
  expect(() => register({ ...registration, expectations })).toThrow('JSON Schema')
})

test('margins follow from what can be replayed, and the owner may choose others', () => {
  const plan = (units: number) => {
    const { margin, hardFailureMargin, unitsMax } = planPolicy(units)
    return [margin, hardFailureMargin, unitsMax]
  }
  expect([5_000, 1_200, 1_199, 400, 399, 100, 7].map(plan)).toEqual([
    [0.05, 0.02, 2_000],
    [0.05, 0.02, 1_200],
    [0.1, 0.04, 1_199],
    [0.1, 0.04, 400],
    [0.15, 0.1, 399],
    [0.15, 0.1, 100],
    [0.15, 0.1, 7],
  ])
  expect(planPolicy(5_000, { margin: 0.03, unitsMax: 900 })).toMatchObject({
    margin: 0.03,
    unitsMax: 900,
  })
})

test('a judge that is right less often must see a smaller loss: the margin shrinks by its J', () => {
  const at = (judgeJ: number) => decide(registered(1_300, { judgeJ }), rows(1_300)).metrics[0]!
  expect([at(1).holdsAbove, at(0.5).holdsAbove]).toEqual([-0.05, -0.025])
})

test('proof promotes anywhere, a threshold where nothing is routed or the policy says so, the rest never', () => {
  const proven = decide(registered(1_300), rows(1_300))
  const threshold = decide(registered(5), rows(5))
  const failed = decide(registered(25), rows(25, { direction: -1 }))
  const open = decide(registered(2), rows(2))
  const table = (['observe', 'serve'] as const).flatMap((mode) =>
    (['off', 'threshold', 'proven'] as const).map((autoPromote) =>
      [proven, threshold, failed, open].map((one) => maySelfPromote(one, { mode, autoPromote })),
    ),
  )
  const [no, yes] = [false, true]
  expect(table).toEqual([
    [no, no, no, no],
    [yes, yes, no, no],
    [yes, yes, no, no],
    [no, no, no, no],
    [yes, yes, no, no],
    [yes, no, no, no],
  ])
})

test('any rows at all give a decision that agrees with its own numbers', () => {
  const sample = fc.record({
    direction: fc.constantFrom(-1 as const, 0 as const, 1 as const),
    hard: fc.boolean(),
    latencyMs: fc.double({ min: 0, max: 1e7, noNaN: true }),
  })
  fc.assert(
    fc.property(
      fc.array(sample, { maxLength: 130 }),
      fc.integer({ min: 0, max: 130 }),
      (given, frame) => {
        const samples = given.map(({ direction, hard, latencyMs }, unit) =>
          row(unit, { direction, candidateHard: hard }, { candidate: { latencyMs, costUsd: 0 } }),
        )
        const decision = decide(registered(frame), samples)
        expect(decision.passCount + decision.failCount).toBe(decision.sampleCount)
        expect(decision.status === 'failed').toBe(decision.metrics.some(({ worse }) => worse))
        expect(JSON.parse(JSON.stringify(decision))).toEqual(decision)
        if (decision.status === 'passed') {
          expect(decision.failCount === 0 || decision.evidence === 'proven').toBe(true)
        }
      },
    ),
    { numRuns: 150, seed: 8 },
  )
})

test('a loss in one part of the traffic fails what the whole would pass, and names the part', () => {
  // One conversation in twenty is French, and all of those go wrong: five points, the margin of so many inputs.
  const samples = Array.from({ length: 1_300 }, (_, unit) => {
    const isFrench = unit % 20 === 7
    return row(
      unit,
      { direction: isFrench ? -1 : unit % 20 === 3 ? 1 : 0 },
      {
        slices: isFrench ? ['language fr', 'route eu'] : ['language en', 'route eu'],
      },
    )
  })
  const plain = { guardrails: [] }
  expect(decide(registered(1_300, plain), samples).status).toBe('passed')
  const told = { ...plain, slices: ['language en', 'language fr'] }
  const decision = decide(registered(1_300, told), samples)
  expect(decision).toMatchObject({ status: 'failed', reason: 'worse', evidence: 'proven' })
  expect(decision.detail).toContain('quality for language fr (')
  expect(decision.slices?.map(({ name, mean, worse }) => [name, mean, worse])).toEqual([
    ['language en', expect.closeTo(1 / 19, 1), false],
    ['language fr', -1, true],
  ])
})

test('a part is told apart when it is large enough to prove a loss and is not nearly everything', () => {
  const unit = (of: string[], i: number) => ({ unit: i, source: { slices: of } }) as DrawnUnit // slices are all that is read
  const units = Array.from({ length: 100 }, (_, i) =>
    unit(['model m', i < 12 ? 'language fr' : 'language en', ...(i < 9 ? ['tool refund'] : [])], i),
  )
  expect(testedSlices(units)).toEqual(['language en', 'language fr'])
  const many = Array.from({ length: 400 }, (_, i) => unit([`route ${i % 20}`], i))
  expect(testedSlices(many)).toHaveLength(12)
})

test('an input is told apart by language, route, model and the tools it called', () => {
  const content =
    'Je voudrais renvoyer ma commande parce que la taille ne va pas, est-ce que vous pouvez?'
  const call = { name: 'refund', arguments: '{}' }
  expect(
    slicesOf({
      ...{ routeId: 'eu', model: 'gpt', messages: [{ role: 'user', content }] },
      recordedOutput: { text: '', toolCalls: [call, call], finishReason: 'tool_calls' },
    }),
  ).toEqual(['language fr', 'route eu', 'model gpt', 'tool refund'])
  expect(
    slicesOf({
      routeId: '',
      model: 'm',
      messages: [{ role: 'user', content: 'Ok' }],
      recordedOutput: null,
    }),
  ).toEqual(['model m'])
})
