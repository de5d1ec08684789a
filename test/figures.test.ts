// Figures of model calls, from the spans and from the roll-ups: the same either way, and each call once.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { rollDue } from '../src/rollups/roll.ts'
import { type Clickhouse, ClickhouseError, connectClickhouse } from '../src/stores/clickhouse.ts'
import { get, type Json } from './clients.ts'
import { startWorld, type World } from './world.ts'

let world: World
let clickhouse: Clickhouse
let close: () => Promise<void>
const dir = mkdtempSync(join(tmpdir(), 'runledger-figures-'))

beforeAll(async () => {
  const engine = await startClickhouse({ dir, log: () => {} })
  clickhouse = connectClickhouse(engine.url)
  world = await startWorld({ CLICKHOUSE_URL: engine.url })
  close = async () => {
    await clickhouse.close()
    await engine.stop()
  }
})
afterAll(async () => {
  await world.end()
  await close()
  rmSync(dir, { recursive: true, force: true })
})

type Call = {
  traceId: string
  spanId?: string
  parentSpanId?: string
  startMs: number
  lastsMs?: number
  error?: boolean
  attributes?: Record<string, string | number>
}

const nanos = (ms: number) => (BigInt(Math.round(ms)) * 1_000_000n).toString()
const toValue = (value: string | number) =>
  typeof value === 'string'
    ? { stringValue: value }
    : Number.isInteger(value)
      ? { intValue: String(value) }
      : { doubleValue: value }

async function send(calls: Call[]): Promise<void> {
  const spans = calls.map(({ startMs, lastsMs = 100, error, attributes = {}, ...span }) => ({
    spanId: randomHex(8),
    name: 'call',
    kind: 3,
    ...span,
    startTimeUnixNano: nanos(startMs),
    endTimeUnixNano: nanos(startMs + lastsMs),
    status: error ? { code: 2 } : {},
    attributes: Object.entries(attributes).map(([key, value]) => ({ key, value: toValue(value) })),
  }))
  const response = await fetch(`${world.url}/v1/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
          scopeSpans: [{ spans }],
        },
      ],
    }),
  })
  expect(response.status).toBe(200)
}

const chat = (
  model: string,
  input: number,
  output: number,
  more: Record<string, string | number> = {},
) => ({
  'gen_ai.operation.name': 'chat',
  'gen_ai.response.model': model,
  'gen_ai.usage.input_tokens': input,
  'gen_ai.usage.output_tokens': output,
  ...more,
})

// The middle of a quarter of an hour some hours ago, so that nothing here straddles two.
const quarterMs = 900_000
const at = Math.floor(Date.now() / quarterMs) * quarterMs - 12 * quarterMs + 420_000
const range = `from=${new Date(at - 3_600_000).toISOString()}&to=${new Date(at + 3_600_000).toISOString()}`

async function top(query: string): Promise<[string | null, number | null][]> {
  const { status, body } = await get(world, `/v1/metrics/top?${range}&${query}`)
  expect(status, JSON.stringify(body)).toBe(200)
  return body.items.map((item: Json) => [item.key, item.value])
}

/** Every figure that the test data has an opinion about. */
async function everything(): Promise<unknown> {
  const found: Record<string, unknown> = {}
  for (const metric of ['requests', 'errors', 'tokens', 'p95', 'ttft'])
    found[metric] = await top(`metric=${metric}&by=model`)
  found.cost = await top('metric=cost&by=prompt_version_id')
  const { body } = await get(world, `/v1/metrics/timeseries?${range}&metric=tokens&step=15m`)
  found.series = body.items
  return found
}

const rolledQuarters = async () => {
  const [row] = await clickhouse.query<{ n: string }>({
    sql: 'SELECT uniq(quarter) AS n FROM rolled',
  })
  return Number(row?.n)
}

describe('figures', () => {
  const traceId = randomHex(16)
  const [agent, step, client, proxied] = Array.from({ length: 4 }, () => randomHex(8))
  const given: Call[] = [
    // An agent that repeats what its calls said, a step that says nothing, a client's call and the same call seen by a proxy.
    {
      traceId,
      spanId: agent!,
      startMs: at,
      lastsMs: 900,
      attributes: {
        'gen_ai.operation.name': 'invoke_agent',
        'gen_ai.usage.input_tokens': 30,
        'gen_ai.usage.output_tokens': 12,
      },
    },
    { traceId, spanId: step!, parentSpanId: agent!, startMs: at + 1, lastsMs: 800 },
    {
      traceId,
      spanId: client!,
      parentSpanId: step!,
      startMs: at + 2,
      lastsMs: 210,
      attributes: chat('small', 10, 4),
    },
    {
      traceId,
      spanId: proxied!,
      parentSpanId: client!,
      startMs: at + 3,
      lastsMs: 200,
      attributes: chat('small', 10, 4, {
        'gen_ai.usage.cost': 0.25,
        'gen_ai.prompt.name': 'support',
        'gen_ai.prompt.version': 'v2',
        'gen_ai.response.time_to_first_chunk': 0.05,
      }),
    },
    {
      traceId,
      parentSpanId: agent!,
      startMs: at + 300,
      lastsMs: 400,
      attributes: chat('large', 20, 8),
    },
    {
      traceId: randomHex(16),
      startMs: at + 60_000,
      lastsMs: 1_000,
      error: true,
      attributes: { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'large' },
    },
    { traceId: randomHex(16), startMs: at + 61_000, lastsMs: 5_000 },
  ]

  const calls = given.map((call) => ({ spanId: randomHex(8), ...call }))

  test('count a call once though agents, clients and proxies repeat it and exporters send it three times', async () => {
    await send(calls)
    await send([...calls].reverse())
    await send(calls.slice(2).concat(calls.slice(0, 2)))
    expect(await top('metric=requests&by=model')).toEqual([
      ['large', 2],
      ['small', 1],
    ])
    expect(await top('metric=errors&by=model')).toEqual([
      ['large', 1],
      ['small', 0],
    ])
    expect(await top('metric=tokens&by=model')).toEqual([
      ['large', 28],
      ['small', 14],
    ])
    expect(await top('metric=cost&by=prompt_version_id')).toEqual([
      ['support@v2', 0.25],
      ['default', 0],
    ])
    expect(await top('metric=ttft&by=model')).toEqual([
      ['small', expect.closeTo(50, 0)],
      ['large', null],
    ])
    // Half of a percent is what the sketch of a quantile may be off.
    const [[, p99]] = (await top('metric=p99&by=service')) as [[string, number]]
    expect(Math.abs(p99 - 1_000)).toBeLessThan(100)
  })

  test('are the same from the roll-ups', async () => {
    const before = await everything()
    // The plane rolls too; whoever was first, it is done once.
    await rollDue(clickhouse, Date.now() + 3_600_000)
    expect(await rolledQuarters()).toBe(1)
    expect(await everything()).toEqual(before)
    // Nothing is due twice, and what a crash left of a roll is not read.
    expect(await rollDue(clickhouse, Date.now() + 3_600_000)).toBe(0)
    await clickhouse.command('INSERT INTO rollups SELECT * REPLACE (7 AS roll) FROM rollups')
    expect(await everything()).toEqual(before)
  })

  test('see a late call at once, and after it was rolled up again', async () => {
    await send([{ traceId: randomHex(16), startMs: at + 5_000, attributes: chat('small', 1, 1) }])
    const late = [
      ['large', 2],
      ['small', 2],
    ]
    expect(await top('metric=requests&by=model')).toEqual(late)
    const seen = await everything()
    expect(await rollDue(clickhouse, Date.now() + 7_200_000)).toBe(1)
    expect(await everything()).toEqual(seen)
  })

  test('leave replays out', async () => {
    const before = await everything()
    await clickhouse.command(
      `INSERT INTO spans SELECT * REPLACE ('replay' AS origin, unhex('${randomHex(16)}') AS trace_id, ingest_seq + 1000 AS ingest_seq) FROM spans`,
    )
    expect(await everything()).toEqual(before)
  })

  test('are narrowed by the filters of the list, call by call', async () => {
    expect(await top('metric=requests&by=model&status=error')).toEqual([['large', 1]])
    expect(await top('metric=tokens&by=model&q=prompt:support')).toEqual([['small', 14]])
    expect(await top('metric=requests&by=status')).toEqual([
      ['ok', 3],
      ['error', 1],
    ])
  })

  test('over time have every step: counts are zero without calls, quantiles unknown', async () => {
    const series = async (metric: string) =>
      (await get(world, `/v1/metrics/timeseries?${range}&step=30m&metric=${metric}`)).body
    const counted = await series('requests')
    expect([counted.unit, counted.step_seconds, counted.items.length]).toEqual([
      'requests',
      1_800,
      1,
    ])
    const values = counted.items[0].points.map((point: Json) => point.value)
    expect(values.reduce((a: number, b: number) => a + b, 0)).toBe(4)
    expect(values.length).toBeGreaterThanOrEqual(4)
    const slow = await series('p95')
    expect(slow.unit).toBe('ms')
    expect(slow.items[0].points.filter((point: Json) => point.value === null).length).toBe(
      values.filter((value: number) => value === 0).length,
    )
  })

  test('of more than one statement bears are rolled up by halves', async () => {
    const other = at - 4 * quarterMs
    const late = async () => {
      for (const startMs of [other, at + 6_000])
        await send([{ traceId: randomHex(16), startMs, attributes: chat('small', 1, 1) }])
      await top('by=model')
    }
    // The plane makes nothing anew that was made within five minutes: from here on only this test does.
    await late()
    await rollDue(clickhouse, Date.now() + 9_000_000)
    await late()
    const asked: number[] = []
    const narrow: typeof clickhouse = {
      ...clickhouse,
      command: async (sql, options) => {
        const { quarters } = options?.params ?? {}
        if (Array.isArray(quarters)) asked.push(quarters.length)
        if (asked.at(-1) === 2)
          throw new ClickhouseError('Memory limit exceeded', { code: 241, transient: true })
        return clickhouse.command(sql, options)
      },
    }
    expect(await rollDue(narrow, Date.now() + 9_900_000)).toBe(2)
    expect(asked).toEqual([2, 1, 1, 1, 1])
  })

  test('see what was accepted before a roll and loaded after it, as another lane or plane may', async () => {
    const small = async () =>
      Number((await top('metric=requests&by=model')).find(([key]) => key === 'small')?.[1])
    const loadEarlier = () =>
      clickhouse.command(
        `INSERT INTO spans SELECT * REPLACE (unhex('${randomHex(16)}') AS trace_id, ingest_seq - 1000 AS ingest_seq)
         FROM spans WHERE model = 'small' AND origin != 'replay' ORDER BY ingest_seq LIMIT 1`,
      )
    await rollDue(clickhouse, Date.now() + 10_200_000)
    const before = await small()
    await loadEarlier()
    expect(await small()).toBe(before + 1)
    expect(await rollDue(clickhouse, Date.now() + 10_500_000)).toBe(1)
    expect(await small()).toBe(before + 1)
    expect(await rollDue(clickhouse, Date.now() + 10_800_000)).toBe(0)
  })

  test('count a call that names itself as its parent', async () => {
    const [traceId, spanId] = [randomHex(16), randomHex(8)]
    await send([
      { traceId, spanId, parentSpanId: spanId, startMs: at + 7_000, attributes: chat('odd', 1, 2) },
      { traceId, startMs: at + 8_000, attributes: chat('odd', 3, 4) },
    ])
    const odd = async (metric: string) =>
      (await top(`metric=${metric}&by=model&model=odd`)).map(([, value]) => value)
    expect([await odd('requests'), await odd('tokens')]).toEqual([[2], [10]])
  })

  test('of what was rolled up need no spans any more', async () => {
    await rollDue(clickhouse, Date.now() + 11_100_000)
    const before = await top('metric=p95&by=model')
    await clickhouse.command('TRUNCATE TABLE spans')
    expect(await top('metric=p95&by=model')).toEqual(before)
    expect(await top('metric=requests&by=name')).toEqual([])
  })

  test.each([
    'metric=speed',
    'by=colour',
    'step=7s',
    'step=1m&from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z',
    'from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z',
    'from=1960-01-01T00:00:00Z&to=1960-02-01T00:00:00Z',
    'limit=0',
    'nonsense=1',
  ])('asked for with %s are refused by the name of the parameter', async (query) => {
    const { status, body } = await get(world, `/v1/metrics/timeseries?${query}`)
    expect([status, typeof body.error.param]).toEqual([400, 'string'])
  })
})
