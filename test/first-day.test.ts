// A new user's first day, against the whole plane in this process. The started product has the same day in product.test.ts.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { exportTrace, get, openai } from './clients.ts'
import { firstDay } from './journey.ts'
import { completion, json, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.end())

test('what real clients send comes back whole through the public API', async () => {
  await firstDay(world)
})

test('all three OTLP paths take the same exporters', async () => {
  for (const path of ['/v1/otlp/traces', '/v1/otlp/v1/traces', '/v1/traces']) {
    for (const encoding of ['json', 'protobuf'] as const) {
      const traceId = await exportTrace(world, encoding, path)
      expect((await get(world, `/v1/traces/${traceId}`)).body.span_count).toBe(3)
    }
  }
})

test('with an upstream configured its provider answers, and the sandbox does not', async () => {
  const upstream = await startUpstream()
  upstream.play(json(completion('hi ✓')))
  const own = await startWorld({ OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-upstream' })
  try {
    const { response } = await openai(own)
      .chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] })
      .withResponse()
    expect(response.headers.get('x-batchin-provider')).toBe('openai')
    const { body } = await get(own, '/v1/traces')
    expect(body.items).toMatchObject([{ provider: 'openai', status: 'ok', run_count: 1 }])
    expect(own.log).toEqual([])
  } finally {
    await own.end()
    await upstream.close()
  }
})
