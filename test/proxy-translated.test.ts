// POST /v1/responses over an upstream that has only the chat route: translated both ways, stream included, and read by the
// real SDK; what has no counterpart is refused by name.

import OpenAI from 'openai'
import type { Response } from 'openai/resources/responses/responses'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sandboxUpstream } from '../collectors/proxy/sandbox/sandbox.ts'
import { type ProxyWorld, startProxy, until } from './proxy-world.ts'
import { brokenRule, eventsOf, requiredOfResponse } from './responses-events.ts'
import {
  breakAfter,
  byteByByte,
  chunk,
  completion,
  delta,
  doneEvent,
  helloEvents,
  json,
  sse,
  usageChunk,
} from './upstream.ts'

let world: ProxyWorld
let openai: OpenAI
beforeAll(async () => {
  world = await startProxy({ responses: false })
  openai = new OpenAI({ apiKey: 'batchin_api_test', baseURL: world.baseUrl, maxRetries: 0 })
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const model = 'qwen3-32b'
const input = 'Say hello'
const sent = () => JSON.parse(String(world.upstream.seen.at(-1)?.body))
const weather = {
  type: 'function' as const,
  name: 'weather',
  description: 'of a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
  strict: true,
}
const callDelta = (index: number, fields: object) => delta({ tool_calls: [{ index, ...fields }] })
const twoCalls = [
  delta({ role: 'assistant', content: 'Let me see.' }),
  callDelta(0, { id: 'call_a', type: 'function', function: { name: 'weather', arguments: '' } }),
  callDelta(0, { function: { arguments: '{"city":' } }),
  callDelta(1, { id: 'call_b', type: 'function', function: { name: 'time', arguments: '{}' } }),
  // Interleaved, as some upstreams send parallel calls.
  callDelta(0, { function: { arguments: '"Ulm"}' } }),
  delta({}, 'tool_calls'),
]

async function streamed(pieces: string[], body: object = {}): Promise<string> {
  world.upstream.play(sse(pieces))
  const answer = await world.postTo('/v1/responses', { model, input, stream: true, ...body })
  expect(answer.status).toBe(200)
  return answer.text()
}

test('a request goes to the chat route as the same question', async () => {
  world.upstream.play(json(completion('hi')))
  await openai.responses.create({
    model,
    instructions: 'Be short',
    input: [
      { role: 'developer', content: 'No jokes' },
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'What is this?' },
          { type: 'input_image', image_url: 'https://x.example/a.png', detail: 'low' },
        ],
      },
      { type: 'reasoning', id: 'rs_1', summary: [] },
      {
        id: 'msg_0',
        type: 'message',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: 'Wait.', annotations: [] }],
      },
      { type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{"city":"Ulm"}' },
      { type: 'function_call', call_id: 'call_2', name: 'time', arguments: '{}' },
      { type: 'function_call_output', call_id: 'call_1', output: '21°' },
      {
        type: 'function_call_output',
        call_id: 'call_2',
        output: [{ type: 'input_text', text: 'noon' }],
      },
      { role: 'user', content: 'And now?' },
    ],
    max_output_tokens: 64,
    temperature: 0.5,
    tools: [weather],
    tool_choice: { type: 'function', name: 'weather' },
    parallel_tool_calls: false,
    reasoning: { effort: 'low' },
    text: { format: { type: 'json_schema', name: 'a', schema: { type: 'object' }, strict: true } },
    metadata: { a: 'b' },
    store: true,
  })
  const { type: _, ...declared } = weather
  expect(world.upstream.seen[0]?.path).toBe('/v1/chat/completions')
  expect(sent()).toEqual({
    model,
    messages: [
      { role: 'system', content: 'Be short' },
      { role: 'system', content: 'No jokes' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: 'https://x.example/a.png', detail: 'low' } },
        ],
      },
      {
        role: 'assistant',
        content: 'Wait.',
        tool_calls: [
          {
            id: 'call_1',
            type: 'function',
            function: { name: 'weather', arguments: '{"city":"Ulm"}' },
          },
          { id: 'call_2', type: 'function', function: { name: 'time', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_1', content: '21°' },
      { role: 'tool', tool_call_id: 'call_2', content: 'noon' },
      { role: 'user', content: 'And now?' },
    ],
    max_tokens: 64,
    temperature: 0.5,
    tools: [{ type: 'function', function: declared }],
    tool_choice: { type: 'function', function: { name: 'weather' } },
    parallel_tool_calls: false,
    reasoning_effort: 'low',
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'a', schema: { type: 'object' }, strict: true },
    },
  })
})

test('an answer comes back as a response with every required member', async () => {
  world.upstream.play(json(completion('hi ✓')))
  const answer = await openai.responses.create({ model, input, metadata: { a: 'b' } })
  expect(Object.keys(answer)).toEqual(expect.arrayContaining(requiredOfResponse))
  expect(answer).toMatchObject({
    id: 'resp_chatcmpl-1',
    object: 'response',
    status: 'completed',
    model: 'gpt-4o-mini-2024-07-18',
    output_text: 'hi ✓',
    metadata: { a: 'b' },
    usage: {
      input_tokens: 9,
      input_tokens_details: { cached_tokens: 2 },
      output_tokens: 4,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 13,
    },
  })
  expect(world.intake.rows.spans).toMatchObject([
    {
      status: 'ok',
      input_preview: input,
      output_preview: 'hi ✓',
      input_tokens: 9,
      cached_tokens: 2,
    },
  ])
})

test.each([
  ['previous_response_id', { previous_response_id: 'resp_0' }, 'previous_response_id'],
  ['conversation', { conversation: 'conv_1' }, 'conversation'],
  ['prompt', { prompt: { id: 'pmpt_1' } }, 'prompt'],
  ['background', { background: true }, 'background'],
  ['a tool of the upstream', { tools: [weather, { type: 'web_search' }] }, 'tools[1].type'],
  [
    'a choice of such a tool',
    { tools: [weather], tool_choice: { type: 'file_search' } },
    'tool_choice',
  ],
  [
    'an item that is kept elsewhere',
    { input: [{ type: 'item_reference', id: 'a' }] },
    'input[0].type',
  ],
  [
    'a file that is kept elsewhere',
    { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'f' }] }] },
    'input[0].content[0].file_id',
  ],
  ['a format of its own', { text: { format: { type: 'grammar' } } }, 'text.format.type'],
])('%s has no counterpart: a signed 400 that names it, and no call', async (_name, more, param) => {
  for (const stream of [false, true]) {
    const answer = await world.postTo('/v1/responses', { model, input, stream, ...more })
    const { error } = await answer.json()
    expect([answer.status, error.code, error.param]).toEqual([400, 'invalid_request', param])
    expect(answer.headers.get('x-vaas-signature')).toMatch(/^ed25519:/)
  }
  expect(world.upstream.seen).toEqual([])
})

test('a stream has the events that the SDKs demand, cut at every byte or not', async () => {
  const pieces = [...helloEvents, usageChunk, doneEvent]
  const text = await streamed(pieces)
  expect(sent().stream_options).toEqual({ include_usage: true })
  const events = eventsOf(text)
  expect(brokenRule(events)).toBeUndefined()
  expect(events.map(({ type }) => type)).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ])
  expect(text).toMatch(/event: response\.completed\n: vaas \{.*"status":"completed".*\}\ndata: /)
  expect(world.intake.rows.spans).toMatchObject([
    { status: 'ok', output_preview: 'Hello wörld ✓', usage: 1, input_tokens: 9, output_tokens: 2 },
  ])
  world.upstream.play(byteByByte(pieces.join('').replaceAll('\n', '\r\n')))
  const again = await world.postTo('/v1/responses', { model, input, stream: true })
  const types = eventsOf(await again.text()).map(({ type }) => type)
  expect(types).toEqual(events.map(({ type }) => type))
})

test('a stream and a whole answer of the same chat answer are the same response', async () => {
  world.upstream.play(json(completion('Hello wörld ✓', { id: 'chatcmpl-2' })))
  const whole = await openai.responses.create({ model, input })
  world.upstream.play(sse([...helloEvents, chunk([], { usage: usageOf(whole) }), doneEvent]))
  const runner = openai.responses.stream({ model, input })
  const { output } = await runner.finalResponse()
  const plain = JSON.parse(JSON.stringify(output), (key, value) =>
    key === 'parsed' ? undefined : value,
  )
  expect(plain).toEqual(whole.output)
})

test('parallel calls arrive whole for the SDK, after the text before them', async () => {
  const text = await streamed([...twoCalls, usageChunk, doneEvent], { tools: [weather] })
  const events = eventsOf(text)
  expect(brokenRule(events)).toBeUndefined()
  const at = (type: string, index: number) =>
    events.findIndex((it) => it.type === type && it.output_index === index)
  expect(at('response.output_item.done', 0)).toBeLessThan(at('response.output_item.added', 1))
  world.upstream.play(sse([...twoCalls, usageChunk, doneEvent]))
  const final = await openai.responses.stream({ model, input, tools: [weather] }).finalResponse()
  expect(final.output).toMatchObject([
    { type: 'message', content: [{ text: 'Let me see.' }], status: 'completed' },
    { type: 'function_call', call_id: 'call_a', name: 'weather', arguments: '{"city":"Ulm"}' },
    { type: 'function_call', call_id: 'call_b', name: 'time', arguments: '{}' },
  ])
  const spans = world.intake.rows.payloads.map(({ raw }) => String(raw))
  expect(spans[0]).toContain('tool_calls')
  expect(spans[0]).toContain('"name":"weather"')
})

test('thoughts, refusals and an answer that was cut are told as what they are', async () => {
  const thinking = [
    delta({ role: 'assistant', reasoning_content: 'Hm' }),
    delta({ reasoning: '…' }),
    delta({ content: 'No' }),
    delta({ refusal: 'I will' }),
    delta({ refusal: ' not' }),
    delta({}, 'length'),
  ]
  const text = await streamed([...thinking, usageChunk, doneEvent])
  const events = eventsOf(text)
  expect(brokenRule(events)).toBeUndefined()
  const { response } = events.at(-1) as unknown as { response: Response } // judged above
  expect([response.status, response.incomplete_details]).toEqual([
    'incomplete',
    { reason: 'max_output_tokens' },
  ])
  expect(response.output).toMatchObject([
    { type: 'reasoning', content: [{ type: 'reasoning_text', text: 'Hm…' }], summary: [] },
    {
      type: 'message',
      status: 'incomplete',
      content: [
        { type: 'output_text', text: 'No' },
        { type: 'refusal', refusal: 'I will not' },
      ],
    },
  ])
})

test('a call whose name comes late, and an answer of nothing, are still well formed', async () => {
  const late = [
    callDelta(0, { id: 'call_a', function: { arguments: '{"a"' } }),
    callDelta(0, { function: { name: 'weather', arguments: ':1}' } }),
    delta({}, 'tool_calls'),
  ]
  const events = eventsOf(await streamed([...late, doneEvent]))
  expect(brokenRule(events)).toBeUndefined()
  expect(events.at(-1)?.response).toMatchObject({ output: [{ arguments: '{"a":1}' }], usage: null })
  const nothing = eventsOf(await streamed([delta({}, 'stop'), doneEvent]))
  expect(brokenRule(nothing)).toBeUndefined()
  expect(nothing.at(-1)?.response).toMatchObject({ output: [{ content: [{ text: '' }] }] })
})

test('an error inside the stream fails the response, and the SDK throws it', async () => {
  const failing = [
    helloEvents[0]!,
    helloEvents[1]!,
    'data: {"error":{"message":"full","code":"overloaded"}}\n\n',
  ]
  const text = await streamed(failing)
  const events = eventsOf(text)
  expect(events.slice(-2)).toMatchObject([
    { type: 'error', code: 'overloaded', message: 'full', param: null },
    { type: 'response.failed', response: { status: 'failed', error: { code: 'overloaded' } } },
  ])
  expect(brokenRule(events)).toBeUndefined()
  expect(world.intake.rows.spans).toMatchObject([{ status: 'error', status_message: 'full' }])
  world.upstream.play(sse(failing))
  await expect(openai.responses.stream({ model, input }).finalResponse()).rejects.toThrow(/full/)
  await until('both runs are stored', () => world.intake.rows.spans.length === 2)
})

test.each([
  ['ends without [DONE]', sse(helloEvents)],
  ['breaks', breakAfter(helloEvents.slice(0, 2))],
])('an upstream that %s completes nothing', async (_name, script) => {
  world.upstream.play(script)
  const answer = await world.postTo('/v1/responses', { model, input, stream: true })
  const text = await answer.text()
  expect(text).not.toContain('response.completed')
  expect(text).toMatch(/event: error\n: vaas .*"status":"truncated".*\ndata: \{"type":"error"/)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'truncated', usage: 5 }])
})

test('an upstream of which nobody knows is asked once, and translated from then on', async () => {
  const unknown = await startProxy()
  const sdk = new OpenAI({ apiKey: 'x', baseURL: unknown.baseUrl, maxRetries: 0 })
  unknown.upstream.play((res, seen) => {
    if (seen.path === '/v1/responses') return json({ detail: 'Not Found' }, 404)(res, seen)
    return json(completion('through chat'))(res, seen)
  })
  for (const _ of [1, 2]) {
    expect((await sdk.responses.create({ model, input })).output_text).toBe('through chat')
  }
  expect(unknown.upstream.seen.map(({ path }) => path)).toEqual([
    '/v1/responses',
    '/v1/chat/completions',
    '/v1/chat/completions',
  ])
  await unknown.end()
})

test('a 404 that says what is missing is an answer, and changes nothing', async () => {
  const unknown = await startProxy()
  const error = { message: 'no such model', type: 'x', param: 'model', code: 'model_not_found' }
  unknown.upstream.play(json({ error }, 404))
  for (const _ of [1, 2]) {
    const answer = await unknown.postTo('/v1/responses', { model, input })
    expect([answer.status, (await answer.json()).error]).toEqual([404, error])
  }
  expect(unknown.upstream.seen.map(({ path }) => path)).toEqual(['/v1/responses', '/v1/responses'])
  await unknown.end()
})

test('the sandbox answers responses too, whole and streamed, with calls', async () => {
  const sandbox = await startProxy({ upstream: sandboxUpstream() })
  const sdk = new OpenAI({ apiKey: 'x', baseURL: sandbox.baseUrl, maxRetries: 0 })
  const whole = await sdk.responses.create({ model, input })
  expect(whole.output_text).toMatch(/^\[sandbox\] No model was called/)
  const final = await sdk.responses.stream({ model, input }).finalResponse()
  expect(final.output_text).toBe(whole.output_text)
  const called = await sdk.responses.create({ model, input: 'weather please', tools: [weather] })
  expect(called.output).toMatchObject([{ type: 'function_call', name: 'weather' }])
  await sandbox.end()
})

function usageOf(answer: Response): object {
  return {
    prompt_tokens: answer.usage?.input_tokens,
    completion_tokens: answer.usage?.output_tokens,
    total_tokens: answer.usage?.total_tokens,
  }
}
