// Budgets, limits and prices as a caller meets them: through /v1, with the real SDK, against the whole plane.

import { APIError, RateLimitError } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { getStored } from './clients.ts'
import { answerOf, type MoneyWorld, priced, startMoneyWorld, unpriced } from './money-world.ts'
import { randomOf } from './spool-world.ts'
import { json, type Script } from './upstream.ts'

// Prices whose calls come out finer than what is shown.
const fine = {
  id: 'fine',
  context_length: 1000,
  pricing: { std_input: 0.15, std_output: 0.613, cached_input: 0.0753, reasoning_output: 0.777 },
}

let world: MoneyWorld
beforeAll(async () => {
  world = await startMoneyWorld({
    config: {
      routes: [
        { id: 'metered', models: ['metered'], targets: [{ provider: 'scripted' }] },
        { id: 'all', models: ['*'], targets: [{ provider: 'scripted' }] },
      ],
      limits: [
        { lane: 'metered', tokens_per_minute: 1_000 },
        { region: 'elsewhere', requests_per_minute: 1 },
      ],
      models: [priced, unpriced, fine],
    },
  })
})
afterAll(() => world.end())

const messages = [{ role: 'user' as const, content: 'Hello' }]
// Others share the machine.
const patience = { timeout: 20_000 }
const ask = { model: 'priced', messages, max_tokens: 50 }

/** Answers once `open` is called, so that calls are under way together. */
function gated(answer: Script): { script: Script; open: () => void; waiting: () => number } {
  let open = () => {}
  let waiting = 0
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  return {
    open,
    waiting: () => waiting,
    script: async (res, seen) => {
      waiting += 1
      await gate
      await answer(res, seen)
    },
  }
}

describe('a budget', () => {
  test('for one call lets one of two hundred parallel calls through', async () => {
    // A call of this size may cost 0.023 cents at most, and costs 0.02.
    const key = await world.newKey({ monthly_budget_cents: 0.03 })
    const gate = gated(json(answerOf(100, 50)))
    world.upstream.play(gate.script)
    const calls = Array.from({ length: 200 }, () => world.chat(key.key))
    const refused = calls.map(async (call) => (await call).status === 402)
    await expect.poll(gate.waiting, patience).toBe(1)
    gate.open()
    expect((await Promise.all(refused)).filter(Boolean)).toHaveLength(199)
    expect(gate.waiting()).toBe(1)
    // 0.01 cents are left, which is less than another one may cost.
    const next = await world.chat(key.key)
    expect(next.status).toBe(402)
    expect(next.headers.get('x-batchin-run-id')).toBeNull()
    expect(next.headers.get('x-should-retry')).toBe('false')
    expect((await next.json()).error).toMatchObject({
      type: 'insufficient_quota',
      code: 'payment_required',
      message: expect.stringContaining("is left of the key's monthly budget"),
    })
    // Reading what was used stays open.
    expect(await world.get('/v1/keys', key.key)).toBeInstanceOf(Array)
  })

  test('gets back what a call did not use, and all of it when the upstream fails', async () => {
    const key = await world.newKey({ monthly_budget_cents: 0.03 })
    world.upstream.play(json({ error: { message: 'no', type: 'server_error' } }, 500))
    for (let i = 0; i < 5; i++) expect((await world.chat(key.key)).status).toBe(500)
    world.upstream.play(json(answerOf(1, 1)))
    for (let i = 0; i < 5; i++) expect((await world.chat(key.key)).status).toBe(200)
  })

  test('refuses a model whose price is not known, naming it', async () => {
    const key = await world.newKey({ monthly_budget_cents: 100 })
    const refused = await world.chat(key.key, { model: 'unpriced' })
    expect(refused.status).toBe(400)
    expect((await refused.json()).error).toMatchObject({
      code: 'invalid_request',
      param: 'model',
      message: expect.stringContaining('unpriced'),
    })
    world.upstream.play(json(answerOf(1, 1)))
    expect((await world.chat(world.key, { model: 'unpriced' })).status).toBe(200)
  })

  test('is told to the SDK as an error it does not retry', async () => {
    const key = await world.newKey({ monthly_budget_cents: 0 })
    const sdk = world.sdk(key.key)
    sdk.maxRetries = 2
    const before = world.upstream.seen.length
    const error = await sdk.chat.completions.create(ask).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(APIError)
    expect(error).toMatchObject({ status: 402, code: 'payment_required' })
    expect(world.upstream.seen.length).toBe(before)
  })
})

describe('a limit', () => {
  test('a minute of a key lets so many through, and says so on every answer', async () => {
    world.upstream.play(json(answerOf(1, 1)))
    const key = await world.newKey({ rate_limit_rpm: 2 })
    const first = await world.chat(key.key)
    expect([first.status, first.headers.get('x-ratelimit-limit-requests')]).toEqual([200, '2'])
    expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('1')
    expect((await world.chat(key.key)).status).toBe(200)
    const refused = await world.chat(key.key)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20)
    expect(refused.headers.get('x-ratelimit-remaining-requests')).toBe('0')
    expect(refused.headers.get('x-ratelimit-reset-requests')).toMatch(/^\d+(\.\d)?s$|^1m/)
    expect(refused.headers.get('x-batchin-run-id')).toBeNull()
    const error = await world
      .sdk(key.key)
      .chat.completions.create(ask)
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(RateLimitError)
    // Another key has a limit of its own, and so has another region.
    expect((await world.chat(world.key)).status).toBe(200)
    expect((await world.chat(world.key)).status).toBe(200)
  })

  test('of tokens takes what a call may use, gives back what it did not, and says what is left', async () => {
    const metered = (max: number) => world.chat(world.key, { model: 'metered', max_tokens: max })
    const left = (answer: Response) => Number(answer.headers.get('x-ratelimit-remaining-tokens'))
    world.upstream.play(json(answerOf(10, 10)))
    // Of each some six hundred are reserved, and twenty used.
    for (let call = 0; call < 4; call++) {
      const answer = await metered(500)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('x-ratelimit-limit-tokens')).toBe('1000')
      expect(left(answer)).toBeLessThan(500)
    }
    const held = gated(json(answerOf(100, 600)))
    world.upstream.play(held.script)
    const first = metered(600)
    await expect.poll(held.waiting).toBe(1)
    const refused = await metered(600)
    expect([refused.status, (await refused.json()).error.code]).toEqual([429, 'rate_limited'])
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(left(refused)).toBeLessThan(500)
    held.open()
    expect((await first).status).toBe(200)
    // Seven hundred were used: they come back with the minute, and not before.
    world.upstream.play(json(answerOf(10, 10)))
    expect((await metered(800)).status).toBe(429)
    expect((await metered(10)).status).toBe(200)
    // Other routes have their own.
    expect((await world.chat(world.key, { max_tokens: 5_000 })).status).toBe(200)
  })

  test('that was lifted holds no more', async () => {
    world.upstream.play(json(answerOf(1, 1)))
    const key = await world.newKey({ rate_limit_rpm: 1 })
    expect((await world.chat(key.key)).status).toBe(200)
    expect((await world.chat(key.key)).status).toBe(429)
    await fetch(`${world.url}/v1/keys/${key.id}`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ rate_limit_rpm: null }),
    })
    expect((await world.chat(key.key)).status).toBe(200)
  })
})

describe('usage', () => {
  test('is told by call, in all and by model, each call once with its exact cost', async () => {
    const key = await world.newKey({ name: 'metered' })
    world.upstream.play(json(answerOf(100, 50)))
    expect((await world.chat(key.key)).status).toBe(200)
    world.upstream.play(json(answerOf(7, 3, { prompt_tokens_details: { cached_tokens: 2 } })))
    const answer = await world.chat(key.key)
    world.upstream.play(json(answerOf(5, 5)))
    expect((await world.chat(key.key, { model: 'unpriced' })).status).toBe(200)

    const by = `key_id=${key.id}`
    const logs = await world.rowsOf(by, 3)
    expect(logs.map((row: { cost_cents: number }) => row.cost_cents)).toEqual([0, 0.0013, 0.02])
    expect(logs[1]).toMatchObject({
      run_id: answer.headers.get('x-batchin-run-id'),
      input_tokens: 7,
      cached_tokens: 2,
      output_tokens: 3,
      usage_estimated: false,
      key_id: key.id,
      status: 'ok',
      price_version: expect.stringMatching(/^[0-9a-f]{16}$/),
    })
    expect(logs[0].price_version).toBeNull()
    expect(logs[0].id).toMatch(/^[0-9a-f-]{36}$/)
    const second = await world.get(`/v1/usage/logs?limit=1&offset=1&${by}`)
    expect(second).toEqual([logs[1]])

    const totals = {
      total_requests: 3,
      total_input_tokens: 112,
      total_output_tokens: 58,
      total_cost_cents: 0.0213,
      unpriced_requests: 1,
    }
    expect(await world.get(`/v1/usage/summary?${by}`)).toEqual(totals)
    const models = await world.get(`/v1/usage/by-model?${by}`)
    expect(models[0]).toMatchObject({ total_cost_cents: 0.0213, total_requests: 3 })
    const days = await world.get(`/v1/usage?days=30&${by}`)
    expect(days).toMatchObject({ days: 30, ...totals, by_model: models })
    expect(days.by_day).toEqual([{ date: new Date().toISOString().slice(0, 10), ...totals }])
  })

  test('of any mix of calls is the sum of its calls, to the last digit shown, by model, by day and in the books', async () => {
    const key = await world.newKey({ monthly_budget_cents: 100 })
    const random = randomOf(23)
    const pick = (count: number) => Math.floor(random() * count)
    const counts = () => {
      const [input, output] = [pick(900), 1 + pick(50)]
      return answerOf(input, output, {
        prompt_tokens_details: { cached_tokens: pick(input + 1) },
        completion_tokens_details: { reasoning_tokens: pick(output + 1) },
      })
    }
    world.upstream.play((res, seen) => {
      const { model } = JSON.parse(String(seen.body))
      return json({ ...counts(), model })(res, seen)
    })
    const models = ['fine', 'priced']
    await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const answer = await world.chat(key.key, { model: models[i % 2] })
        expect(answer.status).toBe(200)
      }),
    )
    const by = `key_id=${key.id}`
    const inMicro = (rows: { cost_cents: number }[]) =>
      rows.reduce((sum, row) => sum + Math.round(row.cost_cents * 1e6), 0)
    const rows = await world.rowsOf(by, 100)
    const total = await world.get(`/v1/usage/summary?${by}`)
    expect([rows.length, total.total_requests]).toEqual([100, 100])
    expect(inMicro(rows)).toBe(Math.round(total.total_cost_cents * 1e6))
    const byModel: { total_cost_cents: number }[] = await world.get(`/v1/usage/by-model?${by}`)
    expect(byModel).toHaveLength(2)
    expect(inMicro(byModel.map((row) => ({ cost_cents: row.total_cost_cents })))).toBe(
      inMicro(rows),
    )
    const days = await world.get(`/v1/usage?days=2&${by}`)
    expect(days.total_cost_cents).toBe(total.total_cost_cents)
    const spent = async () =>
      (await world.get('/v1/keys')).find((row: { id: string }) => row.id === key.id)
        .month_spent_cents
    await expect.poll(spent, { timeout: 10_000 }).toBe(total.total_cost_cents)
  })

  test('of a run that was made elsewhere has its tokens; its cost is reckoned, and charged to nobody', async () => {
    const before = await world.get('/v1/usage/summary')
    const now = Date.now()
    const posted = await fetch(`${world.url}/v1/runs`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'priced',
        started_at: new Date(now - 1000).toISOString(),
        ended_at: new Date(now).toISOString(),
        output: 'Hello',
        usage: { input_tokens: 1000, output_tokens: 500 },
      }),
    })
    const [run] = (await posted.json()).runs
    const trace = await getStored(world, `/v1/traces/${run.trace_id}?include=payload`)
    expect(trace.spans[0].cost_usd).toBe(0.002)
    expect(trace.spans[0].attributes).toContainEqual({
      key: 'batchin.cost.computed',
      value: true,
    })
    const after = () => world.get('/v1/usage/summary')
    await expect.poll(after, patience).toEqual({
      ...before,
      total_requests: before.total_requests + 1,
      total_input_tokens: before.total_input_tokens + 1000,
      total_output_tokens: before.total_output_tokens + 500,
    })
  })

  test('of another workspace is not seen', async () => {
    const post = (path: string, body: object) =>
      fetch(world.url + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }).then((answer) => answer.json())
    const user = await post('/v1/users', {
      email: 'u@example.com',
      name: 'U',
      password: 'long enough',
    })
    const key = await post('/v1/keys', { user_id: user.id })
    expect(await world.get('/v1/usage/logs', key.key)).toEqual([])
    expect(await world.get('/v1/usage/summary', key.key)).toEqual({
      total_requests: 0,
      total_input_tokens: 0,
      total_output_tokens: 0,
      total_cost_cents: 0,
      unpriced_requests: 0,
    })
    expect(await world.get('/v1/usage/by-model', key.key)).toEqual([])
  })

  test.each([
    'logs?limit=0',
    'logs?limit=501',
    'logs?offset=-1',
    'summary?key_id=x',
    'summary?from=now',
    'logs?limit=1&limit=2',
    'logs?offset=1&offset=2',
    'summary?model=a&model=b',
    'by-model?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z',
  ])('is not asked for with %s', async (query) => {
    await expect(world.get(`/v1/usage/${query}`)).rejects.toThrow('400')
  })
})

describe('a balance in prepaid', () => {
  let prepaid: MoneyWorld
  beforeAll(async () => {
    prepaid = await startMoneyWorld({ env: { RUNLEDGER_BILLING: 'prepaid' } })
  })
  afterAll(() => prepaid.end())
  const send = (path: string, body: object, key = prepaid.key, method = 'POST') =>
    fetch(prepaid.url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  test('is enforced, and an account without one gets nothing', async () => {
    const refused = await prepaid.chat(prepaid.key)
    expect([refused.status, (await refused.json()).error.message]).toEqual([
      402,
      'Nothing is left of the balance.',
    ])
  })

  test('grows by each payment once, by the owner’s word alone, and pays for calls', async () => {
    const made = await send('/v1/users', {
      email: 'payer@example.com',
      name: 'Payer',
      password: 'long enough',
    })
    const user = await made.json()
    const path = `/v1/users/${user.id}/credits`
    const { key } = await prepaid.newKey({ user_id: user.id, scopes: ['proxy', 'read', 'admin'] })
    expect((await prepaid.chat(key)).status).toBe(402)
    const payment = { amount_cents: 50, source: 'stripe', reference_id: 'cs_test_1' }
    expect((await send(path, payment, key)).status).toBe(403)
    const entry = {
      ...payment,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      created_at: expect.stringMatching(/Z$/),
    }
    const first = await send(path, payment)
    expect([first.status, await first.json()]).toEqual([
      201,
      { ...entry, credit_balance_cents: 50 },
    ])
    const told = await Promise.all([1, 2, 3].map(() => send(path, payment)))
    expect(told.map(({ status }) => status)).toEqual([200, 200, 200])
    const other = await send(path, { ...payment, amount_cents: 60 })
    expect([other.status, (await other.json()).error.param]).toEqual([409, 'reference_id'])
    prepaid.upstream.play(json(answerOf(50, 50)))
    await expect.poll(async () => (await prepaid.chat(key)).status).toBe(200)
    const balance = async () => (await prepaid.get('/v1/me', key)).credit_balance_cents
    await expect.poll(balance).toBe(49.985)
    expect(await prepaid.get('/v1/topup/history', key)).toEqual([entry])
    expect(await prepaid.get('/v1/topup/history')).toEqual([])
  })

  test.each<[string, object]>([
    ['nothing', { amount_cents: 0, reference_id: 'r' }],
    ['less than nothing', { amount_cents: -5, reference_id: 'r' }],
    ['too small a part of a cent', { amount_cents: 1e-9, reference_id: 'r' }],
    ['ten million dollars', { amount_cents: 1e9, reference_id: 'r' }],
    ['a text', { amount_cents: '5', reference_id: 'r' }],
    ['no name', { amount_cents: 5 }],
    ['a name of two lines', { amount_cents: 5, reference_id: 'a\nb' }],
    ['a source of any form', { amount_cents: 5, reference_id: 'r', source: 'A/b' }],
    ['more than that', { amount_cents: 5, reference_id: 'r', currency: 'eur' }],
  ])('does not grow by %s', async (_what, payment) => {
    const { id } = await prepaid.get('/v1/users/me')
    expect((await send(`/v1/users/${id}/credits`, payment)).status).toBe(400)
  })

  test('does not grow for nobody', async () => {
    const payment = { amount_cents: 5, reference_id: 'r' }
    for (const id of ['00000000-0000-7000-8000-000000000000', 'x'])
      expect((await send(`/v1/users/${id}/credits`, payment)).status).toBe(404)
  })
})
