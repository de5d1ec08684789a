// Deletion over the whole plane: what it reaches, what it leaves, and who may ask for it.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { openEraser } from '../src/erasing/erasing.ts'
import { keepFor } from '../src/erasing/retention.ts'
import { rollDue } from '../src/rollups/roll.ts'
import { type Clickhouse, connectClickhouse } from '../src/stores/clickhouse.ts'
import { type FaultProxy, openFaultProxy } from './chaos/fault-proxy.ts'
import { get, type Json } from './clients.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { startWorld, type World } from './world.ts'

let world: World
let clickhouse: Clickhouse
let close: () => Promise<void>
/** Between the plane and its ClickHouse. */
let line: FaultProxy
const dir = mkdtempSync(join(tmpdir(), 'runledger-erasing-'))

beforeAll(async () => {
  const engine = await startClickhouse({ dir, log: () => {} })
  clickhouse = connectClickhouse(engine.url)
  const at = new URL(engine.url)
  line = await openFaultProxy({ host: at.hostname, port: Number(at.port) })
  at.port = String(line.port)
  world = await startWorld({ CLICKHOUSE_URL: at.href })
  close = async () => {
    await line.close()
    await clickhouse.close()
    await engine.stop()
  }
})
afterAll(async () => {
  await world.end()
  await close()
  rmSync(dir, { recursive: true, force: true })
})

const call = async (method: string, path: string, body?: unknown) => {
  const response = await fetch(world.url + path, {
    method,
    headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: text === '' ? null : (JSON.parse(text) as Json) }
}

// Two hours ago, in the middle of its quarter of an hour.
const at = Math.floor(Date.now() / 900_000) * 900_000 - 8 * 900_000 + 400_000

/** A run of this user, posted, with a span of its own around it. */
async function run(user: string, says: string): Promise<{ traceId: string; recordId: string }> {
  const traceId = randomHex(16)
  const time = (ms: number) => new Date(at + ms).toISOString()
  const posted = await call('POST', '/v1/runs', {
    model: 'gpt-4o-mini',
    started_at: time(10),
    ended_at: time(50),
    input: says,
    output: `${says}, answered`,
    trace_id: traceId,
    user_id: user,
    usage: { input_tokens: 5, output_tokens: 2 },
  })
  expect(posted.status, JSON.stringify(posted.body)).toBe(200)
  const sent = await call('POST', '/v1/traces', {
    resourceSpans: [
      {
        resource: {},
        scopeSpans: [
          {
            spans: [
              {
                traceId,
                spanId: randomHex(8),
                name: says,
                startTimeUnixNano: `${at}000000`,
                endTimeUnixNano: `${at + 60}000000`,
              },
            ],
          },
        ],
      },
    ],
  })
  expect(sent.status).toBe(200)
  return { traceId, recordId: posted.body.runs[0].record_id }
}

/** Rows that name the trace, also those that are only hidden from queries. */
async function rowsOf(traceId: string): Promise<number> {
  const counts = await Promise.all(
    ['spans', 'payloads', 'traces', 'briefs'].map((table) =>
      clickhouse.query<{ n: string }>({
        sql: `SELECT count() AS n FROM ${table} WHERE trace_id = unhex({id:String})`,
        params: { id: traceId },
        settings: { apply_deleted_mask: 0 },
      }),
    ),
  )
  return counts.reduce((sum, [row]) => sum + Number(row?.n), 0)
}

const range = `from=${new Date(at - 900_000).toISOString()}&to=${new Date(at + 900_000).toISOString()}`
const requests = async () => {
  const { body } = await get(world, `/v1/metrics/top?by=model&${range}`)
  return body.items[0]?.value ?? 0
}

test('a deleted trace is gone from every answer and from the disk; its evidence verifies as before', async () => {
  const [gone, kept] = [await run('ada', 'secret-a'), await run('ada', 'secret-b')]
  expect(await requests()).toBe(2)
  const { body: verified } = await get(world, `/v1/vaas/${gone.recordId}/verify`)
  expect(verified.checks.length).toBeGreaterThan(5)
  await rollDue(clickhouse, Date.now() + 3_600_000)
  expect(await call('DELETE', `/v1/traces/${gone.traceId}`)).toEqual({
    status: 200,
    body: { trace_id: gone.traceId, status: 'deleted' },
  })
  expect((await get(world, `/v1/traces/${gone.traceId}`)).status).toBe(404)
  expect((await get(world, '/v1/traces')).body.items.map((item: Json) => item.trace_id)).toEqual([
    kept.traceId,
  ])
  const exported = JSON.stringify((await get(world, '/v1/otlp/export')).body)
  expect([exported.includes('secret-a'), exported.includes('secret-b')]).toEqual([false, true])
  expect(await requests()).toBe(1)
  expect((await call('DELETE', `/v1/traces/${gone.traceId}`)).status).toBe(404)
  await expect.poll(() => rowsOf(gone.traceId), { timeout: 20_000 }).toBe(0)
  expect(await rowsOf(kept.traceId)).toBeGreaterThan(0)
  expect((await get(world, `/v1/vaas/${gone.recordId}/verify`)).body).toEqual(verified)
  await rollDue(clickhouse, Date.now() + 7_200_000)
  expect(await requests()).toBe(1)
})

test("a user's data is every trace that names them, whole; others stay", async () => {
  const [first, second, other] = [
    await run('grace', 'one'),
    await run('grace', 'two'),
    await run('linus', 'three'),
  ]
  expect((await call('DELETE', '/v1/data?user_id=grace')).body).toEqual({
    user_id: 'grace',
    status: 'deleted',
  })
  const left = (await get(world, '/v1/traces?limit=100')).body.items.map(
    (item: Json) => item.trace_id,
  )
  expect([first, second, other].map(({ traceId }) => left.includes(traceId))).toEqual([
    false,
    false,
    true,
  ])
  // The span around the run names nobody, and goes with its trace.
  await expect
    .poll(async () => (await rowsOf(first.traceId)) + (await rowsOf(second.traceId)), {
      timeout: 20_000,
    })
    .toBe(0)
  expect((await call('DELETE', '/v1/data?user_id=grace')).status).toBe(200)
})

test('a deletion that broke off when the rows were hidden takes their bytes from the disk when it is tried again', async () => {
  const user = 'cut-off@example.com'
  const { traceId } = await run(user, 'Something private')
  const spans = async () => (await call('GET', `/v1/traces/${traceId}`)).body.spans
  await expect.poll(spans).toHaveLength(2)
  let isAway = true
  const erase = openEraser({
    clickhouse: {
      ...clickhouse,
      command: (sql, options) =>
        isAway && sql.includes('APPLY DELETED MASK')
          ? Promise.reject(new Error('ClickHouse is away.'))
          : clickhouse.command(sql, options),
    },
    sql: { query: async () => [] },
    media: { remove: async () => {} },
  })
  const { body: me } = await call('GET', '/v1/users/me')
  const { signal } = new AbortController()
  const again = () =>
    erase(
      { workspace: me.id, userId: user, beforeSeq: 2n ** 63n },
      { signal, alsoOf: async () => {} },
    )
  await expect(again()).rejects.toThrow('ClickHouse is away.')
  expect(await rowsOf(traceId)).toBeGreaterThan(0)
  isAway = false
  await again()
  await expect.poll(() => rowsOf(traceId)).toBe(0)
})

test('everything of a workspace goes when it is named, and new data comes in as before', async () => {
  const me = (await get(world, '/v1/users/me')).body.id
  expect((await call('DELETE', `/v1/data?workspace=${me}`)).body.status).toBe('deleted')
  expect((await get(world, '/v1/traces')).body.items).toEqual([])
  expect(await requests()).toBe(0)
  const { traceId } = await run('ada', 'again')
  expect((await get(world, `/v1/traces/${traceId}?include=payload`)).body.spans.length).toBe(2)
})

test.each([
  '',
  'user_id=',
  'user_id=a&workspace=b',
  'workspace=00000000-0000-4000-8000-000000000000',
  'everything=yes',
])('deletion asked for with "%s" is refused', async (query) => {
  expect((await call('DELETE', `/v1/data?${query}`)).status).toBe(400)
})

test('deletion needs the scope admin', async () => {
  const made = await call('POST', '/v1/keys', {
    name: 'reader',
    scopes: ['read', 'ingest', 'proxy'],
  })
  for (const path of [`/v1/traces/${randomHex(16)}`, '/v1/data?user_id=ada']) {
    const response = await fetch(world.url + path, {
      method: 'DELETE',
      headers: { Authorization: `Bearer ${made.body.key}` },
    })
    expect(response.status).toBe(403)
  }
})

test('retention alters the tables only when it differs', async () => {
  expect((await keepFor(clickhouse, 30)).sort()).toEqual([])
  expect((await keepFor(clickhouse, 7)).sort()).toEqual([
    'arrivals',
    'briefs',
    'envelopes',
    'payloads',
    'rolled',
    'rollups',
    'spans',
    'traces',
  ])
  expect(await keepFor(clickhouse, 7)).toEqual([])
  const [old] = await clickhouse.query<{ rows: string }>({
    sql: "SELECT count() AS rows FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '%toIntervalDay(7)%'",
  })
  expect(Number(old?.rows)).toBe(7)
})

test.each([
  ['what is new', 0, 'LZ4'],
  ['what is a day old', 2, 'ZSTD(1)'],
])('%s is packed as fast, or as tightly, as its age asks', async (_what, days, codec) => {
  const table = `payloads_${days}`
  await clickhouse.command(`CREATE TABLE ${table} AS payloads`)
  await clickhouse.command(
    `INSERT INTO ${table} (workspace, ingested_at) VALUES ('w', now() - INTERVAL ${days} DAY)`,
  )
  await clickhouse.command(`OPTIMIZE TABLE ${table} FINAL`)
  const parts = await clickhouse.query({
    sql: 'SELECT default_compression_codec AS codec FROM system.parts WHERE database = currentDatabase() AND table = {table:String} AND active',
    params: { table },
  })
  await clickhouse.command(`DROP TABLE ${table}`)
  expect(parts).toEqual([{ codec }])
})

test('a trace that is accepted and not loaded yet is deleted too, when ClickHouse is back', async () => {
  await line.refuse()
  const traceId = randomHex(16)
  const span = jsonSpan({ traceId, spanId: randomHex(8) })
  expect((await call('POST', '/v1/otlp/traces', jsonRequest(span))).status).toBe(200)
  expect(await call('DELETE', `/v1/traces/${traceId}`)).toEqual({
    status: 202,
    body: { trace_id: traceId, status: 'deleting' },
  })
  await line.pass()
  const other = randomHex(16)
  const marker = jsonSpan({ traceId: other, spanId: randomHex(8) })
  expect((await call('POST', '/v1/otlp/traces', jsonRequest(marker))).status).toBe(200)
  await vi.waitFor(
    async () => {
      expect((await get(world, `/v1/traces/${other}`)).status).toBe(200)
      expect((await get(world, `/v1/traces/${traceId}`)).status).toBe(404)
    },
    { timeout: 40_000, interval: 200 },
  )
}, 90_000)
