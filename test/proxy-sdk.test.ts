// The real `openai` package against the proxy: what it parses, retries and throws is what its users live with.

import OpenAI, { APIError } from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sandboxUpstream } from '../collectors/proxy/sandbox/sandbox.ts'
import { type ProxyWorld, startProxy, until } from './proxy-world.ts'
import {
  breakAfter,
  completion,
  delta,
  doneEvent,
  hangAfter,
  helloEvents,
  json,
  sse,
  usageChunk,
} from './upstream.ts'

let world: ProxyWorld
let openai: OpenAI
beforeAll(async () => {
  world = await startProxy()
  openai = new OpenAI({ apiKey: 'batchin_api_test', baseURL: world.baseUrl, maxRetries: 1 })
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const model = 'gpt-4o-mini'
const messages = [{ role: 'user' as const, content: 'Say hello' }]

test('a plain call gives the completion, and the request id of the receipt', async () => {
  world.upstream.play(json(completion('hi ✓')))
  const {
    data,
    response,
    request_id: requestId,
  } = await openai.chat.completions.create({ model, messages }).withResponse()
  expect(data.choices[0]?.message.content).toBe('hi ✓')
  expect(data.usage?.prompt_tokens).toBe(9)
  expect(requestId).toBe(response.headers.get('x-request-id'))
  expect(world.intake.rows.spans).toMatchObject([{ status: 'ok', output_preview: 'hi ✓' }])
})

test('a stream gives every chunk and no other, and ends by itself', async () => {
  world.upstream.play(sse([...helloEvents, usageChunk, doneEvent]))
  let text = ''
  let chunks = 0
  for await (const chunk of await openai.chat.completions.create({
    model,
    messages,
    stream: true,
  })) {
    chunks += 1
    // Many programs read the first choice of every chunk without asking whether there is one.
    text += chunk.choices[0]!.delta.content ?? ''
  }
  expect([text, chunks]).toEqual(['Hello wörld ✓', helloEvents.length])
})

test('the stream helper puts text and usage together', async () => {
  world.upstream.play(
    sse([`id: 7\n${helloEvents[0]}`, ...helloEvents.slice(1), usageChunk, doneEvent]),
  )
  const stream = openai.chat.completions.stream({
    model,
    messages,
    stream_options: { include_usage: true },
  })
  const final = await stream.finalChatCompletion()
  expect(final.choices[0]?.message.content).toBe('Hello wörld ✓')
  expect(final.usage?.completion_tokens).toBe(2)
})

test('an abandoned loop stops the upstream and keeps the run', async () => {
  world.upstream.play(hangAfter(helloEvents))
  for await (const _chunk of await openai.chat.completions.create({
    model,
    messages,
    stream: true,
  }))
    break
  expect(await world.upstream.seen[0]?.closed).toBe(true)
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'client_closed' }])
})

test('a broken stream throws; it is never taken for a short answer', async () => {
  world.upstream.play(breakAfter([...helloEvents.slice(0, 2), 'data: {"id":']))
  const read = async () => {
    for await (const _chunk of await openai.chat.completions.create({
      model,
      messages,
      stream: true,
    }));
  }
  await expect(read()).rejects.toThrow(APIError)
})

test.each([
  [400, 1],
  [404, 1],
  [422, 1],
  [429, 2],
  [500, 2],
])(
  'an upstream’s %i arrives as its own error class after %i attempts',
  async (status, attempts) => {
    const error = { message: 'because', type: 'some_error', param: 'x', code: 'a_code' }
    world.upstream.play(json({ error }, status, { 'retry-after-ms': '1' }))
    const failure = await openai.chat.completions
      .create({ model, messages })
      .catch((thrown) => thrown)
    expect(failure).toBeInstanceOf(APIError)
    expect(failure).toMatchObject({ status, code: 'a_code', param: 'x', type: 'some_error' })
    expect(failure.requestID).toMatch(/^req_/)
    expect(world.upstream.seen).toHaveLength(attempts)
    expect(world.intake.rows.records).toHaveLength(attempts)
  },
)

test('an upstream that refuses our key is a 502 that is not tried again', async () => {
  world.upstream.play(json({ error: { message: 'bad key' } }, 401))
  const failure = await openai.chat.completions
    .create({ model, messages })
    .catch((thrown) => thrown)
  expect(failure).toMatchObject({ status: 502, code: 'upstream_error' })
  expect(world.upstream.seen).toHaveLength(1)
})

test('a stream that is refused throws with its real status', async () => {
  world.upstream.play(json({ error: { message: 'no', type: 't', param: null, code: 'c' } }, 400))
  const failure = await openai.chat.completions
    .create({ model, messages, stream: true })
    .catch((thrown) => thrown)
  expect(failure).toMatchObject({ status: 400, code: 'c' })
})

test('the sandbox streams, calls tools and counts, for the same package', async () => {
  const sandbox = await startProxy({ upstream: sandboxUpstream() })
  const client = new OpenAI({ apiKey: 'x', baseURL: sandbox.baseUrl, maxRetries: 0 })
  const tools = [
    {
      type: 'function' as const,
      function: {
        name: 'get_weather',
        parameters: {
          type: 'object',
          properties: { city: { type: 'string' } },
          required: ['city'],
        },
      },
    },
  ]
  const asked = {
    model,
    messages: [{ role: 'user' as const, content: 'Please get weather.' }],
    tools,
  }
  const stream = client.chat.completions.stream({
    ...asked,
    stream_options: { include_usage: true },
  })
  const streamed = await stream.finalChatCompletion()
  const whole = await client.chat.completions.create(asked)
  expect(streamed.choices[0]?.finish_reason).toBe('tool_calls')
  expect(streamed.usage).toEqual(whole.usage)
  const [call] = whole.choices[0]?.message.tool_calls ?? []
  expect(call).toMatchObject({ function: { name: 'get_weather', arguments: '{"city":"sandbox"}' } })
  expect(sandbox.intake.rows.spans).toMatchObject([
    { provider: 'sandbox' },
    { provider: 'sandbox' },
  ])
  const spoken = await client.chat.completions.create({ model, messages })
  expect(spoken.choices[0]?.message.content).toMatch(/^\[sandbox\] No model was called/)
  await sandbox.end()
})

test('a long answer of one delta a word arrives whole', async () => {
  const words = Array.from({ length: 2000 }, (_, i) => `w${i} `)
  world.upstream.play(
    sse([words.map((content) => delta({ content })).join(''), delta({}, 'stop'), doneEvent]),
  )
  let text = ''
  for await (const chunk of await openai.chat.completions.create({
    model,
    messages,
    stream: true,
  })) {
    text += chunk.choices[0]?.delta.content ?? ''
  }
  expect(text).toBe(words.join(''))
})
