// What each judge sees and what it overlooks on purpose.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { findSchemaProblem } from '../replay/judges/json-schema.ts'
import { judgePair, type Pair } from '../replay/judges/judge-pair.ts'
import { languageOf } from '../replay/judges/language.ts'
import { dice, leafSimilarity, similarityOf } from '../replay/judges/similarity.ts'
import { spansOf } from '../replay/judges/spans.ts'
import { getLadder, judgeNamesOf, judges, ladders } from '../replay/judges/table.ts'
import type { ReplayOutput } from '../schemas/experiment.ts'
import { answers, isChanged, mutations, paraphrase } from './mutations.ts'

const said = (text: string): ReplayOutput => ({ text, toolCalls: [], finishReason: 'stop' })
const judged = (baseline: string, candidate: string, more: Partial<Pair> = {}) =>
  judgePair('deterministic_replay', {
    baseline: said(baseline),
    repeat: said(baseline),
    candidate: said(candidate),
    expectations: {},
    ...more,
  })

test('every critical mutation of every answer it applies to is worse, and names what it saw', () => {
  const missed = pairs(true).filter(({ verdict }) => verdict.direction !== -1)
  expect(missed.map(({ name, candidate }) => [name, candidate.text])).toEqual([])
})

test('no harmless mutation is worse, whichever answer it is made to', () => {
  const blamed = pairs(false).filter(({ verdict }) => verdict.direction !== 0)
  expect(blamed.map(({ name, verdict }) => [name, verdict.findings])).toEqual([])
})

test('every mutation of the catalogue applies to an answer', () => {
  const idle = mutations.filter((one) => !answers.some(({ output }) => isChanged(one, output)))
  expect(idle.map(({ name }) => name)).toEqual([])
})

test('similarity ranks a flipped negation above a paraphrase, and therefore decides nothing', () => {
  const original = answers[0]!.output.text
  const flipped = judged(original, original.replace('was approved', 'was not approved'))
  const reworded = judged(original, paraphrase(original))
  expect(flipped.similarity).toBeGreaterThan(0.97)
  expect(reworded.similarity).toBeLessThan(flipped.similarity)
  expect([flipped.direction, reworded.direction]).toEqual([-1, 0])
  expect(flipped.decidedBy).toBe('critical_spans@1')
  expect(reworded.decidedBy).toBe('similarity@1')
})

test('a baseline that contradicts itself makes the same contradiction of the candidate no loss', () => {
  const baseline = said('Your parcel arrives in 3 days.')
  const other = said('Your parcel arrives in 4 days.')
  const verdict = (repeat: ReplayOutput | null, candidate: ReplayOutput) =>
    judgePair('deterministic_replay', { baseline, repeat, candidate, expectations: {} })
  expect(verdict(other, other).direction).toBe(0)
  expect(verdict(baseline, other).direction).toBe(-1)
  expect(verdict(other, baseline).direction).toBe(1)
  expect(verdict(null, other)).toMatchObject({ direction: 0, candidateDeviates: true })
})

test('exchanging repeat and candidate turns every verdict round, so that A/A has no direction', () => {
  const outputs = [...answers, ...answers].flatMap(({ output }, i) => {
    const mutation = mutations[(i * 7) % mutations.length]!
    return [output, mutation.apply(output)]
  })
  const output = fc.constantFrom(...outputs)
  fc.assert(
    fc.property(output, output, output, (baseline, repeat, candidate) => {
      const expectations = {}
      const there = judgePair('deterministic_replay', { baseline, repeat, candidate, expectations })
      const back = judgePair('deterministic_replay', {
        baseline,
        repeat: candidate,
        candidate: repeat,
        expectations,
      })
      // `0 -` and not a minus sign: there is no -0 in a verdict.
      expect(back.direction).toBe(0 - there.direction)
    }),
    { numRuns: 300, seed: 4 },
  )
})

test('a failure that both arms share is no loss of the candidate, and is counted as hard in both', () => {
  const refused = "I'm sorry, but I can't help with that request."
  expect(judged(refused, refused)).toMatchObject({
    direction: 0,
    baselineHard: true,
    candidateHard: true,
    decidedBy: 'equality@1',
  })
  expect(judged(refused, 'Your parcel is on its way.')).toMatchObject({
    direction: 1,
    candidateHard: false,
  })
})

test('a value has one spelling', () => {
  const same = [
    ['It costs $5.00.', 'It costs 5 USD.'],
    ['Up to 1,000 rows', 'up to 1000 rows'],
    ['on March 4th, 2026', 'on 4 March 2026'],
    ['on 2026-03-04', 'on Mar 4, 2026'],
    ['within three days', 'within 3 days'],
    ['50 percent', '50%'],
    ['1.50 kg', '1.5 kg'],
    ['at 3 pm', 'at 3:00 PM'],
    ['Step 1: open it', '1. open it'],
    ['a 10-day trial', 'a 10 days trial'],
    ['(see https://a.example/x).', 'see https://a.example/x'],
  ] as const
  for (const [a, b] of same) expect(spansOf(a), a).toEqual(spansOf(b))
  const different = [
    '5 mg',
    '5 g',
    '$5',
    '€5',
    '5',
    '50',
    '0.5',
    '-5',
    '5%',
    '5 days',
    'A5-11',
    '5:30',
    '5:30 pm',
    '-$5',
    'from $1-$5',
    'from $1-€5',
    '2.1.3',
    '2.10.3',
    'on Tuesday',
    'on Thursday',
  ]
  const spelled = different.map((text) => JSON.stringify(spansOf(text)))
  expect(new Set(spelled).size).toBe(different.length)
})

test('saying a value again is no change; replacing one by another that is there too, is', () => {
  const text = 'Bring 3 forms and wait 3 days, for 4 hours each.'
  expect(judged(text, `${text} So bring 3 forms.`).direction).toBe(0)
  expect(judged(text, text.replace('wait 3 days', 'wait 4 days')).direction).toBe(-1)
  const seats = 'Row 3, seat 3, gate 4.'
  expect(judged(seats, 'Row 3, seat 4, gate 4.').decidedBy).toBe('critical_spans@1')
  expect(judged(seats, 'Row 3, seat 3, gate 4, gate 4.').direction).toBe(0)
})

test('two negations cancel, and other words for the same negation agree', () => {
  const same = [
    ['It is possible to cancel the order.', 'It is not impossible to cancel the order.'],
    ['We cannot change the address.', 'We are unable to change the address.'],
    ["It isn't open on Sunday.", 'It is not open on Sunday.'],
  ] as const
  for (const [a, b] of same) expect(judged(a, b).direction, b).toBe(0)
  const turned = [
    ['Your claim was approved today.', 'Your claim was denied today.'],
    ['Yes, it can be returned.', 'No, it can be returned.'],
    ['You can return it.', "You can't return it."],
  ] as const
  for (const [a, b] of turned) expect(judged(a, b).direction, b).toBe(-1)
})

test('against a baseline that failed by itself only hard checks speak', () => {
  const broken = said('')
  const verdict = (repeat: string, candidate: string) =>
    judgePair('deterministic_replay', {
      baseline: broken,
      repeat: said(repeat),
      candidate: said(candidate),
      expectations: {},
    }).direction
  expect(verdict('', 'It costs $5.')).toBe(1)
  expect(verdict('It costs $5.', 'It costs $6.')).toBe(0)
  expect(verdict('It costs $5.', '')).toBe(-1)
})

test('a schema is held against what the model wrote, patterns aside', () => {
  const schema = {
    type: 'object',
    properties: { pattern: { type: 'string', pattern: '^(a+)+$' }, kind: { enum: ['a', 'b'] } },
    required: ['kind'],
    additionalProperties: false,
  }
  expect(findSchemaProblem(schema, { kind: 'a', pattern: `${'a'.repeat(40)}!` })).toBeUndefined()
  expect(findSchemaProblem(schema, { kind: 'c' })).toContain('/kind')
  expect(findSchemaProblem(schema, { kind: 'a', extra: 1 })).toBeDefined()
  expect(findSchemaProblem(schema, { kind: 'a', pattern: 1 })).toContain('/pattern')
  expect(() => findSchemaProblem('no schema', {})).toThrow('object or a boolean')
})

test('a finding names the kind of a secret, never the secret', () => {
  const secret = 'sk-proj-4fQ9xZk2Lm8Tn3Vb7Yc1Wd6R'
  const { findings, candidateHard } = judged('Hello there.', `Hello there. ${secret}`)
  expect(candidateHard).toBe(true)
  const leaks = findings.filter(({ judge }) => judge === 'leak@1')
  expect(leaks).toEqual([
    { judge: 'leak@1', kind: 'hard', arm: 'candidate', detail: 'contains an API key' },
  ])
  expect(judged('Card?', 'Card 5555-5555-5555-4444').candidateHard).toBe(true)
  expect(judged('Card?', 'Card 4111 1111 1111 1111').candidateHard).toBe(true)
  expect(judged('Card?', 'Card 4111 1111 1111 1112').candidateHard).toBe(false)
})

test('a language is told from a few sentences, and not guessed from a few words', () => {
  expect(languageOf(answers[0]!.output.text)).toBe('en')
  expect(
    languageOf('Ihre Bestellung ist auf dem Weg und wird in den nächsten Tagen bei Ihnen sein.'),
  ).toBe('de')
  expect(
    languageOf('Votre commande est en route et sera chez vous dans les prochains jours.'),
  ).toBe('fr')
  expect(languageOf('ご注文の商品は発送されました。到着まで三日ほどお待ちください。')).toBe('ja')
  expect(languageOf('您的订单已经发货，请您耐心等待，谢谢您的理解。')).toBe('zh')
  expect(languageOf('OK, BER to LIS')).toBeUndefined()
  expect(languageOf('{"a":1}')).toBeUndefined()
})

test('tool calls are equal by name and canonical arguments, in order only where that was declared', () => {
  const calls = (...names: string[]): ReplayOutput => ({
    text: '',
    toolCalls: names.map((name) => ({ name, arguments: '{"b":1,"a":2.0}' })),
    finishReason: 'tool_calls',
  })
  const [there, back] = [calls('x', 'y'), calls('y', 'x')]
  const direction = (expectations: Pair['expectations']) =>
    judgePair('deterministic_replay', {
      baseline: there,
      repeat: there,
      candidate: back,
      expectations,
    }).direction
  expect(direction({})).toBe(0)
  expect(direction({ toolOrder: 'same' })).toBe(-1)
})

test("Dice's coefficient is symmetric, 1 for equal texts, 0 for texts without a common pair", () => {
  expect(dice('night', 'nacht')).toBe(0.25)
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      expect(dice(a, b)).toBe(dice(b, a))
      expect(dice(a, a)).toBe(1)
      expect(dice(a, b)).toBeGreaterThanOrEqual(0)
      expect(dice(a, b)).toBeLessThanOrEqual(1)
    }),
    { seed: 1 },
  )
  expect(leafSimilarity({ a: 1, b: { c: [2, 3] } }, { b: { c: [2, 4] }, a: 1 })).toBeCloseTo(2 / 3)
  expect(similarityOf(said('a text'), said('a text'), () => 0.5)).toBe(0.5)
})

test('whatever two models write, the ladder answers, in bounds and in time', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.json(),
    fc.string({
      unit: fc.constantFrom('1', ',', '.', '-', '#', 'a', ' ', '`', '\n', '"', '@', ':', '/'),
      maxLength: 300,
    }),
  )
  // The time is the test's own limit: one square of a length below would pass it many times over.
  fc.assert(
    fc.property(text, text, (a, b) => {
      const verdict = judged(a, b)
      expect(verdict.similarity).toBeGreaterThanOrEqual(0)
      expect(verdict.similarity).toBeLessThanOrEqual(1)
      expect(judged(a, a).direction).toBe(0)
    }),
    { numRuns: 150, seed: 2 },
  )
  for (const unit of [
    '1,',
    '1-',
    '#a',
    'a1',
    '@a.',
    '```\n',
    '1. ',
    '$1',
    'no. ',
    '{"a":',
    '4111 ',
  ]) {
    judged(unit.repeat(100_000 / unit.length), `${unit.repeat(100_000 / unit.length)}x`)
  }
})

test('each judge of each ladder has a name of its own and a version', () => {
  for (const ladder of Object.keys(ladders)) {
    const names = judgeNamesOf(ladder)
    expect(new Set(names).size).toBe(names.length)
  }
  expect(judges.every(({ version }) => Number.isInteger(version) && version > 0)).toBe(true)
  expect(() => getLadder('oracle')).toThrow('oracle')
})

function pairs(isCritical: boolean) {
  return mutations
    .filter((mutation) => mutation.isCritical === isCritical)
    .flatMap((mutation) =>
      answers
        .filter(({ output }) => isChanged(mutation, output))
        .map(({ output, expectations }) => {
          const candidate = mutation.apply(output)
          const pair = { baseline: output, repeat: output, candidate, expectations }
          return {
            name: mutation.name,
            candidate,
            verdict: judgePair('deterministic_replay', pair),
          }
        }),
    )
}
