// Spans accepted and durable, end to end: the started product, gzip batches over keep-alive connections.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { packageRoot } from '../../src/root.ts'
import { cpuSeconds, type Product, removeDataDir, startProduct } from '../product.ts'
import { batchMaker, type Encoding } from './batches.ts'
import { thirdsOf, type Usage, watchFamily } from './family.ts'

const spansPerBatch = 500
const closedConnections = 8
// Open loop: as many as it takes, so that no request waits for another at the sender.
const openConnections = 64
// Enough for this many spans a second; a run that outruns them ends early and says so.
const batchesPerSecond = { protobuf: 300, json: 160 }
const warmBatches = 300
const referenceSeconds = 3
const drainDeadlineMs = 180_000

export const method = `Batches of ${spansPerBatch} new spans of 12 attributes, gzip, made before each clock starts; the generator shares the machine. First protobuf in a closed loop of ${closedConnections} connections for 10 s (--seconds=60), then as long in an open loop at half the rate that was accepted, timed from when each was due, then JSON in a closed loop for half as long. One of them alone: --json, or --rate=60000 spans a second (--json --rate=… both). Lag: from the last answer until every span is in ClickHouse. CPU: from the first request until then, per accepted span. Reference: a bare server that gunzips, appends and syncs the same batches.`

type Plan = { encoding: Encoding; seconds: number; rate: number | undefined }
type Sent = { batches: number; elapsedMs: number; latencies: number[]; refused: number }
type Figure = { name: string; figure: number | string; unit: string; reference?: string }

export async function run(options: string[] = []): Promise<Figure[]> {
  const number = (name: string) =>
    Number(options.find((option) => option.startsWith(`--${name}=`))?.split('=')[1] ?? 0)
  const encoding = options.includes('--json') ? 'json' : 'protobuf'
  const seconds = number('seconds') || 10
  const plan: Plan = { encoding, seconds, rate: number('rate') || undefined }
  const bodies = bodiesFor(plan)
  const bare = await measureBare(plan, bodies.list)
  const product = await startProduct()
  try {
    await sendClosed(targetOf(product, encoding), bodies.list.slice(0, warmBatches), seconds)
    const first = await measure(product, plan, { ...bodies, list: bodies.list.slice(warmBatches) })
    if (plan.rate || encoding === 'json') return figuresOf(first, bare)
    const halfRate = Math.round(first.spansPerS / 2)
    const half: Plan = { encoding, seconds, rate: halfRate }
    const paced = await measure(product, half, bodiesFor(half))
    const text: Plan = { encoding: 'json', seconds: seconds / 2, rate: undefined }
    const json = await measure(product, text, bodiesFor(text))
    return [
      ...figuresOf(first, bare),
      ...tailFigures(paced, `open loop at ${halfRate} spans/s: `, bare),
      ...tailFigures(json, 'JSON: ', bare),
    ]
  } finally {
    await product.stop()
    removeDataDir(product.dataDir)
  }
}

type Bodies = { list: Buffer[]; bytes: number }

function bodiesFor({ encoding, rate, seconds }: Plan): Bodies {
  const { bytes, next } = batchMaker(encoding, spansPerBatch)
  const perSecond = rate ? rate / spansPerBatch : batchesPerSecond[encoding]
  const list = Array.from({ length: Math.ceil(perSecond * seconds) + warmBatches }, next)
  return { list, bytes }
}

type Measured = {
  plan: Plan
  sent: Sent
  bodyBytes: number
  spans: number
  spansPerS: number
  lagMs: number
  cpu: Usage[]
  parts: Usage[]
  memoryMib: number[]
}

async function measure(product: Product, plan: Plan, bodies: Bodies): Promise<Measured> {
  await untilDrained(product)
  const to = targetOf(product, plan.encoding)
  const watch = watchFamily(product.pid)
  const own = process.cpuUsage()
  const sent = plan.rate
    ? await sendOpen(to, bodies.list, { rate: plan.rate, seconds: plan.seconds })
    : await sendClosed(to, bodies.list, plan.seconds)
  const { user, system } = process.cpuUsage(own)
  const lagMs = await untilDrained(product)
  watch.stop()
  const spans = sent.batches * spansPerBatch
  return {
    ...{ plan, sent, bodyBytes: bodies.bytes, spans, lagMs, memoryMib: watch.memoryMib },
    spansPerS: Math.round((spans / sent.elapsedMs) * 1000),
    cpu: [...watch.cpu(), { name: 'the generator', cpuS: (user + system) / 1e6 }],
    parts: watch.parts(),
  }
}

function figuresOf(measured: Measured, bare: Bare): Figure[] {
  const { sent, plan, spans, parts, memoryMib } = measured
  const [early, late] = thirdsOf(memoryMib)
  return [
    ...tailFigures(measured, '', bare),
    ...parts.map((usage) => cpuFigure(usage, spans, bare)),
    {
      name: 'memory of the family, highest',
      figure: Math.round(Math.max(...memoryMib)),
      unit: 'MiB',
      reference: `mean of the first third ${Math.round(early)}, of the last ${Math.round(late)}`,
    },
    ...(sent.elapsedMs < plan.seconds * 900
      ? [{ name: 'ended early: no batches left', figure: sent.elapsedMs / 1000, unit: 's' }]
      : []),
  ]
}

/** What one run says of itself; `of` names it before each row. */
function tailFigures(measured: Measured, of: string, bare: Bare): Figure[] {
  const { plan, sent, spans, spansPerS } = measured
  const bytes = (measured.bodyBytes / spansPerBatch).toFixed(0)
  const isLike = plan.encoding === bare.encoding
  return [
    {
      name: `${of}spans accepted, durable (${plan.encoding}, ${bytes} B each)`,
      figure: spansPerS,
      unit: 'spans/s',
      ...(isLike && !plan.rate
        ? {
            reference: `bare server ${bare.spansPerS}: ${(spansPerS / bare.spansPerS).toFixed(2)} of it`,
          }
        : {}),
    },
    {
      name: `${of}answer p50 / p99 / highest`,
      figure: [0.5, 0.99, 1].map((share) => quantile(sent.latencies, share)).join(' / '),
      unit: 'ms',
      ...(isLike ? { reference: `bare p99 ${bare.p99} ms` } : {}),
    },
    { name: `${of}refused (503, 429)`, figure: sent.refused, unit: 'requests' },
    { name: `${of}lag after the last answer`, figure: Math.round(measured.lagMs), unit: 'ms' },
    ...measured.cpu.map(({ name, cpuS }) =>
      cpuFigure({ name: of + name, cpuS }, spans, bare, name === 'plane' && isLike),
    ),
  ]
}

function cpuFigure({ name, cpuS }: Usage, spans: number, bare: Bare, isCompared = false): Figure {
  const figure = ((cpuS * 1e6) / spans).toFixed(2)
  const row = { name: `CPU of ${name}`, figure, unit: 'µs a span' }
  return isCompared ? { ...row, reference: `bare server ${bare.cpuUs} µs` } : row
}

type Target = { url: string; key: string; encoding: Encoding }

function targetOf({ url, key }: Product, encoding: Encoding): Target {
  return { url: `${url}/v1/otlp/traces`, key, encoding }
}

/** Each connection sends its next batch when the last is answered. */
async function sendClosed(to: Target, bodies: Buffer[], seconds: number): Promise<Sent> {
  const agent = new Agent({ keepAlive: true, maxSockets: closedConnections })
  const sent: Sent = { batches: 0, elapsedMs: 0, latencies: [], refused: 0 }
  let next = 0
  const startedAt = performance.now()
  const worker = async () => {
    while (next < bodies.length && performance.now() - startedAt < seconds * 1000) {
      const body = bodies[next++]!
      await sendOne(to, { agent, body, dueMs: performance.now() }, sent)
    }
  }
  await Promise.all(Array.from({ length: closedConnections }, worker))
  sent.elapsedMs = performance.now() - startedAt
  agent.destroy()
  return sent
}

/** One batch after the other at an even pace, whatever the answers do. */
async function sendOpen(
  to: Target,
  bodies: Buffer[],
  pace: { rate: number; seconds: number },
): Promise<Sent> {
  const agent = new Agent({ keepAlive: true, maxSockets: openConnections })
  const sent: Sent = { batches: 0, elapsedMs: 0, latencies: [], refused: 0 }
  const everyMs = (spansPerBatch / pace.rate) * 1000
  const startedAt = performance.now()
  const pending: Promise<void>[] = []
  const total = Math.min(bodies.length, Math.floor((pace.seconds * 1000) / everyMs))
  while (pending.length < total) {
    const dueMs = startedAt + pending.length * everyMs
    if (performance.now() < dueMs) await wait(1)
    else pending.push(sendOne(to, { agent, body: bodies[pending.length]!, dueMs }, sent))
  }
  await Promise.all(pending)
  sent.elapsedMs = performance.now() - startedAt
  agent.destroy()
  return sent
}

async function sendOne(
  to: Target,
  given: { agent: Agent; body: Buffer; dueMs: number },
  sent: Sent,
): Promise<void> {
  const status = await post(to, given.agent, given.body)
  if (status === 200) {
    sent.batches += 1
    sent.latencies.push(performance.now() - given.dueMs)
  } else if (status === 503 || status === 429) sent.refused += 1
  else throw new Error(`answered ${status}`)
}

function post(to: Target, agent: Agent, body: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = {
      Authorization: `Bearer ${to.key}`,
      'Content-Type': to.encoding === 'json' ? 'application/json' : 'application/x-protobuf',
      'Content-Encoding': 'gzip',
      'Content-Length': body.length,
    }
    const sending = request(to.url, { agent, method: 'POST', headers }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
    sending.on('error', reject)
    sending.end(body)
  })
}

type Bare = { encoding: Encoding; spansPerS: number; cpuUs: string; p99: string }

async function measureBare(plan: Plan, bodies: Buffer[]): Promise<Bare> {
  const dir = mkdtempSync(join(tmpdir(), 'runledger-bare-'))
  const program = join(packageRoot(), 'test', 'bench', 'bare-receiver.mjs')
  const child = spawn(process.execPath, [program, join(dir, 'file')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const port = await new Promise<number>((resolve) =>
      child.stdout.once('data', (text) => resolve(Number(text))),
    )
    const to = { url: `http://127.0.0.1:${port}/`, key: '', encoding: plan.encoding }
    await sendClosed(to, bodies.slice(0, warmBatches), referenceSeconds)
    const before = cpuSeconds(child.pid ?? 0)
    const sent = await sendClosed(to, bodies, referenceSeconds)
    const cpuS = cpuSeconds(child.pid ?? 0) - before
    const spans = sent.batches * spansPerBatch
    return {
      encoding: plan.encoding,
      spansPerS: Math.round((spans / sent.elapsedMs) * 1000),
      cpuUs: ((cpuS * 1e6) / spans).toFixed(2),
      p99: quantile(sent.latencies, 0.99),
    }
  } finally {
    child.kill()
    rmSync(dir, { recursive: true, force: true })
  }
}

function quantile(latencies: readonly number[], share: number): string {
  const sorted = [...latencies].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]?.toFixed(1) ?? '–'
}

async function untilDrained(product: Product): Promise<number> {
  const startedAt = performance.now()
  for (;;) {
    const metrics = await (await fetch(`${product.url}/metrics`)).text()
    if (/runledger_spool_undrained_rows 0\n/.test(metrics)) return performance.now() - startedAt
    if (performance.now() - startedAt > drainDeadlineMs)
      throw new Error(`not drained within ${drainDeadlineMs} ms`)
    await wait(20)
  }
}
