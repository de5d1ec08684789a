// What callers and upstreams may do that mean harm: nothing of it ends in a 500, a call that hangs, or a name told to strangers.

import type { IncomingHttpHeaders } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import { LiveAnswers } from '../collectors/proxy/live-answers.ts'
import { callMeters } from '../collectors/proxy/meters.ts'
import { fromNote } from '../collectors/proxy/openings.ts'
import { sandboxUpstream } from '../collectors/proxy/sandbox/sandbox.ts'
import type { Upstream } from '../collectors/proxy/upstream.ts'
import { openMetrics } from '../src/metrics.ts'
import { type ProxyWorld, startProxy, until } from './proxy-world.ts'
import { completion, json, type Script, sse } from './upstream.ts'

let world: ProxyWorld
afterEach(() => world.end())

const messages = [{ role: 'user', content: 'Hi' }]
/** `String` and `Number` throw on it. */
const trap = { toString: 1, valueOf: 1 }
const trapped: IncomingHttpHeaders = {
  get 'content-type'(): string {
    throw new Error('a defect')
  },
}

describe('a member that is an object without a text', () => {
  test.each<[string, object]>([
    ['/v1/chat/completions', { messages, metadata: { no_replay: trap } }],
    [
      '/v1/responses',
      { input: [{ role: 'assistant', content: [{ type: 'output_text', text: trap }] }] },
    ],
    ['/v1/responses', { input: [{ type: trap }] }],
    ['/v1/responses', { input: 'x', tools: [{ type: trap }] }],
    ['/v1/videos', { prompt: 'x', seconds: trap }],
    ['/v1/images', { prompt: 'x', output_format: trap }],
  ])('of a request to %s is no fault of ours: %j', async (path, body) => {
    world = await startProxy({ responses: false })
    world.upstream.play(json(completion('Hello')))
    const answer = await world.postTo(path, { model: 'm', ...body })
    expect([200, 400]).toContain(answer.status)
  })

  test.each<[string, object]>([
    ['/v1/chat/completions', { messages }],
    ['/v1/images', { prompt: trap }],
    ['/v1/audio/speech', { input: trap, response_format: trap }],
    ['/v1/videos', { prompt: 'x', duration_seconds: trap }],
  ])('of a request to the sandbox, at %s, neither: %j', async (path, body) => {
    world = await startProxy({ upstream: sandboxUpstream() })
    const answer = await world.postTo(path, { model: 'm', ...body })
    expect(answer.status).toBeLessThan(500)
  })

  test.each<[string, object, Script]>([
    ['/v1/chat/completions', { messages }, json({ error: { message: trap, code: trap } }, 400)],
    [
      '/v1/embeddings',
      { input: 'x', encoding_format: 'base64' },
      json({ data: [{ embedding: [trap] }] }),
    ],
    ['/v1/videos', { prompt: 'x' }, json({ id: 'v', status: trap, seconds: trap })],
    ['/v1/images', { prompt: 'x' }, json({ data: [{ b64_json: 'QQ==', output_format: trap }] })],
    [
      '/v1/responses',
      { input: 'x' },
      json({ id: 'r', status: 'incomplete', incomplete_details: { reason: trap }, output: [] }),
    ],
    [
      '/v1/responses',
      { input: 'x', stream: true },
      sse([
        `data: ${JSON.stringify({ type: trap, response: { id: 'r' } })}\n\n`,
        `data: ${JSON.stringify({ type: 'response.completed', response: { output: [] } })}\n\n`,
      ]),
    ],
  ])('of an answer at %s to %j ends the call like any other', async (path, body, script) => {
    world = await startProxy({ responses: true })
    world.upstream.play(script)
    const answer = await world.postTo(path, { model: 'm', ...body })
    expect(answer.headers.get('x-vaas-signature')).toMatch(/^ed25519:/)
    await answer.arrayBuffer()
    expect([200, 400]).toContain(answer.status)
  })
})

test('a user of any length is cut to a thousand characters: notes and rows stay short', async () => {
  world = await startProxy()
  world.upstream.play(json(completion('Hello')))
  await (await world.post({ model: 'm', messages, user: 'u'.repeat(100_000) })).json()
  expect(String(world.intake.rows.spans[0]?.user_id)).toHaveLength(1000)
})

test('a replay that a crash cuts off is a replay in its note, too', async () => {
  world = await startProxy({ caller: { by: 'internal' } })
  world.upstream.play(() => {})
  const leaving = new AbortController()
  const asked = fetch(`${world.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-batchin-origin': 'replay' },
    body: JSON.stringify({ model: 'm', messages }),
    signal: leaving.signal,
  }).catch(() => undefined)
  await until('it was asked', () => world.upstream.seen.length > 0)
  expect(world.intake.openings.map((opening) => fromNote(opening).run.origin)).toEqual(['replay'])
  leaving.abort()
  await asked
})

test('whoever leaves a download before it begins stops the upstream', async () => {
  world = await startProxy()
  world.upstream.play(json({ id: 'video_1', status: 'queued' }))
  await (await world.postTo('/v1/videos', { model: 'm', prompt: 'x' })).json()
  world.upstream.seen.length = 0
  world.upstream.play(() => {})
  const leaving = new AbortController()
  const asked = fetch(`${world.baseUrl}/videos/video_1/content`, { signal: leaving.signal })
  await until('it was asked', () => world.upstream.seen.length > 0)
  leaving.abort()
  await expect(asked).rejects.toThrow()
  let isClosed = false
  void world.upstream.seen[0]?.closed.then(() => {
    isClosed = true
  })
  await until('the upstream was let go', () => isClosed)
})

test('/metrics names no route, provider or model behind a route that is not public', async () => {
  const metrics = openMetrics()
  const secret = { id: 'secret-route', public_label: 'managed-text', public: false }
  world = await startProxy({
    file: {
      routes: [
        {
          ...secret,
          models: ['fast'],
          targets: [{ provider: 'openai', model: 'secret-model' }, { provider: 'openai' }],
        },
      ],
    },
    counters: metrics,
    meters: callMeters(metrics),
  })
  const statuses = [503, 401, 200]
  world.upstream.play((res, seen) => json(completion('x'), statuses.shift() ?? 200)(res, seen))
  for (let i = 0; i < 3; i++) {
    const stream = i === 2
    await (await world.post({ model: 'fast', messages, stream })).text()
  }
  const text = metrics.toText() + JSON.stringify([...world.counted])
  expect(text).toContain('route="managed-text",model="private"')
  expect(text).toContain('runledger_proxy_runs_total{provider="private",status="ok"}')
  expect(text).toContain('runledger_proxy_retries_total{route="managed-text",reason="503"} 1')
  for (const name of ['secret-route', 'secret-model', 'openai', '"fast"'])
    expect(text).not.toContain(name)
})

test.each<[string, Operated]>([
  ['at its end', { headers: trapped, body: JSON.stringify(completion('x')) }],
  ['at its head', { headers: trapped, body: '', stream: true }],
])(
  'a defect of ours in an answer, %s, ends its call with a fault',
  async (_when, { headers, body, stream }) => {
    const upstream: Upstream = {
      provider: 'defect',
      call(_request, handler) {
        setImmediate(() => {
          handler.onHead(200, headers)
          handler.onData(Buffer.from(body))
          handler.onEnd()
        })
        return { pause() {}, resume() {}, abort() {} }
      },
      get: () => ({ pause() {}, resume() {}, abort() {} }),
    }
    world = await startProxy({ upstream })
    expect((await world.post({ model: 'm', messages, stream })).status).toBe(500)
  },
)

test.each([false, true])(
  'a defect of ours in asking the upstream ends its call with a fault, and nothing of it stays, stream: %s',
  async (stream) => {
    const live = new LiveAnswers()
    const upstream: Upstream = {
      provider: 'defect',
      call() {
        throw new Error('a defect')
      },
      get: () => ({ pause() {}, resume() {}, abort() {} }),
    }
    world = await startProxy({ upstream, live })
    expect((await world.post({ model: 'm', messages, stream })).status).toBe(500)
    expect(live.size).toBe(0)
  },
)

type Operated = { headers: IncomingHttpHeaders; body: string; stream?: boolean }

const head = (name: string, more = '') =>
  `--b\r\n${more}Content-Disposition: form-data; name="${name}"`
test.each<[string, string]>([
  [
    'inside the sound',
    `${head('file')}; filename="a.wav"\r\n\r\nx${head('model')}\r\n\r\nshort\r\n`,
  ],
  [
    'in another header',
    `${head('file', 'Content-Type: audio/wav; name="model"\r\n')}; filename="a.wav"\r\n\r\nshort\r\n`,
  ],
  [
    'in what the file is called',
    `--b\r\nContent-Disposition: form-data; filename="; name=model ;"; name="file"\r\n\r\nshort\r\n`,
  ],
])('the model of a form is the field and not what looks like it %s', async (_where, before) => {
  const targets = [{ provider: 'openai', model: 'the-target' }]
  world = await startProxy({
    file: { routes: [{ id: 'r', public_label: 'r', models: ['*'], targets }] },
  })
  world.upstream.play(json({ text: 'ok' }))
  const answer = await fetch(`${world.baseUrl}/audio/transcriptions`, {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
    body: `${before}${head('model')}\r\n\r\nshort\r\n--b--\r\n`,
  })
  expect(answer.status).toBe(200)
  expect(String(world.upstream.seen[0]?.body)).toBe(
    `${before}${head('model')}\r\n\r\nthe-target\r\n--b--\r\n`,
  )
})

test.each([false, true])(
  'what is stored of a call on a route that is not public names who answered only to the owner: %j',
  async (isOwner) => {
    const targets = [{ provider: 'openai', model: 'secret-model' }, { provider: 'openai' }]
    const route = { id: 'secret-route', public_label: 'managed-text', public: false }
    world = await startProxy({
      file: { routes: [{ ...route, models: ['fast'], targets }] },
      ...(isOwner ? { caller: { isOwner } } : {}),
    })
    const statuses = [503]
    world.upstream.play((res, seen) => json(completion('x'), statuses.shift() ?? 200)(res, seen))
    await (await world.post({ model: 'fast', messages })).text()
    world.upstream.play(json({ id: 'v1', status: 'queued' }))
    await (await world.postTo('/v1/videos', { model: 'fast', prompt: 'x' })).text()
    world.upstream.play(json({ id: 'v1', status: 'completed' }))
    expect((await fetch(`${world.baseUrl}/videos/v1`)).status).toBe(200)
    // The run, its two attempts, the video's run.
    expect(world.intake.rows.spans).toHaveLength(4)
    const stored = JSON.stringify(world.intake.rows, (_, value) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    expect(stored).toContain('managed-text')
    for (const name of ['secret-route', 'secret-model', '"openai"', 'attempt openai'])
      expect(stored.includes(name), name).toBe(isOwner)
  },
)
