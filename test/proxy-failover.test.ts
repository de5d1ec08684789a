// Who answers a call: routes, weights, keys, and the next target when one cannot. Nothing switches once a byte has come.

import { createServer } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type ProxyWorld, startProxy } from './proxy-world.ts'
import {
  breakAfter,
  completion,
  delta,
  doneEvent,
  hangAfter,
  hangBeforeHead,
  helloEvents,
  json,
  resetBeforeHead,
  type Script,
  type ScriptedUpstream,
  sse,
  startUpstream,
} from './upstream.ts'

let one: ScriptedUpstream
let two: ScriptedUpstream
let world: ProxyWorld | undefined

beforeAll(async () => {
  one = await startUpstream()
  two = await startUpstream()
})

afterAll(async () => {
  await one.close()
  await two.close()
})

beforeEach(() => {
  one.seen.length = 0
  two.seen.length = 0
  two.play(json(completion('from two')))
})

afterEach(async () => {
  await world?.end()
  world = undefined
})

const hello = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }
const streamed = { ...hello, stream: true }
const stream = sse([...helloEvents, doneEvent])

type RouteFile = Record<string, unknown>

/** A proxy whose route asks `one` first and has `two` standing by, unless `route` says otherwise. */
async function start(
  route: RouteFile = {},
  more: object = {},
  deps: Parameters<typeof startProxy>[0] = {},
): Promise<ProxyWorld> {
  world = await startProxy({
    ...deps,
    file: {
      providers: [
        { id: 'one', base_url: one.baseUrl, api_key_env: ['ONE_A', 'ONE_B'] },
        { id: 'two', base_url: two.baseUrl, api_key_env: ['TWO'] },
      ],
      routes: [
        {
          id: 'main',
          targets: [{ provider: 'one' }, { provider: 'two', weight: 0 }],
          ...route,
        },
      ],
      ...more,
    },
  })
  return world
}

const spansOf = (proxy: ProxyWorld) =>
  proxy.intake.rows.spans.map(({ name, status, provider }) => ({ name, status, provider }))

const beforeAnyByte: [string, Script, string][] = [
  ['502', json({}, 502), '502'],
  ['503', json({}, 503), '503'],
  ['504', json({}, 504), '504'],
  ['a reset before the head', resetBeforeHead, 'broken'],
]

for (const [what, script, reason] of beforeAnyByte) {
  test(`after ${what} the next target answers, and both attempts stand below the run`, async () => {
    one.play(script)
    const proxy = await start()
    const answer = await proxy.post(hello)
    expect([answer.status, answer.headers.get('x-batchin-provider')]).toEqual([200, 'two'])
    expect((await answer.json()).choices[0].message.content).toBe('from two')
    expect([one.seen.length, two.seen.length]).toEqual([1, 1])
    expect(spansOf(proxy)).toEqual([
      { name: 'chat m', status: 'ok', provider: 'two' },
      { name: 'attempt one', status: 'error', provider: 'one' },
      { name: 'attempt two', status: 'ok', provider: 'two' },
    ])
    const [run, first, second] = proxy.intake.rows.spans
    expect([first?.parent_span_id, second?.parent_span_id]).toEqual([run?.span_id, run?.span_id])
    expect([first?.trace_id, second?.trace_id]).toEqual([run?.trace_id, run?.trace_id])
    expect(first?.attr_str).toMatchObject({ 'error.type': reason })
    expect([first?.usage, Number(`0x${first?.run_id}`)]).toEqual([0, 0])
    expect(JSON.parse(String(proxy.intake.rows.records[0]?.canonical)).provider).toBe('two')
  })
}

test('after a refused connection the next target answers', async () => {
  const closed = await freePort()
  world = await startProxy({
    file: {
      providers: [
        { id: 'gone', base_url: `http://127.0.0.1:${closed}/v1` },
        { id: 'two', base_url: two.baseUrl },
      ],
      routes: [{ id: 'r', targets: [{ provider: 'gone' }, { provider: 'two', weight: 0 }] }],
    },
  })
  const answer = await world.post(hello)
  expect([answer.status, answer.headers.get('x-batchin-provider')]).toEqual([200, 'two'])
})

const lateOnes: [string, Script][] = [
  ['no head in time', hangBeforeHead],
  ['a head in time and then nothing', hangAfter([])],
]

for (const [what, script] of lateOnes) {
  test(`a stream with ${what} is answered by the next target`, async () => {
    one.play(script)
    two.play(stream)
    const proxy = await start({ ttft_timeout_ms: 300 })
    const answer = await proxy.post(streamed)
    expect([answer.status, answer.headers.get('x-batchin-provider')]).toEqual([200, 'two'])
    expect(await answer.text()).toMatch(/"phase":"final".*\ndata: \[DONE\]\n\n$/)
    expect(await one.seen[0]?.closed).toBe(true)
    expect(spansOf(proxy).map(({ status }) => status)).toEqual(['ok', 'error', 'ok'])
  })
}

test('an answer that is not streamed and does not come in its own time is asked for elsewhere', async () => {
  one.play(hangBeforeHead)
  const proxy = await start({ answer_timeout_ms: 500 })
  const answer = await proxy.post(hello)
  expect([answer.status, answer.headers.get('x-batchin-provider')]).toEqual([200, 'two'])
})

for (const status of [400, 401, 403, 404, 409, 422, 500]) {
  test(`${status} is an answer: no other target is asked`, async () => {
    one.play(json({ error: { message: 'no', type: 'x' } }, status))
    const proxy = await start()
    const answer = await proxy.post(hello)
    expect(answer.status).toBe(status === 401 || status === 403 ? 502 : status)
    expect([one.seen.length, two.seen.length]).toEqual([1, 0])
    expect(proxy.intake.rows.spans).toHaveLength(1)
  })
}

test('429 asks with the next key, then the next target; a key that was limited rests', async () => {
  one.play(json({ error: {} }, 429, { 'retry-after': '30' }))
  const proxy = await start()
  expect((await proxy.post(hello)).status).toBe(200)
  const keysOf = (of: ScriptedUpstream) => of.seen.map(({ headers }) => headers.authorization)
  expect(keysOf(one)).toEqual(['Bearer sk-ONE_A', 'Bearer sk-ONE_B'])
  expect(keysOf(two)).toEqual(['Bearer sk-TWO'])

  one.seen.length = 0
  one.play((res, seen) => {
    const isLimited = seen.headers.authorization === 'Bearer sk-ONE_A'
    return json(isLimited ? { error: {} } : completion('b'), isLimited ? 429 : 200)(res, seen)
  })
  const fresh = await start()
  for (let i = 0; i < 4; i++) await (await fresh.post(hello)).arrayBuffer()
  expect(keysOf(one)).toEqual([
    'Bearer sk-ONE_A',
    'Bearer sk-ONE_B',
    ...Array.from({ length: 3 }, () => 'Bearer sk-ONE_B'),
  ])
})

test('a provider that limits all of its keys is left alone for as long as it said: the others are asked at once', async () => {
  let nowMs = Date.now()
  one.play((res, seen) => {
    const isFirst = seen.headers.authorization === 'Bearer sk-ONE_A'
    const inTime = isFirst ? new Date(nowMs + 30_000).toUTCString() : '30'
    return json({ error: {} }, 429, { 'retry-after': inTime })(res, seen)
  })
  const proxy = await start({}, {}, { nowMs: () => nowMs })
  const statuses = new Set<number>()
  // More calls than the retry budget would pay for, if each of them had to find out.
  for (let i = 0; i < 30; i++) statuses.add((await proxy.post(hello)).status)
  expect([[...statuses], one.seen.length, two.seen.length]).toEqual([[200], 2, 30])
  // A date has whole seconds.
  nowMs += 31_000
  one.play(json(completion('back')))
  await (await proxy.post(hello)).arrayBuffer()
  expect(one.seen).toHaveLength(3)
})

test('when every target fails, the last failure is the answer, signed as any other', async () => {
  one.play(json({}, 503))
  two.play(json({ error: { message: 'full', type: 'api_error' } }, 503, { 'retry-after': '7' }))
  const proxy = await start()
  const answer = await proxy.post(hello)
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '7'])
  expect(answer.headers.get('x-vaas-signature')).toMatch(/^ed25519:/)
  expect((await answer.json()).error.message).toBe('full')
})

test('once a byte of a stream has come nothing switches', async () => {
  one.play(breakAfter([delta({ content: 'Hel' })]))
  const proxy = await start()
  const text = await (await proxy.post(streamed)).text()
  expect(text).toContain('"content":"Hel"')
  expect(text).toContain('"status":"truncated"')
  expect(text).not.toContain('[DONE]')
  expect(two.seen).toEqual([])
})

test('a target is asked for the model by its own name, and nothing else of the body changes', async () => {
  one.play(json(completion('x')))
  const proxy = await start({ targets: [{ provider: 'one', model: 'big/one-2' }] })
  const body = '{ "seed":12345678901234567890, "model" : "m","messages":[],"x":{"model":"m"} }'
  const answer = await proxy.post(body)
  await answer.arrayBuffer()
  expect(one.seen[0]?.body.toString()).toBe(body.replace('"model" : "m"', '"model" : "big/one-2"'))
  expect(proxy.intake.rows.spans[0]?.name).toBe('chat m')
})

test('targets share calls by their weights', async () => {
  one.play(json(completion('x')))
  let seed = 42
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed / 2 ** 31
  }
  world = await startProxy({
    random,
    file: {
      providers: [
        { id: 'one', base_url: one.baseUrl },
        { id: 'two', base_url: two.baseUrl },
      ],
      routes: [
        {
          id: 'r',
          targets: [
            { provider: 'one', weight: 3 },
            { provider: 'two', weight: 1 },
          ],
        },
      ],
    },
  })
  for (let i = 0; i < 200; i++) await (await world.post(hello)).arrayBuffer()
  expect(one.seen.length + two.seen.length).toBe(200)
  expect(one.seen.length).toBeGreaterThan(130)
  expect(one.seen.length).toBeLessThan(170)
})

test('routes are chosen by model, pinned by id or label, and refused by name', async () => {
  const routes = [
    { id: 'a', models: ['gpt-*', 'exact'], targets: [{ provider: 'one' }] },
    { id: 'b', public_label: 'bee', models: ['*-mini'], targets: [{ provider: 'two' }] },
  ]
  one.play(json(completion('x')))
  const proxy = await start({}, { routes })
  const ask = async (model: string, pin?: string) => {
    const headers = pin === undefined ? {} : { 'x-batchin-route': pin }
    const answer = await proxy.post({ ...hello, model }, headers)
    const body = await answer.json()
    return body.error?.code ?? answer.headers.get('x-batchin-route-id')
  }
  expect(await ask('gpt-5-mini')).toBe('a')
  expect(await ask('exact')).toBe('a')
  expect(await ask('x-mini')).toBe('b')
  expect(await ask('gpt-5-mini', 'b')).toBe('b')
  expect(await ask('gpt-5-mini', 'bee')).toBe('b')
  expect(await ask('other')).toBe('model_not_found')
  expect(await ask('gpt-5', 'b')).toBe('no_route_satisfies_constraints')
  expect(await ask('gpt-5', 'nobody')).toBe('no_route_satisfies_constraints')
})

test('a route that is not public shows its label and no provider, also in what is signed', async () => {
  one.play(json(completion('x'), 200, { 'openai-organization': 'acme', 'openai-model': 'inner' }))
  const proxy = await start({
    ...{ id: 'secret-route', public: false, public_label: 'managed' },
    models: ['m'],
  })
  const answer = await proxy.post(hello)
  await answer.arrayBuffer()
  expect(answer.headers.get('x-batchin-route-id')).toBe('managed')
  for (const name of ['x-batchin-provider', 'openai-organization', 'openai-model'])
    expect(answer.headers.get(name)).toBeNull()
  const payload = String(proxy.intake.rows.records[0]?.canonical)
  expect(payload).toContain('"public_route_label":"managed"')
  expect(payload).not.toContain('secret-route')
  expect(JSON.parse(payload).provider ?? null).toBeNull()
  const pinned = await proxy.post(hello, { 'x-batchin-route': 'secret-route-2' })
  const guessed = await proxy.post(
    { ...hello, model: 'other' },
    { 'x-batchin-route': 'secret-route' },
  )
  expect([pinned.status, guessed.status]).toEqual([400, 400])
  expect((await guessed.json()).error.message).toBe('There is no route secret-route.')
})

test('a retry budget of nothing lets a failure stand', async () => {
  one.play(json({}, 503))
  const proxy = await start({}, { retry_budget: { ratio: 0, per_second: 0 } })
  expect((await proxy.post(hello)).status).toBe(503)
  expect(two.seen).toEqual([])
  expect(proxy.counted.get('proxy_retries_refused_total{"route":"main"}')).toBe(1)
})

test('a target that fails again and again is left alone, then tried by one call, then trusted again', async () => {
  let now = 1_000_000
  one.play(json({}, 503))
  world = await startProxy({
    nowMs: () => now,
    file: {
      providers: [
        { id: 'one', base_url: one.baseUrl },
        { id: 'two', base_url: two.baseUrl },
      ],
      routes: [{ id: 'r', targets: [{ provider: 'one' }, { provider: 'two', weight: 0 }] }],
      breaker: { failures_in_row: 3, open_ms: 5_000 },
    },
  })
  const proxy = world
  const ask = async () => void (await (await proxy.post(hello)).arrayBuffer())
  for (let i = 0; i < 6; i++) await ask()
  expect([one.seen.length, two.seen.length]).toEqual([3, 6])
  const opened = 'proxy_breakers_opened_total{"provider":"one","model":"*"}'
  expect(proxy.counted.get(opened)).toBe(1)

  now += 5_000
  await Promise.all([ask(), ask(), ask()])
  expect([one.seen.length, two.seen.length]).toEqual([4, 9])

  now += 5_000
  one.play(json(completion('well again')))
  await ask()
  await ask()
  expect([one.seen.length, two.seen.length]).toEqual([6, 9])
})

test('a breaker never refuses a call that has nowhere else to go', async () => {
  one.play(json({ error: { message: 'no', type: 'x' } }, 500))
  const proxy = await start(
    { targets: [{ provider: 'one' }] },
    { breaker: { failures_in_row: 1, open_ms: 60_000 } },
  )
  for (let i = 0; i < 3; i++) expect((await proxy.post(hello)).status).toBe(500)
  expect(one.seen.length).toBe(3)
})

test('a call that takes longer than its route allows ends: with 504, or inside its stream', async () => {
  one.play(hangBeforeHead)
  const proxy = await start({ total_timeout_ms: 1_500, targets: [{ provider: 'one' }] })
  const whole = await proxy.post(hello)
  expect([whole.status, (await whole.json()).error.code]).toEqual([504, 'upstream_timeout'])

  one.play(hangAfter([delta({ content: 'a' })]))
  const text = await (await proxy.post(streamed)).text()
  expect(text).toContain('"status":"truncated"')
  expect(text).toContain('"code":"upstream_timeout"')
})

test('a route keeps at most what it is told to keep, whatever the caller asks for', async () => {
  one.play(json(completion('a secret')))
  const proxy = await start({ capture: 'usage' })
  await (await proxy.post(hello, { 'x-batchin-capture': 'full' })).arrayBuffer()
  expect(proxy.intake.rows.spans[0]).toMatchObject({ output_preview: '', output_tokens: 4 })
  await (await proxy.post(hello, { 'x-batchin-capture': 'none' })).arrayBuffer()
  expect(String(proxy.intake.rows.payloads)).not.toContain('a secret')
})

for (const body of [hello, streamed]) {
  const kind = 'stream' in body ? 'a stream' : 'an answer'
  test(`a route that does not require capture gives ${kind} when nothing can be stored, and says so`, async () => {
    one.play('stream' in body ? stream : json(completion('x')))
    const proxy = await start({ capture_required: false })
    proxy.intake.refusing = true
    const answer = await proxy.post(body)
    expect([answer.status, answer.headers.get('x-batchin-capture')]).toEqual([200, 'dropped'])
    expect(answer.headers.get('x-vaas-signature')).toBeNull()
    const text = await answer.text()
    expect(text).not.toContain(': vaas')
    expect(text).toContain('stream' in body ? 'data: [DONE]' : '"content":"x"')
    expect(proxy.counted.get('proxy_captures_dropped_total{"route":"main"}')).toBeGreaterThan(0)
  })
}

test('every answer says how much of its time was ours', async () => {
  one.play((res, seen) => void setTimeout(() => json(completion('x'))(res, seen), 1_500))
  const proxy = await start()
  const answer = await proxy.post(hello)
  await answer.arrayBuffer()
  const [, ms] = /^gw;dur=(\d+\.\d\d)$/.exec(answer.headers.get('server-timing') ?? '') ?? []
  expect(Number(ms)).toBeGreaterThanOrEqual(0)
  expect(Number(ms)).toBeLessThan(1_500)
})

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no')),
      )
    })
  })
}
