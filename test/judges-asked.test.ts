// Judges that are asked: blind, in both orders, by majority; of another family than the arms; calibrated by people. First alone, over
// a ledger in memory, then on the whole plane.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { calibrate, type Labelled } from '../replay/calibration.ts'
import { type CallDeps, NotNow } from '../replay/calls.ts'
import { llmJudge, mayJudge, openJudgeMore } from '../replay/judges/asked.ts'
import { judgePair, type Pair } from '../replay/judges/judge-pair.ts'
import type { Loopback, LoopbackCall } from '../replay/loopback.ts'
import type { ReplayOutput } from '../schemas/experiment.ts'
import type { CallAnswer, DrawnUnit } from '../schemas/replay.ts'
import type { Usage } from '../schemas/run.ts'
import { chatAll, experimentOf, get, isDecided, post } from './experiment-world.ts'
import { completion, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

const output = (text: string): ReplayOutput => ({ text, toolCalls: [], finishReason: 'stop' })
const pair: Pair = {
  baseline: output('You may send it back within 30 days.'),
  repeat: output('Within 30 days you may send it back.'),
  candidate: output('Sending back is fine, the shop takes it within 30 days.'),
  expectations: {},
}
const verdict = judgePair('pairwise_llm', pair)
const drawn = {
  unit: 4,
  request: {
    baseline: {
      messages: [
        { role: 'system', content: 'secret prompt' },
        { role: 'user', content: 'May I?' },
      ],
    },
  },
} as unknown as DrawnUnit // judges read the conversation alone

const noUsage: Usage = {
  ...{ inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0, estimated: false },
}

/** Models answer as a function of what they are shown as A. */
function depsOf(says: (model: string, a: string) => string) {
  const calls: LoopbackCall[] = []
  const embedded: string[][] = []
  const money: (number | null)[] = []
  const known = new Map<string, CallAnswer>()
  const loopback: Loopback = {
    async chat(call) {
      calls.push(call)
      const shown = JSON.parse(String(call.request.messages[1]?.content))
      const text = says(call.request.model, shown.A.text)
      return {
        ...{ kind: 'answered', output: output(text), message: { role: 'assistant' }, latencyMs: 1 },
        ...{ usage: null, modelServed: null, runId: null },
      }
    },
    async embed({ texts }) {
      embedded.push(texts)
      return {
        vectors: texts.map((text) => [text.length, 1]),
        usage: { ...noUsage, inputTokens: 40 },
      }
    },
    close() {},
  }
  const deps: CallDeps = {
    ...{ experimentId: 'pexp_1', workspace: 'w', loopback, priceOf: () => null },
    signal: new AbortController().signal,
    ledger: {
      async claim(call, { reserveNanoUsd }) {
        if (!known.has(JSON.stringify(call))) money.push(reserveNanoUsd)
        const answer = known.get(JSON.stringify(call))
        return answer ? { kind: 'known', answer } : { kind: 'mine' }
      },
      async renew() {},
      async settle(call, answer, costNanoUsd) {
        money.push(costNanoUsd)
        known.set(JSON.stringify(call), answer)
      },
    },
  }
  return { deps, calls, embedded, money }
}

const ask = (says: (model: string, a: string) => string, models: string[], given = verdict) => {
  const { deps, calls } = depsOf(says)
  const judges = models.map((model) => `${llmJudge} ${model}`)
  const more = openJudgeMore(undefined)
  const asked = more.ask(deps, { judges, drawn, pair, verdict: given })
  return asked.then((answer) => ({
    answer,
    calls,
    again: () => more.ask(deps, { judges, drawn, pair, verdict: given }),
  }))
}

describe('a model as judge', () => {
  const prefers = (text: string) => (_model: string, a: string) => (a === text ? 'A' : 'B')

  test('decides when it says the same in both orders', async () => {
    const worse = await ask(prefers(pair.baseline.text), ['m'])
    expect(worse.answer).toMatchObject({ direction: -1, decidedBy: 'llm@1 m' })
    const better = await ask(prefers(pair.candidate.text), ['m'])
    expect(better.answer).toMatchObject({ direction: 1 })
  })

  test('that follows the order, or says anything else, decides nothing', async () => {
    for (const says of ['A', 'B', 'TIE', 'Both are fine', ''])
      expect((await ask(() => says, ['m'])).answer.direction).toBe(0)
    const { answer } = await ask(() => 'A', ['m'])
    expect(answer.findings[0]?.detail).toContain('inconsistent')
  })

  test('never sees the prompt, and is asked twice in all however often the unit is replayed', async () => {
    const { calls, again } = await ask(() => 'TIE', ['m'])
    await again()
    expect(calls).toHaveLength(2)
    expect(JSON.stringify(calls.map(({ request }) => request))).not.toContain('secret prompt')
  })

  test('does not overrule a hard check, and is not asked about equal answers', async () => {
    const hard = { ...verdict, direction: -1 as const, candidateHard: true }
    const { answer, calls } = await ask(prefers(pair.candidate.text), ['m'], hard)
    expect(answer).toEqual(hard)
    expect(calls).toHaveLength(0)
  })

  test('is of another family than the arms', () => {
    expect(mayJudge('gpt-4o', ['gpt-4o-mini'])).toBe(false)
    expect(mayJudge('openai/gpt-5', ['gpt-4o-mini'])).toBe(false)
    expect(mayJudge('claude-haiku', ['gpt-4o-mini'])).toBe(true)
  })
})

test('a panel decides by majority, not by the loudest', async () => {
  const says = (model: string, a: string) =>
    model === 'x' ? 'TIE' : a === pair.baseline.text ? 'A' : 'B'
  expect((await ask(says, ['x', 'y', 'z'])).answer).toMatchObject({
    direction: -1,
    decidedBy: 'panel@1',
  })
  const one = (model: string, a: string) => (model === 'z' ? says(model, a) : 'TIE')
  expect((await ask(one, ['x', 'y', 'z'])).answer.direction).toBe(0)
})

test('vectors say how alike answers are where a model for them is configured', async () => {
  const { deps } = depsOf(() => '')
  expect(await openJudgeMore(undefined).similarityOf(deps, 4, pair)).toBeUndefined()
  const similarity = await openJudgeMore('embedder').similarityOf(deps, 4, pair)
  expect(similarity?.(pair.baseline.text, pair.baseline.text)).toBe(1)
  expect(similarity?.(pair.baseline.text, pair.candidate.text)).toBeGreaterThan(0.99)
})

test('texts are embedded once, out of the budget, and not at all when it is used up', async () => {
  const { deps, embedded, money } = depsOf(() => '')
  const priced = { ...deps, priceOf: (_: unknown, { inputTokens }: Usage) => inputTokens * 10 }
  const more = openJudgeMore('embedder')
  const first = await more.similarityOf(priced, 4, pair)
  const again = await more.similarityOf(priced, 4, pair)
  expect(embedded).toHaveLength(1)
  const { baseline, repeat, candidate } = pair
  const chars = [baseline, candidate, repeat].reduce((sum, one) => sum + (one?.text.length ?? 0), 0)
  expect(money).toEqual([Math.ceil(chars / 3) * 10, 400])
  const of = (one: typeof first) => one?.(pair.baseline.text, pair.candidate.text)
  expect(of(again)).toBe(of(first))
  const stopped = {
    ...priced,
    ledger: { ...deps.ledger, claim: async () => ({ kind: 'stopped' }) as const },
  }
  await expect(more.similarityOf(stopped, 5, pair)).rejects.toThrow(NotNow)
  expect(embedded).toHaveLength(1)
  // A model that cannot leaves the letters to say it, and is not asked for ever.
  const embed = () => Promise.reject(new Error('no such model'))
  const broken = { ...priced, loopback: { ...deps.loopback, embed } }
  expect(await more.similarityOf(broken, 6, pair)).toBeUndefined()
})

test('a judge is calibrated by a hundred labels of both kinds, and by seeing what people see', () => {
  const labels = (worse: number, fine: number, right: number): Labelled[] => [
    ...Array.from({ length: worse }, (_, i) => ({ isWorse: true, wasFlagged: i < worse * right })),
    ...Array.from({ length: fine }, (_, i) => ({ isWorse: false, wasFlagged: i >= fine * right })),
  ]
  expect(calibrate(labels(50, 50, 0.9))).toMatchObject({ labels: 100, isCalibrated: true })
  expect(calibrate(labels(50, 50, 0.9)).j).toBeCloseTo(0.8)
  expect(calibrate(labels(50, 50, 0.8)).isCalibrated).toBe(false)
  expect(calibrate(labels(40, 40, 1)).isCalibrated).toBe(false)
  expect(calibrate(labels(5, 200, 1)).isCalibrated).toBe(false)
  expect(calibrate([])).toMatchObject({ j: null, isCalibrated: false })
})

describe('on the whole plane', () => {
  let upstream: ScriptedUpstream
  let world: World
  beforeAll(async () => {
    upstream = await startUpstream()
    world = await startWorld({
      OPENAI_BASE_URL: upstream.baseUrl,
      OPENAI_API_KEY: 'sk-test',
      RUNLEDGER_JUDGE_MODELS: 'gpt-4o, claude-judge',
    })
  })
  afterAll(async () => {
    await world.end()
    await upstream.close()
  })

  test('a judge that nobody has calibrated promotes nothing', async () => {
    let count = 0
    upstream.play((res, seen) => {
      const { model } = JSON.parse(seen.body.toString())
      // Whichever two meet in a pair: not equal, so that the judge is asked, and alike enough for the threshold.
      const words = ['surely', 'gladly', 'always', 'simply']
      const rest =
        'you may send the whole parcel back to us in the box in which it came to your door.'
      const says = model === 'claude-judge' ? 'TIE' : `Yes, ${words[count++ % 4]}, ${rest}`
      res.writeHead(200, { 'content-type': 'application/json' })
      res.end(JSON.stringify(completion(says)))
    })
    for (const version of ['v1', 'v2']) {
      const calls = Array.from({ length: 6 }, (_, i) => ({
        system: version === 'v1' ? 'You help.' : 'You help kindly.',
        user: `Question ${i}?`,
        label: `desk@${version}`,
      }))
      await chatAll(world, calls)
    }
    const experiment = await experimentOf(world, 'desk@v2', isDecided)
    expect(experiment, experiment.summary).toMatchObject({
      judge: 'pairwise_llm',
      promotion_status: 'held',
    })
    expect(experiment.summary).toMatch(/not calibrated \(0 labels\)/)
    expect(experiment.judges).toContain('llm@1 claude-judge')
    expect(experiment.judges).not.toContain('llm@1 gpt-4o')
    const path = `/v1/prompt-regressions/${experiment.regression_id}`
    expect((await post(world, `${path}/samples/0/label`, { label: 'same' })).status).toBe(200)
    expect((await get(world, `${path}?check=1`)).check).toEqual({ matches: true })
  })
})
