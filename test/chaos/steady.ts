// A plane whose ClickHouse lies behind a fault proxy, under a steady rate of spans and of calls that nobody slows down.

import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { startClickhouse } from '../../src/engines/clickhouse.ts'
import type { Target } from '../clients.ts'
import { newDataDir, type Product, removeDataDir, startProduct } from '../product.ts'
import { type FaultProxy, openFaultProxy } from './fault-proxy.ts'
import { type Acked, post, requestOf } from './spans.ts'

const batch = 100
const freshMs = 2_500
const catchUpDeadlineS = 600

/** The started product, with a ClickHouse of its own behind the proxy; all of it is gone when the work is over. */
export async function behindProxy<T>(
  work: (product: Product, proxy: FaultProxy) => Promise<T>,
): Promise<T> {
  const dataDir = newDataDir()
  const engineDir = newDataDir()
  const engine = await startClickhouse({ dir: join(engineDir, 'clickhouse'), log: () => {} })
  const at = new URL(engine.url)
  const proxy = await openFaultProxy({ host: at.hostname, port: Number(at.port) })
  at.port = String(proxy.port)
  try {
    const product = await startProduct({ dataDir, env: { CLICKHOUSE_URL: at.href } })
    try {
      return await work(product, proxy)
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

/** Open loop: a request when its time has come, whatever became of the ones before. */
export async function sendSteadily(
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

export type Waiting = { undrainedRows: number; oldestMs: number }

export async function spoolOf(target: Target): Promise<Waiting> {
  const text = await (await fetch(`${target.url}/metrics`)).text()
  const read = (name: string) =>
    Number(new RegExp(`^runledger_${name} (\\d+)`, 'm').exec(text)?.[1])
  return {
    undrainedRows: read('spool_undrained_rows'),
    oldestMs: read('spool_oldest_undrained_seconds') * 1_000,
  }
}

/** Until nothing that was accepted is older than two seconds in the spool; spans still come. Seconds that it took. */
export async function untilCaughtUp(target: Target): Promise<number> {
  const backAt = performance.now()
  const elapsedS = () => (performance.now() - backAt) / 1_000
  while ((await spoolOf(target)).oldestMs > freshMs) {
    if (elapsedS() > catchUpDeadlineS) throw new Error('the backlog was not worked off')
    await wait(50)
  }
  return Number(elapsedS().toFixed(1))
}

export function p99Of(latencies: number[]): number {
  latencies.sort((a, b) => a - b)
  return Number((latencies[Math.floor(latencies.length * 0.99)] ?? 0).toFixed(1))
}
