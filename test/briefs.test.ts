// What lists and trees show of whole traces: read from the packed form, it is what the spans themselves say.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import type { Engine } from '../src/engines/engine.ts'
import { openEraser } from '../src/erasing/erasing.ts'
import { packageRoot } from '../src/root.ts'
import { type Clickhouse, connectClickhouse } from '../src/stores/clickhouse.ts'
import { packedSql } from '../src/traces/briefs.ts'
import { readFilters } from '../src/traces/trace-filters.ts'
import { openTraces, type Rows } from '../src/traces/traces.ts'
import { bigWorkspace, fillMonth } from './month.ts'

const dir = mkdtempSync(join(tmpdir(), 'runledger-briefs-'))
const migrations = join(packageRoot(), 'schemas', 'clickhouse')
const nowMs = Date.now()
let engine: Engine & { url: string }
let clickhouse: Clickhouse

beforeAll(async () => {
  engine = await startClickhouse({ dir: join(dir, 'engine'), log: () => {} })
  clickhouse = connectClickhouse(engine.url)
  // As a data directory of the version before: its spans were there first.
  const before = join(dir, 'before')
  mkdirSync(before)
  for (const name of readdirSync(migrations).filter((name) => name < '0008'))
    cpSync(join(migrations, name), join(before, name))
  await clickhouse.migrate(before)
  await fillMonth(clickhouse, { total: 16_000, nowMs })
  // What reports no usage has none.
  await clickhouse.command(
    'ALTER TABLE spans UPDATE input_tokens = 0, output_tokens = 0, cost_nano_usd = 0 WHERE usage = 0 SETTINGS mutations_sync = 1',
  )
  await clickhouse.migrate(migrations)
  // Half of them are sent again, now through the view: later, and with other tokens.
  const later = 'ingest_seq + 100000 AS ingest_seq'
  await clickhouse.command(
    `INSERT INTO spans SELECT * REPLACE (if(usage = 0, 0, input_tokens + 1) AS input_tokens, ${later}) FROM spans WHERE ingest_seq % 2 = 1`,
  )
  await clickhouse.command(
    `INSERT INTO payloads SELECT * REPLACE (${later}) FROM payloads WHERE ingest_seq % 2 = 1`,
  )
}, 120_000)
afterAll(async () => {
  await clickhouse.close()
  await engine.stop()
  rmSync(dir, { recursive: true, force: true })
})

/** A store whose traces are all too long to be read whole: they are summed up where they are. */
const summedUp: Rows = {
  query: (q) =>
    q.sql.includes('FROM briefs')
      ? clickhouse.query({
          ...q,
          sql: `SELECT '' AS id, '' AS packed FROM numbers(5001)`,
          params: {},
        })
      : clickhouse.query(q),
}
const list = (rows: Rows, query: string) =>
  openTraces(rows, () => nowMs).list(bigWorkspace, readFilters(new URLSearchParams(query)), {
    limit: 50,
    after: undefined,
  })

test.each([
  '',
  'status=error',
  'status=truncated',
  'min_latency_ms=900&status=ok',
  'max_latency_ms=500',
  'prompt_version_id=default',
  'provider=openai&max_latency_ms=700',
  'service=s7&model=m3',
])('the list of %j says the same from briefs as from the spans', async (query) => {
  const page = await list(clickhouse, query)
  expect(page).toEqual(await list(summedUp, query))
  expect(page.items.length > 0).toBe(query !== 'prompt_version_id=default')
})

test('a trace says the same from briefs as from the spans, each of which is the last that was sent', async () => {
  const [item] = (await list(clickhouse, 'name=checkout')).items
  const id = item?.trace_id ?? ''
  const trace = await openTraces(clickhouse, () => nowMs).find(bigWorkspace, id)
  expect(trace).toEqual(await openTraces(summedUp, () => nowMs).find(bigWorkspace, id))
  expect(trace?.spans.length).toBe(8)
  const stored = await clickhouse.query({
    sql: `SELECT lower(hex(span_id)) AS span, max(input_tokens) AS input FROM spans WHERE trace_id = unhex({id:String}) AND usage != 0 GROUP BY span`,
    params: { id },
  })
  const shown = trace?.spans.filter(({ input_tokens }) => input_tokens !== null)
  expect(
    shown?.map(({ span_id, input_tokens }) => ({ span: span_id, input: input_tokens })),
  ).toEqual(stored)
})

const columns = '(workspace, trace_id, span_id, start_time, name, user_id, ingest_seq, ingested_at)'
const insert = (workspace: string, spans: [name: string, user: string, seq: number][]) =>
  clickhouse.command(
    `INSERT INTO spans ${columns} SELECT {workspace:String}, unhex(repeat('cd', 16)), unhex(concat('00000000000000', leftPad(hex(toUInt8(n)), 2, '0'))),
       toDateTime64({at:Int64} + n, 9), {names:Array(String)}[n], {users:Array(String)}[n], {seqs:Array(UInt64)}[n], now()
     FROM (SELECT arrayJoin(range(1, ${spans.length + 1})) AS n)`,
    {
      params: {
        workspace,
        at: Math.floor(nowMs / 60_000) * 60 - 600,
        names: spans.map(([name]) => name),
        users: spans.map(([, user]) => user),
        seqs: spans.map(([, , seq]) => seq),
      },
    },
  )
const namesOf = async (workspace: string) => {
  const trace = await openTraces(clickhouse, () => nowMs).find(workspace, 'cd'.repeat(16))
  return trace?.spans.map(({ name }) => name)
}

test('a text that holds the sign between texts is shown as it is', async () => {
  await insert('odd', [
    ['a\0b', 'ada', 1],
    ['plain', '', 2],
  ])
  expect(await namesOf('odd')).toEqual(['a\0b', 'plain'])
})

test('of spans that were loaded together those before a wish are erased, those after it stay', async () => {
  await insert('split', [
    ['old secret', 'ada', 10],
    ['newer', 'bob', 30],
  ])
  const sql = { query: async () => [], transaction: async () => {} } as never // no experiment has sampled these
  const media = { remove: async () => {} } as never // and none has media
  const erase = openEraser({ clickhouse, sql, media })
  const wish = { workspace: 'split', traceId: 'cd'.repeat(16), userId: undefined, beforeSeq: 20n }
  const signal = AbortSignal.timeout(30_000)
  const alsoOf = async () => {}
  for (const _again of [1, 2]) await erase(wish as never, { signal, alsoOf } as never)
  expect(await namesOf('split')).toEqual(['newer'])
  const packed = await clickhouse.query<{ span: string }>({
    sql: `SELECT span FROM briefs WHERE workspace = 'split'`,
  })
  expect(JSON.stringify(packed)).not.toContain('old secret')
  expect(packed.length).toBe(1)
})

test('the form that the table is filled with is the one that is told and read', () => {
  const sql = readFileSync(join(migrations, '0008-briefs.sql'), 'utf8').replaceAll(/\s+/g, ' ')
  expect(sql.split(packedSql('ingest_seq')).length - 1).toBe(2)
})
