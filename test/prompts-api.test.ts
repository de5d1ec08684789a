// The registry over the wire, on a started plane: what may be said, what is refused and why, and that it adds up.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Json } from './clients.ts'
import { startWorld, type World } from './world.ts'

let world: World

beforeAll(async () => {
  world = await startWorld()
})

afterAll(() => world.end())

async function call(
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: Json }> {
  const answer = await fetch(`${world.url}/v1/prompts${path}`, {
    method,
    headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status: answer.status, body: await answer.json() }
}

const say = (content: string) => [{ role: 'system', content }]
const errorOf = ({ status, body }: { status: number; body: Json }) => [status, body.error?.code]

async function declared(registry: string, ...texts: string[]): Promise<void> {
  for (const text of texts) await call('POST', '', { registry_id: registry, messages: say(text) })
}

describe('a declared version', () => {
  test('is made once: the same content again is the same version', async () => {
    const given = {
      registry_id: 'support',
      messages: say('You help {{name}}.\nBe brief.'),
      params: { temperature: 0.2 },
      tools: [{ type: 'function', function: { name: 'find_order' } }],
      note: 'the first',
    }
    const made = await call('POST', '', given)
    expect(made).toMatchObject({
      status: 201,
      body: {
        version_id: 'support@v1',
        status: 'observed',
        source: 'declared',
        variables: ['name'],
      },
    })
    expect(await call('POST', '', given)).toEqual({ status: 200, body: made.body })
    expect(await call('GET', '/support/versions/v1')).toEqual({ status: 200, body: made.body })
    const item = (await call('GET', '/support')).body
    expect(item).toMatchObject({
      registry_id: 'support',
      source: 'declared',
      latest_version_id: 'support@v1',
      baseline_version_id: 'support@v1',
      promoted_version_id: null,
      mode: 'observe',
      promotion_effect: 'label_only',
      policy: { auto_promote: 'threshold' },
    })
    expect((await call('GET', '')).body.items).toContainEqual(item)
  })

  test('is refused with the place of what is wrong in its template, everything at once', async () => {
    const { status, body } = await call('POST', '', {
      registry_id: 'Not A Slug',
      version: 'v 1',
      messages: [
        { role: 'system', content: 'one\n{{#if x}}' },
        { role: 'robot', content: '{{constructor.constructor("x")()}}' },
      ],
      params: { stream: true },
      extra: 1,
    })
    expect(status).toBe(400)
    for (const part of [
      'registry_id: must be',
      'version: must be',
      'messages[0].content: line 2, column 1',
      'messages[1].role',
      'messages[1].content: line 1, column 1',
      'params.stream: is no parameter',
      'extra',
    ])
      expect(body.error.message).toContain(part)
  })

  test.each([
    ['{"registry_id":"x","messages":[{"role":"system","content":"a\\u0000b"}]}'],
    ['{"registry_id":"x","messages":[{"role":"system","content":"\\ud800"}]}'],
    ['{"registry_id":"x","messages":[]}'],
    ['{"registry_id":"x","messages":[{"role":"system","content":"{{> x@v1}}"}],"version":"v1"}'],
    ['[]'],
    ['{"registry_id":"x"'],
  ])('is never half made: %s', async (body) => {
    expect(errorOf(await call('POST', '', body))).toEqual([400, 'invalid_request'])
    expect(errorOf(await call('GET', '/x'))).toEqual([404, 'not_found'])
  })
})

describe('what is different', () => {
  test('is said by line and by part', async () => {
    await declared(
      'letters',
      'Dear {{name}}.\nBe brief.\nBye.',
      'Dear {{name}}.\nNever be brief.\nBye.',
    )
    const { body } = await call('GET', '/letters/diff?from=v1&to=letters@v2')
    expect(body).toMatchObject({ from: 'letters@v1', to: 'letters@v2', same: false })
    expect(body.parts.text.lines).toEqual([
      { kind: 'same', text: 'Dear {{name}}.' },
      { kind: 'removed', text: 'Be brief.' },
      { kind: 'added', text: 'Never be brief.' },
      { kind: 'same', text: 'Bye.' },
    ])
    expect(body.parts.tools).toMatchObject({ same: true, lines: [] })
    expect(errorOf(await call('GET', '/letters/diff?from=v1'))).toEqual([400, 'invalid_request'])
    expect(errorOf(await call('GET', '/letters/diff?from=v1&to=v9'))).toEqual([404, 'not_found'])
    expect(errorOf(await call('GET', '/letters/diff?from=v1&to=support@v1'))).toEqual([
      400,
      'invalid_request',
    ])
  })
})

describe('promotion', () => {
  test('is compare-and-swap, told in a history that adds up', async () => {
    await declared('bot', 'one', 'two', 'three')
    const swap = { version: 'v2', expected_promoted_version: null, reason: 'It is better.' }
    const moved = await call('POST', '/bot/promote', swap)
    expect(moved).toMatchObject({ status: 200, body: { promoted_version_id: 'bot@v2' } })
    const late = await call('POST', '/bot/promote', { ...swap, version: 'v3' })
    expect(errorOf(late)).toEqual([409, 'conflict'])
    expect(late.body.error.message).toContain('bot@v2')
    const next = { version: 'bot@v3', expected_promoted_version: 'bot@v2', reason: 'Better yet.' }
    expect((await call('POST', '/bot/promote', next)).status).toBe(200)
    expect(
      (await call('POST', '/bot/rollback', { reason: 'Complaints.' })).body.promoted_version_id,
    ).toBe('bot@v2')
    const { body } = await call('GET', '/bot/history?check=1&limit=2')
    expect(body.check).toEqual({ events: 8, broken_at: null, matches: true })
    expect(
      body.items.map((one: Json) => [one.type, one.version_id, one.from_id, one.reason]),
    ).toEqual([
      ['rolled_back', 'bot@v2', 'bot@v3', 'Complaints.'],
      ['promoted', 'bot@v3', 'bot@v2', 'Better yet.'],
    ])
    const older = (await call('GET', `/bot/history?cursor=${body.next_cursor}`)).body
    expect(older.items.map((one: Json) => one.seq)).toEqual([6, 5, 4, 3, 2, 1])
    expect(older.items[0].hash).toBe(body.items[1].previous_hash)
  })

  test('of what is not there, was replaced or is pinned against is refused with the reason', async () => {
    await declared('pins', 'one', 'two')
    const promote = (version: string) => call('POST', '/pins/promote', { version, reason: 'x' })
    expect(errorOf(await promote('v9'))).toEqual([404, 'not_found'])
    expect(errorOf(await call('POST', '/nothing/promote', { version: 'v1', reason: 'x' }))).toEqual(
      [404, 'not_found'],
    )
    expect(errorOf(await promote('bot@v1'))).toEqual([400, 'invalid_request'])
    await promote('v2')
    const retired = await promote('v1')
    expect(errorOf(retired)).toEqual([409, 'conflict'])
    expect(retired.body.error.message).toContain('retired')
    await call('POST', '/pins/pin', { version: 'v2', reason: 'Audit.' })
    const pinned = await call('POST', '/pins/rollback', { reason: 'x', to: 'v1' })
    expect(errorOf(pinned)).toEqual([409, 'conflict'])
    expect(pinned.body.error.message).toContain('pinned to pins@v2')
    expect(
      (await call('POST', '/pins/pin', { version: null, reason: 'Done.' })).body.pinned_version_id,
    ).toBeNull()
    expect(
      (await call('POST', '/pins/rollback', { reason: 'x', to: 'v1' })).body.promoted_version_id,
    ).toBe('pins@v1')
  })

  test('needs a reason and the scope for it', async () => {
    expect(errorOf(await call('POST', '/bot/promote', { version: 'v1' }))).toEqual([
      400,
      'invalid_request',
    ])
    const made = await fetch(`${world.url}/v1/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'reader', scopes: ['read', 'proxy', 'ingest'] }),
    })
    const { key }: Json = await made.json()
    for (const [method, path] of [
      ['POST', ''],
      ['POST', '/bot/promote'],
      ['POST', '/bot/rollback'],
      ['POST', '/bot/pin'],
      ['PATCH', '/bot'],
    ] as const) {
      const answer = await fetch(`${world.url}/v1/prompts${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: '{}',
      })
      expect([method, path, answer.status]).toEqual([method, path, 403])
    }
  })
})

test('a prompt of which nothing can be sent is not served', async () => {
  const span = { model: 'm', started_at: new Date(), ended_at: new Date(), input: 'x', output: 'y' }
  const posted = await fetch(`${world.url}/v1/runs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...span, prompt: { id: 'seen-only', version: 'v1' } }),
  })
  expect(posted.status).toBe(200)
  await expect.poll(async () => (await call('GET', '/seen-only')).body.total_runs).toBe(1)
  const served = await call('PATCH', '/seen-only', { mode: 'serve' })
  expect(errorOf(served)).toEqual([409, 'conflict'])
  expect(served.body.error.message).toContain('nothing to serve')
  expect((await call('GET', '/seen-only')).body).toMatchObject({ mode: 'observe', total_runs: 1 })
})

test('a prompt can be changed as soon as the call that named it is answered, however many come at once', async () => {
  const changed = await Promise.all(
    Array.from({ length: 20 }, async (_, n) => {
      const answered = await fetch(`${world.url}/v1/chat/completions`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${world.key}`,
          'content-type': 'application/json',
          'x-batchin-prompt-version': `fresh-${n}@v1`,
        },
        body: JSON.stringify({ model: 'm', messages: say(`You are desk ${n}.`) }),
      })
      expect(answered.status).toBe(200)
      return Promise.all([
        call('PATCH', `/fresh-${n}`, { policy: { auto_promote: 'off' } }),
        call('PATCH', `/fresh-${n}`, { display_name: `Desk ${n}` }),
        call('POST', '', { registry_id: `fresh-${n}`, version: 'v9', messages: say('Declared.') }),
      ])
    }),
  )
  expect(changed.flat().map(({ status }) => status)).toEqual(changed.flatMap(() => [200, 200, 201]))
  const { items } = (await call('GET', '')).body
  expect(items.filter((item: Json) => item.registry_id.startsWith('fresh-'))).toHaveLength(20)
  expect((await call('GET', '/fresh-7')).body).toMatchObject({
    display_name: 'Desk 7',
    policy: { auto_promote: 'off' },
  })
}, 30_000)

describe('a policy', () => {
  test('keeps what is not named, and is refused with every mistake', async () => {
    await declared('rules', 'one')
    await call('PATCH', '/rules', { policy: { margin: 0.1, max_pairs: 100 } })
    const { body } = await call('PATCH', '/rules', {
      display_name: 'House rules',
      mode: 'serve',
      policy: { alpha: 0.05 },
    })
    expect(body).toMatchObject({
      display_name: 'House rules',
      mode: 'serve',
      promotion_effect: 'routing',
      policy: { auto_promote: 'proven', margin: 0.1, max_pairs: 100, alpha: 0.05 },
    })
    const wrong = await call('PATCH', '/rules', {
      mode: 'both',
      policy: {
        auto_promote: 'always',
        margin: 0.9,
        alpha: 0,
        max_pairs: 1.5,
        budget_usd: -1,
        guardrails: ['latency', 'latency'],
        canary_steps: [0.5, 0.25],
        colour: 'red',
      },
    })
    expect(errorOf(wrong)).toEqual([400, 'invalid_request'])
    for (const path of [
      'mode',
      'auto_promote',
      'margin',
      'alpha',
      'max_pairs',
      'budget_usd',
      'guardrails',
      'canary_steps',
      'colour',
    ])
      expect(wrong.body.error.message).toContain(path)
    expect((await call('GET', '/rules')).body.policy).toEqual(body.policy)
  })
})
