// Routes and failover over a whole plane, by the official SDK: what a user sees of a call that two upstreams had to share.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { getStored, type Json } from './clients.ts'
import {
  chunk,
  completion,
  delta,
  doneEvent,
  hangAfter,
  helloEvents,
  json,
  type ScriptedUpstream,
  sse,
  startUpstream,
} from './upstream.ts'
import { startWorld, type World } from './world.ts'

let one: ScriptedUpstream
let two: ScriptedUpstream
let world: World
let client: OpenAI
const folder = mkdtempSync(join(tmpdir(), 'runledger-gateway-'))

beforeAll(async () => {
  one = await startUpstream()
  two = await startUpstream()
  const targets = [{ provider: 'one' }, { provider: 'two', model: 'inner-2', weight: 0 }]
  const file = {
    providers: [
      { id: 'one', base_url: one.baseUrl },
      { id: 'two', base_url: two.baseUrl },
    ],
    routes: [
      { id: 'private-7', public: false, public_label: 'managed', models: ['hidden-*'], targets },
      { id: 'open', models: ['*'], ttft_timeout_ms: 2_000, targets },
    ],
    models: [{ id: 'm', pricing: { std_input: 1, std_output: 2 } }],
    breaker: { failures_in_row: 100 },
  }
  const configFile = join(folder, 'runledger.json')
  writeFileSync(configFile, JSON.stringify(file))
  world = await startWorld({ RUNLEDGER_CONFIG: configFile })
  client = new OpenAI({ baseURL: `${world.url}/v1`, apiKey: world.key, maxRetries: 0 })
}, 60_000)

afterAll(async () => {
  await world.end()
  await one.close()
  await two.close()
  rmSync(folder, { recursive: true })
})

beforeEach(() => {
  one.seen.length = 0
  two.seen.length = 0
})

const messages = [{ role: 'user' as const, content: 'hi' }]

let traces = 0
/** A trace of its own, to find the call by. */
function newTrace(): { traceId: string; headers: { traceparent: string } } {
  traces += 1
  const traceId = `ab${String(traces).padStart(30, '0')}`
  return { traceId, headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` } }
}

const read = (path: string): Promise<Json> => getStored(world, path)

test('a call that one upstream fails and another answers is one run with both attempts below it, signed by who answered', async () => {
  one.play(json({ error: { message: 'busy', type: 'api_error' } }, 503))
  two.play(json(completion('from two')))
  const { traceId, headers } = newTrace()
  const { data, response } = await client.chat.completions
    .create({ model: 'm', messages }, { headers })
    .withResponse()
  expect(data.choices[0]?.message.content).toBe('from two')
  expect(JSON.parse(String(two.seen[0]?.body)).model).toBe('inner-2')

  const trace = await read(`/v1/traces/${traceId}`)
  expect(trace).toMatchObject({ run_count: 1, provider: 'two', input_tokens: 9, output_tokens: 4 })
  type Span = { name: string; status: string; parent_span_id: string; span_id: string }
  const [run, ...attempts] = (trace.spans as Span[]).sort((a, b) => b.name.localeCompare(a.name))
  expect(run?.name).toBe('chat m')
  const shown = attempts.map(({ name, status, parent_span_id }) => [name, status, parent_span_id])
  expect(shown.sort()).toEqual([
    ['attempt one', 'error', run?.span_id],
    ['attempt two', 'ok', run?.span_id],
  ])
  const recordId = response.headers.get('x-vaas-record-id')
  expect((await read(`/v1/vaas/${recordId}/verify`)).valid).toBe(true)
  expect((await read(`/v1/vaas/${recordId}/evidence`)).provider).toBe('two')
})

test('a stream that does not begin in time begins elsewhere, and the SDK reads it to its end', async () => {
  one.play(hangAfter([]))
  two.play(sse([...helloEvents, doneEvent]))
  const stream = await client.chat.completions.create({ model: 'm', messages, stream: true })
  let text = ''
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
  expect(text).toBe('Hello wörld ✓')
  expect(await one.seen[0]?.closed).toBe(true)
})

/** Reads a stream to its second word, leaves, and tells how long the upstream had to wait for it. */
async function leave(headers: Record<string, string>): Promise<number> {
  one.seen.length = 0
  const stream = await client.chat.completions.create(
    { model: 'm', messages, stream: true },
    { headers },
  )
  const closed = one.seen[0]!.closed
  for await (const { choices } of stream) if (choices[0]?.delta.content === 'lo') break
  const leftAt = performance.now()
  expect(await closed).toBe(true)
  return performance.now() - leftAt
}

test('who leaves a stream stops the upstream within 100 ms; the run has what was seen, and counts as an estimate', async () => {
  one.play(hangAfter([delta({ role: 'assistant', content: 'Hel' }), delta({ content: 'lo' })]))
  const { traceId, headers } = newTrace()
  // Others use this machine too: the fastest of three is what the proxy needs.
  const waits = [await leave(headers), await leave({}), await leave({})]
  expect(Math.min(...waits)).toBeLessThan(100)
  expect(two.seen).toEqual([])

  // The run is written a moment after its client has gone.
  const path = `/v1/traces/${traceId}?include=payload`
  const authorization = `Bearer ${world.key}`
  const show = async () => (await fetch(world.url + path, { headers: { authorization } })).text()
  await expect.poll(show, { timeout: 10_000 }).toContain('"status":"client_closed"')
  const trace = await read(path)
  expect(JSON.stringify(trace)).toContain('Hello')
  expect(trace.output_tokens).toBe(2)
})

test('what is private stays so: in headers, in the record, in the evidence and in the list of models', async () => {
  one.play((res, seen) =>
    seen.path.endsWith('/models')
      ? json({ object: 'list', data: [{ id: 'hidden-1' }, { id: 'seen-1' }] })(res, seen)
      : json(completion('x'))(res, seen),
  )
  two.play(json({}, 404))
  const { response } = await client.chat.completions
    .create({ model: 'hidden-1', messages })
    .withResponse()
  expect(response.headers.get('x-batchin-route-id')).toBe('managed')
  expect(response.headers.get('x-batchin-provider')).toBeNull()
  const recordId = response.headers.get('x-vaas-record-id')
  for (const path of [`/v1/vaas/${recordId}`, `/v1/vaas/${recordId}/evidence`]) {
    const shown = JSON.stringify(await read(path))
    expect(shown).toContain('managed')
    expect(shown).not.toContain('private-7')
    expect(shown).not.toMatch(/"provider":"/)
  }
  const { data } = await client.models.list()
  expect(data.map(({ id }) => id)).toEqual(['m', 'seen-1'])
})

test('an error of the upstream is the SDK’s error of that kind, with the request’s id', async () => {
  one.play(json({ error: { message: 'no such', type: 'invalid_request_error' } }, 404))
  const failing = client.chat.completions.create({ model: 'm', messages })
  await expect(failing).rejects.toMatchObject({
    status: 404,
    requestID: expect.stringMatching(/^req_/),
  })
  expect(two.seen).toEqual([])
  one.play(
    sse([chunk([{ index: 0, delta: { content: 'a' } }]), 'data: {"error":{"message":"over"}}\n\n']),
  )
  const stream = await client.chat.completions.create({ model: 'm', messages, stream: true })
  await expect(
    (async () => {
      for await (const _ of stream);
    })(),
  ).rejects.toThrow('over')
})
