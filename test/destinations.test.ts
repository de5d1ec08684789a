// Push to endpoints outside, from the whole plane over real sockets: what leaves, what may not, and what a bad endpoint costs.

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { newId, toUuid } from '../schemas/ids.ts'
import { connectPostgres, type Postgres } from '../src/stores/postgres.ts'
import { get, type Json } from './clients.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { type Receiver, type Reply, startReceiver } from './receiver.ts'
import { startWorld, type World } from './world.ts'

let world: World
let sql: Postgres
beforeAll(async () => {
  world = await startWorld()
  sql = connectPostgres({
    host: join(world.dataDir, 'postgres', 'run'),
    port: 5432,
    user: 'runledger',
    database: 'postgres',
  })
})
afterAll(async () => {
  await sql.close()
  await world.end()
})

const path = '/v1/otlp/destinations'
const eventually = { timeout: 20_000, interval: 50 }

function call(method: string, at: string, body?: unknown, key = world.key): Promise<Response> {
  return fetch(world.url + at, {
    method,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

async function accept(...spans: Json[]): Promise<string[]> {
  const sent = spans.map((span) =>
    jsonSpan({
      traceId: randomBytes(16).toString('hex'),
      spanId: randomBytes(8).toString('hex'),
      ...span,
    }),
  )
  const response = await call('POST', '/v1/otlp/traces', jsonRequest(...sent))
  expect([response.status, await response.text()]).toEqual([200, '{}'])
  // Asking for a trace waits until what was accepted is loaded, so that no test waits for the drain's own pace.
  await get(world, '/v1/traces?limit=1')
  return sent.map(({ spanId }) => String(spanId))
}

async function receiver(reply: Receiver['reply'] = () => undefined): Promise<Receiver> {
  const made = await startReceiver()
  made.reply = reply
  onTestFinished(() => made.close())
  return made
}

/** A destination on this machine. The API refuses such an address, so it is made with another and moved, as an operator may. */
async function destination(to: Receiver, more: Json = {}): Promise<string> {
  const name = randomBytes(6).toString('hex')
  const made = await call('POST', path, { name, url: 'https://collector.example/', ...more })
  expect(made.status).toBe(201)
  const { id } = (await made.json()) as Json
  await sql.query('UPDATE destinations SET url = $2, is_trusted = true WHERE id = $1', [id, to.url])
  onTestFinished(async () => void (await call('DELETE', `${path}/${id}`)))
  return id
}

async function shown(id: string): Promise<Json> {
  const { body } = await get(world, path)
  return body.items.find((item: Json) => item.id === id)
}

/** A new destination, asked for by a Host of the caller's choice, which `fetch` does not allow. */
async function asHost(host: string, body: string): Promise<{ status: number; body: string }> {
  const headers = { host, authorization: `Bearer ${world.key}`, 'content-type': 'application/json' }
  const sent = request(world.url + path, { method: 'POST', headers }).end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage] // what the event carries
  return { status: response.statusCode ?? 0, body: await textOf(response) }
}

const idsOf = (spans: Json[]) => spans.map(({ spanId }) => hex(spanId))
const hex = (id: string | Buffer) => (typeof id === 'string' ? id : id.toString('hex'))
const attributesOf = (span: Json) =>
  Object.fromEntries(span.attributes.map((one: Json) => [one.key, one.value]))
const text = (key: string, value: string) => ({ key, value: { stringValue: value } })

describe('push to destinations', () => {
  test('every span accepted from now on arrives once, whole, with the headers that were given, and the lag returns to nothing', async () => {
    const to = await receiver()
    await accept({ name: 'before' })
    const id = await destination(to, { headers: { 'X-Scope-OrgID': 'tenant-7' } })
    const sent = await accept({ name: 'one', attributes: [text('a', 'ü')] }, { name: 'two' })
    await vi.waitFor(() => expect(idsOf(to.taken)).toEqual(sent), eventually)
    const [push] = to.pushes
    expect(push?.path).toBe('/v1/traces')
    expect(push?.headers).toMatchObject({
      'x-scope-orgid': 'tenant-7',
      'content-type': 'application/x-protobuf',
      'content-encoding': 'gzip',
    })
    expect(push?.headers['user-agent']).toMatch(/^OTel-OTLP-Exporter-Runledger\/\d/)
    expect(push?.request.resourceSpans[0].resource.attributes).toEqual([
      text('service.name', 'shop'),
    ])
    expect(to.taken[0]).toMatchObject({ name: 'one', attributes: [text('a', 'ü')] })
    await vi.waitFor(
      async () => expect(await shown(id)).toMatchObject({ sent_spans: 2, lag_ms: 0, state: 'ok' }),
      eventually,
    )
  })

  test('JSON, no compression, a filter, and everything that was stored before', async () => {
    const to = await receiver()
    const [first] = await accept({ name: 'kept' }, { name: 'left out' })
    await destination(to, {
      protocol: 'http/json',
      compression: 'none',
      from: 'start',
      filter: { name: 'kept' },
    })
    const [second] = await accept({ name: 'kept' })
    await vi.waitFor(() => expect(idsOf(to.taken)).toEqual([first, second]), eventually)
    expect(to.pushes[0]?.headers['content-type']).toBe('application/json')
    expect(to.pushes[0]?.headers['content-encoding']).toBeUndefined()
  })

  test('a client that sends again is not pushed again', async () => {
    const to = await receiver()
    await destination(to)
    const span = {
      traceId: randomBytes(16).toString('hex'),
      spanId: randomBytes(8).toString('hex'),
    }
    await accept(span)
    await accept(span)
    const [last] = await accept({ name: 'after' })
    await vi.waitFor(() => expect(idsOf(to.taken)).toContain(last), eventually)
    expect(idsOf(to.taken)).toEqual([span.spanId, last])
  })

  test('an endpoint that is overloaded is tried again no sooner than it asked, and nothing is lost or doubled', async () => {
    const replies: Reply[] = [
      { status: 503, headers: { 'retry-after': '2' } },
      { status: 429 },
      undefined,
    ]
    const at: number[] = []
    const to = await receiver(() => {
      at.push(performance.now())
      return replies.shift()
    })
    const id = await destination(to)
    const sent = await accept({}, {})
    await vi.waitFor(async () => expect((await shown(id)).state).toBe('retrying'), eventually)
    await vi.waitFor(() => expect(idsOf(to.taken)).toEqual(sent), eventually)
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(1_990)
    expect(to.pushes).toHaveLength(3)
    await vi.waitFor(
      async () =>
        expect(await shown(id)).toMatchObject({ state: 'ok', sent_spans: 2, failures: 0 }),
      eventually,
    )
  })

  test('a request that is too large is halved until it passes', async () => {
    const to = await receiver(({ spans }) => (spans.length > 2 ? { status: 413 } : undefined))
    await destination(to)
    const sent = await accept({}, {}, {}, {}, {})
    await vi.waitFor(() => expect(idsOf(to.taken)).toEqual(sent), eventually)
  })

  test('one span that is refused for good costs itself alone, and stands among the dead letters with the reason', async () => {
    const to = await receiver(({ spans }) =>
      spans.some(({ name }) => name === 'poison')
        ? { status: 400, body: { code: 3, message: 'I cannot read this.' } }
        : undefined,
    )
    const id = await destination(to)
    const sent = await accept({}, {}, { name: 'poison' }, {}, {})
    await vi.waitFor(
      async () => expect(await shown(id)).toMatchObject({ sent_spans: 4, dead_spans: 1 }),
      eventually,
    )
    expect(idsOf(to.taken)).toEqual(sent.filter((_, i) => i !== 2))
    const { body } = await get(world, `${path}/${id}/dead-letters`)
    expect(body.items).toMatchObject([
      { span_id: sent[2], status: 400, reason: 'I cannot read this.' },
    ])
    // What was deleted is not named there any more.
    const deleted = await fetch(`${world.url}/v1/traces/${body.items[0].trace_id}`, {
      method: 'DELETE',
      headers: { Authorization: `Bearer ${world.key}` },
    })
    // On a busy machine it may be promised first.
    expect([200, 202]).toContain(deleted.status)
    await vi.waitFor(
      async () => expect((await get(world, `${path}/${id}/dead-letters`)).body.items).toEqual([]),
      eventually,
    )
  })

  test('spans that an endpoint did not take of an accepted request are counted and not sent again', async () => {
    const to = await receiver(() => ({
      status: 200,
      body: { partialSuccess: { rejectedSpans: '1', errorMessage: 'one was too old' } },
    }))
    const id = await destination(to)
    await accept({}, {}, {})
    await vi.waitFor(
      async () =>
        expect(await shown(id)).toMatchObject({
          sent_spans: 2,
          rejected_spans: 1,
          last_error: 'one was too old',
        }),
      eventually,
    )
    expect(to.pushes).toHaveLength(1)
  })

  test('a wrong key holds the spans back instead of losing them', async () => {
    const to = await receiver(() => ({ status: 401, body: { error: { message: 'Who are you?' } } }))
    const id = await destination(to)
    await accept({})
    await vi.waitFor(
      async () =>
        expect(await shown(id)).toMatchObject({
          state: 'held',
          last_status: 401,
          last_error: 'Who are you?',
          dead_spans: 0,
        }),
      eventually,
    )
    const told = await (await fetch(`${world.url}/metrics`)).text()
    expect(told).toMatch(/^runledger_destinations_failing [1-9]/m)
    expect(told).toMatch(/^# HELP runledger_destination_lag_seconds \w/m)
    expect(told).toMatch(/^runledger_destination_lag_seconds (?!0$)[\d.]+$/m)
  })

  test('a destination that leads back to us is held, says so, and stores nothing twice', async () => {
    const to = await receiver()
    const id = await destination(to, { headers: { authorization: `Bearer ${world.key}` } })
    await sql.query('UPDATE destinations SET url = $2 WHERE id = $1', [id, `${world.url}/`])
    const [spanId] = await accept({})
    await vi.waitFor(async () => {
      const { last_status, last_error } = await shown(id)
      expect([last_status, last_error]).toEqual([403, expect.stringContaining('leads back to it')])
    }, eventually)
    expect(await (await fetch(`${world.url}/metrics`)).text()).toMatch(/otlp_loops_total [1-9]/)
    const exported = await (await call('GET', '/v1/otlp/export?limit=10000')).text()
    expect(exported.split(String(spanId)).length - 1).toBe(1)
  })

  test.each(['Runledger.Example:4100', 'runledger.example:4100'])(
    'the address a caller reaches us by is refused as a destination: %s',
    async (host) => {
      const body = JSON.stringify({ name: 'loop', url: 'http://runledger.example:4100/v1/traces' })
      const answer = await asHost(host, body)
      expect([answer.status, answer.body]).toEqual([
        400,
        expect.stringContaining('Runledger itself'),
      ])
    },
  )

  test('an endpoint that never answers holds up no other', async () => {
    const silent = await receiver(() => new Promise(() => {}))
    const to = await receiver()
    await destination(silent)
    await destination(to)
    const sent = await accept({})
    await vi.waitFor(() => expect(idsOf(to.taken)).toEqual(sent), eventually)
  })
})

describe('what may not leave', () => {
  const content = [
    text('gen_ai.input.messages', '[{"role":"user","content":"secret"}]'),
    text('llm.output_messages.0.message.content', 'secret'),
    text('gen_ai.request.model', 'gpt'),
    text('user.email', 'a@b.example'),
  ]
  const spanOf = {
    attributes: content,
    events: [
      {
        name: 'gen_ai.user.message',
        timeUnixNano: '1',
        attributes: [text('content', 'secret'), text('gen_ai.system', 'openai')],
      },
    ],
    links: [
      { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), attributes: [text('user.email', 'x')] },
    ],
  }

  test('conversations and named attributes stay, in spans, events and links; everything else leaves as it came', async () => {
    const to = await receiver()
    await destination(to, { redact: { content: true, attributes: ['user.*'] } })
    await accept(spanOf)
    await vi.waitFor(() => expect(to.taken).toHaveLength(1), eventually)
    const [span] = to.taken
    expect(attributesOf(span)).toEqual({ 'gen_ai.request.model': { stringValue: 'gpt' } })
    expect(attributesOf(span.events[0])).toEqual({ 'gen_ai.system': { stringValue: 'openai' } })
    expect(span.links[0].attributes ?? []).toEqual([])
    expect(JSON.stringify(to.pushes[0]?.request)).not.toContain('secret')
  })

  test('with a list of what may leave, nothing else does', async () => {
    const to = await receiver()
    await destination(to, { redact: { allow: ['gen_ai.request.*', 'service.name'] } })
    await accept(spanOf)
    await vi.waitFor(() => expect(to.taken).toHaveLength(1), eventually)
    expect(attributesOf(to.taken[0])).toEqual({ 'gen_ai.request.model': { stringValue: 'gpt' } })
    expect(to.pushes[0]?.request.resourceSpans[0].resource.attributes).toEqual([
      text('service.name', 'shop'),
    ])
  })
})

describe('who may say where spans go', () => {
  test('an address inside is refused when it is written, and when a name leads to it', async () => {
    for (const url of ['http://127.0.0.1:4318', 'http://[::1]/', 'http://169.254.169.254/latest']) {
      const refused = await call('POST', path, { name: 'inside', url })
      expect([refused.status, ((await refused.json()) as Json).error.param]).toEqual([400, 'url'])
    }
    const made = await call('POST', path, { name: 'by-name', url: 'http://localhost:9/' })
    const { id } = (await made.json()) as Json
    const tested = await call('POST', `${path}/${id}/test`)
    expect(await tested.json()).toMatchObject({
      ok: false,
      status: null,
      message: expect.stringMatching(/not public/),
    })
    await call('DELETE', `${path}/${id}`)
  })

  test('the test sends a request without spans and says what came back', async () => {
    const to = await receiver()
    const id = await destination(to)
    expect(await (await call('POST', `${path}/${id}/test`)).json()).toMatchObject({
      ok: true,
      status: 200,
      message: null,
    })
    to.reply = () => ({ status: 403, body: { message: 'Not you.' } })
    expect(await (await call('POST', `${path}/${id}/test`)).json()).toMatchObject({
      ok: false,
      status: 403,
      message: 'Not you.',
    })
    expect(to.pushes.map(({ spans }) => spans)).toEqual([[], []])
  })

  test('headers go in and never come out, and are sealed where they lie', async () => {
    const made = await call('POST', path, {
      name: 'sealed',
      url: 'https://collector.example/',
      headers: { Authorization: 'Bearer hush-hush' },
    })
    const answer = (await made.json()) as Json
    expect(answer.header_names).toEqual(['Authorization'])
    expect(JSON.stringify([answer, (await get(world, path)).body])).not.toContain('hush-hush')
    const [row] = await sql.query<Json>('SELECT * FROM destinations WHERE id = $1', [answer.id])
    expect(row.sealed_headers.toString('latin1')).not.toContain('hush-hush')
    await call('DELETE', `${path}/${answer.id}`)
  })

  test('every mistake in a destination is named at once', async () => {
    const refused = await call('POST', path, {
      name: 'no spaces here',
      url: 'ftp://x',
      protocol: 'grpc',
      headers: { Host: 'x' },
      extra: 1,
    })
    expect(refused.status).toBe(400)
    const { error } = (await refused.json()) as Json
    for (const part of ['name:', 'url:', 'protocol:', 'headers:', 'extra'])
      expect(error.message).toContain(part)
    const filter = await call('POST', path, {
      name: 'f',
      url: 'https://collector.example/',
      filter: { colour: 'red' },
    })
    expect([filter.status, ((await filter.json()) as Json).error.param]).toEqual([400, 'colour'])
  })

  test('another workspace neither sees nor tests nor removes it, and gets none of its spans', async () => {
    const to = await receiver()
    const id = await destination(to)
    const key = await stranger()
    expect((await get({ ...world, key }, path)).body.items).toEqual([])
    for (const [method, at] of [
      ['DELETE', `${path}/${id}`],
      ['POST', `${path}/${id}/test`],
      ['GET', `${path}/${id}/dead-letters`],
    ] as const) {
      expect((await call(method, at, undefined, key)).status).toBe(404)
    }
    await call('POST', '/v1/otlp/traces', jsonRequest(jsonSpan()), key)
    const [ours] = await accept({})
    await vi.waitFor(() => expect(idsOf(to.taken)).toEqual([ours]), eventually)
  })
})

/** A key of a workspace of its own. */
async function stranger(): Promise<string> {
  const token = `batchin_api_stranger_${randomBytes(16).toString('hex')}`
  const userId = toUuid(newId())
  await sql.query('INSERT INTO users (id, email, name) VALUES ($1, $2, $3)', [
    userId,
    `${token}@example.org`,
    'Stranger',
  ])
  await sql.query(
    'INSERT INTO keys (id, user_id, digest, name, scopes) VALUES ($1, $2, $3, $4, $5)',
    [
      toUuid(newId()),
      userId,
      createHash('sha256').update(token).digest(),
      'key',
      ['ingest', 'proxy', 'read', 'admin'],
    ],
  )
  return token
}
