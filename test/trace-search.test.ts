// Finding traces over the whole plane: pages while more comes in, traces that last, and what is asked of a trace as a whole.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { get, type Json } from './clients.ts'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.end())

type Span = {
  traceId: string
  spanId?: string
  parentSpanId?: string
  startMs: number
  lastsMs?: number
  service: string
  name?: string
}

const nanos = (ms: number) => (BigInt(Math.round(ms)) * 1_000_000n).toString()

async function send(spans: Span[]): Promise<void> {
  const response = await fetch(`${world.url}/v1/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({
      resourceSpans: spans.map(({ service, startMs, lastsMs = 20, ...span }) => ({
        resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
        scopeSpans: [
          {
            spans: [
              {
                name: 'work',
                spanId: randomHex(8),
                ...span,
                kind: 1,
                startTimeUnixNano: nanos(startMs),
                endTimeUnixNano: nanos(startMs + lastsMs),
              },
            ],
          },
        ],
      })),
    }),
  })
  expect(response.status).toBe(200)
}

async function pages(query: string, between: () => Promise<void> = async () => {}) {
  const seen: string[] = []
  for (let path = `/v1/traces?${query}`; ; ) {
    const { body } = await get(world, path)
    seen.push(...body.items.map((item: Json) => item.trace_id))
    if (body.next_cursor === null) return seen
    path = `/v1/traces?${query}&cursor=${body.next_cursor}`
    await between()
  }
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs

test('pages hold while more comes in: none of what was there is skipped or shown twice', async () => {
  const now = Date.now()
  const ids = Array.from({ length: 40 }, () => randomHex(16))
  await send(
    ids.map((traceId, i) => ({ traceId, service: 'held', startMs: now - i * 7 * minuteMs })),
  )
  let sent = 0
  for (const query of ['service=held&limit=7', 'limit=7&max_latency_ms=30']) {
    const seen = await pages(query, () =>
      // Newer ones, and late spans of a trace on a page that was shown.
      send([
        { traceId: randomHex(16), service: 'held', startMs: Date.now() },
        {
          traceId: ids[sent] ?? '',
          parentSpanId: randomHex(8),
          service: 'held',
          startMs: now - sent++ * 7 * minuteMs + 1,
        },
      ]),
    )
    expect(
      seen.filter((id) => ids.includes(id)),
      query,
    ).toEqual(ids)
  }
})

test('a trace that lasts hours is listed once, at its own start, by a filter that only its last span meets', async () => {
  const now = Date.now()
  const [long, short] = [randomHex(16), randomHex(16)]
  const root = randomHex(8)
  await send([
    { traceId: long, spanId: root, service: 'lasting', startMs: now - 5 * hourMs, lastsMs: 1_000 },
    { traceId: long, parentSpanId: root, service: 'late', startMs: now - 1_000, name: 'end' },
    { traceId: short, service: 'late', startMs: now - 2 * hourMs },
  ])
  expect(await pages('service=late&limit=1')).toEqual([short, long])
  const from = new Date(now - hourMs).toISOString()
  expect(await pages(`service=late&from=${from}`)).toEqual([])
  const to = new Date(now - 4 * hourMs).toISOString()
  expect(await pages(`service=late&to=${to}`)).toEqual([long])
})

test('latency is the whole trace: a short root with a child hours later is slow, and not fast', async () => {
  const now = Date.now()
  const [slow, quick] = [randomHex(16), randomHex(16)]
  const root = randomHex(8)
  await send([
    { traceId: slow, spanId: root, service: 'slow', startMs: now - 3 * hourMs, lastsMs: 10 },
    { traceId: slow, parentSpanId: root, service: 'slow', startMs: now - hourMs },
    { traceId: quick, service: 'slow', startMs: now - hourMs },
  ])
  expect(await pages('service=slow&min_latency_ms=3600000')).toEqual([slow])
  expect(await pages('min_latency_ms=7000000&max_latency_ms=7300000')).toEqual([slow])
  expect(await pages('service=slow&max_latency_ms=1000')).toEqual([quick])
})

test('traces that began in one nanosecond are all listed, however short the page', async () => {
  const startMs = Date.now() - 90 * minuteMs
  const ids = Array.from({ length: 40 }, () => randomHex(16))
  await send(ids.map((traceId) => ({ traceId, service: 'tied', startMs })))
  const then = `from=${new Date(startMs - 1_000).toISOString()}&to=${new Date(startMs + 1_000).toISOString()}`
  for (const query of ['service=tied&limit=10', `${then}&limit=10`])
    expect(await pages(query), query).toEqual([...ids].sort().reverse())
})
