// What a span takes on disk over all tables, once the parts are merged: through the product, as exporters send it.

import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { WireWriter } from '../../collectors/otlp/wire-writer.ts'
import { randomHex } from '../../schemas/ids.ts'
import { startClickhouse } from '../../src/engines/clickhouse.ts'
import { connectClickhouse } from '../../src/stores/clickhouse.ts'
import { type Product, removeDataDir, startProduct } from '../product.ts'
import {
  encodeResourceEnvelope,
  encodeScopeEnvelope,
  encodeSpanMessage,
} from '../protobuf-writer.ts'

const spans = 400_000
const spansPerBatch = 500
const spansPerTrace = 8
const spanEveryNs = 8_000_000n
const tables = [
  'spans',
  'payloads',
  'envelopes',
  'traces',
  'briefs',
  'arrivals',
  'rolled',
  'rollups',
]

export const method = `${spans / 1e3} thousand spans of 12 attributes (442 bytes of protobuf), ${spansPerTrace} a trace, ids, durations, users, sessions and paths at random from a fixed seed; every table merged into one part.`

export async function run() {
  const product = await startProduct()
  try {
    for (let from = 0; from < spans; from += spansPerBatch) await send(product, from)
    await untilDrained(product)
    await product.stop()
    return await measure(join(product.dataDir, 'clickhouse'))
  } finally {
    await product.stop()
    removeDataDir(product.dataDir)
  }
}

async function measure(dir: string) {
  const engine = await startClickhouse({ dir, log: console.error })
  const clickhouse = connectClickhouse(engine.url)
  try {
    for (const table of tables)
      await clickhouse.command(`OPTIMIZE TABLE ${table} FINAL`, { deadlineMs: 600_000 })
    const found = await clickhouse.query<{ name: string; bytes: string }>({
      sql: `SELECT table AS name, sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND table IN {tables:Array(String)}
        GROUP BY table ORDER BY bytes DESC`,
      params: { tables },
    })
    const all = found.reduce((sum, { bytes }) => sum + Number(bytes), 0)
    const row = (name: string, bytes: number, reference = '') => ({
      ...{ name, figure: (bytes / spans).toFixed(1), unit: 'bytes a span', reference },
    })
    return [
      row('all tables', all, 'bar 300'),
      ...found.map(({ name, bytes }) => row(name, Number(bytes))),
    ]
  } finally {
    await clickhouse.close()
    await engine.stop()
  }
}

async function send(product: Product, from: number): Promise<void> {
  const response = await fetch(`${product.url}/v1/traces`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${product.key}`,
      'Content-Type': 'application/x-protobuf',
      'Content-Encoding': 'gzip',
    },
    body: new Uint8Array(makeBody(from)),
  })
  if (response.status !== 200) throw new Error(`ingest answered ${response.status}`)
  await response.arrayBuffer()
}

async function untilDrained(product: Product): Promise<void> {
  for (;;) {
    const response = await fetch(`${product.url}/metrics`)
    const left = /^runledger_spool_undrained_rows (\d+)$/m.exec(await response.text())?.[1]
    if (left === '0') return
    await wait(200)
  }
}

let state = 1
/** Mulberry32: the same numbers every time. */
function random(below: number): number {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) % below
}

const startNs = BigInt(Date.now() - 3_600_000) * 1_000_000n

function makeBody(from: number): Buffer {
  const writer = new WireWriter()
  const resource = writer.begin(1)
  writer.raw(
    encodeResourceEnvelope([
      ['service.name', `service-${random(20)}`],
      ['service.version', '1.2.3'],
      ['host.name', 'node-1'],
    ]),
  )
  const scope = writer.begin(2)
  writer.raw(encodeScopeEnvelope('bench', '1'))
  let traceId = ''
  let parent: string | undefined
  for (let i = 0; i < spansPerBatch; i++) {
    if (i % spansPerTrace === 0) {
      traceId = randomHex(16)
      parent = undefined
    }
    const spanId = randomHex(8)
    const begun = startNs + BigInt(from + i) * spanEveryNs + BigInt(random(1_000_000))
    writer.bytesField(
      2,
      encodeSpanMessage({
        ...{ traceId, spanId, name: `POST /v1/items/${i % 40}`, kind: 2 },
        ...(parent === undefined ? {} : { parentSpanId: parent }),
        startUnixNano: begun,
        endUnixNano: begun + BigInt(random(50_000_000)),
        attributes: attributesOf(i),
      }),
    )
    parent = spanId
  }
  writer.end(scope)
  writer.end(resource)
  return gzipSync(writer.finish(), { level: 1 })
}

function attributesOf(i: number) {
  const item = random(1_000_000)
  return [
    ['http.request.method', 'POST'],
    ['http.route', `/v1/items/${i % 40}`],
    ['http.response.status_code', random(50) === 0 ? 500 : 200],
    ['server.address', 'api.internal'],
    ['server.port', 443],
    ['user_agent.original', 'client/3.1'],
    ['url.full', `https://api.internal/v1/items/${item}?page=${item % 7}`],
    ['network.protocol.version', '1.1'],
    ['session.id', `s-${random(90_000)}`],
    ['user.id', `u-${random(30_000)}`],
    ['db.rows', random(1_000)],
    ['cache.hit', random(3) === 0],
  ] as const
}
