// Several planes on one ClickHouse and one Postgres: each takes spans, and a reader in ingest order gets all of them once.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { startPostgres } from '../src/engines/postgres.ts'
import type { Json } from './clients.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { newDataDir, removeDataDir } from './product.ts'
import { startWorld, type World } from './world.ts'

const quiet = () => {}
const dirs = [newDataDir(), newDataDir()] as const
let clickhouse: Awaited<ReturnType<typeof startClickhouse>>
let postgres: Awaited<ReturnType<typeof startPostgres>>
let planes: World[]
beforeAll(async () => {
  clickhouse = await startClickhouse({ dir: dirs[0], log: quiet })
  postgres = await startPostgres({ dir: dirs[1], log: quiet })
  const { host, port, user, database } = postgres.config
  const env = {
    CLICKHOUSE_URL: clickhouse.url,
    DATABASE_URL: `postgres://${user}@localhost/${database}?host=${encodeURIComponent(host)}&port=${port}`,
    RUNLEDGER_MASTER_KEY: '7'.repeat(64),
  }
  planes = await Promise.all([startWorld(env), startWorld(env)])
})
afterAll(async () => {
  await Promise.all(planes.map((plane) => plane.end()))
  await Promise.all([clickhouse.stop(), postgres.stop()])
  for (const dir of dirs) removeDataDir(dir)
})

async function send(plane: World): Promise<string> {
  const spanId = randomHex(8)
  const span = jsonSpan({ traceId: randomHex(16), spanId })
  const response = await fetch(`${plane.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${plane.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(jsonRequest(span)),
  })
  expect(response.status).toBe(200)
  return spanId
}

/** One page of the export behind a cursor: the ids on it, and the next cursor. */
async function readOn(plane: World, cursor: string): Promise<{ ids: string[]; cursor: string }> {
  const response = await fetch(`${plane.url}/v1/otlp/export?limit=7&cursor=${cursor}`, {
    headers: { Authorization: `Bearer ${plane.key}` },
  })
  const body = (await response.json()) as Json
  const ids = body.resourceSpans.flatMap((resource: Json) =>
    resource.scopeSpans.flatMap((scope: Json) => scope.spans.map((span: Json) => span.spanId)),
  )
  return { ids, cursor: response.headers.get('x-next-cursor') ?? '' }
}

test('an export that follows two planes while both take spans passes over none and repeats none', async () => {
  const sent: string[] = []
  const read: string[] = []
  let cursor = ''
  for (let round = 0; round < 40; round++) {
    const [one, other] = planes as [World, World]
    sent.push(await send(other), await send(one))
    const page = await readOn(one, cursor)
    read.push(...page.ids)
    cursor = page.cursor
  }
  await vi.waitFor(
    async () => {
      const page = await readOn(planes[0]!, cursor)
      read.push(...page.ids)
      cursor = page.cursor
      expect(read.length).toBeGreaterThanOrEqual(sent.length)
    },
    { timeout: 20_000, interval: 100 },
  )
  expect([...read].sort()).toEqual([...sent].sort())
})

test('a deletion asked of one plane reaches what another still has on its disk', async () => {
  const [one, other] = planes as [World, World]
  const traceId = randomHex(16)
  const take = async (plane: World) => {
    const span = jsonSpan({ traceId, spanId: randomHex(8) })
    const response = await fetch(`${plane.url}/v1/otlp/traces`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${plane.key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(jsonRequest(span)),
    })
    expect(response.status).toBe(200)
  }
  await take(one)
  await take(other)
  const deleted = await fetch(`${one.url}/v1/traces/${traceId}`, {
    method: 'DELETE',
    headers: { Authorization: `Bearer ${one.key}` },
  })
  expect(deleted.status).toBe(200)
  await vi.waitFor(
    async () => {
      for (const plane of [one, other]) {
        const found = await fetch(`${plane.url}/v1/traces/${traceId}`, {
          headers: { Authorization: `Bearer ${plane.key}` },
        })
        expect(found.status).toBe(404)
        // Raw bytes of the id, as rows hold it: in no segment of either plane.
        expect(filesHolding(`${plane.dataDir}/spool`, Buffer.from(traceId, 'hex'))).toEqual([])
      }
    },
    { timeout: 20_000, interval: 200 },
  )
})

function filesHolding(dir: string, bytes: Buffer): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => `${dir}/${name}`)
    .filter((path) => statSync(path).isFile() && readFileSync(path).includes(bytes))
}
