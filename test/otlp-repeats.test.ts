// What is sent again: the same bytes are recognised and hear the same answer; the same spans in other bytes count once when read.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { KnownBodies, type Outcome } from '../collectors/otlp/known-bodies.ts'
import { openWishes } from '../src/erasing/wishes.ts'
import { get, type Json } from './clients.ts'
import {
  diskFull,
  jsonRequest,
  jsonSpan,
  openWorld,
  protobufRequest,
  type World,
} from './otlp-world.ts'
import { type World as Plane, startWorld } from './world.ts'

describe('the same bytes', () => {
  let world: World
  beforeEach(async () => {
    world = await openWorld()
    world.knowsBodies = true
  })
  afterEach(() => world.close())

  const good = jsonSpan()
  const bad = jsonSpan({ spanId: '00' })

  test.each([
    ['protobuf', protobufRequest(good, good), false],
    ['protobuf, gzip', protobufRequest(good, good), true],
    ['JSON', JSON.stringify(jsonRequest(good, bad)), false],
    ['JSON, gzip', JSON.stringify(jsonRequest(good, bad)), true],
  ])(
    'as %s, sent three times, are stored once, answered alike, and counted',
    async (_, body, gzip) => {
      const first = await world.post(body, { gzip })
      const stored = world.stored.spans.length
      expect([first.status, stored > 0]).toEqual([200, true])
      for (let again = 0; again < 2; again++) {
        const answer = await world.post(body, { gzip })
        expect([answer.status, answer.body]).toEqual([200, first.body])
      }
      expect(world.stored.spans).toHaveLength(stored)
      expect(world.counts.get('otlp_spans_total accepted')).toBe(stored)
      expect(world.counts.get('otlp_spans_total repeated')).toBe(2 * stored)
    },
  )

  test('are known only once they were durable', async () => {
    const body = protobufRequest(good)
    world.failing = diskFull()
    expect((await world.post(body)).status).toBe(503)
    world.failing = undefined
    expect((await world.post(body)).status).toBe(200)
    expect(world.stored.spans).toHaveLength(1)
  })

  test('that cannot be read are refused every time', async () => {
    for (let again = 0; again < 3; again++)
      expect((await world.post(Buffer.from([0x0a]))).status).toBe(400)
  })

  test('are not the same where strictness is asked, nor in the other encoding', async () => {
    const deviating = JSON.stringify(jsonRequest(jsonSpan({ kind: 'SPAN_KIND_SERVER' })))
    const lenient = await world.post(deviating)
    const strict = await world.post(deviating, { query: '?strict=1' })
    expect(lenient.body).not.toEqual(strict.body)
    expect(world.stored.spans).toHaveLength(1)
  })

  test('sent by twenty at once are stored once', async () => {
    const body = protobufRequest(good)
    const answers = await Promise.all(Array.from({ length: 20 }, () => world.post(body)))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(world.stored.spans).toHaveLength(1)
  })

  test('are forgotten after a while', async () => {
    const body = protobufRequest(good)
    await world.post(body)
    world.forgetEnvelopes()
    await world.post(body)
    expect(world.stored.spans).toHaveLength(2)
  })
})

describe('the table of known bodies', () => {
  const outcome: Outcome = { accepted: 1, rejected: 0, message: '' }
  const key = (n: number, workspace = 'w') => ({ workspace, form: '', bytes: Buffer.from(`${n}`) })

  test('knows a body in its own workspace only', async () => {
    const bodies = new KnownBodies()
    await bodies.once(key(1, 'a'), async () => outcome)
    expect((await bodies.once(key(1, 'b'), async () => outcome)).isRepeated).toBe(false)
    expect((await bodies.once(key(1, 'a'), async () => outcome)).isRepeated).toBe(true)
  })

  test('tries again for those who waited for one that failed', async () => {
    const bodies = new KnownBodies()
    let tries = 0
    const take = async () => {
      tries += 1
      await new Promise(setImmediate)
      if (tries < 3) throw new Error('not durable')
      return outcome
    }
    const ends = await Promise.allSettled(
      Array.from({ length: 5 }, () => bodies.once(key(1), take)),
    )
    expect(ends.map(({ status }) => status).sort()).toEqual([
      ...Array(3).fill('fulfilled'),
      ...Array(2).fill('rejected'),
    ])
    expect(tries).toBe(3)
  })

  test('is bounded, and loses the oldest first', async () => {
    const bodies = new KnownBodies()
    const count = 32_768 + 10
    for (let n = 0; n < count; n++) await bodies.once(key(n), async () => outcome)
    const isKnown = async (n: number) => (await bodies.once(key(n), async () => outcome)).isRepeated
    expect([await isKnown(count - 1), await isKnown(20), await isKnown(3)]).toEqual([
      true,
      true,
      false,
    ])
  })
})

describe('on the whole plane', () => {
  let plane: Plane
  beforeAll(async () => {
    plane = await startWorld()
  })
  afterAll(() => plane.end())

  const traceId = 'a1'.repeat(16)
  const startNs = BigInt(Date.now() - 60_000) * 1_000_000n
  const call = (spanId: string, over: Json) =>
    jsonSpan({
      traceId,
      spanId,
      startTimeUnixNano: String(startNs),
      endTimeUnixNano: String(startNs + 2_000_000_000n),
      ...over,
    })
  const spans = [
    call('00000000000000a1', { name: 'agent' }),
    call('00000000000000a2', {
      parentSpanId: '00000000000000a1',
      attributes: [
        { key: 'gen_ai.operation.name', value: { stringValue: 'chat' } },
        { key: 'gen_ai.request.model', value: { stringValue: 'thrice-1' } },
        { key: 'gen_ai.usage.input_tokens', value: { intValue: '700' } },
        { key: 'gen_ai.usage.output_tokens', value: { intValue: '30' } },
        { key: 'gen_ai.usage.cost', value: { doubleValue: 0.25 } },
      ],
    }),
  ]

  async function send(body: string | Buffer): Promise<void> {
    const response = await fetch(`${plane.url}/v1/otlp/traces`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${plane.key}`,
        'content-type': typeof body === 'string' ? 'application/json' : 'application/x-protobuf',
      },
      body: typeof body === 'string' ? body : new Uint8Array(body),
    })
    expect(response.status).toBe(200)
    await response.arrayBuffer()
  }

  /** Everything that adds up spans, tokens or cost. */
  async function totals(): Promise<Json> {
    const read = async (path: string): Promise<Json> => (await get(plane, path)).body
    const { spans: skeletons, ...item } = await read(`/v1/traces/${traceId}`)
    const range = `from=${new Date(Date.now() - 3_600_000).toISOString()}`
    return {
      item,
      skeletons,
      list: (await read('/v1/traces?model=thrice-1')).items,
      usage: await read('/v1/usage/summary'),
      models: await read('/v1/usage/by-model'),
      tokens: await read(`/v1/metrics/top?metric=tokens&by=model&${range}`),
      cost: await read(`/v1/metrics/top?metric=cost&by=model&${range}`),
      requests: await read(`/v1/metrics/top?metric=requests&by=model&${range}`),
    }
  }

  test('spans, tokens and cost are the same after everything was sent three times, in other bytes too', async () => {
    const json = JSON.stringify(jsonRequest(...spans))
    await send(json)
    const once = await totals()
    expect(once.item).toMatchObject({
      span_count: 2,
      input_tokens: 700,
      output_tokens: 30,
      cost_usd: 0.25,
    })
    await send(json)
    await send(json)
    expect(await totals()).toEqual(once)
    // The same spans, but no body that was seen before.
    await send(protobufRequest(...spans))
    await send(`${json} `)
    expect(await totals()).toEqual(once)
  })
})

test('what came in just before the edge of a deletion is deleted by it, and taken again when it comes again', async () => {
  const bodies = new KnownBodies()
  const key = { workspace: 'w', form: 'json', bytes: Buffer.from('{}') }
  const send = () => bodies.once(key, async () => ({ accepted: 1, rejected: 0, message: '' }))
  const rows: Record<string, unknown[]> = { INSERT: [{ id: '1' }], SELECT: [{ behind: '0' }] }
  const wishes = await openWishes({
    planeId: 'a',
    sql: {
      // No wish of another plane; the number of ours; nobody who has not taken it.
      query: async <T>(text: string) =>
        (text.includes('made_ms') ? [] : (rows[text.trimStart().slice(0, 6)] ?? [])) as T[],
    },
    spool: {
      async forget() {
        await send()
        return true
      },
    },
    counters: { count: () => {} },
    log: () => {},
  })
  wishes.onWish((workspace) => bodies.forget(workspace))
  expect(await wishes.forget({ workspace: 'w', userId: 'ada' })).toBe(true)
  expect((await send()).isRepeated).toBe(false)
  expect((await send()).isRepeated).toBe(true)
  await wishes.close()
})
