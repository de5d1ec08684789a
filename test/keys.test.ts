// Keys and users over the wire: what is shown once, who may act for whom, and when a key's end is felt. Against the whole plane.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.end())

// Read as JSON, and judged by what is expected of it.
type Answer = { status: number; body: ReturnType<typeof JSON.parse>; headers: Headers }

async function call(
  method: string,
  path: string,
  body?: unknown,
  by?: string | null,
): Promise<Answer> {
  const key = by === undefined ? world.key : by
  const answer = await fetch(world.url + path, {
    method,
    headers: {
      ...(key ? { authorization: `Bearer ${key}` } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return {
    status: answer.status,
    body: text === '' ? undefined : JSON.parse(text),
    headers: answer.headers,
  }
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

describe('a key', () => {
  test('is shown once, works at once, and is listed without its secret', async () => {
    const wish = { name: 'Production Key', rate_limit_rpm: 120, monthly_budget_cents: 500_000 }
    const made = await call('POST', '/v1/keys', wish)
    expect(made.status).toBe(201)
    expect(made.body).toMatchObject({ ...wish, key_prefix: 'batchin_api', is_active: true })
    expect(made.body.id).toMatch(uuid)
    expect(made.body.key).toMatch(/^batchin_api_[0-9A-Z]{26}_[0-9a-f]{72}$/)
    expect(made.body.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect((await call('GET', '/v1/traces', undefined, made.body.key)).status).toBe(200)
    const listed = await call('GET', '/v1/keys', undefined, made.body.key)
    expect(Array.isArray(listed.body)).toBe(true)
    const { key, ...shown } = made.body
    expect(listed.body.find((row: { id: string }) => row.id === made.body.id)).toEqual(shown)
    expect(JSON.stringify(listed.body)).not.toContain(key)
  })

  test('has three scopes unless told otherwise, and may not make keys with them', async () => {
    const plain = await call('POST', '/v1/keys', {})
    expect(plain.body).toMatchObject({
      scopes: ['ingest', 'proxy', 'read'],
      rate_limit_rpm: null,
      monthly_budget_cents: null,
    })
    const refused = await call('POST', '/v1/keys', {}, plain.body.key)
    expect([refused.status, refused.body.error.code]).toEqual([403, 'forbidden'])
    const reader = await call('POST', '/v1/keys', { scopes: ['read', 'read'] })
    expect(reader.body.scopes).toEqual(['read'])
    const chat = await call(
      'POST',
      '/v1/chat/completions',
      { model: 'm', messages: [] },
      reader.body.key,
    )
    expect(chat.status).toBe(403)
  })

  test('that is revoked is refused at once, and gone from the list', async () => {
    const made = await call('POST', '/v1/keys', { name: 'to go' })
    expect((await call('GET', '/v1/traces', undefined, made.body.key)).status).toBe(200)
    const revoked = await call('DELETE', `/v1/keys/${made.body.id}`)
    expect([revoked.status, revoked.body]).toEqual([204, undefined])
    expect((await call('GET', '/v1/traces', undefined, made.body.key)).status).toBe(401)
    const ids = async (query: string) =>
      (await call('GET', `/v1/keys${query}`)).body.map((row: { id: string }) => row.id)
    expect(await ids('')).not.toContain(made.body.id)
    expect(await ids('?include=revoked')).toContain(made.body.id)
    expect((await call('DELETE', `/v1/keys/${made.body.id}`)).status).toBe(404)
    expect((await call('DELETE', '/v1/keys/nothing')).status).toBe(400)
  })

  test('may get other terms later; what is not named stays', async () => {
    const made = await call('POST', '/v1/keys', {
      name: 'a',
      rate_limit_rpm: 5,
      monthly_budget_cents: 0.5,
    })
    const changed = await call('PATCH', `/v1/keys/${made.body.id}`, { monthly_budget_cents: null })
    expect(changed.body).toMatchObject({ name: 'a', rate_limit_rpm: 5, monthly_budget_cents: null })
  })

  const wrong: [string, object, string][] = [
    ['a rate of nothing', { rate_limit_rpm: 0 }, 'rate_limit_rpm'],
    ['half a request', { rate_limit_rpm: 1.5 }, 'rate_limit_rpm'],
    ['a negative budget', { monthly_budget_cents: -1 }, 'monthly_budget_cents'],
    ['more money than a number holds', { monthly_budget_cents: 1e12 }, 'monthly_budget_cents'],
    ['a scope of another product', { scopes: ['root'] }, 'scopes.0'],
    ['no scope at all', { scopes: [] }, 'scopes'],
    ['a number for a name', { name: 7 }, 'name'],
    ['a user that is no id', { user_id: 'me' }, 'user_id'],
  ]
  test.each(wrong)('is not made with %s', async (_what, wish, param) => {
    const refused = await call('POST', '/v1/keys', wish)
    expect([refused.status, refused.body.error.code, refused.body.error.param]).toEqual([
      400,
      'invalid_request',
      param,
    ])
  })
})

describe('a user', () => {
  const dev = { email: 'Dev@Example.com', name: 'Dev', password: 'secure_password_123' }

  test('is made by the owner, logs in with the password, and has a workspace of their own', async () => {
    const made = await call('POST', '/v1/users', dev)
    expect(made.status).toBe(201)
    expect(made.body).toEqual({
      id: expect.stringMatching(uuid),
      email: 'dev@example.com',
      name: 'Dev',
      credit_balance_cents: 0,
    })
    const again = await call('POST', '/v1/users', { ...dev, email: 'dev@example.com' })
    expect([again.status, again.body.error.code]).toEqual([409, 'conflict'])
    const login = await call('POST', '/v1/users/login', {
      email: dev.email,
      password: dev.password,
    })
    expect([login.status, login.body]).toEqual([200, made.body])
    expect((await call('GET', '/v1/users/by-email?email=DEV@example.com')).body).toEqual(made.body)

    const first = await call('POST', '/v1/keys', {
      user_id: made.body.id,
      scopes: ['read', 'admin'],
    })
    expect(first.status).toBe(201)
    expect((await call('GET', '/v1/users/me', undefined, first.body.key)).body).toEqual(made.body)
    const own = await call('GET', '/v1/keys', undefined, first.body.key)
    expect(own.body.map((row: { id: string }) => row.id)).toEqual([first.body.id])
    const owners = (await call('GET', '/v1/keys')).body[0].id
    expect((await call('DELETE', `/v1/keys/${owners}`, undefined, first.body.key)).status).toBe(404)
    for (const [method, path, body] of [
      ['POST', '/v1/users', { ...dev, email: 'x@example.com' }],
      ['GET', '/v1/users/by-email?email=dev@example.com'],
      ['POST', '/v1/keys', { user_id: (await call('GET', '/v1/users/me')).body.id }],
    ] as const)
      expect((await call(method, path, body, first.body.key)).status, path).toBe(403)
  })

  test('who is unknown and a password that is wrong are told the same', async () => {
    const wrong = await call('POST', '/v1/users/login', {
      email: 'dev@example.com',
      password: 'no',
    })
    const unknown = await call('POST', '/v1/users/login', {
      email: 'no@example.com',
      password: 'no',
    })
    expect([wrong.status, wrong.body.error.code]).toEqual([401, 'invalid_credentials'])
    expect(unknown.body).toEqual(wrong.body)
  })

  test('is guessed at five times, then waited for', async () => {
    const guess = () =>
      call('POST', '/v1/users/login', { email: 'guess@example.com', password: 'no' })
    const answers = await Promise.all(Array.from({ length: 6 }, guess))
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(5).fill(401), 429])
    const refused = answers.find(({ status }) => status === 429)
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('is not made of a short password, a megabyte of one, or no address', async () => {
    for (const [wish, param] of [
      [{ ...dev, password: 'short' }, 'password'],
      [{ ...dev, password: 'x'.repeat(1_000_000) }, 'password'],
      [{ ...dev, email: 'nobody' }, 'email'],
    ] as const) {
      const refused = await call('POST', '/v1/users', wish)
      expect([refused.status, refused.body.error.param]).toEqual([400, param])
    }
    expect((await call('GET', '/v1/users/login')).status).toBe(405)
  })

  test('who is a stranger makes no account here, and cannot ask who has one', async () => {
    expect((await call('POST', '/v1/users', dev, null)).status).toBe(401)
    expect((await call('POST', '/v1/users/login', dev, null)).status).toBe(401)
    expect(
      (await call('GET', '/v1/users/by-email?email=dev@example.com', undefined, null)).status,
    ).toBe(401)
  })

  test('comes into the console with a password, and sees what is theirs', async () => {
    const opened = await call(
      'POST',
      '/console/session',
      { email: dev.email, password: dev.password },
      null,
    )
    expect(opened.status).toBe(204)
    const cookie = opened.headers.get('set-cookie')?.split(';')[0] ?? ''
    const me = await fetch(`${world.url}/v1/users/me`, { headers: { cookie } })
    expect((await me.json()).email).toBe('dev@example.com')
    const refused = await call(
      'POST',
      '/console/session',
      { email: dev.email, password: 'wrong one' },
      null,
    )
    expect([refused.status, refused.headers.get('set-cookie')]).toEqual([401, null])
  })
})

test('who came with a password sees their account, makes themselves a key and revokes it, and reads their usage', async () => {
  const user = { email: 'me@example.com', name: 'Me', password: 'long enough' }
  expect((await call('POST', '/v1/users', user)).status).toBe(201)
  const opened = await fetch(`${world.url}/console/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'me@example.com', password: 'long enough' }),
  })
  const cookie = opened.headers.get('set-cookie')?.split(';')[0] ?? ''
  const by = (path: string, init: RequestInit = {}, csrf = '1') =>
    fetch(world.url + path, {
      ...init,
      headers: {
        cookie,
        'content-type': 'application/json',
        ...(csrf === '' ? {} : { 'x-runledger-csrf': csrf }),
      },
    })
  const me = await (await by('/v1/me')).json()
  expect(me).toEqual({
    id: expect.any(String),
    email: 'me@example.com',
    name: 'Me',
    credit_balance_cents: 0,
  })
  const wish = { method: 'POST', body: JSON.stringify({ name: 'Laptop', rate_limit_rpm: 5 }) }
  expect((await by('/v1/me/keys', wish, '')).status).toBe(403)
  const made = await by('/v1/me/keys', wish)
  const key = await made.json()
  expect([made.status, key.name, key.rate_limit_rpm, key.is_active]).toEqual([
    201,
    'Laptop',
    5,
    true,
  ])
  const asKey = (path: string) =>
    fetch(world.url + path, { headers: { authorization: `Bearer ${key.key}` } })
  expect((await (await asKey('/v1/me')).json()).id).toBe(me.id)
  expect(await (await asKey('/v1/me/usage?days=7')).json()).toMatchObject({
    days: 7,
    total_requests: 0,
  })
  const others = { method: 'POST', body: JSON.stringify({ user_id: me.id }) }
  expect((await by('/v1/me/keys', others)).status).toBe(400)
  expect((await by(`/v1/me/keys/${key.id}`, { method: 'DELETE' })).status).toBe(204)
  expect((await asKey('/v1/me')).status).toBe(401)
  expect((await by(`/v1/me/keys/${key.id}`, { method: 'DELETE' })).status).toBe(404)
  expect((await fetch(`${world.url}/v1/me`)).status).toBe(401)
})

test('with public signup strangers make accounts and come in, and still cannot ask who has one', async () => {
  const open = await startWorld({ RUNLEDGER_PUBLIC_SIGNUP: '1' })
  try {
    const post = (path: string, body: object) =>
      fetch(open.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    const user = { email: 'new@example.com', name: 'New', password: 'long enough' }
    expect((await post('/v1/users', user)).status).toBe(201)
    const login = await post('/v1/users/login', { email: user.email, password: user.password })
    const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? ''
    const me = await fetch(`${open.url}/v1/users/me`, { headers: { cookie } })
    expect((await me.json()).email).toBe(user.email)
    expect((await fetch(`${open.url}/v1/users/by-email?email=${user.email}`)).status).toBe(401)
  } finally {
    await open.end()
  }
})

test('no name of one workspace opens anything in another, whatever its key may do there', async () => {
  const make = async (email: string) => {
    const wish = { email, name: 'Somebody', password: 'secure_password_123' }
    const { id } = (await call('POST', '/v1/users', wish)).body
    const scopes = ['ingest', 'proxy', 'read', 'admin']
    const { body } = await call('POST', '/v1/keys', { user_id: id, scopes })
    return { id, keyId: body.id, key: body.key }
  }
  const mine = await make('mine@example.com')
  const theirs = await make('theirs@example.com')
  const declared = {
    registry_id: 'quiet',
    messages: [{ role: 'system', content: 'Say {{word}}' }],
  }
  expect((await call('POST', '/v1/prompts', declared, mine.key)).status).toBe(201)
  const chat = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }
  const answer = await call('POST', '/v1/chat/completions', chat, mine.key)
  const traceId = answer.headers.get('traceparent')?.split('-')[1]
  const runId = answer.headers.get('x-batchin-run-id')
  const recordId = answer.headers.get('x-vaas-record-id')
  const read = () => call('GET', `/v1/traces/${traceId}`, undefined, mine.key)
  await expect.poll(async () => (await read()).status, { timeout: 20_000 }).toBe(200)
  const spanId = (await read()).body.spans[0].span_id

  const why = 'to see'
  const registry = '/v1/prompts/quiet'
  const closed: [string, string, unknown?][] = [
    ['GET', `/v1/traces/${traceId}`],
    ['GET', `/v1/traces/${traceId}/spans/${spanId}`],
    ['DELETE', `/v1/traces/${traceId}`],
    ['GET', `/v1/vaas/${recordId}/disclosure`],
    ['GET', registry],
    ['GET', `${registry}/versions/v1`],
    ['GET', `${registry}/history`],
    ['GET', `${registry}/diff?from=v1&to=v1`],
    ['PATCH', registry, { mode: 'serve' }],
    ['POST', `${registry}/pin`, { version: 'v1', reason: why }],
    ['POST', `${registry}/rollback`, { reason: why }],
    [
      'POST',
      `${registry}/promote`,
      { version: 'v1', expected_promoted_version: null, reason: why },
    ],
    ['POST', '/v1/prompt-regressions', { registry_id: 'quiet', candidate: 'v1' }],
    ['PATCH', `/v1/keys/${mine.keyId}`, { name: 'theirs now' }],
    ['DELETE', `/v1/keys/${mine.keyId}`],
  ]
  for (const [method, path, body] of closed)
    expect([path, (await call(method, path, body, theirs.key)).status]).toEqual([path, 404])

  const owners: [string, string, unknown?][] = [
    ['GET', '/v1/users/by-email?email=mine@example.com'],
    ['POST', `/v1/users/${theirs.id}/credits`, { amount_cents: 1, source: 's', reference_id: 'r' }],
    ['POST', '/v1/keys', { user_id: mine.id }],
    ['POST', '/v1/users', { email: 'n@example.com', name: 'N', password: 'long enough' }],
  ]
  for (const [method, path, body] of owners)
    expect([path, (await call(method, path, body, theirs.key)).status]).toEqual([path, 403])

  const cursor = Buffer.from('of nobody').toString('base64url')
  for (const path of [
    `/v1/traces?trace_id=${traceId}`,
    '/v1/prompts',
    '/v1/prompt-regressions',
    '/v1/experiments',
    '/v1/otlp/destinations',
    '/v1/attributes',
    '/v1/metrics/top?metric=requests&by=model',
  ])
    expect([path, (await call('GET', path, undefined, theirs.key)).body.items]).toEqual([path, []])
  const list = (path: string) => call('GET', path, undefined, theirs.key)
  expect((await list(`/v1/otlp/export?trace_id=${traceId}`)).body).toEqual({ resourceSpans: [] })
  expect((await list(`/v1/usage/logs?key_id=${mine.keyId}`)).body).toEqual([])
  expect((await list(`/v1/usage/summary?key_id=${mine.keyId}`)).body.total_requests).toBe(0)
  expect((await list('/v1/keys')).body.map((row: { id: string }) => row.id)).toEqual([theirs.keyId])
  expect((await list(`/v1/traces?cursor=${cursor}`)).status).toBe(400)

  // The same run id in another workspace is another run, with a record of its own.
  const now = new Date().toISOString()
  const run = { run_id: runId, model: 'm', started_at: now, ended_at: now, output: 'x' }
  const posted = await call('POST', '/v1/runs', run, theirs.key)
  expect(posted.body.runs[0].record_id).not.toBe(recordId)
  expect((await read()).status).toBe(200)
}, 60_000)
