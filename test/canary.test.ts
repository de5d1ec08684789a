// Two workspaces over every route that reads or deletes: nothing of the one is ever in an answer to the other.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import type { Json } from './clients.ts'
import { startWorld, type World } from './world.ts'

// In every label that the first workspace stores, and in every text and name of a person; no answer to the second has either.
// Evidence is public by its id and names model and version; of texts and persons it says nothing to anybody.
const canary = 'canary-7f3a'
const secret = 'secret-91c2'

let world: World
let stranger: string
/** What the parts of a path stand for: names and ids of the first workspace. */
const names: Record<string, string> = {}

beforeAll(async () => {
  world = await startWorld()
  await fill()
  const user = await call(world.key, 'POST', '/v1/users', {
    email: 'stranger@example.com',
    name: 'stranger',
    password: 'a long password',
  })
  const key = await call(world.key, 'POST', '/v1/keys', {
    name: 'stranger',
    user_id: user.body.id,
    scopes: ['ingest', 'proxy', 'read', 'admin'],
  })
  stranger = key.body.key
}, 60_000)
afterAll(() => world.end())

async function call(key: string, method: string, path: string, body?: unknown) {
  const response = await fetch(world.url + path, {
    method,
    redirect: 'manual',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== ''
  return {
    status: response.status,
    text,
    body: (isJson ? JSON.parse(text.split('\n')[0]!) : null) as Json,
  }
}

/** One of everything that has an owner. */
async function fill(): Promise<void> {
  const say = (what: string) => `${secret} ${what}`
  const traceId = randomHex(16)
  const now = new Date().toISOString()
  const run = await call(world.key, 'POST', '/v1/runs', {
    model: canary,
    provider: canary,
    environment: canary,
    name: say('name'),
    trace_id: traceId,
    started_at: now,
    ended_at: now,
    input: say('input'),
    output: say('output'),
    session_id: secret,
    user_id: secret,
    metadata: { [canary]: secret },
    prompt: { id: canary, version: 'v1' },
    usage: { input_tokens: 3, output_tokens: 1 },
  })
  expect(run.status, run.text).toBe(200)
  const declared = await call(world.key, 'POST', '/v1/prompts', {
    registry_id: canary,
    version: 'v2',
    messages: [{ role: 'system', content: say('prompt') }],
  })
  expect(declared.status, declared.text).toBe(201)
  await call(world.key, 'POST', '/v1/prompts', {
    registry_id: canary,
    version: 'v3',
    messages: [{ role: 'system', content: say('other prompt') }],
  })
  const destination = await call(world.key, 'POST', '/v1/otlp/destinations', {
    name: canary,
    url: 'https://example.com/v1/traces',
  })
  expect(destination.status, destination.text).toBe(201)
  const key = await call(world.key, 'POST', '/v1/keys', { name: canary })
  const video = await call(world.key, 'POST', '/v1/videos', { model: canary, prompt: say('scene') })
  expect(video.status, video.text).toBe(200)
  const trace = await call(world.key, 'GET', `/v1/traces/${traceId}`)
  const regression = await call(world.key, 'POST', '/v1/prompt-regressions', {
    registry_id: canary,
    baseline: 'v2',
    candidate: 'v3',
  })
  expect(regression.status, regression.text).toBe(201)
  const me = await call(world.key, 'GET', '/v1/users/me')
  const credit = await call(world.key, 'POST', `/v1/users/${me.body.id}/credits`, {
    reference_id: canary,
    amount_cents: 100,
  })
  expect(credit.status, credit.text).toBe(201)
  Object.assign(names, {
    traceId,
    spanId: trace.body.spans[0].span_id,
    record: run.body.runs[0].record_id,
    registry: canary,
    user: secret,
    regression: regression.body.regression_id,
    experiment: regression.body.experiment_id,
    destination: destination.body.id,
    key: key.body.id,
    workspace: me.body.id,
    unknown: randomHex(32),
    video: video.body.id,
  })
}

type Case = {
  /** With names of the first workspace in braces. */
  path: string
  owner: number
  stranger: number
  /** Which of the two words the owner finds there: a case that nobody could fail shows nothing. */
  sees: 'canary' | 'secret' | 'neither'
}

/** The owner sees what is theirs, and the stranger an answer without it. */
const owned = (path: string, stranger = 200, sees: Case['sees'] = 'canary'): Case => ({
  ...{ path, owner: 200, stranger, sees },
})
/** What quotes nothing that a workspace stored, for anybody. */
const plain = (path: string, owner = 200, stranger = owner): Case => ({
  ...{ path, owner, stranger, sees: 'neither' },
})
const year = 'from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&step=1d'

const reads: Record<string, Case | Case[]> = {
  '/v1/traces': [
    owned('/v1/traces'),
    owned('/v1/traces?q={registry}'),
    owned('/v1/traces?q={traceId}'),
    owned('/v1/traces?user_id={user}', 200, 'secret'),
  ],
  '/v1/traces/:traceId': [
    owned('/v1/traces/{traceId}', 404),
    owned('/v1/traces/{traceId}?include=payload', 404, 'secret'),
  ],
  '/v1/traces/:traceId/spans/:spanId': owned('/v1/traces/{traceId}/spans/{spanId}', 404, 'secret'),
  '/v1/otlp/export': [
    owned('/v1/otlp/export'),
    owned('/v1/otlp/export?format=jsonl&trace_id={traceId}', 200, 'secret'),
    owned('/v1/otlp/export?format=protobuf'),
  ],
  '/v1/attributes': [
    owned('/v1/attributes'),
    owned('/v1/attributes?key=session.id', 200, 'secret'),
  ],
  '/v1/metrics/top': [
    owned('/v1/metrics/top?by=model'),
    owned('/v1/metrics/top?by=user_id', 200, 'secret'),
    owned('/v1/metrics/top?by=provider&q={registry}'),
  ],
  '/v1/metrics/timeseries': owned(`/v1/metrics/timeseries?by=prompt_version_id&${year}`),
  '/v1/usage': owned('/v1/usage'),
  '/v1/me/usage': owned('/v1/me/usage'),
  '/v1/me': plain('/v1/me'),
  '/v1/topup/history': owned('/v1/topup/history'),
  '/v1/usage/logs': owned('/v1/usage/logs'),
  '/v1/usage/summary': plain('/v1/usage/summary'),
  '/v1/usage/by-model': owned('/v1/usage/by-model'),
  '/v1/prompts': owned('/v1/prompts'),
  '/v1/prompts/:registry': owned('/v1/prompts/{registry}', 404),
  '/v1/prompts/:registry/versions/:version': owned(
    '/v1/prompts/{registry}/versions/v2',
    404,
    'secret',
  ),
  '/v1/prompts/:registry/diff': owned('/v1/prompts/{registry}/diff?from=v2&to=v3', 404, 'secret'),
  '/v1/prompts/:registry/history': owned('/v1/prompts/{registry}/history', 404),
  '/v1/prompt-regressions': owned('/v1/prompt-regressions'),
  '/v1/prompt-regressions/:id': owned('/v1/prompt-regressions/{regression}', 404),
  '/v1/prompt-regressions/:id/samples/:index/label': plain(
    '/v1/prompt-regressions/{regression}/samples/0/label',
    404,
  ),
  '/v1/experiments': owned('/v1/experiments'),
  '/v1/experiments/:id': owned('/v1/experiments/{experiment}', 404),
  '/v1/otlp/destinations': owned('/v1/otlp/destinations'),
  '/v1/otlp/destinations/:id/dead-letters': plain(
    '/v1/otlp/destinations/{destination}/dead-letters',
    200,
    404,
  ),
  '/v1/keys': [owned('/v1/keys'), plain('/v1/keys?user_id={workspace}', 200, 403)],
  '/v1/users/me': plain('/v1/users/me'),
  '/v1/users/by-email': plain('/v1/users/by-email?email=stranger@example.com', 200, 403),
  '/v1/videos/:id': plain('/v1/videos/{video}', 200, 404),
  '/v1/videos/:id/content': plain('/v1/videos/{video}/content', 200, 404),
  '/v1/files/:id/content': plain('/v1/files/file_{video}/content', 200, 404),
  '/v1/media/:sha256': plain('/v1/media/{unknown}', 404),
  ...evidenceAt('/v1/vaas'),
  ...evidenceAt('/v1/audit'),
}

function evidenceAt(base: string): Record<string, Case> {
  return {
    [`${base}/:id`]: owned(`${base}/{record}`),
    [`${base}/:id/evidence`]: owned(`${base}/{record}/evidence`),
    [`${base}/:id/verify`]: plain(`${base}/{record}/verify`),
    [`${base}/:id/disclosure`]: plain(`${base}/{record}/disclosure`, 200, 404),
  }
}

// Evidence is public by its id, and names model and version to whoever has it.
const isPublic = (path: string) => /^\/v1\/(vaas|audit)\/\{record\}(\/evidence)?$/.test(path)

/** About no workspace: pages, keys to verify with, how it goes, who is asking. */
const aboutNobody = [
  ...[
    '/',
    '/verify',
    '/console',
    '/console/*path',
    '/console/assets/:file',
    '/console/session',
    '/docs/:page',
  ],
  ...['/health', '/readyz', '/healthz', '/metrics', '/v1/models', '/v1/models/*id'],
  ...['/v1/vaas/keys', '/v1/vaas/pubkey/current', '/v1/vaas/log/*path'],
  ...['/v1/audit/keys', '/v1/audit/pubkey/current'],
]

const deletions: Record<string, [path: string, stranger: number][]> = {
  '/v1/traces/:traceId': [['/v1/traces/{traceId}', 404]],
  '/v1/data': [
    ['/v1/data?user_id={user}', 200],
    ['/v1/data?workspace={workspace}', 400],
  ],
  '/v1/keys/:id': [
    ['/v1/keys/{key}', 404],
    ['/v1/keys/{key}?user_id={workspace}', 403],
  ],
  '/v1/me/keys/:id': [['/v1/me/keys/{key}', 404]],
  '/v1/otlp/destinations/:id': [['/v1/otlp/destinations/{destination}', 404]],
  '/console/session': [['/console/session', 204]],
}

const fillIn = (path: string) => path.replace(/\{(\w+)\}/g, (_, name: string) => names[name] ?? '')
const declared = (method: string) =>
  [
    ...new Set(world.plane.routes.filter((one) => one.method === method).map(({ path }) => path)),
  ].sort()

test('every route that reads or deletes has its case here: a new one without is red', () => {
  expect([...Object.keys(reads), ...aboutNobody].sort()).toEqual(declared('GET'))
  expect(Object.keys(deletions).sort()).toEqual(declared('DELETE'))
})

describe.each(Object.entries(deletions))('DELETE %s', (_, cases) => {
  test.each(cases)('%s deletes nothing of another workspace', async (path, status) => {
    // What it left is looked at below, by everything that the owner still sees.
    expect((await call(stranger, 'DELETE', fillIn(path))).status).toBe(status)
  })
})

describe.each(Object.entries(reads))('GET %s', (_, cases) => {
  const rows = [cases].flat().map((one) => [one.path, one] as const)
  test.each(rows)('%s', async (path, { owner, stranger: wanted, sees }) => {
    const own = await call(world.key, 'GET', fillIn(path))
    expect(own.status, own.text).toBe(owner)
    const words = { canary, secret, neither: '' }
    expect(own.text).toContain(words[sees])
    const other = await call(stranger, 'GET', fillIn(path))
    expect(other.status, other.text).toBe(wanted)
    // A refusal may say the name that the stranger asked by.
    const told = other.status >= 400 ? other.text.replaceAll(canary, '') : other.text
    expect(told).not.toContain(secret)
    if (!isPublic(path)) expect(told).not.toContain(canary)
  })
})
