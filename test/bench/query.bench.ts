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

const spansQuick = 2_000_000
const spansLong = 44_000_000
const insertRows = 1_000_000
const repeats = 25
const workspace = 'w0'

export const method = `Thirty days of spans made in the engine, 8 a trace, 4 workspaces (one with 77 %), 20 services, 12 models; parts merged as they come. Through the embedded engine over HTTP, the large workspace, ${repeats} repeats each, warm. ${spansQuick / 1e6} million spans; --long takes ${spansLong / 1e6} million.`

export async function run(options: string[]) {
  const spans = options.includes('--long') ? spansLong : spansQuick
  const dir = mkdtempSync(join(tmpdir(), 'runledger-query-'))
  const engine = await startClickhouse({ dir, log: console.error })
  const clickhouse = connectClickhouse(engine.url)
  try {
    await clickhouse.migrate(join(packageRoot(), 'schemas', 'clickhouse'))
    for (let from = 0; from < spans; from += insertRows) {
      await clickhouse.command(spansSql(from, Math.min(insertRows, spans - from), spans), {
        deadlineMs: 600_000,
      })
      await clickhouse.command(payloadsSql(from, Math.min(insertRows, spans - from)), {
        deadlineMs: 600_000,
      })
    }
    await clickhouse.command(
      `INSERT INTO envelopes SELECT w, unhex(repeat('00', 16)), '', 0, now() FROM (SELECT arrayJoin(['w0', 'w1', 'w2', 'w3']) AS w)`,
    )
    const traces = openTraces(clickhouse, Date.now)
    const stored = openStoredSpans(clickhouse)
    const list = (query: string) => () =>
      traces.list(workspace, readFilters(new URLSearchParams(query)), {
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
      ['a trace by id, skeletons', (i) => traces.find(workspace, ids[i % ids.length] ?? '')],
      [
        'a trace by id, payloads',
        (i) => stored.ofWholeTrace(workspace, ids[i % ids.length] ?? '', 1_000),
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

// Row i is span i % 8 of trace i / 8; a trace begins somewhere in the month that its number says.
const traceOf = `intDiv(number, 8)`
const idsOf = `unhex(hex(sipHash128(${traceOf}))) AS trace_id, unhex(substring(hex(sipHash128(number + 7)), 1, 16)) AS span_id`
const workspaceOf = `if(${traceOf} % 100 < 77, 'w0', concat('w', toString(1 + ${traceOf} % 3)))`

function spansSql(from: number, count: number, total: number): string {
  const nowMs = Date.now()
  return `INSERT INTO spans (workspace, trace_id, span_id, parent_span_id, start_time, duration_ns, name, service, type, kind, status, source,
      environment, provider, model, prompt_registry, prompt_version_id, session_id, user_id, usage, input_tokens, output_tokens, cost_nano_usd, attr_str, attr_num, input_preview, output_preview, ingest_seq, ingested_at)
    SELECT ${workspaceOf}, ${idsOf}, if(number % 8 = 0, unhex('0000000000000000'), unhex(substring(hex(sipHash128(number - number % 8 + 7)), 1, 16))),
      fromUnixTimestamp64Milli(toInt64(${nowMs} - 2592000000 * (1 - ${traceOf} * 8 / ${total}) + (number % 8) * 13)), 1000000 + sipHash64(number) % 900000000,
      ['checkout', 'chat', 'search', 'tool', 'db', 'http', 'embed', 'agent'][1 + number % 8], concat('s', toString(sipHash64(${traceOf}) % 20)),
      ['span', 'llm', 'retrieval', 'tool', 'db', 'http', 'embedding', 'agent'][1 + number % 8], 3, if(sipHash64(number, 2) % 50 = 0, 'error', 'ok'), 'otlp', 'production',
      if(number % 8 = 1, 'openai', ''), if(number % 8 = 1, concat('m', toString(sipHash64(${traceOf}, 3) % 12)), ''), '', '', concat('se-', toString(sipHash64(${traceOf}, 4) % 100000)), concat('u-', toString(sipHash64(${traceOf}, 5) % 20000)),
      if(number % 8 = 1, 3, 0), sipHash64(number, 6) % 900, sipHash64(number, 7) % 300, sipHash64(number, 8) % 1000000,
      map('http.method', 'POST', 'user.id', concat('u-', toString(sipHash64(${traceOf}, 5) % 20000)), 'http.route', concat('/v1/', toString(number % 40)), 'host', concat('h', toString(number % 9))), map('http.status_code', toFloat64(200)),
      if(number % 8 = 1, concat('where is parcel ', toString(sipHash64(number, 9))), ''), if(number % 8 = 1, concat('it is on its way ', toString(sipHash64(number, 10))), ''), number, now()
    FROM numbers(${from}, ${count})`
}

function payloadsSql(from: number, count: number): string {
  return `INSERT INTO payloads (workspace, trace_id, span_id, resource_hash, scope_hash, raw, ingest_seq, ingested_at)
    SELECT ${workspaceOf}, ${idsOf}, unhex(repeat('00', 16)), unhex(repeat('00', 16)), concat('raw ', hex(sipHash128(number)), repeat(hex(sipHash64(number)), 20)), number, now() FROM numbers(${from}, ${count})`
}
