// A month of spans made inside the engine, for measuring and for counting granules: 8 a trace, four workspaces (one with 77 %),
// 20 services, 12 models of three providers, 24 prompt versions, 20,000 users, 100,000 sessions. The same numbers give the same rows.

import type { Clickhouse } from '../src/stores/clickhouse.ts'

export const bigWorkspace = 'w0'

/** `total` spans fill the month; those of a higher number lie in the same month again. */
export type Month = { total: number; nowMs: number; numbers?: { from: number; to: number } }

/** Fills `spans`, `payloads` and one envelope a workspace, `rowsAtOnce` an insert; the views make the rest. */
export async function fillMonth(
  clickhouse: Clickhouse,
  month: Month,
  rowsAtOnce = 500_000,
): Promise<void> {
  const deadlineMs = 600_000
  const numbers = month.numbers ?? { from: 0, to: month.total }
  for (let { from } = numbers; from < numbers.to; from += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, numbers.to - from)
    await clickhouse.command(spansSql(from, count, month), { deadlineMs })
    await clickhouse.command(payloadsSql(from, count), { deadlineMs })
  }
  await clickhouse.command(
    `INSERT INTO envelopes SELECT w, unhex(repeat('00', 16)), '', 0, now() FROM (SELECT arrayJoin(['w0', 'w1', 'w2', 'w3']) AS w)`,
  )
}

// Row i is span i % 8 of trace i / 8; a trace begins somewhere in the month that its number says.
const traceOf = `intDiv(number, 8)`
const idsOf = `unhex(hex(sipHash128(${traceOf}))) AS trace_id, unhex(substring(hex(sipHash128(number + 7)), 1, 16)) AS span_id`
const workspaceOf = `if(${traceOf} % 100 < 77, 'w0', concat('w', toString(1 + ${traceOf} % 3)))`
// What a trace is like: its own dice, so that every combination of two occurs as often as its shares say.
const dice = (salt: number) => `sipHash64(${traceOf}, ${salt})`
const isCall = `number % 8 = 1`
const isNative = `(${dice(13)} % 10 = 0)`
const userOf = `concat('u-', toString(${dice(5)} % 20000))`
const statusOf = `multiIf(sipHash64(number, 2) % 50 = 0, 'error', ${isCall} AND ${isNative}, ['ok', 'cache_hit', 'truncated', 'client_closed'][1 + bitCount(${dice(14)} % 8)], 'ok')`

function spansSql(from: number, count: number, { total, nowMs }: Month): string {
  const begins = `(${traceOf} * 8 % ${total}) / ${total}`
  return `INSERT INTO spans (workspace, trace_id, span_id, parent_span_id, start_time, duration_ns, name, service, type, kind, status, source,
      environment, provider, model, route_id, prompt_registry, prompt_version_id, run_id, session_id, user_id, usage, input_tokens, output_tokens, cost_nano_usd, attr_str, attr_num, input_preview, output_preview, ingest_seq, ingested_at)
    SELECT ${workspaceOf}, ${idsOf}, if(number % 8 = 0, unhex('0000000000000000'), unhex(substring(hex(sipHash128(number - number % 8 + 7)), 1, 16))),
      fromUnixTimestamp64Milli(toInt64(${nowMs} - 2592000000 * (1 - ${begins}) + (number % 8) * 13)), 1000000 + sipHash64(number) % 900000000,
      ['checkout', 'chat', 'search', 'tool', 'db', 'http', 'embed', 'agent'][1 + number % 8], concat('s', toString((sipHash64(${traceOf}) + intDiv(number % 8, 3)) % 20)),
      ['span', 'llm', 'retrieval', 'tool', 'db', 'http', 'embedding', 'agent'][1 + number % 8], 3, ${statusOf}, if(${isCall} AND ${isNative}, 'native', 'otlp'),
      ['production', 'staging', 'development'][1 + (${dice(12)} % 100 >= 85) + (${dice(12)} % 100 >= 97)],
      if(${isCall}, ['openai', 'anthropic', 'google'][1 + intDiv(${dice(3)} % 12, 4)], ''), if(${isCall}, concat('m', toString(${dice(3)} % 12)), ''), if(${isCall} AND ${isNative}, concat('r', toString(${dice(15)} % 6)), ''),
      if(${isCall}, ['support', 'triage', 'summary', 'router'][1 + ${dice(11)} % 4], ''), if(${isCall}, concat(['support', 'triage', 'summary', 'router'][1 + ${dice(11)} % 4], '@v', toString(1 + intDiv(${dice(11)}, 4) % 6)), ''),
      if(${isCall} AND ${isNative}, unhex(hex(sipHash128(number, 'run'))), unhex(repeat('00', 16))), concat('se-', toString(${dice(4)} % 100000)), ${userOf},
      if(${isCall}, 3, 0), sipHash64(number, 6) % 900, sipHash64(number, 7) % 300, sipHash64(number, 8) % 1000000,
      map('http.method', 'POST', 'user.id', ${userOf}, 'http.route', concat('/v1/', toString(number % 40)), 'host', concat('h', toString(number % 9))), map('http.status_code', toFloat64(200)),
      if(${isCall}, concat('where is parcel ', toString(sipHash64(number, 9))), ''), if(${isCall}, concat('it is on its way ', toString(sipHash64(number, 10))), ''), number, now()
    FROM numbers_mt(${from}, ${count}) ${insertSettings}`
}

// A part a thread; without the first line one thread makes, sorts and writes everything.
const insertSettings = `SETTINGS max_insert_threads = 2, max_threads = 2, min_insert_block_size_rows = 300000, min_insert_block_size_bytes = 0, max_block_size = 65409`

function payloadsSql(from: number, count: number): string {
  return `INSERT INTO payloads (workspace, trace_id, span_id, resource_hash, scope_hash, raw, ingest_seq, ingested_at)
    SELECT ${workspaceOf}, ${idsOf}, unhex(repeat('00', 16)), unhex(repeat('00', 16)), concat('raw ', hex(sipHash128(number)), repeat(hex(sipHash64(number)), 20)), number, now() FROM numbers_mt(${from}, ${count}) ${insertSettings}`
}

export const longTrace = 'ab'.repeat(16)

/** One trace of many spans, four below each, in the big workspace; rows of `payloads` too. */
export async function addLongTrace(clickhouse: Clickhouse, spans: number): Promise<void> {
  const ids = `'${bigWorkspace}', unhex('${longTrace}'), unhex(substring(hex(sipHash128(number, 'long')), 1, 16))`
  const parent = `if(number = 0, unhex('0000000000000000'), unhex(substring(hex(sipHash128(intDiv(number - 1, 4), 'long')), 1, 16)))`
  await clickhouse.command(
    `INSERT INTO spans (workspace, trace_id, span_id, parent_span_id, start_time, duration_ns, name, service, type, kind, status, source, ingest_seq, ingested_at)
     SELECT ${ids}, ${parent}, now64(9) - 3600 + number / 1000, 1000000, concat('step ', toString(number % 50)), 's1', 'span', 1, 'ok', 'otlp', 9000000000000 + number, now() FROM numbers(${spans})`,
  )
  await clickhouse.command(
    `INSERT INTO payloads (workspace, trace_id, span_id, resource_hash, scope_hash, raw, ingest_seq, ingested_at)
     SELECT ${ids}, unhex(repeat('00', 16)), unhex(repeat('00', 16)), 'raw', 9000000000000 + number, now() FROM numbers(${spans})`,
  )
}
