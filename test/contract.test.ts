// The facts of OpenAI's contract that hold on every inference route (C1 to C14, C33, C20 to C24, C27, C43, C48 of the gateway notes),
// over the started plane, by the real SDK where it has the call. Those of one route stand in that route's own file.

import { request } from 'node:http'
import OpenAI, {
  type APIError,
  AuthenticationError,
  BadRequestError,
  ConflictError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
  UnprocessableEntityError,
} from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sandboxUpstream } from '../collectors/proxy/sandbox/sandbox.ts'
import { get, getStored, type Json } from './clients.ts'
import { startProxy } from './proxy-world.ts'
import {
  completion,
  delta,
  doneEvent,
  json,
  raw,
  type ScriptedUpstream,
  sse,
  startUpstream,
} from './upstream.ts'
import { startWorld, type World } from './world.ts'

let upstream: ScriptedUpstream
let world: World
let sdk: OpenAI
beforeAll(async () => {
  upstream = await startUpstream()
  world = await startWorld({ OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-theirs' })
  sdk = new OpenAI({
    baseURL: `${world.url}/v1`,
    apiKey: world.key,
    maxRetries: 0,
    organization: 'org-1',
    project: 'proj-1',
  })
}, 60_000)
afterAll(async () => {
  await world.end()
  await upstream.close()
})
beforeEach(() => {
  upstream.seen.length = 0
})

const model = 'a-model'
const messages = [{ role: 'user' as const, content: 'hi' }]
const sound = () => new File(['a sound'], 'a.wav', { type: 'audio/wav' })

/** Every route as the SDK calls it; `create` of each rejects with what the SDK makes of a failure. */
const routes: [string, () => Promise<unknown>][] = [
  ['chat', () => sdk.chat.completions.create({ model, messages })],
  ['chat, streamed', () => sdk.chat.completions.create({ model, messages, stream: true })],
  ['responses', () => sdk.responses.create({ model, input: 'hi' })],
  ['responses, streamed', () => sdk.responses.create({ model, input: 'hi', stream: true })],
  ['completions', () => sdk.completions.create({ model, prompt: 'hi' })],
  ['embeddings', () => sdk.embeddings.create({ model, input: 'hi' })],
  ['speech', () => sdk.audio.speech.create({ model, input: 'hi', voice: 'alloy' })],
  ['transcriptions', () => sdk.audio.transcriptions.create({ model, file: sound() })],
  ['images', () => sdk.images.generate({ model, prompt: 'hi' })],
  ['edits', () => sdk.images.edit({ model, prompt: 'hi', image: sound() })],
  ['videos', () => sdk.videos.create({ model: 'sora-2', prompt: 'hi' })],
]

const classes: [number, new (...args: never[]) => APIError][] = [
  [400, BadRequestError],
  [404, NotFoundError],
  [409, ConflictError],
  [422, UnprocessableEntityError],
  [429, RateLimitError],
  [500, InternalServerError],
]

/** Of a balancer, nobody, FastAPI, vLLM, Ollama, and a text. */
const inOtherWords: [number, string, string, RegExp][] = [
  [500, '<html>Bad gateway', 'text/html', /^The upstream answered with 500\.$/],
  [503, '', 'application/json', /^The upstream answered with 503\.$/],
  [422, '{"detail":"no such field"}', 'application/json', /^no such field$/],
  [
    400,
    '{"object":"error","message":"too long","type":"BadRequestError","code":400}',
    'application/json',
    /^too long$/,
  ],
  [409, '{"error":"no such model"}', 'application/json', /^no such model$/],
  [429, 'slow down\n', 'text/plain', /^slow down$/],
  [400, '[1]', 'application/json', /^The upstream answered with 400\.$/],
]

describe.each(routes)('%s', (_name, create) => {
  test.each(classes)(
    'C1 C2 C3 C4: an upstream’s %i is its class, its envelope, and has a request id',
    async (status, kind) => {
      const error = { message: 'because', type: 'a_type', param: 'a_param', code: 'a_code' }
      upstream.play(json({ error }, status))
      const failure: Json = await create().catch((thrown) => thrown)
      expect(failure).toBeInstanceOf(kind)
      expect(failure.error).toEqual(error)
      expect(failure.headers.get('content-type')).toMatch(/^application\/json/)
      expect(failure.requestID).toMatch(/^req_/)
      expect(failure.headers.get('x-upstream-request-id')).toBe('req_upstream')
    },
  )

  test('C1 C3: an upstream that fails in other words than OpenAI’s is told in the whole envelope', async () => {
    for (const [status, body, type, message] of inOtherWords) {
      upstream.play(raw(body, status, { 'content-type': type, 'retry-after': '3' }))
      const failure: Json = await create().catch((thrown) => thrown)
      expect([failure.status, failure.error]).toMatchObject([
        status,
        { message: expect.stringMatching(message), param: null, code: 'upstream_error' },
      ])
      expect(typeof failure.error.type).toBe('string')
      expect(failure.headers.get('content-type')).toBe('application/json')
      expect(failure.headers.get('retry-after')).toBe('3')
    }
  })

  test('C2 C8: an upstream that refuses our key is a 502 which is not tried again', async () => {
    upstream.play(json({ error: { message: 'no' } }, 401))
    const failure: Json = await create().catch((thrown) => thrown)
    expect([failure.status, failure.code]).toEqual([502, 'upstream_error'])
    expect(failure.headers.get('x-should-retry')).toBe('false')
  })

  test('C9: what an upstream says of trying again reaches the client', async () => {
    const error = { message: 'slow down', type: 't', param: null, code: null }
    upstream.play(json({ error }, 429, { 'retry-after': '7', 'retry-after-ms': '6500' }))
    const failure: Json = await create().catch((thrown) => thrown)
    expect(failure.headers.get('retry-after')).toBe('7')
    expect(failure.headers.get('retry-after-ms')).toBe('6500')
  })

  test('C14: the upstream gets organisation and project, and its own key', async () => {
    upstream.play(json({ error: { message: 'no', type: 't' } }, 400))
    await create().catch(() => {})
    const [seen] = upstream.seen
    expect(seen?.headers).toMatchObject({
      authorization: 'Bearer sk-theirs',
      'openai-organization': 'org-1',
      'openai-project': 'proj-1',
    })
    expect(JSON.stringify(seen?.headers)).not.toContain(world.key)
    expect(seen?.headers['x-stainless-lang']).toBeUndefined()
  })
})

const paths = [
  '/v1/chat/completions',
  '/v1/responses',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/audio/speech',
  '/v1/audio/transcriptions',
  '/v1/images',
  '/v1/images/generations',
  '/v1/images/edits',
  '/v1/videos',
  '/v1/video/generate',
]

describe.each(paths)('%s', (path) => {
  const ask = (init: RequestInit, key: string | null = world.key) =>
    fetch(world.url + path, {
      method: 'POST',
      ...init,
      headers: { ...(key ? { authorization: `Bearer ${key}` } : {}), ...init.headers },
    })
  const asJson = { headers: { 'content-type': 'application/json' } }

  test('C1 C3 C4: every refusal of ours has the whole envelope, a request id, and no signature', async () => {
    const answers = [
      await ask({ ...asJson, body: '{}' }, null),
      await ask({ ...asJson, body: '{}' }, 'batchin_api_wrong'),
      await ask({ ...asJson, body: '{"model":' }),
      await ask({ body: 'x', headers: { 'content-type': 'text/plain' } }),
      await ask({ method: 'PUT', body: '{}' }),
    ]
    expect(answers.map(({ status }) => status).join()).toMatch(/^401,401,4(00|15),415,405$/)
    for (const answer of answers) {
      const { error } = await answer.json()
      expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
      expect([typeof error.message, typeof error.type]).toEqual(['string', 'string'])
      expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
      expect(answer.headers.get('x-request-id')).toMatch(/^req_/)
      expect(answer.headers.get('x-vaas-signature')).toBeNull()
    }
    expect(upstream.seen).toEqual([])
  })

  test('a body that says it is too large is refused before it travels', async () => {
    const isForm = path.endsWith('transcriptions')
    const status = await new Promise((resolve, reject) => {
      const req = request(world.url + path, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${world.key}`,
          'content-type': isForm ? 'multipart/form-data; boundary=b' : 'application/json',
          'content-length': 200 * 1024 * 1024,
          expect: '100-continue',
        },
      })
      req.on('continue', () => reject(new Error('The body was asked for.')))
      req.on('response', (res) => resolve(res.statusCode)).on('error', reject)
      req.flushHeaders()
    })
    expect(status).toBe(413)
  })
})

test('C4: an answer carries the request id of the caller, or ours, and the SDK shows it', async () => {
  upstream.play(json(completion('hi')))
  const own = await sdk.chat.completions.create(
    { model, messages },
    { headers: { 'x-request-id': 'req_mine' } },
  )
  expect(own._request_id).toBe('req_mine')
  expect(upstream.seen[0]?.headers['x-request-id']).toBe('req_mine')
})

test('C6: an answer without a body is one for the SDK', async () => {
  const made: Json = await sdk.post('/keys', { body: { name: 'short-lived' } })
  expect(await sdk.delete(`/keys/${made.id}`)).toBeNull()
})

test('C10: a failure that says nothing of waiting gets no word of ours, so that clients back off by themselves', async () => {
  for (const status of [408, 429, 500, 503]) {
    upstream.play(json({ error: { message: 'later', type: 't' } }, status))
    const failure: Json = await sdk.chat.completions
      .create({ model, messages })
      .catch((thrown) => thrown)
    expect(failure.status).toBe(status)
    for (const name of ['retry-after', 'retry-after-ms', 'x-should-retry'])
      expect(failure.headers.get(name)).toBeNull()
  }
})

test('C33: an event to keep a connection alive passes; what an upstream keeps is not asked for here, and says so', async () => {
  const response = { id: 'resp_1', object: 'response', status: 'completed', output: [] }
  const events = [
    { type: 'response.created', response: { ...response, status: 'in_progress' } },
    { type: 'keepalive' },
    { type: 'response.completed', response },
  ].map(
    (event, at) =>
      `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: at })}\n\n`,
  )
  upstream.play(sse(events))
  const types: string[] = []
  for await (const event of await sdk.responses.create({ model, input: 'hi', stream: true }))
    types.push(event.type)
  expect(types).toEqual(['response.created', 'keepalive', 'response.completed'])
  const failure: Json = await sdk.responses
    .retrieve('resp_1', { stream: true, starting_after: 1 })
    .catch((thrown) => thrown)
  expect(failure).toBeInstanceOf(NotFoundError)
  expect(failure.code).toBe('not_found')
})

test('C7 C11: the SDK tries again, and each attempt says which it is', async () => {
  let left = 2
  upstream.play((res, seen) => {
    left -= 1
    const error = { message: 'busy', type: 't', param: null, code: null }
    return (left >= 0 ? json({ error }, 500, { 'retry-after-ms': '1' }) : json(completion('hi')))(
      res,
      seen,
    )
  })
  const trying = new OpenAI({ baseURL: `${world.url}/v1`, apiKey: world.key, maxRetries: 2 })
  const { response } = await trying.chat.completions.create({ model, messages }).withResponse()
  expect(upstream.seen).toHaveLength(3)
  const traceId = response.headers.get('traceparent')?.split('-')[1]
  const body = await getStored(world, `/v1/traces/${traceId}?include=payload`)
  expect(JSON.stringify(body)).toContain('{"key":"http.request.resend_count","value":2}')
})

test('C12: a connection that is kept waits longer than a balancer does', async () => {
  const { headers } = await get(world, '/health')
  expect(Number(/timeout=(\d+)/.exec(headers.get('keep-alive') ?? '')?.[1])).toBeGreaterThan(60)
})

test('C13: the body decides whether an answer is a stream, not Accept', async () => {
  upstream.play(json(completion('hi')))
  const whole = await fetch(`${world.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${world.key}`,
      'content-type': 'application/json',
      accept: 'text/event-stream',
    },
    body: JSON.stringify({ model, messages }),
  })
  expect(whole.headers.get('content-type')).toBe('application/json')
  upstream.play(sse([delta({ content: 'hi' }, 'stop'), doneEvent]))
  // The SDK says it accepts JSON, also when it asks for a stream.
  const { response } = await sdk.chat.completions
    .create({ model, messages, stream: true })
    .withResponse()
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
})

test('C20 C21 C22: the sandbox’s chunks have what is required, and usage only where it was asked for', async () => {
  const sandbox = await startProxy({ upstream: sandboxUpstream() })
  const client = new OpenAI({ baseURL: sandbox.baseUrl, apiKey: 'x', maxRetries: 0 })
  const asked = { model, messages, n: 2, stream: true as const }
  const chunks: Json[] = []
  for await (const chunk of await client.chat.completions.create({
    ...asked,
    stream_options: { include_usage: true },
  }))
    chunks.push(chunk)
  for (const chunk of chunks) {
    expect(chunk).toMatchObject({
      id: chunks[0].id,
      created: chunks[0].created,
      model,
      object: 'chat.completion.chunk',
    })
    expect(Array.isArray(chunk.choices)).toBe(true)
  }
  const last = chunks.pop()
  expect([last.choices, chunks.every((it) => it.usage === null)]).toEqual([[], true])
  const { prompt_tokens: input, completion_tokens: output, total_tokens: total } = last.usage
  expect([input > 0, output > 0, total]).toEqual([true, true, input + output])
  for (const index of [0, 1]) {
    const own = chunks.flatMap((it) => it.choices).filter((it: Json) => it.index === index)
    expect([own[0].delta.role, own.at(-1).finish_reason]).toEqual(['assistant', 'stop'])
  }
  for await (const chunk of await client.chat.completions.create(asked)) {
    expect([chunk.choices.length, chunk.usage ?? null]).toEqual([2, null])
  }
  await sandbox.end()
})

test('C23: cached tokens are part of the prompt’s, in the answer and in what is kept', async () => {
  upstream.play(json(completion('hi')))
  const { data, response } = await sdk.chat.completions.create({ model, messages }).withResponse()
  expect([data.usage?.prompt_tokens, data.usage?.prompt_tokens_details?.cached_tokens]).toEqual([
    9, 2,
  ])
  const traceId = response.headers.get('traceparent')?.split('-')[1]
  expect(await getStored(world, `/v1/traces/${traceId}`)).toMatchObject({ input_tokens: 9 })
})

test('C24: what neither of us knows passes both ways', async () => {
  const body = JSON.stringify(
    completion('hi', { service_tier: 'flex', x: [9007199254740993n].map(String) }),
  )
  upstream.play(raw(body.replace('"9007199254740993"', '9007199254740993')))
  const asked =
    '{"model":"m","messages":[],"top_k":3,"seed":9007199254740993,"unknown":{"a":1e400}}'
  const answer = await fetch(`${world.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
    body: asked,
  })
  expect(await answer.text()).toBe(body.replace('"9007199254740993"', '9007199254740993'))
  expect(upstream.seen[0]?.body.toString()).toBe(asked)
})

test.each<[string, Json]>([
  ['a text', 'def f('],
  ['texts', ['a', 'b']],
  ['tokens', [1, 2, 3]],
  ['lists of tokens', [[1], [2, 3]]],
])('C27: a prompt may be %s; suffix passes', async (_name, prompt) => {
  const choices = [{ index: 0, text: ' x', logprobs: null, finish_reason: 'stop' }]
  const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 }
  const given = { id: 'cmpl-1', object: 'text_completion', created: 1, model, choices, usage }
  upstream.play(json(given))
  const answer = await sdk.completions.create({ model, prompt, suffix: 'return' })
  expect(answer).toEqual(given)
  expect(JSON.parse(String(upstream.seen[0]?.body))).toEqual({ model, prompt, suffix: 'return' })
})

test('C38: every field of a transcription passes, numbers and lists as a form has them', async () => {
  upstream.play(json({ text: 'hi', language: 'de', duration: 1 }))
  const answer = await sdk.audio.transcriptions.create({
    model,
    file: new File(['a sound'], 'naïve – "x".wav', { type: 'audio/wav' }),
    language: 'de',
    prompt: 'Namen: Ådne',
    response_format: 'verbose_json',
    temperature: 0.2,
    timestamp_granularities: ['word', 'segment'],
    include: ['logprobs'],
    chunking_strategy: { type: 'server_vad', threshold: 0.5 },
  })
  expect(answer.text).toBe('hi')
  const sent = String(upstream.seen[0]?.body)
  for (const part of [
    'name="temperature"\r\n\r\n0.2\r\n',
    'name="timestamp_granularities[]"\r\n\r\nword\r\n',
    'name="timestamp_granularities[]"\r\n\r\nsegment\r\n',
    'name="include[]"\r\n\r\nlogprobs\r\n',
    'name="chunking_strategy[threshold]"\r\n\r\n0.5\r\n',
    'filename="naïve – %22x%22.wav"\r\nContent-Type: audio/wav\r\n',
  ])
    expect(sent).toContain(part)
  for (const temperature of ['warm', 'NaN', 'Infinity']) {
    const failing = sdk.audio.transcriptions.create({
      model,
      file: sound(),
      // As a form may say it; the type of the SDK is a number's.
      temperature: temperature as unknown as number,
    })
    await expect(failing).rejects.toMatchObject({ status: 400, param: 'temperature' })
  }
})

test('a key that may not call is told so by its own class', async () => {
  const made = await fetch(`${world.url}/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'reader', scopes: ['read'] }),
  })
  const { key }: Json = await made.json()
  const client = (apiKey: string) =>
    new OpenAI({ baseURL: `${world.url}/v1`, apiKey, maxRetries: 0 })
  const forbidden = client(key).chat.completions.create({ model, messages })
  await expect(forbidden).rejects.toBeInstanceOf(PermissionDeniedError)
  const unknown = client('batchin_api_nobody').chat.completions.create({ model, messages })
  await expect(unknown).rejects.toBeInstanceOf(AuthenticationError)
})
