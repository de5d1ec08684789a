// The plane's own telemetry: its traces among everyone's when asked for, and how long each route takes.

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { get, type Json } from './clients.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld({ RUNLEDGER_SELF_TRACES: 'on' })
})
afterAll(() => world.end())

const eventually = { timeout: 20_000, interval: 200 }

async function ourTraces(): Promise<Json[]> {
  return (await get(world, '/v1/traces?service=runledger&limit=100')).body.items
}

test('a request is a trace of its own, with the queries it made, when that was asked for', async () => {
  await get(world, '/v1/prompts')
  await vi.waitFor(async () => {
    const found = (await ourTraces()).find(({ name }) => name === 'GET /v1/prompts')
    const { body } = await get(world, `/v1/traces/${found.trace_id}?include=payload`)
    const [root, query] = body.spans
    expect(root).toMatchObject({ name: 'GET /v1/prompts', type: 'http', parent_span_id: null })
    expect(query).toMatchObject({ name: 'SELECT', type: 'db', parent_span_id: root.span_id })
    const values = new Map(root.attributes.map((one: Json) => [one.key, one.value]))
    expect([values.get('http.route'), values.get('http.response.status_code')]).toEqual([
      '/v1/prompts',
      200,
    ])
  }, eventually)
})

test('ingest and inference leave no trace of the plane, so that none feeds itself', async () => {
  const headers = { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' }
  const calls: [string, object][] = [
    ['/v1/otlp/traces', jsonRequest(jsonSpan())],
    ['/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'Hi' }] }],
  ]
  for (const [path, body] of calls) {
    const answer = await fetch(world.url + path, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    })
    expect(answer.status).toBe(200)
  }
  await get(world, '/v1/models')
  await vi.waitFor(async () => {
    expect((await ourTraces()).map(({ name }) => name)).toContain('GET /v1/models')
  }, eventually)
  const names = (await ourTraces()).map(({ name }) => name)
  expect(names.filter((name) => name.startsWith('POST'))).toEqual([])
})

test('every route has its own times, and paths of strangers share one', async () => {
  await get(world, '/v1/nothing/here')
  const { body } = await get(world, '/metrics')
  expect(body).toMatch(/http_request_seconds_count\{method="GET",route="\/v1\/prompts"\} [1-9]/)
  expect(body).toMatch(/http_request_seconds_count\{method="POST",route="\/v1\/otlp\/traces"\} 1/)
  expect(body).toMatch(/http_request_seconds_count\{method="any",route="none"\} [1-9]/)
  expect(body).not.toContain('/v1/nothing/here')
})
