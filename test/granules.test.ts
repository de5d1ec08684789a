// How much of the tables each question of the API reads, as the engine itself explains it.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runStatuses } from '../schemas/run.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import type { Engine } from '../src/engines/engine.ts'
import { packageRoot } from '../src/root.ts'
import { type Clickhouse, connectClickhouse } from '../src/stores/clickhouse.ts'
import { openStoredSpans } from '../src/traces/stored-spans.ts'
import { readFilters } from '../src/traces/trace-filters.ts'
import { searchTraces } from '../src/traces/trace-search.ts'
import { openTraces, type Rows } from '../src/traces/traces.ts'
import { bigWorkspace, fillMonth } from './month.ts'

type Asked = Parameters<Rows['query']>[0]
type Read = { table: string; granules: number; of: number }

const total = 480_000
const dir = mkdtempSync(join(tmpdir(), 'runledger-granules-'))
let engine: Engine & { url: string }
let clickhouse: Clickhouse

beforeAll(async () => {
  engine = await startClickhouse({ dir, log: () => {} })
  clickhouse = connectClickhouse(engine.url)
  await clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse'))
  await fillMonth(clickhouse, { total, nowMs: Date.now() })
  for (const table of ['spans', 'payloads', 'traces', 'briefs'])
    await clickhouse.command(`OPTIMIZE TABLE ${table} FINAL`)
}, 120_000)
afterAll(async () => {
  await clickhouse.close()
  await engine.stop()
  rmSync(dir, { recursive: true, force: true })
})

/** What the questions asked by `work` read, each table of each by itself. */
async function reads(work: (rows: Rows) => Promise<unknown>): Promise<Read[]> {
  const asked: Asked[] = []
  await work({
    query: (q) => {
      asked.push(q)
      return clickhouse.query(q)
    },
  })
  const found: Read[] = []
  for (const q of asked) {
    const lines = await clickhouse.query<{ explain: string }>({
      ...q,
      sql: `EXPLAIN indexes = 1 ${q.sql}`,
    })
    for (const { explain } of lines) {
      const table = /ReadFromMergeTree \(\w+\.(\w+)\)/.exec(explain)?.[1]
      if (table) found.push({ table, granules: 0, of: 0 })
      const [, granules, of] = /Granules: (\d+)\/(\d+)/.exec(explain) ?? []
      const last = found.at(-1)
      // Each index narrows what the one before left; the first line says how many there are.
      if (last && granules)
        Object.assign(last, { granules: Number(granules), of: Math.max(last.of, Number(of)) })
    }
  }
  return found
}

const most = (found: Read[], table: string) =>
  Math.max(...found.filter((read) => read.table === table).map(({ granules }) => granules))

const list = (query: string) => (rows: Rows) =>
  openTraces(rows, Date.now).list(bigWorkspace, readFilters(new URLSearchParams(query)), {
    limit: 50,
    after: undefined,
  })

describe('of the granules of a month', () => {
  test('the newest traces read one or two of those that find them, and a small one a trace', async () => {
    const found = await reads(list(''))
    expect(found.map(({ table }) => table)).toEqual(['traces', 'briefs'])
    expect(most(found, 'traces')).toBeLessThanOrEqual(2)
    expect(most(found, 'briefs')).toBeLessThanOrEqual(65)
    expect(found.at(-1)?.of).toBeGreaterThan(1_000)
  })

  test('a trace by its id reads one of the briefs; its bytes are one of the payloads', async () => {
    const id = (await list('')(clickhouse)).items[20]?.trace_id ?? ''
    const trace = await reads((rows) => openTraces(rows, Date.now).find(bigWorkspace, id))
    expect(trace.map(({ table, granules }) => [table, granules])).toEqual([['briefs', 1]])
    const payloads = await reads((rows) =>
      openStoredSpans(rows).ofWholeTrace(bigWorkspace, id, 1_000),
    )
    expect(most(payloads, 'payloads')).toBe(1)
  })

  test('what a workspace did last is found where it is, also after weeks of silence', async () => {
    const later = Date.now() + 20 * 86_400_000
    const found = await reads(async (rows) => {
      const { list: page } = openTraces(rows, () => later)
      const filters = readFilters(new URLSearchParams('name=chat'))
      const { items } = await page(bigWorkspace, filters, { limit: 50, after: undefined })
      expect(items).toHaveLength(50)
    })
    expect(most(found, 'spans')).toBeLessThanOrEqual(4)
  })

  test('an attribute, a user, a session that is rare reads a tenth of the spans at most, however far back', async () => {
    for (const query of ['attr.user.id=u-1234', 'user_id=u-1234', 'session_id=se-1234'])
      expect(most(await reads(list(query)), 'spans'), query).toBeLessThanOrEqual(6)
  })

  test('an hour of one service reads its own quarters of an hour, not the month', async () => {
    const from = new Date(Date.now() - 3_600_000).toISOString()
    expect(most(await reads(list(`service=s7&from=${from}`)), 'spans')).toBeLessThanOrEqual(2)
  })

  test('the slowest are found by their summaries: the spans read are those of the page', async () => {
    const found = await reads(list('min_latency_ms=985'))
    expect(most(found, 'traces')).toBeLessThanOrEqual(8)
    expect(found.filter(({ table }) => table === 'spans').length).toBeLessThanOrEqual(2)
  })
})

test('what no trace is as a whole is found out in a few questions, however many spans match', async () => {
  const asked: string[] = []
  const rows: Rows = {
    query: (q) => {
      asked.push(q.sql)
      return clickhouse.query(q)
    },
  }
  const page = await list('name=chat&max_latency_ms=0.001')(rows)
  expect(page).toEqual({ items: [], next: undefined })
  expect(asked.length).toBeLessThanOrEqual(8)
})

test('a search of which nothing is ever kept stops before it has looked at everything, and says where', async () => {
  const found = new Set<string>()
  let lowestNs = 0n
  // A store whose every window is full of spans that match, of traces that do not.
  const rows: Rows = {
    async query<T>({ params = {} }: { params?: Record<string, unknown> }): Promise<T[]> {
      if (params.ids) return []
      const candidates = Array.from({ length: Number(params.limit) }, (_, i) => ({
        id: (found.size + i).toString(16).padStart(32, '0'),
        at: String(BigInt(String(params.toNs)) - BigInt(i) - 2n),
      }))
      for (const { id, at } of candidates) {
        found.add(id)
        lowestNs = BigInt(at)
      }
      return candidates as T[] // what a search asks for, beside the facts
    },
  }
  const filters = readFilters(new URLSearchParams('name=chat&max_latency_ms=0.001'))
  const { traces, next } = await searchTraces(rows, {
    ...{ workspace: 'w', filters, limit: 50, after: undefined, nowMs: 1_790_000_000_000 },
  })
  expect(traces).toEqual([])
  expect(found.size).toBeGreaterThanOrEqual(20_000)
  expect(found.size).toBeLessThan(22_000)
  // Where the last candidate was found, and not a nanosecond further.
  expect(BigInt(next?.scanNs ?? 0)).toBe(lowestNs + 1n)
})

test('the statuses of the view are those of a run, in their order', () => {
  const dir = join(packageRoot(), 'schemas', 'clickhouse')
  const sql = readFileSync(join(dir, '0002-trace-summaries.sql'), 'utf8')
  const lists = [...sql.matchAll(/indexOf\(\[([^\]]+)\]/g)].map(([, list]) => list)
  expect(lists.length).toBe(4)
  for (const list of lists) expect(list).toBe(runStatuses.map((status) => `'${status}'`).join(', '))
})
