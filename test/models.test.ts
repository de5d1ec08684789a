// GET /v1/models, redaction, histograms and the reload of the configuration, on a whole plane with a file of its own.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectPostgres } from '../src/stores/postgres.ts'
import {
  completion,
  delta,
  doneEvent,
  json,
  type ScriptedUpstream,
  sse,
  startUpstream,
} from './upstream.ts'
import { startWorld, type World } from './world.ts'

const folder = mkdtempSync(join(tmpdir(), 'runledger-file-'))
const configFile = join(folder, 'runledger.json')
let upstream: ScriptedUpstream
let world: World

const priced = {
  id: 'acme/small',
  context_length: 8_192,
  license: 'apache-2.0',
  status: 'always_on',
  tier: 'small',
  quality_floor: 0.7,
  pricing: { std_input: 0.02, std_output: 0.08 },
}

function write(more: object = {}): void {
  const file = {
    providers: [{ id: 'acme', base_url: upstream.baseUrl, api_key_env: ['ACME_KEY'] }],
    routes: [
      { id: 'acme', models: ['acme/*', 'plain'], targets: [{ provider: 'acme' }] },
      {
        id: 'inner',
        public: false,
        public_label: 'x',
        models: ['inner-*'],
        targets: [{ provider: 'acme' }],
      },
    ],
    models: [priced],
    redact: [
      { pattern: '[a-z.]+@[a-z.]+', replacement: '[mail]' },
      { attribute: 'user.id' },
      { attribute: 'gen_ai.prompt.variable.pin' },
    ],
    ...more,
  }
  writeFileSync(configFile, JSON.stringify(file))
}

beforeAll(async () => {
  upstream = await startUpstream()
  upstream.play((res, seen) => {
    if (!seen.path.endsWith('/models')) return json(completion('call me: a.b@c.de'))(res, seen)
    const data = ['acme/small', 'acme/large', 'inner-1', 'unrouted'].map((id) => ({
      id,
      object: 'model',
      created: 1_700_000_000,
      owned_by: 'acme-inc',
    }))
    return json({ object: 'list', data })(res, seen)
  })
  write()
  world = await startWorld({ RUNLEDGER_CONFIG: configFile, ACME_KEY: 'sk-acme' })
}, 60_000)

afterAll(async () => {
  await world.end()
  await upstream.close()
  rmSync(folder, { recursive: true })
})

test('models are those of the file with what public upstreams offer, for anyone, in the form of the SDK', async () => {
  const client = new OpenAI({ baseURL: `${world.url}/v1`, apiKey: world.key, maxRetries: 0 })
  const list = await client.models.list()
  expect(list.data.map(({ id }) => id)).toEqual(['acme/small', 'plain', 'acme/large'])
  const large = await client.models.retrieve('acme/large')
  expect(large).toMatchObject({ object: 'model', created: 1_700_000_000, owned_by: 'acme-inc' })
  const asked = upstream.seen.filter(({ path }) => path.endsWith('/models'))
  expect(asked.map(({ headers }) => headers.authorization)).toEqual(['Bearer sk-acme'])

  const stranger = await fetch(`${world.url}/v1/models/acme/small`)
  expect([stranger.status, await stranger.json()]).toEqual([
    200,
    {
      id: 'acme/small',
      object: 'model',
      created: 1_700_000_000,
      owned_by: 'runledger',
      status: 'always_on',
      context_length: 8_192,
      license: 'apache-2.0',
      pricing: { std_input: 0.02, std_output: 0.08 },
      tier: 'small',
      quality_floor: 0.7,
      cost_per_1k: 0.00005,
    },
  ])
  const unknown = await fetch(`${world.url}/v1/models/nothing`)
  expect([unknown.status, (await unknown.json()).error.code]).toEqual([404, 'model_not_found'])
})

test('what the file names is kept out of rows, of native runs as of proxied ones, and passes to the upstream', async () => {
  const ask = {
    model: 'acme/small',
    messages: [{ role: 'user', content: 'I am x@y.zz' }],
    prompt: { id: 'p', variables: { pin: 'open-sesame', name: 'Ada' } },
  }
  const traceId = 'c0ffee00c0ffee00c0ffee00c0ffee01'
  const answer = await send('/v1/chat/completions', ask, {
    traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
    'x-batchin-user-id': 'ada',
  })
  expect((await answer.json()).choices[0].message.content).toBe('call me: a.b@c.de')
  expect(upstream.seen.at(-1)?.body.toString()).toContain('x@y.zz')
  const now = new Date().toISOString()
  const run = {
    model: 'm',
    started_at: now,
    ended_at: now,
    input: 'to q@r.st',
    output: 'ok',
    user_id: 'ada',
  }
  await send('/v1/runs', { ...run, trace_id: traceId })

  const trace = await traceOf(traceId, 2)
  expect(trace).toContain('call me: [mail]')
  expect(trace).toContain('I am [mail]')
  expect(trace).toContain('to [mail]')
  expect(trace).toContain('Ada')
  for (const secret of ['x@y.zz', 'a.b@c.de', 'q@r.st', 'open-sesame', '"ada"'])
    expect(trace).not.toContain(secret)
})

test('so is what an upstream says in its names, what a stream says in pieces, and what lies in a trace’s state', async () => {
  const mail = 'm.n@o.pq'
  const traceId = 'c0ffee00c0ffee00c0ffee00c0ffee02'
  const ask = (more: object = {}) =>
    send(
      '/v1/chat/completions',
      { model: 'plain', messages: [{ role: 'user', content: 'hi' }], ...more },
      {
        traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
        tracestate: `a=1,b=${mail}`,
        'x-request-id': mail,
      },
    )
  const records: (string | null)[] = []
  for (const script of [
    sse([
      delta({ content: 'to m.n' }),
      delta({ content: '@o.' }),
      delta({ content: 'pq' }),
      doneEvent,
    ]),
    sse([delta({ content: 'x' }), `data: {"error":{"message":"no ${mail}","code":"${mail}"}}\n\n`]),
    json({ error: { message: `no ${mail}`, code: mail, type: mail } }, 400, {
      'x-request-id': mail,
    }),
    json(completion('x', { id: mail, system_fingerprint: mail })),
  ]) {
    upstream.play(script)
    const answer = await ask({ stream: records.length < 2 })
    records.push(answer.headers.get('x-vaas-record-id'))
    await answer.text()
    expect(upstream.seen.at(-1)?.headers.tracestate).toBe(`a=1,b=${mail}`)
  }
  const kept = [await traceOf(traceId, 4), await read(`/v1/otlp/export?trace_id=${traceId}`)]
  for (const record of records) {
    const evidence = () => read(`/v1/vaas/${record}/evidence`)
    await expect.poll(evidence).toContain('"phase":"final"')
    kept.push(await evidence())
  }
  expect(kept[0]).toContain('to [mail]')
  expect(kept[1]).toContain('a=1')
  expect(kept.join('\n')).not.toContain(mail)
})

test('and what a job was asked for, which lies in the store until it is over', async () => {
  const id = 'video_of_the_test'
  upstream.play(json({ id, object: 'video', status: 'queued', seconds: '4' }))
  const ask = { model: 'plain', prompt: 'A film of x@y.zz' }
  expect((await send('/v1/videos', ask)).status).toBe(200)
  expect(upstream.seen.at(-1)?.body.toString()).toContain('x@y.zz')
  const sql = connectPostgres({
    host: join(world.dataDir, 'postgres', 'run'),
    port: 5432,
    user: 'runledger',
    database: 'postgres',
  })
  const rows = await sql.query('SELECT to_jsonb(jobs)::text AS row FROM jobs')
  await sql.close()
  expect(JSON.stringify(rows)).toContain(id)
  expect(JSON.stringify(rows)).toContain('A film of [mail]')
  expect(JSON.stringify(rows)).not.toContain('x@y.zz')
})

test('/metrics shows the time of the gateway and the rate of tokens, by route and model', async () => {
  const text = await (await fetch(`${world.url}/metrics`)).text()
  const labels = 'route="acme",model="acme/small"'
  expect(text).toContain('# TYPE runledger_proxy_gateway_seconds histogram')
  expect(text).toMatch(
    new RegExp(`runledger_proxy_gateway_seconds_bucket\\{${labels},le="\\+Inf"\\} 1\n`),
  )
  expect(text).toContain(`runledger_proxy_gateway_seconds_count{${labels}} 1`)
  expect(text).toContain(`runledger_proxy_tokens_per_second_count{${labels}} 1`)
  expect(text).toContain('runledger_proxy_breakers_open 0')
})

test('a call costs what its price was when it began, whatever the file says meanwhile', async () => {
  const usage = { prompt_tokens: 1000, completion_tokens: 500, total_tokens: 1500 }
  let answerNow = () => {}
  const asked = new Promise<void>((resolve) => {
    upstream.play(async (res, seen) => {
      resolve()
      await new Promise<void>((go) => {
        answerNow = go
      })
      await json(completion('x', { model: 'acme/small', usage }))(res, seen)
    })
  })
  const key = await (await send('/v1/keys', { monthly_budget_cents: 10 })).json()
  // No call costs more than its bytes allow.
  const messages = [{ role: 'user', content: 'x'.repeat(1_000) }]
  const ask = { model: 'acme/small', messages, max_tokens: 500 }
  const call = send('/v1/chat/completions', ask, { authorization: `Bearer ${key.key}` })
  await asked
  write({ models: [{ ...priced, pricing: { std_input: 2, std_output: 8 } }] })
  expect(await world.plane.reload()).toBe(true)
  answerNow()
  await (await call).text()
  upstream.play(json(completion('x', { model: 'acme/small', usage })))
  await (await send('/v1/chat/completions', ask, { authorization: `Bearer ${key.key}` })).text()
  const costs = async () => {
    const rows: { cost_cents: number }[] = await (
      await fetch(`${world.url}/v1/usage/logs?key_id=${key.id}`, {
        headers: { authorization: `Bearer ${world.key}` },
      })
    ).json()
    return rows.map((row) => row.cost_cents)
  }
  await expect.poll(costs, { timeout: 20_000 }).toEqual([0.6, 0.006])
})

test('a reload moves calls to other routes, and a bad file leaves them and shows what is wrong', async () => {
  write({ routes: [{ id: 'next', models: ['other'], targets: [{ provider: 'sandbox' }] }] })
  expect(await world.plane.reload()).toBe(true)
  const ask = (model: string) =>
    send('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'x' }] })
  expect((await ask('other')).headers.get('x-batchin-provider')).toBe('sandbox')
  expect((await ask('acme/small')).status).toBe(404)
  const streamed = { model: 'other', stream: true, messages: [{ role: 'user', content: 'x' }] }
  await (await send('/v1/chat/completions', streamed)).text()
  expect(await (await fetch(`${world.url}/metrics`)).text()).toContain(
    'runledger_proxy_first_token_seconds_count{route="next",model="other"} 1',
  )
  write({ routes: [{ id: 'next', models: ['other'], targets: [{ provider: 'nobody' }] }] })
  expect(await world.plane.reload()).toBe(false)
  expect((await ask('other')).status).toBe(200)
  const { config } = await (await fetch(`${world.url}/healthz`)).json()
  expect(config.mistakes).toBe(1)
  expect(world.log.join('\n')).toContain('there is no provider "nobody"')
})

test('names that callers make up have series of their own only so far, and none breaks the text', async () => {
  write()
  expect(await world.plane.reload()).toBe(true)
  upstream.play(json(completion('x')))
  const hostile = (i: number) => `acme/"\\{le="1"}${i}${'y'.repeat(230)}`
  for (let from = 0; from < 240; from += 40) {
    const some = Array.from({ length: 40 }, (_, i) =>
      send('/v1/chat/completions', {
        model: hostile(from + i),
        messages: [{ role: 'user', content: 'x' }],
      }),
    )
    for (const answer of await Promise.all(some)) expect(answer.status).toBe(200)
  }
  const text = await (await fetch(`${world.url}/metrics`)).text()
  const counts = text.match(/^runledger_proxy_gateway_seconds_count\{.*\} \d+$/gm) ?? []
  expect(counts.length).toBeLessThanOrEqual(201)
  expect(text).toMatch(
    /^runledger_proxy_gateway_seconds_count\{route="other",model="other"\} \d+$/m,
  )
  const sample = /^[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? [-+.0-9eInfNa]+$/
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  expect(lines.filter((line) => !sample.test(line))).toEqual([])
}, 60_000)

async function read(path: string): Promise<string> {
  const headers = { authorization: `Bearer ${world.key}` }
  return (await fetch(world.url + path, { headers })).text()
}

/** With its payloads, once all of so many runs are there: of one that is not read yet nothing could be said. */
async function traceOf(traceId: string, runs: number): Promise<string> {
  const counted = async () => JSON.parse(await read(`/v1/traces/${traceId}`)).run_count
  await expect.poll(counted).toBe(runs)
  return read(`/v1/traces/${traceId}?include=payload`)
}

function send(path: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(world.url + path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${world.key}`,
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(body),
  })
}
