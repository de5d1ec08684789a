// POST /v1/embeddings (C34 to C37): the form that was asked for, whatever form the upstream speaks.

import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type ProxyWorld, startProxy } from './proxy-world.ts'
import { json, raw } from './upstream.ts'

let world: ProxyWorld
let openai: OpenAI
beforeAll(async () => {
  world = await startProxy()
  openai = new OpenAI({ apiKey: 'batchin_api_test', baseURL: world.baseUrl, maxRetries: 0 })
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const model = 'text-embedding-3-small'
const input = ['one', 'two']
// Exact in 32 bits, so that both forms hold the same numbers.
const vectors = [
  [0.5, -2, 3],
  [-0.0078125, 65504, 1],
]
const base64 = vectors.map((vector) =>
  Buffer.from(Float32Array.from(vector).buffer).toString('base64'),
)

const list = (embeddings: (string | number[])[]) => ({
  object: 'list',
  model: 'text-embedding-3-small-1',
  data: embeddings.map((embedding, index) => ({ object: 'embedding', index, embedding })),
  usage: { prompt_tokens: 4, total_tokens: 4 },
})
const sent = () => world.upstream.seen.map(({ body }) => JSON.parse(String(body)).encoding_format)

test.each([
  ['base64', base64],
  ['floats', vectors],
])('an upstream that answers %s gives the SDK the right numbers', async (_name, embeddings) => {
  world.upstream.play(json(list(embeddings)))
  const answer = await openai.embeddings.create({ model, input, dimensions: 3 })
  expect(sent()).toEqual(['base64'])
  expect(JSON.parse(String(world.upstream.seen[0]?.body)).dimensions).toBe(3)
  expect(answer.data.map(({ embedding }) => Array.from(embedding))).toEqual(vectors)
  expect(world.intake.rows.spans).toMatchObject([
    { name: `embeddings ${model}`, type: 'embedding', usage: 1, input_tokens: 4, output_tokens: 0 },
  ])
})

test('floats that were asked for come as floats, also from an upstream that speaks base64', async () => {
  world.upstream.play(json(list(base64)))
  const answer = await openai.embeddings.create({ model, input, encoding_format: 'float' })
  expect(answer.data.map(({ embedding }) => embedding)).toEqual(vectors)
})

test.each([
  ['base64', base64],
  ['float', vectors],
  [undefined, vectors],
] as const)(
  'an answer in the form that was asked for passes byte for byte: %s',
  async (form, embeddings) => {
    const body = JSON.stringify(list([...embeddings] as (string | number[])[]), null, 2)
    world.upstream.play(raw(body))
    const asked = { model, input, ...(form ? { encoding_format: form } : {}) }
    const answer = await world.postTo('/v1/embeddings', asked)
    expect(await answer.text()).toBe(body)
  },
)

test('an upstream that refuses the form is asked for floats, once', async () => {
  world.upstream.play((res, seen) => {
    const isRefused = JSON.parse(String(seen.body)).encoding_format === 'base64'
    const error = { message: 'encoding_format must be float', type: 'invalid_request_error' }
    return json(isRefused ? { error } : list(vectors), isRefused ? 400 : 200)(res, seen)
  })
  const answer = await openai.embeddings.create({ model, input })
  expect(answer.data.map(({ embedding }) => Array.from(embedding))).toEqual(vectors)
  expect(sent()).toEqual(['base64', 'float'])
  expect(world.intake.rows.records).toHaveLength(1)
})

test('a refusal of anything else passes as it is', async () => {
  const error = { message: 'input is too long', type: 'x', param: 'input', code: 'c' }
  world.upstream.play(json({ error }, 400))
  const answer = await world.postTo('/v1/embeddings', { model, input, encoding_format: 'base64' })
  expect([answer.status, (await answer.json()).error]).toEqual([400, error])
  expect(world.upstream.seen).toHaveLength(1)
})

test('counts that an upstream does not report are estimated from what it read, and flagged', async () => {
  const { usage: _, ...without } = list(vectors)
  for (const body of [without, { ...without, usage: { prompt_tokens: 0, total_tokens: 0 } }]) {
    world.upstream.play(json(body))
    await openai.embeddings.create({ model, input: ['x'.repeat(400)] })
  }
  const flagged = { usage: 5, input_tokens: 104, output_tokens: 0 }
  expect(world.intake.rows.spans).toMatchObject([flagged, flagged])
})
