// The doors: who may enter, and what a wrong request is told. Against the whole plane.

import { request } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.end())

const chat = '/v1/chat/completions'
const send = (path: string, init: RequestInit = {}, key: string | null = world.key) =>
  fetch(world.url + path, {
    ...init,
    headers: { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...init.headers },
  })
const json = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

describe('a wrong request is told so in the right envelope', () => {
  const rows: [string, string, RequestInit, number, string][] = [
    ['an unknown route', '/v1/nothing', {}, 404, 'not_found'],
    ['an unknown page', '/nothing', {}, 404, 'not_found'],
    ['a wrong method', chat, { method: 'GET' }, 405, 'method_not_allowed'],
    ['a wrong method on a list', '/v1/prompts', { method: 'PUT' }, 405, 'method_not_allowed'],
    [
      'a wrong media type',
      chat,
      { method: 'POST', body: 'x', headers: { 'Content-Type': 'text/plain' } },
      415,
      'unsupported_media_type',
    ],
    ['malformed JSON', chat, json('{"model":'), 400, 'invalid_request'],
    ['a body that is no object', chat, json('[]'), 400, 'invalid_request'],
    ['a chat without a model', chat, json({ messages: [] }), 400, 'invalid_request'],
    [
      'an oversize chat',
      chat,
      json(`{"model":"m","messages":"${'x'.repeat(26 * 1024 * 1024)}"}`),
      413,
      'payload_too_large',
    ],
    ['a malformed trace id', '/v1/traces/xyz', {}, 400, 'invalid_request'],
    ['an unknown trace', `/v1/traces/${'ab'.repeat(16)}`, {}, 404, 'not_found'],
    [
      'an unknown span',
      `/v1/traces/${'ab'.repeat(16)}/spans/${'cd'.repeat(8)}`,
      {},
      404,
      'not_found',
    ],
    ['a limit of zero', '/v1/traces?limit=0', {}, 400, 'invalid_request'],
    ['a limit over a hundred', '/v1/traces?limit=101', {}, 400, 'invalid_request'],
    ['a limit that is no number', '/v1/traces?limit=ten', {}, 400, 'invalid_request'],
    ['a forged cursor', '/v1/traces?cursor=abc', {}, 400, 'invalid_request'],
    ['a time that is none', '/v1/traces?from=yesterday', {}, 400, 'invalid_request'],
    [
      'a range turned round',
      '/v1/traces?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z',
      {},
      400,
      'invalid_request',
    ],
    ['a filter nobody knows', '/v1/traces?colour=red', {}, 400, 'invalid_request'],
    ['an export in no known form', '/v1/otlp/export?format=xml', {}, 400, 'invalid_request'],
    ['an unknown record', '/v1/vaas/vaas_01K0EXAMPLE0000000000000000', {}, 404, 'not_found'],
  ]
  test.each(rows)('%s', async (_what, path, init, status, code) => {
    const response = await send(path, init)
    const body = await response.json()
    expect({ status: response.status, ...body }).toEqual({
      status,
      error: {
        message: expect.any(String),
        type: expect.any(String),
        param: body.error.param,
        code,
      },
    })
    expect(response.headers.get('x-request-id')).toMatch(/^req_/)
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    if (status === 405) expect(response.headers.get('allow')).toBeTruthy()
  })

  test('on the OTLP paths it is a google.rpc.Status, and 405 allows both methods of /v1/traces', async () => {
    const unauthorized = await send('/v1/otlp/traces', json({}), null)
    expect(unauthorized.status).toBe(401)
    expect(await unauthorized.json()).toEqual({ code: 16, message: expect.any(String) })
    const wrongMethod = await send('/v1/traces', { method: 'PUT' })
    expect(wrongMethod.status).toBe(405)
    expect(wrongMethod.headers.get('allow')?.split(', ').sort()).toEqual(['GET', 'HEAD', 'POST'])
  })
})

describe('a key is needed, and its form gives nothing away', () => {
  const wrong: [string, string | null][] = [
    ['none', null],
    ['an unknown one', `batchin_api_${'x'.repeat(40)}`],
    [
      'one of the right form and a wrong checksum',
      `batchin_api_01K0EXAMPLE000000000000000_${'a'.repeat(64)}00000000`,
    ],
    ['SQL', "' OR 1=1--"],
    ['a very long one', 'x'.repeat(8_000)],
  ]
  test.each(wrong)('%s is 401', async (_what, key) => {
    for (const [path, init] of [
      ['/v1/traces', {}],
      [chat, json({})],
      ['/v1/prompts', {}],
    ] as const) {
      const response = await send(path, init, key)
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toBe('Bearer')
      expect((await response.json()).error.code).toBe('unauthorized')
      expect(response.headers.get('x-vaas-record-id')).toBeNull()
    }
  })

  test('a key in the query string is refused, even a valid one', async () => {
    expect((await send(`/v1/traces?api_key=${world.key}`)).status).toBe(401)
  })

  test('`bearer` may be written small, other schemes are not understood', async () => {
    const by = (authorization: string) =>
      send('/v1/traces', { headers: { Authorization: authorization } }, null)
    expect((await by(`bearer ${world.key}`)).status).toBe(200)
    expect((await by(`Basic ${world.key}`)).status).toBe(401)
    expect((await by('Bearer')).status).toBe(401)
  })

  test('refusals of an inference call carry the caller’s trace, and no receipt', async () => {
    const traceId = 'ab'.repeat(16)
    const response = await send(
      chat,
      { ...json({}), headers: { traceparent: `00-${traceId}-${'cd'.repeat(8)}-01` } },
      null,
    )
    expect(response.headers.get('traceparent')?.slice(3, 35)).toBe(traceId)
    expect(response.headers.get('x-batchin-run-id')).toBeNull()
  })
})

describe('the console’s session', () => {
  test('opens with a key, reads with the cookie, writes only with the CSRF header, and ends', async () => {
    const opened = await send('/console/session', json({ key: world.key }), null)
    expect(opened.status).toBe(204)
    const line = opened.headers.get('set-cookie') ?? ''
    expect(line).toMatch(/HttpOnly/)
    expect(line).toMatch(/SameSite=Strict/)
    const cookie = line.split(';')[0] ?? ''
    const by = (path: string, init: RequestInit = {}) =>
      send(path, { ...init, headers: { Cookie: cookie, ...init.headers } }, null)
    expect((await by('/v1/traces')).status).toBe(200)
    expect((await by('/console/session')).status).toBe(200)
    expect((await by('/v1/vaas', json({}))).status).toBe(403)
    const csrf = { 'X-Runledger-CSRF': '1', 'Content-Type': 'application/json' }
    const from = async (site: string) =>
      (await by('/v1/vaas', { ...json({}), headers: { ...csrf, 'Sec-Fetch-Site': site } })).status
    expect(await Promise.all(['cross-site', 'same-site', 'same-origin'].map(from))).toEqual([
      403, 403, 400,
    ])
    // A key says who calls, whatever session the browser adds to it.
    const stranger = { headers: { Authorization: 'Bearer batchin_api_nobody' } }
    expect((await by('/v1/traces', stranger)).status).toBe(401)
    expect(
      (await by('/console/session', { method: 'DELETE', headers: { 'X-Runledger-CSRF': '1' } }))
        .status,
    ).toBe(204)
    expect((await by('/v1/traces')).status).toBe(401)
  })

  test('a wrong key opens nothing', async () => {
    const response = await send('/console/session', json({ key: 'batchin_api_nothing' }), null)
    expect(response.status).toBe(401)
    expect(response.headers.get('set-cookie')).toBeNull()
  })
})

describe('requests that no honest client sends', () => {
  test('two Host headers, an absolute target and TRACE are refused', async () => {
    expect(
      await raw('GET /v1/traces HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n'),
    ).toMatch(/^HTTP\/1.1 400/)
    expect(
      await raw(
        'GET http://evil.example/v1/traces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      ),
    ).toMatch(/^HTTP\/1.1 400/)
    expect(await raw('TRACE /v1/traces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1.1 405/,
    )
  })

  test('HTTP/0.9, a hundred headers and more, and two content types are refused', async () => {
    expect(await raw('GET /health\r\n\r\n')).toMatch(/400/)
    const many = Array.from({ length: 101 }, (_, i) => `X-H${i}: 1`).join('\r\n')
    const head = 'GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'
    expect(await raw(`${head}${many}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431/)
    const types = 'Content-Type: application/json\r\nContent-Type: text/plain\r\n'
    expect(await raw(`${head}${types}\r\n`)).toMatch(/^HTTP\/1.1 400/)
  })

  test('one path has one spelling, for every method', async () => {
    for (const path of ['/V1/traces', '/v1/traces/', '/v1/otlp/traces/', '//v1/traces']) {
      for (const method of ['GET', 'POST']) {
        expect((await send(path, { method })).status, `${method} ${path}`).toBe(404)
      }
    }
  })

  test('JSON too deep to walk is refused before the upstream is asked, and stores nothing', async () => {
    const deep = '['.repeat(5_000) + ']'.repeat(5_000)
    const call = await send(chat, json(`{"model":"m","messages":${deep}}`))
    expect([call.status, (await call.json()).error.code]).toEqual([400, 'invalid_request'])
    const run = `{"model":"m","started_at":"2026-01-01T00:00:00Z","ended_at":"2026-01-01T00:00:01Z","output":"x","input":${deep}}`
    expect((await send('/v1/runs', json(`{"runs":[${run}]}`))).status).toBe(400)
  })

  test('a body cut off in the middle stores nothing and harms nobody', async () => {
    await new Promise<void>((resolve) => {
      const { hostname, port } = new URL(world.url)
      const cut = request({
        hostname,
        port,
        path: '/v1/otlp/traces',
        method: 'POST',
        headers: {
          Authorization: `Bearer ${world.key}`,
          'Content-Type': 'application/json',
          'Content-Length': 1000,
        },
      })
      cut.on('error', () => resolve())
      cut.write('{"resourceSpans":[')
      cut.on('socket', (socket) => socket.on('connect', () => setImmediate(() => cut.destroy())))
    })
    expect((await send('/health')).status).toBe(200)
    expect((await (await send('/v1/traces')).json()).items).toEqual([])
  })
})

describe('what strangers may see', () => {
  test('health, metrics and pages are open, and carry no secret', async () => {
    expect(await (await send('/health', {}, null)).json()).toEqual({ status: 'ok' })
    const health = await (await send('/healthz', {}, null)).text()
    const metrics = await (await send('/metrics', {}, null)).text()
    expect(metrics).toContain('process_resident_memory_bytes')
    for (const text of [health, metrics]) expect(text).not.toContain(world.key)
  })

  test('a page that is not there is not kept by anybody', async () => {
    const response = await send('/console/assets/nothing.js', {}, null)
    expect(response.status).toBe(404)
    expect(response.headers.get('cache-control') ?? '').not.toContain('immutable')
  })

  test('every answer names its request once and forbids sniffing, whoever wrote its head', async () => {
    const chatOf = (stream: boolean) =>
      send(chat, json({ model: 'm', stream, messages: [{ role: 'user', content: 'hi' }] }))
    const answers = await Promise.all([
      send('/health'),
      send('/v1/nothing'),
      send(chat, json('{"model":')),
      chatOf(false),
      chatOf(true),
    ])
    expect(answers.map((answer) => answer.status)).toEqual([200, 404, 400, 200, 200])
    for (const answer of answers) {
      expect(answer.headers.get('x-request-id')).toMatch(/^req_[0-9A-Z]{26}$/)
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      await answer.arrayBuffer()
    }
  })

  test('every page comes with a policy that lets only its own script run', async () => {
    for (const path of ['/console/traces', '/console/traces/abc', '/verify']) {
      const response = await send(path, {}, null)
      expect(response.status).toBe(200)
      const policy = response.headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("script-src 'self'")
      expect(policy).not.toContain('unsafe')
      expect(await response.text()).not.toMatch(/<script(?![^>]*src=)[^>]*>|style=/)
    }
  })
})

function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(world.url)
    const socket = connect(Number(port), hostname, () => socket.write(text))
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}
