// How long the questions of the API take over a month of spans: wall time, and the engine's own CPU, which a busy machine does not change.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAttributeNames } from '../../src/attributes.ts'
import { type Clickhouse, connectClickhouse } from '../../src/clickhouse.ts'
import { startClickhouse } from '../../src/engines/clickhouse.ts'
import { type FiguresAsked, openFigures } from '../../src/rollups/figures.ts'
import { rollDue } from '../../src/rollups/roll.ts'
import { packageRoot } from '../../src/root.ts'
import { openStoredSpans } from '../../src/stored-spans.ts'
import { readFilters } from '../../src/trace-filters.ts'
import { openTraces } from '../../src/traces.ts'
import { addLongTrace, bigWorkspace, fillMonth, longTrace } from '../month.ts'
import { cpuSeconds } from '../product.ts'

const spansQuick = 2_000_000
const spansLong = 44_000_000
const repeats = 25
const dayMs = 86_400_000

export const method = `Thirty days of spans made in the engine, 8 a trace, 4 workspaces (one with 77 %), 20 services, 12 models; parts merged as they come, figures rolled up. Through the embedded engine over HTTP, the large workspace, ${repeats} repeats each, warm. ${spansQuick / 1e6} million spans; --long takes ${spansLong / 1e6} million, --spans=N any number.`

type Question = { name: string; bar?: string; ask: (i: number) => Promise<unknown> }

export async function run(options: string[]) {
  const asked = options.find((option) => option.startsWith('--spans='))?.slice('--spans='.length)
  const spans = asked ? Number(asked) : options.includes('--long') ? spansLong : spansQuick
  const dir = mkdtempSync(join(tmpdir(), 'runledger-query-'))
  const engine = await startClickhouse({ dir, log: console.error })
  const clickhouse = connectClickhouse(engine.url)
  try {
    await clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse'))
    await fillMonth(clickhouse, { total: spans, nowMs: Date.now() })
    await addLongTrace(clickhouse, 50_000)
    const rolledAt = performance.now()
    while ((await rollDue(clickhouse, Date.now())) > 0);
    const rollS = (performance.now() - rolledAt) / 1000
    const pid = Number(/\d+/.exec(readFileSync(join(dir, 'child.pid'), 'utf8'))?.[0])
    const rows = []
    for (const { name, bar, ask } of await questionsOf(clickhouse))
      rows.push({ name, reference: bar ?? '', ...(await measure(ask, pid)) })
    return [
      { name: 'spans', figure: (spans / 1e6).toFixed(1), unit: 'million' },
      { name: 'figures of the whole month rolled up in', figure: rollS.toFixed(1), unit: 's' },
      ...rows,
      {
        name: 'all tables on disk',
        figure: await bytesASpan(clickhouse, spans),
        unit: 'bytes a span',
      },
    ]
  } finally {
    await clickhouse.close()
    await engine.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function questionsOf(clickhouse: Clickhouse): Promise<Question[]> {
  const traces = openTraces(clickhouse, Date.now)
  const stored = openStoredSpans(clickhouse)
  const figures = openFigures(clickhouse)
  const attributes = openAttributeNames(clickhouse, Date.now)
  const list = (query: string) => () =>
    traces.list(bigWorkspace, readFilters(new URLSearchParams(query)), {
      limit: 50,
      after: undefined,
    })
  const pairs = [
    'service=s7&status=error',
    'model=m3&environment=production',
    'service=s7&model=m3',
    'user_id=u-1234&status=ok',
    'session_id=se-1234&source=otlp',
    'service=s7&min_latency_ms=900',
    'status=error&min_latency_ms=900',
    'prompt_version_id=support%40v3&model=m5',
    'provider=openai&max_latency_ms=500',
    'name=embed&service=s11',
  ]
  const ids = await clickhouse.query<{ id: string }>({
    sql: `SELECT lower(hex(trace_id)) AS id FROM traces WHERE workspace = {workspace:String} ORDER BY cityHash64(trace_id) LIMIT 100`,
    params: { workspace: bigWorkspace },
  })
  const idAt = (i: number) => ids[i % ids.length]?.id ?? ''
  const nowS = Math.floor(Date.now() / 60_000) * 60
  const figuresOf = (metric: FiguresAsked['metric'], by: FiguresAsked['by'], days: number) => ({
    ...{ workspace: bigWorkspace, metric, by, fromS: nowS - days * 86_400, toS: nowS },
    filters: readFilters(new URLSearchParams()),
  })
  return [
    { name: 'newest 50 traces', ask: list('') },
    ...pairs.map((query) => ({
      name: `newest 50, ${query}`,
      bar: '60 ms p95 at 44 M',
      ask: list(query),
    })),
    {
      name: 'newest 50, attribute = value, 30 days',
      bar: '60 ms p50 at 44 M',
      ask: list('attr.user.id=u-1234'),
    },
    { name: 'newest 50, a word', ask: list('q=parcel') },
    {
      name: 'newest 50, a word that stands nowhere in a day',
      ask: list(`q=nowhere&from=${new Date(Date.now() - dayMs).toISOString()}`),
    },
    {
      name: 'a trace by id, skeletons',
      bar: '20 ms p95 at 100 M',
      ask: (i) => traces.find(bigWorkspace, idAt(i)),
    },
    {
      name: 'a trace by id, payloads',
      ask: (i) => stored.ofWholeTrace(bigWorkspace, idAt(i), 1_000),
    },
    {
      name: 'a trace of 50,000 spans, skeletons',
      ask: () => traces.find(bigWorkspace, longTrace),
    },
    {
      name: 'p95 latency by model, 24 hours',
      bar: '60 ms p95 at 44 M',
      ask: () => figures.top(figuresOf('p95', 'model', 1), 20),
    },
    {
      name: 'cost by prompt version, 30 days',
      bar: '150 ms p95 at 44 M',
      ask: () => figures.top(figuresOf('cost', 'prompt_version_id', 30), 20),
    },
    {
      name: 'requests by the minute, 24 hours',
      ask: () => figures.series(figuresOf('requests', undefined, 1), { stepS: 60, keys: [''] }),
    },
    { name: 'attribute keys', ask: () => attributes.keys(bigWorkspace, 'http', 50) },
  ]
}

async function measure(ask: (i: number) => Promise<unknown>, pid: number) {
  await ask(0)
  const times: number[] = []
  const cpuBefore = cpuSeconds(pid)
  for (let i = 0; i < repeats; i++) {
    const startedAt = performance.now()
    await ask(i)
    times.push(performance.now() - startedAt)
  }
  const cpuMs = ((cpuSeconds(pid) - cpuBefore) * 1000) / repeats
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(repeats * share)]?.toFixed(1) ?? '–'
  return { figure: `${at(0.5)} / ${at(0.95)}`, unit: `ms p50 / p95, ${cpuMs.toFixed(0)} ms CPU` }
}

async function bytesASpan(clickhouse: Clickhouse, spans: number): Promise<string> {
  const [size] = await clickhouse.query<{ bytes: string }>({
    sql: `SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND database = currentDatabase()`,
  })
  return (Number(size?.bytes) / spans).toFixed(0)
}
