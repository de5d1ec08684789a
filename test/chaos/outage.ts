// ClickHouse goes away for a while at a steady rate of spans: no client notices, nothing is lost, and the backlog is worked off.

import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { startClickhouse } from '../../src/engines/clickhouse.ts'
import type { Target } from '../clients.ts'
import { newDataDir, removeDataDir, startProduct } from '../product.ts'
import { openFaultProxy } from './fault-proxy.ts'
import { type Acked, countStored, judge, post, requestOf } from './spans.ts'

export type OutageOptions = {
  outageS: number
  spansPerS: number
  print?: (line: string) => void
}

export type OutageReport = {
  outageS: number
  spansAcked: number
  spansStored: number
  lost: string[]
  doubled: string[]
  refused: number
  backlogRows: number
  /** From the return of ClickHouse until nothing that was accepted is older than two seconds in the spool; spans still came. */
  caughtUpS: number
  ackMsP99: number
}

const batch = 100
const freshMs = 2_500
const catchUpDeadlineS = 600

export async function outage(options: OutageOptions): Promise<OutageReport> {
  const dataDir = newDataDir()
  const engineDir = newDataDir()
  const engine = await startClickhouse({ dir: join(engineDir, 'clickhouse'), log: () => {} })
  const at = new URL(engine.url)
  const proxy = await openFaultProxy({ host: at.hostname, port: Number(at.port) })
  at.port = String(proxy.port)
  try {
    const product = await startProduct({ dataDir, env: { CLICKHOUSE_URL: at.href } })
    try {
      return await ride(product, proxy, options)
    } finally {
      await product.stop()
    }
  } finally {
    await proxy.close()
    await engine.stop()
    removeDataDir(dataDir)
    removeDataDir(engineDir)
  }
}

async function ride(
  target: Target,
  proxy: Awaited<ReturnType<typeof openFaultProxy>>,
  options: OutageOptions,
): Promise<OutageReport> {
  const acked: Acked = new Set()
  const stop = new AbortController()
  const sending = sendSteadily(target, acked, { ...options, signal: stop.signal })
  await wait(1_000)
  await proxy.refuse()
  await wait(options.outageS * 1_000)
  const { undrainedRows: backlogRows } = await spoolOf(target)
  options.print?.(`after ${options.outageS} s away: ${backlogRows} rows in the spool`)
  await proxy.pass()
  const backAt = performance.now()
  const elapsedS = () => (performance.now() - backAt) / 1_000
  while ((await spoolOf(target)).oldestMs > freshMs) {
    if (elapsedS() > catchUpDeadlineS) throw new Error('the backlog was not worked off')
    await wait(50)
  }
  const caughtUpS = elapsedS()
  options.print?.(`caught up after ${caughtUpS.toFixed(1)} s`)
  stop.abort()
  const { refused, latencies } = await sending
  const stored = await countStored(target)
  latencies.sort((a, b) => a - b)
  return {
    outageS: options.outageS,
    spansAcked: acked.size,
    spansStored: stored.size,
    ...judge(acked, stored),
    refused,
    backlogRows,
    caughtUpS: Number(caughtUpS.toFixed(1)),
    ackMsP99: Number((latencies[Math.floor(latencies.length * 0.99)] ?? 0).toFixed(1)),
  }
}

/** Open loop: a request when its time has come, whatever became of the ones before. */
async function sendSteadily(
  target: Target,
  acked: Acked,
  how: { spansPerS: number; signal: AbortSignal },
): Promise<{ refused: number; latencies: number[] }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const everyMs = (batch / how.spansPerS) * 1_000
  const startedAt = performance.now()
  const latencies: number[] = []
  const open = new Set<Promise<void>>()
  let refused = 0
  for (let i = 0; !how.signal.aborted; i++) {
    const dueAt = startedAt + i * everyMs
    await wait(Math.max(0, dueAt - performance.now()))
    const { body, ids } = requestOf(1 + i * batch, batch)
    const one = post(target, body, agent).then((status) => {
      latencies.push(performance.now() - dueAt)
      if (status === 200) for (const id of ids) acked.add(id)
      else refused += 1
      open.delete(one)
    })
    open.add(one)
  }
  await Promise.all(open)
  agent.destroy()
  return { refused, latencies }
}

async function spoolOf(target: Target): Promise<{ undrainedRows: number; oldestMs: number }> {
  const text = await (await fetch(`${target.url}/metrics`)).text()
  const read = (name: string) =>
    Number(new RegExp(`^runledger_${name} (\\d+)`, 'm').exec(text)?.[1])
  return {
    undrainedRows: read('spool_undrained_rows'),
    oldestMs: read('spool_oldest_undrained_ms'),
  }
}
