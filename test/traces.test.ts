// Reading traces back from the whole plane: the list, one trace, its spans, the way out; and that a stranger sees none of it.

import { createHash, createPublicKey, verify } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId, randomHex, toUuid } from '../schemas/ids.ts'
import { connectPostgres } from '../src/stores/postgres.ts'
import { get, type Json } from './clients.ts'
import { oracle } from './otlp-world.ts'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.end())

type Sent = {
  traceId: string
  spanId: string
  parentSpanId?: string
  name?: string
  startMs?: number
  service?: string
  attributes?: Json[]
  status?: Json
}

const text = (key: string, value: string) => ({ key, value: { stringValue: value } })
const int = (key: string, value: number) => ({ key, value: { intValue: String(value) } })
const nanos = (ms: number) => (BigInt(Math.round(ms)) * 1_000_000n).toString()

async function send(...spans: Sent[]): Promise<void> {
  const resourceSpans = spans.map(
    ({ service = 'svc', startMs = Date.now(), name = 'span', ...span }) => ({
      resource: { attributes: [text('service.name', service)] },
      scopeSpans: [
        {
          spans: [
            {
              ...span,
              name,
              kind: 2,
              startTimeUnixNano: nanos(startMs),
              endTimeUnixNano: nanos(startMs + 20),
            },
          ],
        },
      ],
    }),
  )
  // A field that nobody knows makes the bytes new each time: what is under test is what is read, not the recognition of bodies.
  const response = await post('/v1/otlp/traces', { resourceSpans, nonce: randomHex(8) })
  expect([response.status, await response.text()]).toEqual([200, '{}'])
}

function post(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(world.url + path, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${world.key}`,
      ...headers,
    },
    body: JSON.stringify(body),
  })
}

const usage = (input: number, output: number) => [
  text('gen_ai.operation.name', 'chat'),
  int('gen_ai.usage.input_tokens', input),
  int('gen_ai.usage.output_tokens', output),
]
const listed = async (query: string): Promise<Json[]> =>
  (await get(world, `/v1/traces?${query}`)).body.items

/** Waits until what was sent is in the list, which does not wait by itself. */
async function untilListed(query: string, count: number): Promise<void> {
  await expect
    .poll(async () => (await listed(`${query}&limit=100`)).length, { timeout: 10_000 })
    .toBe(count)
}

describe('the list', () => {
  const ids = Array.from({ length: 25 }, () => randomHex(16))

  test('is newest first by the start of the trace, page after page, nothing twice and nothing left out', async () => {
    const now = Date.now()
    // Two a step, some days apart at the end, so that a page ends inside and outside every window the search widens to.
    const startMs = (i: number) => now - (i < 18 ? i * 1_000 : (i - 17) * 86_400_000)
    await send(
      ...ids.map((traceId, i) => ({
        traceId,
        spanId: randomHex(8),
        name: `n${i}`,
        service: 'paged',
        startMs: startMs(i),
      })),
    )
    await untilListed('service=paged', ids.length)
    const seen: string[] = []
    let path = '/v1/traces?service=paged&limit=4'
    for (;;) {
      const { body } = await get(world, path)
      seen.push(...body.items.map((item: Json) => item.trace_id))
      if (body.next_cursor === null) break
      path = `/v1/traces?service=paged&limit=4&cursor=${body.next_cursor}`
    }
    expect(seen).toEqual(ids)
  })

  test('is narrowed by each filter to exactly the traces with a span that matches', async () => {
    const [a, b] = [randomHex(16), randomHex(16)]
    const rich = [
      ...usage(3, 4),
      text('gen_ai.provider.name', 'openai'),
      text('gen_ai.response.model', 'gpt-filter'),
      text('deployment.environment.name', 'staging'),
      text('session.id', 's-77'),
      text('user.id', 'u-77'),
      text('tenant', 'acme'),
      int('retries', 3),
      text('gen_ai.prompt.name', 'greet'),
      text('gen_ai.prompt.version', 'v4'),
    ]
    await send(
      {
        traceId: a,
        spanId: '00000000000000d1',
        name: 'root-a',
        service: 'filtered',
        startMs: Date.now() - 500,
        status: { code: 2 },
      },
      {
        traceId: a,
        spanId: randomHex(8),
        parentSpanId: '00000000000000d1',
        name: 'call-a',
        service: 'filtered',
        attributes: rich,
        status: { code: 2, message: 'no' },
      },
      { traceId: b, spanId: '00000000000000d2', name: 'root-b', service: 'filtered' },
      {
        traceId: b,
        spanId: randomHex(8),
        parentSpanId: '00000000000000d2',
        name: 'failed-b',
        service: 'filtered',
        status: { code: 2 },
      },
    )
    await untilListed('service=filtered', 2)
    const only = async (query: string) =>
      (await listed(`service=filtered&${query}`)).map((item) => item.trace_id)
    // Filters speak of one span together: the service and the rest must match in the same one.
    // Status and latency are the trace's: a root that is well stays well over a child that failed, and nobody is faster
    // than the whole.
    for (const query of [
      'min_latency_ms=100',
      'name=call-a',
      'model=gpt-filter',
      'provider=openai',
      'environment=staging',
      'session_id=s-77',
      'user_id=u-77',
      'attr.tenant=acme',
      'attr.retries=3',
      'prompt_version_id=greet%40v4',
      'status=error',
      'q=CALL-A',
      `q=${a}`,
    ]) {
      expect(await only(query), query).toEqual([a])
    }
    for (const query of [
      'name=nobody',
      'attr.tenant=other',
      'attr.retries=4',
      'status=client_closed',
      'source=native',
      'min_latency_ms=10000',
      'max_latency_ms=10',
      'to=2020-01-01T00:00:00Z',
    ]) {
      expect(await only(query), query).toEqual([])
    }
    expect(await only('max_latency_ms=100')).toEqual([b])
    expect(await only('status=ok')).toEqual([b])
    expect(await only('prompt_version_id=default')).toEqual([b])
    expect((await only('source=otlp')).sort()).toEqual([a, b].sort())
  })
})

describe('one trace', () => {
  test('merges what an exporter sent with the call that went through the proxy, and counts its tokens once', async () => {
    const [traceId, root, client] = [randomHex(16), randomHex(8), randomHex(8)]
    const answer = await post(
      '/v1/chat/completions',
      { model: 'm', messages: [{ role: 'user', content: 'Hi' }] },
      { traceparent: `00-${traceId}-${client}-01` },
    )
    const { usage: used } = await answer.json()
    await send(
      { traceId, spanId: root, name: 'handler' },
      {
        traceId,
        spanId: client,
        parentSpanId: root,
        name: 'openai.chat',
        attributes: [
          ...usage(used.prompt_tokens, used.completion_tokens),
          text('session.id', 'one'),
          text('user.id', 'ada'),
        ],
      },
    )
    await untilListed(`q=${traceId}`, 1)
    const { body } = await get(world, `/v1/traces/${traceId}`)
    expect(body).toMatchObject({
      name: 'handler',
      span_count: 3,
      run_count: 1,
      run_id: answer.headers.get('x-batchin-run-id'),
      input_tokens: used.prompt_tokens,
      output_tokens: used.completion_tokens,
    })
    const run = body.spans.find((span: Json) => span.run_id !== null)
    expect(run.parent_span_id).toBe(client)
    // The list asks the engine for what the trace says of itself; by its id it is made of the spans at hand.
    const { spans: _, ...item } = body
    expect(item).toMatchObject({ session_id: 'one', user_id: 'ada', model_id: 'm' })
    await expect.poll(() => listed(`q=${traceId}`), { timeout: 20_000 }).toEqual([item])
  })

  test('is the same after everything was sent three times', async () => {
    const traceId = randomHex(16)
    const spans = [
      {
        traceId,
        spanId: '00000000000000a1',
        name: 'agent',
        startMs: 1_790_000_000_000,
        attributes: usage(30, 12),
      },
      {
        traceId,
        spanId: '00000000000000a2',
        parentSpanId: '00000000000000a1',
        name: 'llm',
        startMs: 1_790_000_000_001,
        attributes: usage(10, 5),
      },
      {
        traceId,
        spanId: '00000000000000a3',
        parentSpanId: '00000000000000a1',
        name: 'llm',
        startMs: 1_790_000_000_002,
        attributes: usage(20, 7),
      },
    ]
    const run = {
      run_id: `mine-${traceId}`,
      trace_id: traceId,
      model: 'm',
      started_at: '2026-09-21T14:13:20Z',
      ended_at: '2026-09-21T14:13:21Z',
      input: 'q',
      output: 'a',
      usage: { input_tokens: 1, output_tokens: 1 },
    }
    for (let i = 0; i < 3; i++) {
      await send(...spans)
      expect((await post('/v1/runs', run)).status).toBe(200)
    }
    const { body } = await get(world, `/v1/traces/${traceId}`)
    await expect
      .poll(async () => (await get(world, `/v1/traces/${traceId}`)).body.span_count)
      .toBe(4)
    expect(body.trace_id).toBe(traceId)
    expect((await get(world, `/v1/traces/${traceId}`)).body).toMatchObject({
      span_count: 4,
      run_count: 1,
      input_tokens: 31,
      output_tokens: 13,
    })
    const exported = await get(world, `/v1/otlp/export?trace_id=${traceId}`)
    expect(spansOf(exported.body).length).toBe(4)
  })

  test('is found by ids that end or begin in zero bytes', async () => {
    for (const traceId of [
      'ab00000000000000000000000000cd00',
      '000000000000000000000000000000ef',
    ]) {
      await send({ traceId, spanId: 'ab00000000000000', service: 'zeros' })
      const { body } = await get(world, `/v1/traces/${traceId}`)
      expect(body).toMatchObject({ trace_id: traceId, span_count: 1 })
      expect((await get(world, `/v1/traces/${traceId}/spans/ab00000000000000`)).status).toBe(200)
    }
    await untilListed('service=zeros', 2)
  })

  test('is whole when its spans claim each other as parents, or one that never came', async () => {
    const traceId = randomHex(16)
    await send(
      {
        traceId,
        spanId: '00000000000000b1',
        parentSpanId: '00000000000000b2',
        attributes: usage(1, 1),
      },
      {
        traceId,
        spanId: '00000000000000b2',
        parentSpanId: '00000000000000b1',
        attributes: usage(1, 1),
      },
      {
        traceId,
        spanId: '00000000000000b3',
        parentSpanId: '00000000000000b3',
        attributes: usage(5, 5),
      },
      { traceId, spanId: '00000000000000b4', parentSpanId: 'ffffffffffffffff' },
    )
    const { status, body } = await get(world, `/v1/traces/${traceId}?include=payload`)
    expect(status).toBe(200)
    expect(body.spans.map((span: Json) => span.span_id)).toEqual([
      '00000000000000b1',
      '00000000000000b2',
      '00000000000000b3',
      '00000000000000b4',
    ])
    expect(body.spans[0].attributes.length).toBe(3)
  })
})

describe('the way out', () => {
  test('gives back every field that came in, in protobuf and in JSON', async () => {
    const request = goldenRequest()
    const bytes = oracle.encode('ExportTraceServiceRequest', request)
    const sent = await fetch(`${world.url}/v1/traces`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-protobuf', Authorization: `Bearer ${world.key}` },
      body: new Uint8Array(bytes),
    })
    expect([sent.status, (await sent.arrayBuffer()).byteLength]).toEqual([200, 0])
    const expected = oracle.decode('ExportTraceServiceRequest', bytes)
    const path = `${world.url}/v1/otlp/export?trace_id=${goldenTraceId}`
    const headers = { Authorization: `Bearer ${world.key}` }
    const protobuf = await fetch(path, {
      headers: { ...headers, Accept: 'application/x-protobuf' },
    })
    expect(protobuf.headers.get('content-type')).toBe('application/x-protobuf')
    expect(
      oracle.decode('ExportTraceServiceRequest', Buffer.from(await protobuf.arrayBuffer())),
    ).toEqual(expected)
    // What JSON says is posted again under another key's eye: the same door must read it as the same spans.
    const json = await fetch(path, { headers })
    expect(json.headers.get('content-type')).toBe('application/json')
    const again = await post('/v1/traces', await json.json())
    expect([again.status, await again.text()]).toEqual([200, '{}'])
    const after = await fetch(`${path}&format=protobuf`, { headers })
    expect(
      oracle.decode('ExportTraceServiceRequest', Buffer.from(await after.arrayBuffer())),
    ).toEqual(expected)
  })

  test('resumes exactly while more comes in: nothing skipped, nothing twice', async () => {
    const names = Array.from({ length: 60 }, (_, i) => `export-${i}`)
    const pending = [...names]
    const seen: string[] = []
    let path = '/v1/otlp/export?service=exported&limit=7'
    const page = async () => {
      const { body, headers } = await get(world, path)
      seen.push(...spansOf(body).map((span) => span.name))
      path = /<([^>]+)>/.exec(headers.get('link') ?? '')?.[1] ?? ''
    }
    while (pending.length > 0) {
      const some = pending.splice(0, 5)
      await Promise.all([
        page(),
        send(
          ...some.map((name) => ({
            traceId: randomHex(16),
            spanId: randomHex(8),
            name,
            service: 'exported',
          })),
        ),
      ])
    }
    const seenMore = async () => {
      await page()
      return seen.length
    }
    await expect.poll(seenMore, { timeout: 10_000 }).toBeGreaterThanOrEqual(names.length)
    await page()
    expect([...seen].sort()).toEqual([...names].sort())
  })

  test('moves on also where nothing matches: the next page does not look at the same spans again', async () => {
    const isolated = async (cursor: string) => {
      const path = `/v1/otlp/export?service=not-there-yet&cursor=${cursor}`
      const { body, headers } = await get(world, path)
      return { spans: spansOf(body), next: headers.get('x-next-cursor') ?? '' }
    }
    const first = await get(world, '/v1/otlp/export?service=not-there-yet')
    const empty = await isolated(first.headers.get('x-next-cursor') ?? '')
    expect(placeOf(empty.next)).toBeGreaterThan(0n)
    await send({ traceId: randomHex(16), spanId: randomHex(8), name: 'x', service: 'other' })
    // What was just sent is looked at once it is loaded.
    let passed = empty
    const place = async () => {
      passed = await isolated(passed.next)
      expect(passed.spans).toEqual([])
      return placeOf(passed.next)
    }
    await expect.poll(place, patience).toBeGreaterThan(placeOf(empty.next))
    await send({
      traceId: randomHex(16),
      spanId: randomHex(8),
      name: 'y',
      service: 'not-there-yet',
    })
    let found = passed
    const named = async () => {
      found = await isolated(found.next)
      return found.spans.map((span) => span.name)
    }
    await expect.poll(named, patience).toEqual(['y'])
    expect((await isolated(found.next)).spans).toEqual([])
  })
})

// Others share the machine.
const patience = { timeout: 20_000 }
const placeOf = (cursor: string) => BigInt(Buffer.from(cursor, 'base64url').toString().slice(3))

describe('a run of the proxy that its client posts too', () => {
  test('is recognised by its id, answered with its own record, and not doubled', async () => {
    const answer = await post('/v1/chat/completions', {
      model: 'm',
      messages: [{ role: 'user', content: 'Hi' }],
    })
    const [runId, recordId] = ['x-batchin-run-id', 'x-vaas-record-id'].map((name) =>
      answer.headers.get(name),
    )
    const traceId = answer.headers.get('traceparent')?.slice(3, 35)
    const run = {
      run_id: runId,
      model: 'm',
      started_at: '2026-11-01T00:00:00Z',
      ended_at: '2026-11-01T00:00:01Z',
      input: 'Hi',
      output: 'x',
    }
    const posted = await (
      await post('/v1/runs', { runs: [run, { ...run, run_id: 'mine' }] })
    ).json()
    expect(posted.accepted).toBe(2)
    expect(posted.runs[0]).toEqual({
      index: 0,
      run_id: runId,
      trace_id: traceId,
      record_id: recordId,
    })
    expect((await get(world, `/v1/traces/${traceId}`)).body).toMatchObject({
      span_count: 1,
      run_count: 1,
    })
  })
})

describe('a client’s retry', () => {
  test('is not given out again on a later page, and a page of retries alone does not end the walk', async () => {
    const spans = Array.from({ length: 6 }, (_, i) => ({
      traceId: randomHex(16),
      spanId: randomHex(8),
      name: `retried-${i}`,
      service: 'retried',
      startMs: 1_790_000_000_000 + i,
    }))
    for (let i = 0; i < 3; i++) await send(...spans)
    const last = { traceId: randomHex(16), spanId: randomHex(8), name: 'last', service: 'retried' }
    await send(last)
    const seen: string[] = []
    let path = '/v1/otlp/export?service=retried&limit=4'
    for (let page = 0; page < 8; page++) {
      const { body, headers } = await get(world, path)
      seen.push(...spansOf(body).map((span) => span.name))
      path = /<([^>]+)>/.exec(headers.get('link') ?? '')?.[1] ?? ''
    }
    expect(seen).toEqual([...spans.map((span) => span.name), 'last'])
  })
})

describe('prompts', () => {
  test('count a call once that both its client and the proxy reported', async () => {
    const [traceId, client] = [randomHex(16), randomHex(8)]
    await post(
      '/v1/chat/completions',
      { model: 'm', messages: [{ role: 'user', content: 'Hi' }] },
      { traceparent: `00-${traceId}-${client}-01`, 'X-BatchIn-Prompt-Version': 'seen-twice@v1' },
    )
    const prompt = [text('gen_ai.prompt.name', 'seen-twice'), text('gen_ai.prompt.version', 'v1')]
    await send({
      traceId,
      spanId: client,
      name: 'openai.chat',
      attributes: [...usage(1, 1), ...prompt],
    })
    const { body } = await get(world, '/v1/prompts')
    const registry = body.items.find((item: Json) => item.registry_id === 'seen-twice')
    expect([registry.total_runs, registry.versions[0].total_runs]).toEqual([1, 1])
  })

  test('of one noisy registry do not keep others from being known', async () => {
    const many = Array.from({ length: 2_100 }, (_, i) => ({
      traceId: randomHex(16),
      spanId: randomHex(8),
      attributes: [text('gen_ai.prompt.name', 'noisy'), text('gen_ai.prompt.version', `r${i}`)],
    }))
    for (let i = 0; i < many.length; i += 700) await send(...many.slice(i, i + 700))
    await send({
      traceId: randomHex(16),
      spanId: randomHex(8),
      attributes: [text('gen_ai.prompt.name', 'quiet'), text('gen_ai.prompt.version', 'v10')],
    })
    await send({
      traceId: randomHex(16),
      spanId: randomHex(8),
      attributes: [text('gen_ai.prompt.name', 'quiet'), text('gen_ai.prompt.version', 'v9')],
    })
    const { body } = await get(world, '/v1/prompts')
    const quiet = body.items.find((item: Json) => item.registry_id === 'quiet')
    expect(quiet.latest_version_id).toBe('quiet@v10')
    expect(quiet.versions.map((version: Json) => version.version_id)).toEqual([
      'quiet@v9',
      'quiet@v10',
    ])
  })
})

describe('evidence', () => {
  test('verifies by ten lines of independent code, and no changed character passes', async () => {
    const answer = await post('/v1/chat/completions', {
      model: 'm',
      messages: [{ role: 'user', content: 'Sign this.' }],
    })
    const pack: Json = await (
      await fetch(`${world.url}/v1/vaas/${answer.headers.get('x-vaas-record-id')}/evidence`)
    ).json()
    expect(isSigned(pack)).toBe(true)
    expect(pack.signature).toBe(answer.headers.get('x-vaas-signature'))
    const payload = JSON.stringify(pack.payload)
    for (let at = 0; at < payload.length; at += 7) {
      const changed = `${payload.slice(0, at)}${payload[at] === '0' ? '1' : '0'}${payload.slice(at + 1)}`
      expect(isSigned({ ...pack, payload: parseOrEmpty(changed) }), changed).toBe(false)
    }
  })

  // Only node:crypto and the contract: RFC 8785 of a payload with ASCII keys is its keys sorted.
  function isSigned(pack: Json): boolean {
    const sorted = (value: Json): Json =>
      value && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(
            Object.keys(value)
              .sort()
              .map((key) => [key, sorted(value[key])]),
          )
        : value
    const x = pack.public_key.slice('ed25519:pk_'.length)
    const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } })
    const signature = Buffer.from(pack.signature.slice('ed25519:'.length), 'base64url')
    return verify(null, Buffer.from(JSON.stringify(sorted(pack.payload))), key, signature)
  }

  function parseOrEmpty(text: string): Json {
    try {
      return JSON.parse(text)
    } catch {
      return {}
    }
  }
})

describe('another workspace', () => {
  test('sees nothing of this one, by any route, and its own ids are not refused', async () => {
    const stranger = { url: world.url, key: await addStranger() }
    const traceId = randomHex(16)
    await send({
      traceId,
      spanId: '00000000000000c1',
      name: 'secret',
      attributes: [text('gen_ai.prompt.name', 'secret-prompt')],
    })
    const answer = await post('/v1/chat/completions', {
      model: 'm',
      messages: [{ role: 'user', content: 'secret' }],
    })
    const ours = async () => (await get(world, `/v1/traces/${traceId}`)).status
    await expect.poll(ours, patience).toBe(200)
    for (const path of [
      `/v1/traces/${traceId}`,
      `/v1/traces/${traceId}?include=payload`,
      `/v1/traces/${traceId}/spans/00000000000000c1`,
      `/v1/vaas/${answer.headers.get('x-vaas-record-id')}/disclosure`,
    ]) {
      expect((await get(stranger, path)).status, path).toBe(404)
    }
    expect((await get(stranger, '/v1/traces')).body).toEqual({ items: [], next_cursor: null })
    expect((await get(stranger, '/v1/prompts')).body.items).toEqual([])
    expect((await get(stranger, `/v1/otlp/export?trace_id=${traceId}`)).body).toEqual({
      resourceSpans: [],
    })
    expect((await get(stranger, '/v1/otlp/export')).body).toEqual({ resourceSpans: [] })
  })

  async function addStranger(): Promise<string> {
    const token = `batchin_api_a_stranger_who_came_by_${randomHex(8)}`
    const sql = connectPostgres({
      host: join(world.dataDir, 'postgres', 'run'),
      port: 5432,
      user: 'runledger',
      database: 'postgres',
    })
    const userId = toUuid(newId())
    await sql.query('INSERT INTO users (id, email, name) VALUES ($1, $2, $3)', [
      userId,
      'stranger@example.com',
      'Stranger',
    ])
    const digest = createHash('sha256').update(token).digest()
    await sql.query(
      'INSERT INTO keys (id, user_id, digest, name, scopes) VALUES ($1, $2, $3, $4, $5)',
      [toUuid(newId()), userId, digest, 'stranger', ['ingest', 'proxy', 'read']],
    )
    await sql.close()
    return token
  }
})

function spansOf(body: Json): Json[] {
  return body.resourceSpans.flatMap((resource: Json) =>
    resource.scopeSpans.flatMap((scope: Json) => scope.spans),
  )
}

const goldenTraceId = 'f0'.repeat(16)

/** Two spans that between them use every field of trace.proto, 64-bit extremes and odd values included. */
function goldenRequest() {
  const id = (hex: string) => Buffer.from(hex, 'hex')
  const attributes = [
    { key: 'text', value: { stringValue: 'ok ✓' } },
    { key: 'empty', value: { stringValue: '' } },
    { key: 'none', value: {} },
    { key: '__proto__', value: { boolValue: true } },
    { key: 'min', value: { intValue: '-9223372036854775808' } },
    { key: 'max', value: { intValue: '9223372036854775807' } },
    { key: 'double', value: { doubleValue: 0.1 } },
    { key: 'nan', value: { doubleValue: Number.NaN } },
    { key: 'infinite', value: { doubleValue: Number.NEGATIVE_INFINITY } },
    { key: 'bytes', value: { bytesValue: Buffer.from([0, 255, 128]) } },
    {
      key: 'list',
      value: {
        arrayValue: { values: [{ intValue: '1' }, { stringValue: 'two' }, { boolValue: false }] },
      },
    },
    {
      key: 'map',
      value: { kvlistValue: { values: [{ key: 'inner', value: { doubleValue: 1 } }] } },
    },
    { key: 'text', value: { stringValue: 'the same key again' } },
  ]
  const start = nanos(Date.now())
  const full = {
    traceId: id(goldenTraceId),
    spanId: id('00f067aa0ba902b7'),
    parentSpanId: id('0af067aa0ba902b7'),
    traceState: 'a=1,b=2',
    flags: 0x103,
    name: 'golden',
    kind: 3,
    startTimeUnixNano: start,
    endTimeUnixNano: start,
    attributes,
    droppedAttributesCount: 7,
    events: [
      { timeUnixNano: start, name: 'event', attributes, droppedAttributesCount: 1 },
      { timeUnixNano: '18446744073709551615', name: '' },
    ],
    droppedEventsCount: 2,
    links: [
      {
        traceId: id('ab'.repeat(16)),
        spanId: id('cd'.repeat(8)),
        traceState: 'c=3',
        attributes,
        droppedAttributesCount: 4,
        flags: 0x100,
      },
    ],
    droppedLinksCount: 3,
    status: { code: 2, message: 'failed' },
  }
  const bare = {
    traceId: id(goldenTraceId),
    spanId: id('00f067aa0ba902b8'),
    name: '',
    kind: 99,
    startTimeUnixNano: start,
    endTimeUnixNano: start,
  }
  return {
    resourceSpans: [
      {
        resource: {
          attributes: [{ key: 'service.name', value: { stringValue: 'golden' } }, ...attributes],
          droppedAttributesCount: 5,
        },
        schemaUrl: 'https://opentelemetry.io/schemas/1.37.0',
        scopeSpans: [
          {
            scope: { name: 'scope', version: '1.2', attributes, droppedAttributesCount: 6 },
            schemaUrl: 'https://opentelemetry.io/schemas/1.30.0',
            spans: [full, bare],
          },
        ],
      },
    ],
  }
}
