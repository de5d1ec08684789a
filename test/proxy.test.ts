// Calls that are answered whole: what reaches the upstream, what comes back, what is kept.

import { createPublicKey, verify } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ProxyWorld, startProxy, until, upstreamKey, workspace } from './proxy-world.ts'
import { completion, hangBeforeHead, json, raw, resetBeforeHead } from './upstream.ts'

let world: ProxyWorld
beforeAll(async () => {
  world = await startProxy({ ttftTimeoutMs: 300 })
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
  world.intake.refusing = false
})

const hello = {
  model: 'gpt-4o-mini',
  temperature: 0.2,
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Say héllo' },
  ],
}

const receipts = [
  'traceparent',
  'x-request-id',
  'x-batchin-run-id',
  'x-batchin-route-id',
  'x-batchin-provider',
  'x-batchin-environment',
  'x-batchin-prompt-version',
  'x-vaas-record-id',
  'x-vaas-publickey',
  'x-vaas-signature',
  'x-vaas-key-id',
  'x-vaas-phase',
  'access-control-expose-headers',
]

const missing = (response: Response) => receipts.filter((name) => !response.headers.get(name))

/** The public key that a receipt names, and whether it signed these bytes with that signature. */
function isSigned(response: Response, canonical: string): boolean {
  const x = response.headers.get('x-vaas-publickey')?.replace('ed25519:pk_', '') ?? ''
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } })
  const signature = response.headers.get('x-vaas-signature')?.replace('ed25519:', '') ?? ''
  return verify(null, Buffer.from(canonical), key, Buffer.from(signature, 'base64url'))
}

describe('a call that succeeds', () => {
  test('gives back the bytes of the upstream, with a receipt', async () => {
    const body = ` ${JSON.stringify(completion('hi ✓', { big: 1 }))}\n`.replace(
      '"big":1',
      '"big":12345678901234567890',
    )
    world.upstream.play(raw(body))
    const response = await world.post(hello)
    expect(response.status).toBe(200)
    expect(await response.text()).toBe(body)
    expect(missing(response)).toEqual([])
    expect(response.headers.get('x-vaas-phase')).toBe('final')
    expect(response.headers.get('x-upstream-request-id')).toBe('req_upstream')
    const exposed = response.headers.get('access-control-expose-headers')?.toLowerCase().split(', ')
    expect(receipts.filter((name) => !exposed?.includes(name))).toEqual([
      'access-control-expose-headers',
    ])
  })

  test('is signed: the signature in the header is that of the stored record', async () => {
    world.upstream.play(json(completion('hi')))
    const response = await world.post(hello)
    const [record] = world.intake.rows.records
    expect(world.intake.rows.records).toHaveLength(1)
    expect(record).toMatchObject({ phase: 'final', workspace })
    expect(isSigned(response, String(record?.canonical))).toBe(true)
    expect(isSigned(response, `${record?.canonical} `)).toBe(false)
    expect(JSON.parse(String(record?.canonical))).toMatchObject({
      record_id: response.headers.get('x-vaas-record-id'),
      run_id: response.headers.get('x-batchin-run-id'),
      status: 'completed',
      model_id: 'gpt-4o-mini-2024-07-18',
      provider: 'openai',
      environment: 'test',
      prompt_version_id: 'default',
    })
  })

  test('becomes one span row with what was asked, answered and used', async () => {
    world.upstream.play(json(completion('hi there')))
    const response = await world.post(hello, {
      'x-batchin-session-id': 's1',
      'x-batchin-user-id': 'u1',
      'x-batchin-environment': 'prod',
      'x-batchin-prompt-version': 'support@v2',
    })
    const [span] = world.intake.rows.spans
    expect(world.intake.rows.spans).toHaveLength(1)
    expect(span).toMatchObject({
      workspace,
      trace_id: response.headers.get('traceparent')?.slice(3, 35),
      span_id: response.headers.get('traceparent')?.slice(36, 52),
      parent_span_id: '0000000000000000',
      name: 'chat gpt-4o-mini',
      type: 'llm',
      status: 'ok',
      source: 'native',
      origin: '',
      environment: 'prod',
      provider: 'openai',
      model: 'gpt-4o-mini-2024-07-18',
      route_id: 'default-route',
      prompt_registry: 'support',
      prompt_version_id: 'support@v2',
      session_id: 's1',
      user_id: 'u1',
      usage: 1,
      input_tokens: 9,
      output_tokens: 4,
      cached_tokens: 2,
      input_preview: 'Say héllo',
      output_preview: 'hi there',
    })
    expect(response.headers.get('x-batchin-prompt-version')).toBe('support@v2')
    expect(span?.attr_num).toMatchObject({ 'gen_ai.request.temperature': 0.2 })
    expect(Number(span?.duration_ns)).toBeGreaterThan(0)
    expect(world.intake.rows.payloads).toMatchObject([
      { trace_id: span?.trace_id, span_id: span?.span_id },
    ])
  })

  test('writes its envelopes once, and its rows in one write with the record', async () => {
    world.upstream.play(json(completion('hi')))
    await world.post(hello)
    const writes = world.intake.writes
    world.intake.rows.envelopes.length = 0
    await world.post(hello)
    expect(world.intake.rows.envelopes).toEqual([])
    expect(world.intake.writes).toBe(writes + 1)
  })
})

describe('what the upstream gets', () => {
  test('is the body as it came, our key and not the caller’s, and the trace continued', async () => {
    world.upstream.play(json(completion('hi')))
    const body = '{ "model":"m", "seed":12345678901234567890, "messages":[], "a":1, "a":2 }'
    const response = await world.post(body, {
      authorization: 'Bearer batchin_api_secret',
      cookie: 'a=b',
      'x-batchin-session-id': 's1',
      'openai-organization': 'org-1',
      'x-upstream-url': 'http://evil',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'vendor=1',
    })
    const [seen] = world.upstream.seen
    expect(seen?.path).toBe('/v1/chat/completions')
    expect(seen?.body.toString()).toBe(body)
    expect(seen?.headers).toMatchObject({
      authorization: `Bearer ${upstreamKey}`,
      'openai-organization': 'org-1',
      'accept-encoding': 'identity',
      tracestate: 'vendor=1',
      traceparent: response.headers.get('traceparent'),
    })
    expect(response.headers.get('traceparent')).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/)
    const forwarded = ['cookie', 'x-batchin-session-id', 'x-upstream-url']
    expect(forwarded.filter((name) => seen?.headers[name] !== undefined)).toEqual([])
    expect(world.intake.rows.spans[0]?.parent_span_id).toBe('b7ad6b7169203331')
  })

  test('has no prompt object, which labels the run', async () => {
    world.upstream.play(json(completion('hi')))
    const body =
      '{"prompt":{"id":"support","version":"3","variables":{"name":"Ann"}},"model":"m","messages":[]}'
    const response = await world.post(body)
    expect(world.upstream.seen[0]?.body.toString()).toBe('{"model":"m","messages":[]}')
    expect(response.headers.get('x-batchin-prompt-version')).toBe('support@v3')
  })
})

describe('a request that is wrong', () => {
  test.each([
    ['not JSON', '{"model":', 400, 'invalid_request', null],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]).toString('latin1'), 400, 'invalid_request', null],
    ['a list', '[]', 400, 'invalid_request', null],
    ['no model', { messages: [] }, 400, 'invalid_request', 'model'],
    [
      'a model with a line break',
      { model: 'a\r\nX: y', messages: [] },
      400,
      'invalid_request',
      'model',
    ],
    ['a stream that is a string', { ...hello, stream: 'true' }, 400, 'invalid_request', 'stream'],
    ['no messages', { model: 'm' }, 400, 'invalid_request', 'messages'],
    ['a prompt that is a string', { ...hello, prompt: 'x' }, 400, 'invalid_request', 'prompt'],
    [
      'a prompt with a bad id',
      { ...hello, prompt: { id: 'A b' } },
      400,
      'invalid_request',
      'prompt.id',
    ],
    ['an unknown prompt', { model: 'm', prompt: { id: 'support' } }, 404, 'not_found', 'prompt.id'],
  ])(
    '%s is refused without asking the upstream or signing',
    async (_what, body, status, code, param) => {
      const response = await world.post(body)
      expect(response.status).toBe(status)
      const { error } = await response.json()
      expect([error.code, error.param]).toEqual([code, param])
      expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
      expect(response.headers.get('x-vaas-signature')).toBeNull()
      expect(world.upstream.seen).toEqual([])
      expect(world.intake.rows.records).toEqual([])
    },
  )

  test('a malformed label in a header is refused by its name', async () => {
    for (const name of [
      'X-BatchIn-Prompt',
      'X-BatchIn-Prompt-Version',
      'X-BatchIn-Environment',
      'X-BatchIn-Capture',
    ]) {
      const response = await world.post(hello, { [name]: 'Not a label!' })
      expect([response.status, (await response.json()).error.param]).toEqual([400, name])
    }
  })
})

describe('an upstream that fails', () => {
  test.each([400, 404, 422, 429, 500, 503])(
    'with %i is passed on with its body, recorded and receipted',
    async (status) => {
      const body = { error: { message: 'no', type: 'some_error', param: null, code: 'a_code' } }
      world.upstream.play(json(body, status, { 'retry-after': '7', 'set-cookie': 'a=b' }))
      const response = await world.post(hello)
      expect([response.status, await response.json()]).toEqual([status, body])
      expect(missing(response)).toEqual([])
      expect([response.headers.get('retry-after'), response.headers.get('set-cookie')]).toEqual([
        '7',
        null,
      ])
      expect(JSON.parse(String(world.intake.rows.records[0]?.canonical)).status).toBe(
        'upstream_error',
      )
      expect(world.intake.rows.spans).toMatchObject([
        { status: 'error', status_message: 'no', usage: 0 },
      ])
      expect(world.intake.rows.spans[0]?.attr_str).toMatchObject({ 'error.type': 'a_code' })
    },
  )

  test.each([401, 403])('with its own %i becomes 502, which no SDK tries again', async (status) => {
    world.upstream.play(json({ error: { message: 'bad key sk-…' } }, status))
    const response = await world.post(hello)
    expect(response.status).toBe(502)
    expect(await response.text()).not.toContain('sk-')
    expect(response.headers.get('x-should-retry')).toBe('false')
    expect(missing(response)).toEqual([])
  })

  test.each([
    ['resets before the head', resetBeforeHead, 502, 'upstream_error'],
    ['never answers', hangBeforeHead, 504, 'upstream_timeout'],
    ['redirects', raw('', 302, { location: 'http://127.0.0.1:1/' }), 502, 'upstream_error'],
    ['answers in gzip', raw('x', 200, { 'content-encoding': 'gzip' }), 502, 'upstream_error'],
  ])('and %s is told apart, recorded and receipted', async (_what, script, status, code) => {
    world.upstream.play(script)
    const response = await world.post(hello)
    expect([response.status, (await response.json()).error.code]).toEqual([status, code])
    expect(missing(response)).toEqual([])
    expect(world.intake.rows.spans).toMatchObject([{ status: 'error' }])
  })

  test.each([
    ['a page', raw('<html>', 200, { 'content-type': 'text/html' })],
    ['nothing', raw('', 200)],
    ['no content', raw('', 204)],
  ])(
    'with %s and a status of success is told apart, recorded and receipted',
    async (_what, script) => {
      world.upstream.play(script)
      const response = await world.post(hello)
      expect([response.status, (await response.json()).error.code]).toEqual([502, 'upstream_error'])
      expect(missing(response)).toEqual([])
      expect(world.intake.rows.spans).toMatchObject([{ status: 'error' }])
    },
  )

  test('with JSON that is no completion is passed on, and the run is an error', async () => {
    world.upstream.play(raw('{"odd":1}', 200))
    const response = await world.post(hello)
    expect([response.status, await response.text()]).toEqual([200, '{"odd":1}'])
    expect(world.intake.rows.spans).toMatchObject([{ status: 'error' }])
  })

  test.each([
    ['zero', { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }],
    ['negative', { prompt_tokens: 5, completion_tokens: -1 }],
    ['a string', { prompt_tokens: '5', completion_tokens: '1' }],
    ['absurd', { prompt_tokens: 5, completion_tokens: 1e12 }],
    ['missing', undefined],
  ])('to count (%s) has its usage estimated, and marked so', async (_what, usage) => {
    world.upstream.play(json(completion('four token answer', { usage })))
    await world.post(hello)
    expect(world.intake.rows.spans).toMatchObject([
      { usage: 5, input_tokens: 13, output_tokens: 5 },
    ])
  })
})

test('a full spool refuses a call after the upstream answered, and shows no signature', async () => {
  world.upstream.play(json(completion('hi')))
  world.intake.refusing = true
  const response = await world.post(hello)
  expect([response.status, (await response.json()).error.code]).toEqual([
    503,
    'service_unavailable',
  ])
  expect(response.headers.get('x-vaas-signature')).toBeNull()
  expect(response.headers.get('x-batchin-run-id')).toMatch(/^run_/)
})

test('a client that leaves stops the upstream within 100 ms, and its run is kept', async () => {
  world.upstream.play(hangBeforeHead)
  const tookMs: number[] = []
  // The fastest of three: the law is about this proxy, not about what else the machine was doing.
  for (let client = 0; client < 3; client++) {
    const abort = new AbortController()
    const call = fetch(`${world.baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(hello),
      signal: abort.signal,
    })
    const failed = expect(call).rejects.toThrow()
    await until('the upstream is asked', () => world.upstream.seen.length === client + 1)
    const leftAt = performance.now()
    abort.abort()
    expect(await world.upstream.seen[client]?.closed).toBe(true)
    tookMs.push(performance.now() - leftAt)
    await failed
  }
  expect(Math.min(...tookMs)).toBeLessThan(100)
  await until('the runs are stored', () => world.intake.rows.spans.length === 3)
  const left = { status: 'client_closed', usage: 5 }
  expect(world.intake.rows.spans).toMatchObject([left, left, left])
})

test('capture can be told to keep counts without texts, and the record commits to them all the same', async () => {
  world.upstream.play(json(completion('secret answer')))
  await world.post(hello, { 'x-batchin-capture': 'usage', 'x-batchin-user-id': 'u1' })
  expect(
    JSON.stringify(world.intake.rows, (_key, value) =>
      typeof value === 'bigint' ? String(value) : value,
    ),
  ).not.toMatch(/secret|Be brief/)
  expect(world.intake.rows.spans).toMatchObject([
    { input_tokens: 9, user_id: 'u1', input_preview: '' },
  ])
  expect(JSON.parse(String(world.intake.rows.records[0]?.canonical)).output_hash).toMatch(
    /^sha256:/,
  )
})

test('the words of an error are a text too: without texts only its code is kept', async () => {
  world.upstream.play(json({ error: { message: 'no secret here', code: 'no_such' } }, 400))
  const answer = await world.post(hello, { 'x-batchin-capture': 'usage' })
  expect((await answer.json()).error.message).toBe('no secret here')
  const [span] = world.intake.rows.spans
  expect(span).toMatchObject({ status: 'error' })
  const rows = Object.values(world.intake.rows).flat()
  // The bytes of a span as what they say.
  const texts = rows.flatMap((row) => Object.values(row).map(String))
  expect(texts.join('\n')).toContain('no_such')
  expect(texts.join('\n')).not.toContain('secret')
})

test('a defect while signing is a 500 of the server’s own, and the process lives', async () => {
  const broken = await startProxy({
    signerOf: async () => ({
      begin() {
        throw new Error('begin is broken')
      },
      commitInput: () => ({ inputHash: null }),
      final() {
        throw new Error('final is broken')
      },
      publicKey: 'ed25519:pk_x',
      keyId: 'x',
    }),
  })
  broken.upstream.play(json(completion('hi')))
  const answers = await Promise.all([broken.post(hello), broken.post({ ...hello, stream: true })])
  expect(answers.map(({ status }) => status)).toEqual([500, 500])
  await broken.end()
})
