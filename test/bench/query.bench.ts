// How long the questions of the API take over a month of spans: wall time, and the engine's own CPU, which a busy machine does not
// change. `--dir=` keeps the month, so that a second run asks the same data; `--pairs` asks for every two filters together.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startClickhouse } from '../../src/engines/clickhouse.ts'
import { type FiguresAsked, openFigures } from '../../src/rollups/figures.ts'
import { rollDue } from '../../src/rollups/roll.ts'
import { packageRoot } from '../../src/root.ts'
import { type Clickhouse, connectClickhouse } from '../../src/stores/clickhouse.ts'
import { openAttributeNames } from '../../src/traces/attributes.ts'
import { openStoredSpans } from '../../src/traces/stored-spans.ts'
import { readFilters } from '../../src/traces/trace-filters.ts'
import { openTraces } from '../../src/traces/traces.ts'
import { addLongTrace, bigWorkspace, fillMonth, longTrace } from '../month.ts'
import { cpuSeconds } from '../product.ts'

const spansQuick = 2_000_000
const spansLong = 44_000_000
const repeats = 25
const worstShown = 15
const dayMs = 86_400_000

export const method = `Thirty days of spans made in the engine, 8 a trace, 4 workspaces (one with 77 %), 20 services, 12 models; parts merged as they come, figures rolled up; every question looks back from the end of the month. Through the embedded engine over HTTP, the large workspace, ${repeats} repeats each, warm. ${spansQuick / 1e6} million spans; --long takes ${spansLong / 1e6} million, --spans=N any number.`

type Question = { name: string; bar?: string; ask: (i: number) => Promise<unknown> }

export async function run(options: string[]) {
  const textOf = (name: string) =>
    options.find((option) => option.startsWith(`--${name}=`))?.slice(name.length + 3)
  const spans = Number(textOf('spans') ?? (options.includes('--long') ? spansLong : spansQuick))
  const keptIn = textOf('dir')
  const dir = keptIn ?? mkdtempSync(join(tmpdir(), 'runledger-query-'))
  mkdirSync(dir, { recursive: true })
  const engine = await startClickhouse({ dir, log: console.error })
  const clickhouse = connectClickhouse(engine.url)
  try {
    const nowMs = await fillOnce(clickhouse, spans)
    const pid = Number(/\d+/.exec(readFileSync(join(dir, 'child.pid'), 'utf8'))?.[0])
    const rows = options.includes('--pairs') ? await pairsOf(clickhouse, nowMs, pid) : []
    if (!options.includes('--pairs'))
      for (const { name, bar, ask } of await questionsOf(clickhouse, nowMs))
        rows.push({ name, reference: bar ?? '', ...(await measure(ask, { pid, repeats })) })
    return [
      { name: 'spans', figure: (spans / 1e6).toFixed(1), unit: 'million' },
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
    if (keptIn === undefined) rmSync(dir, { recursive: true, force: true })
  }
}

/** A month of spans and its figures, unless they are there; its end, from which every question looks back. */
async function fillOnce(clickhouse: Clickhouse, spans: number): Promise<number> {
  await clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse'))
  const endOf = `SELECT toUnixTimestamp64Milli(max(start_time)) AS end, count() AS spans FROM spans WHERE trace_id != unhex('${longTrace}')`
  const [there] = await clickhouse.query<{ end: string; spans: string }>({ sql: endOf })
  if (Number(there?.spans) === 0) await fillMonth(clickhouse, { total: spans, nowMs: Date.now() })
  const [month] = await clickhouse.query<{ end: string; long: string }>({
    sql: `SELECT end, (SELECT count() FROM payloads WHERE workspace = '${bigWorkspace}' AND trace_id = unhex('${longTrace}')) AS long FROM (${endOf})`,
  })
  if (month?.long === '0') await addLongTrace(clickhouse, 50_000)
  while ((await rollDue(clickhouse, Date.now())) > 0);
  return Number(month?.end)
}

// Three values of each filter, asked for in turn: frequent, less so, rare.
const filters = {
  service: ['s7', 's11', 's3'],
  name: ['embed', 'chat', 'db'],
  model: ['m3', 'm5', 'm9'],
  provider: ['openai', 'google', 'anthropic'],
  route_id: ['r1', 'r2', 'r5'],
  environment: ['production', 'staging', 'development'],
  prompt_version_id: ['support@v3', 'triage@v1', 'router@v6'],
  status: ['error', 'ok', 'truncated'],
  source: ['otlp', 'native', 'native'],
  session_id: ['se-1234', 'se-77', 'se-4711'],
  user_id: ['u-1234', 'u-77', 'u-4711'],
  min_latency_ms: ['900', '950', '300'],
  max_latency_ms: ['500', '300', '800'],
  'attr.user.id': ['u-1234', 'u-98', 'u-7000'],
  'attr.http.route': ['/v1/7', '/v1/1', '/v1/30'],
} as const

/** Every pair of filters, its three values together, each asked for once: what the engine remembers of a filter helps none of them. */
async function pairsOf(clickhouse: Clickhouse, nowMs: number, pid: number) {
  const traces = openTraces(clickhouse, () => nowMs)
  const names = Object.entries(filters)
  const pairs = names.flatMap(([one, ofOne], i) =>
    names.slice(i + 1).map(([other, ofOther]) => ({ one, ofOne, other, ofOther })),
  )
  const rows: { name: string; ms: number; ask: () => Promise<unknown> }[] = []
  for (const { one, ofOne, other, ofOther } of pairs)
    for (const i of [0, 1, 2]) {
      const asked = new URLSearchParams([
        [one, ofOne[i] ?? ''],
        [other, ofOther[i] ?? ''],
      ])
      const ask = () =>
        traces.list(bigWorkspace, readFilters(asked), { limit: 50, after: undefined })
      const startedAt = performance.now()
      const { items } = await ask()
      rows.push({ name: `${asked}: ${items.length}`, ms: performance.now() - startedAt, ask })
    }
  rows.sort((a, b) => a.ms - b.ms)
  const at = (share: number) => rows[Math.floor(rows.length * share)]?.ms.toFixed(0) ?? '–'
  const worst = []
  for (const { name, ask, ms } of rows.slice(-worstShown).reverse()) {
    const warm = await measure(ask, { pid, repeats: 3 })
    worst.push({ name, ...warm, reference: `first ${ms.toFixed(0)} ms` })
  }
  return [
    {
      name: `newest 50 by each of ${rows.length} pairs of filters, first time`,
      figure: `${at(0.5)} / ${at(0.75)} / ${at(0.95)}`,
      unit: 'ms p50 / p75 / p95 of the pairs',
      reference: '60 ms p95 at 44 M',
    },
    ...worst,
  ]
}

async function questionsOf(clickhouse: Clickhouse, nowMs: number): Promise<Question[]> {
  const traces = openTraces(clickhouse, () => nowMs)
  const stored = openStoredSpans(clickhouse)
  const figures = openFigures(clickhouse)
  const attributes = openAttributeNames(clickhouse, () => nowMs)
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
  const nowS = Math.floor(nowMs / 60_000) * 60
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
      ask: (i) => list(`attr.user.id=u-${1_000 + i}`)(),
    },
    { name: 'newest 50, a word', ask: list('q=parcel') },
    {
      name: 'newest 50, a word that stands nowhere in a day',
      ask: list(`q=nowhere&from=${new Date(nowMs - dayMs).toISOString()}`),
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

async function measure(
  ask: (i: number) => Promise<unknown>,
  { pid, repeats }: { pid: number; repeats: number },
) {
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
