// What lists and trees show of whole traces: read from the packed form, it is what the spans themselves say.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { toHex } from '../schemas/ids.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import type { Engine } from '../src/engines/engine.ts'
import { openEraser } from '../src/erasing/erasing.ts'
import { tellStoredRuns, toRef } from '../src/registry/assignments.ts'
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

test('of a span that was sent twice the later one is listed, also after both were told their version', async () => {
  const at = Math.floor(nowMs / 900_000) * 900 - 900
  const spanOf = (span: string) => ({ trace: 'ab'.repeat(16), span, quarter: at })
  const spans = Array.from({ length: 20 }, (_, i) => i.toString(16).padStart(16, '0'))
  for (const [seq, name] of [
    [1_000, 'at first'],
    [2_000, 'in the end'],
  ] as const)
    await clickhouse.command(
      `INSERT INTO spans (workspace, trace_id, span_id, start_time, name, ingest_seq, ingested_at)
       SELECT 'told', unhex(repeat('ab', 16)), unhex(span), toDateTime64({at:Int64}, 9), {name:String}, {seq:UInt64}, now()
       FROM (SELECT arrayJoin({spans:Array(String)}) AS span)`,
      { params: { at, name, seq, spans } },
    )
  const rows = spans.map((span) => ({
    ...{ workspace: 'told', ref: toHex(toRef(spanOf(span))), version_id: 'greeter@v7' },
    ...{ is_late: false, waiting: spans.length },
  }))
  const sql = { query: async (text: string) => (text.startsWith('SELECT') ? rows : []) } as never // what waits to be told
  const change = ({ sql, params }: { sql: string; params: Record<string, unknown> }) =>
    clickhouse.command(sql, { params })
  const runs = { query: clickhouse.query, change }
  expect(await tellStoredRuns({ sql, runs, counters: { count: () => {} } })).toBe(0)
  const trace = await openTraces(clickhouse, () => nowMs).find('told', 'ab'.repeat(16))
  expect(trace?.spans.map(({ name, prompt_version_id }) => [name, prompt_version_id])).toEqual(
    spans.map(() => ['in the end', 'greeter@v7']),
  )
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

test('what is told of spans while they are erased is erased too', async () => {
  await insert('raced', [['a secret', 'ada', 10]])
  const sql = { query: async () => [], transaction: async () => {} } as never // no experiment has sampled these
  const media = { remove: async () => {} } as never // and none has media
  const raced: Clickhouse = {
    ...clickhouse,
    async command(statement, options) {
      if (statement.startsWith('DELETE FROM spans'))
        await clickhouse.command(
          `INSERT INTO briefs SELECT workspace, trace_id, ${packedSql('ingest_seq + 1')}, ingest_seq, ingested_at FROM spans WHERE workspace = 'raced'`,
        )
      await clickhouse.command(statement, options)
    },
  }
  const erase = openEraser({ clickhouse: raced, sql, media })
  const wish = { workspace: 'raced', traceId: 'cd'.repeat(16), userId: undefined, beforeSeq: 20n }
  const signal = AbortSignal.timeout(30_000)
  await erase(wish as never, { signal, alsoOf: async () => {} } as never)
  expect(await namesOf('raced')).toBeUndefined()
  expect(await clickhouse.query({ sql: `SELECT 1 FROM briefs WHERE workspace = 'raced'` })).toEqual(
    [],
  )
})

test('the form that the table is filled with is the one that is told and read', () => {
  const sql = readFileSync(join(migrations, '0008-briefs.sql'), 'utf8').replaceAll(/\s+/g, ' ')
  expect(sql.split(packedSql('ingest_seq')).length - 1).toBe(2)
})
