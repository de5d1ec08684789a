// An answer that is not empty is never taken for one that used nothing: on every route counts that are missing, or zero, are
// estimated, flagged and counted; counts that can be true are kept as they are.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type ProxyWorld, startProxy, until } from './proxy-world.ts'
import { message, response } from './responses-events.ts'
import { completion, json, raw, type Script, sse } from './upstream.ts'

let world: ProxyWorld
beforeAll(async () => {
  world = await startProxy({ responses: true })
})
afterAll(() => world.end())
beforeEach(() => {
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const model = 'a-model'
const b64 = Buffer.from('bytes').toString('base64')
const chatUsage = (tokens: number) => ({
  prompt_tokens: tokens,
  completion_tokens: tokens,
  total_tokens: 2 * tokens,
})
const usage = (tokens: number) => ({
  input_tokens: tokens,
  output_tokens: tokens,
  total_tokens: 2 * tokens,
})

type Row = [
  name: string,
  ask: () => Promise<Response>,
  answer: (tokens: number | undefined) => Script,
]

const post = (path: string, body: object) => () => world.postTo(path, { model, ...body })
const given = (tokens: number | undefined, of: (tokens: number) => object) =>
  tokens === undefined ? {} : { usage: of(tokens) }

const rows: Row[] = [
  [
    'chat',
    post('/v1/chat/completions', { messages: [{ role: 'user', content: 'hello there' }] }),
    (tokens) =>
      json({ ...completion('hi there'), usage: tokens === undefined ? null : chatUsage(tokens) }),
  ],
  [
    'completions',
    post('/v1/completions', { prompt: 'hello there' }),
    (tokens) =>
      json({ id: 'c', choices: [{ index: 0, text: 'hi there' }], ...given(tokens, chatUsage) }),
  ],
  [
    'responses',
    post('/v1/responses', { input: 'hello there' }),
    (tokens) =>
      json(response([message('hi there')], { usage: tokens === undefined ? null : usage(tokens) })),
  ],
  [
    'embeddings',
    post('/v1/embeddings', { input: 'hello there' }),
    (tokens) => json({ data: [{ index: 0, embedding: [1] }], ...given(tokens, chatUsage) }),
  ],
  [
    'images',
    post('/v1/images', { prompt: 'hello there' }),
    (tokens) => json({ data: [{ b64_json: b64 }], ...given(tokens, usage) }),
  ],
  [
    'speech as events',
    post('/v1/audio/speech', { input: 'hello there', voice: 'alloy', stream_format: 'sse' }),
    (tokens) =>
      sse([
        `data: ${JSON.stringify({ type: 'speech.audio.delta', audio: b64 })}\n\n`,
        `data: ${JSON.stringify({ type: 'speech.audio.done', ...given(tokens, usage) })}\n\n`,
      ]),
  ],
  [
    'transcriptions',
    () => {
      const body = new FormData()
      body.append('file', new Blob(['a sound']), 'a.wav')
      body.append('model', model)
      return fetch(`${world.baseUrl}/audio/transcriptions`, { method: 'POST', body })
    },
    (tokens) => json({ text: 'hi there', ...given(tokens, usage) }),
  ],
]

test.each(rows)('%s', async (_name, ask, answer) => {
  const countOf = (reason: string) =>
    world.counted.get(`proxy_usage_estimated_total{"reason":"${reason}"}`) ?? 0
  for (const [tokens, reason] of [
    [undefined, 'missing'],
    [0, 'zero'],
    [7, undefined],
  ] as const) {
    const before = { missing: countOf('missing'), zero: countOf('zero') }
    for (const list of Object.values(world.intake.rows)) list.length = 0
    world.upstream.play(answer(tokens))
    await (await ask()).arrayBuffer()
    await until('the run is stored', () => world.intake.rows.spans.length === 1)
    const [span] = world.intake.rows.spans
    if (reason === undefined) {
      expect(span).toMatchObject({ usage: 1, input_tokens: 7 })
      expect([countOf('missing'), countOf('zero')]).toEqual([before.missing, before.zero])
    } else {
      expect([span?.usage, Number(span?.input_tokens) + Number(span?.output_tokens) > 0]).toEqual([
        5,
        true,
      ])
      expect(countOf(reason) - before[reason]).toBe(1)
    }
  }
})

test('bytes that say nothing of what they cost are estimated by the text they speak', async () => {
  world.upstream.play(raw('a sound', 200, { 'content-type': 'audio/mpeg' }))
  const answer = await world.postTo('/v1/audio/speech', {
    model,
    input: 'x'.repeat(400),
    voice: 'a',
  })
  await answer.arrayBuffer()
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(world.intake.rows.spans).toMatchObject([{ usage: 5, input_tokens: 100, output_tokens: 0 }])
})
