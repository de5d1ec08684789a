// How long the questions of the console take over a month of spans.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectClickhouse } from '../../src/clickhouse.ts'
import { startClickhouse } from '../../src/engines/clickhouse.ts'
import { packageRoot } from '../../src/root.ts'
import { openStoredSpans } from '../../src/stored-spans.ts'
import { readFilters } from '../../src/trace-filters.ts'
import { openTraces } from '../../src/traces.ts'
import { bigWorkspace, fillMonth } from '../month.ts'

const spansQuick = 2_000_000
const spansLong = 44_000_000
const repeats = 25

export const method = `Thirty days of spans made in the engine, 8 a trace, 4 workspaces (one with 77 %), 20 services, 12 models; parts merged as they come. Through the embedded engine over HTTP, the large workspace, ${repeats} repeats each, warm. ${spansQuick / 1e6} million spans; --long takes ${spansLong / 1e6} million.`

export async function run(options: string[]) {
  const spans = options.includes('--long') ? spansLong : spansQuick
  const dir = mkdtempSync(join(tmpdir(), 'runledger-query-'))
  const engine = await startClickhouse({ dir, log: console.error })
  const clickhouse = connectClickhouse(engine.url)
  try {
    await clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse'))
    await fillMonth(clickhouse, { total: spans, nowMs: Date.now() })
    const traces = openTraces(clickhouse, Date.now)
    const stored = openStoredSpans(clickhouse)
    const list = (query: string) => () =>
      traces.list(bigWorkspace, readFilters(new URLSearchParams(query)), {
        limit: 50,
        after: undefined,
      })
    const ids = (await list('')()).items.map((item) => item.trace_id)
    const day = new Date(Date.now() - 86_400_000).toISOString()
    const questions: [string, (i: number) => Promise<unknown>][] = [
      ['newest 50 traces', list('')],
      ['newest 50, service and status', list('service=s7&status=error')],
      ['newest 50, model, last 24 h', list(`model=m3&from=${day}`)],
      ['newest 50, attribute = value', list('attr.user.id=u-1234')],
      ['newest 50, text', list('q=checkout')],
      ['a trace by id, skeletons', (i) => traces.find(bigWorkspace, ids[i % ids.length] ?? '')],
      [
        'a trace by id, payloads',
        (i) => stored.ofWholeTrace(bigWorkspace, ids[i % ids.length] ?? '', 1_000),
      ],
    ]
    const rows = []
    for (const [name, ask] of questions) rows.push({ name, ...(await measure(ask)) })
    const [size] = await clickhouse.query<{ bytes: string }>({
      sql: `SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND table = 'spans'`,
    })
    return [
      ...rows,
      {
        name: 'search table on disk',
        figure: (Number(size?.bytes) / spans).toFixed(0),
        unit: 'bytes a span',
      },
    ]
  } finally {
    await clickhouse.close()
    await engine.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function measure(ask: (i: number) => Promise<unknown>) {
  await ask(0)
  const times: number[] = []
  for (let i = 0; i < repeats; i++) {
    const startedAt = performance.now()
    await ask(i)
    times.push(performance.now() - startedAt)
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(repeats * share)]?.toFixed(1) ?? '–'
  return { figure: `${at(0.5)} / ${at(0.95)}`, unit: 'ms p50 / p95' }
}
