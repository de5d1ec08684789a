// Spans accepted and durable, end to end: the started product, gzip protobuf batches over keep-alive connections.

import { Agent, request } from 'node:http'
import { gzipSync } from 'node:zlib'
import {
  encodeResourceEnvelope,
  encodeScopeEnvelope,
  encodeSpanMessage,
} from '../../collectors/otlp/protobuf-writer.ts'
import { WireWriter } from '../../collectors/otlp/wire-writer.ts'
import { randomHex } from '../../schemas/ids.ts'
import { cpuSeconds, type Product, removeDataDir, startProduct } from '../product.ts'

const connections = 8
const spansPerBatch = 500
const seconds = Number(process.env.BENCH_SECONDS ?? 10)
const batchesReady = 900

export const method = `${connections} connections, closed loop for ${seconds} s, ${spansPerBatch} new spans of 12 attributes a request, protobuf, gzip; the generator shares the machine. Lag: from the last answer until every span is in ClickHouse.`

export async function run() {
  const bodies = Array.from({ length: batchesReady }, makeBody)
  const product = await startProduct()
  try {
    await send(product, bodies.slice(0, 20), 1)
    const before = cpuSeconds(product.pid)
    const { accepted, elapsedMs, latencies } = await send(product, bodies.slice(20), seconds)
    const cpuS = cpuSeconds(product.pid) - before
    const lagMs = await untilDrained(product)
    latencies.sort((a, b) => a - b)
    const at = (share: number) => latencies[Math.floor(latencies.length * share)]?.toFixed(1) ?? '–'
    return [
      {
        name: 'spans accepted, durable',
        figure: Math.round((accepted / elapsedMs) * 1000),
        unit: 'spans/s',
        reference: 'bar 40,000',
      },
      { name: 'answer p50 / p99', figure: `${at(0.5)} / ${at(0.99)}`, unit: 'ms' },
      {
        name: 'CPU of the serving process',
        figure: ((cpuS * 1e6) / accepted).toFixed(1),
        unit: 'µs a span',
      },
      { name: 'lag after the last answer', figure: Math.round(lagMs), unit: 'ms' },
    ]
  } finally {
    await product.stop()
    removeDataDir(product.dataDir)
  }
}

function makeBody(): Buffer {
  const now = BigInt(Date.now()) * 1_000_000n
  const writer = new WireWriter()
  const resource = writer.begin(1)
  writer.raw(
    encodeResourceEnvelope([
      ['service.name', 'bench'],
      ['service.version', '1.2.3'],
      ['host.name', 'node-1'],
    ]),
  )
  const scope = writer.begin(2)
  writer.raw(encodeScopeEnvelope('bench', '1'))
  const traceId = randomHex(16)
  for (let i = 0; i < spansPerBatch; i++) {
    const attributes = [
      ['http.request.method', 'POST'],
      ['http.route', `/v1/items/${i % 40}`],
      ['http.response.status_code', i % 50 === 0 ? 500 : 200],
      ['server.address', 'api.internal'],
      ['server.port', 443],
      ['user_agent.original', 'client/3.1'],
      ['url.full', `https://api.internal/v1/items/${i}?page=${i % 7}`],
      ['network.protocol.version', '1.1'],
      ['session.id', `s-${i % 90}`],
      ['user.id', `u-${i % 300}`],
      ['db.rows', i],
      ['cache.hit', i % 3 === 0],
    ] as const
    writer.bytesField(
      2,
      encodeSpanMessage({
        traceId,
        spanId: randomHex(8),
        parentSpanId: randomHex(8),
        name: `POST /v1/items/${i % 40}`,
        kind: 2,
        startUnixNano: now + BigInt(i) * 1000n,
        endUnixNano: now + BigInt(i) * 1000n + 4_200_000n,
        attributes,
      }),
    )
  }
  writer.end(scope)
  writer.end(resource)
  return gzipSync(writer.finish(), { level: 4 })
}

async function send(product: Product, bodies: Buffer[], forSeconds: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const latencies: number[] = []
  let next = 0
  const startedAt = performance.now()
  const worker = async () => {
    while (next < bodies.length && performance.now() - startedAt < forSeconds * 1000) {
      const body = bodies[next++] ?? Buffer.alloc(0)
      const sentAt = performance.now()
      const status = await post(product, agent, body)
      if (status !== 200) throw new Error(`answered ${status}`)
      latencies.push(performance.now() - sentAt)
    }
  }
  await Promise.all(Array.from({ length: connections }, worker))
  const elapsedMs = performance.now() - startedAt
  agent.destroy()
  return { accepted: latencies.length * spansPerBatch, elapsedMs, latencies }
}

function post(product: Product, agent: Agent, body: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${product.url}/v1/otlp/traces`,
      {
        agent,
        method: 'POST',
        headers: {
          Authorization: `Bearer ${product.key}`,
          'Content-Type': 'application/x-protobuf',
          'Content-Encoding': 'gzip',
          'Content-Length': body.length,
        },
      },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode ?? 0))
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}

async function untilDrained(product: Product): Promise<number> {
  const startedAt = performance.now()
  for (;;) {
    const metrics = await (await fetch(`${product.url}/metrics`)).text()
    if (/runledger_spool_undrained_rows 0\n/.test(metrics)) return performance.now() - startedAt
    if (performance.now() - startedAt > 120_000) throw new Error('not drained within two minutes')
  }
}
