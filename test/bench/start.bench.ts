// From the command to the first answer, and what the idle family weighs.

import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { exportTrace, get } from '../clients.ts'
import { familyOf, newDataDir, type Product, removeDataDir, startProduct } from '../product.ts'

const startsCounted = 3
const settleMs = 5_000

export const method = `From spawning the built product to the first 200 of /health, ${startsCounted} starts each, median; memory is the proportional set size of the whole family after ${settleMs / 1000} s idle.`

export async function run() {
  const dataDir = newDataDir()
  const empty: number[] = []
  const later: number[] = []
  for (let i = 0; i < startsCounted; i++) {
    const fresh = newDataDir()
    const product = await startProduct({ dataDir: fresh })
    empty.push(product.startedInMs)
    await product.stop()
    removeDataDir(fresh)
  }
  await (await startProduct({ dataDir })).stop()
  for (let i = 0; i < startsCounted; i++) {
    const product = await startProduct({ dataDir })
    later.push(product.startedInMs)
    await product.stop()
  }
  const product = await startProduct({ dataDir })
  try {
    await wait(settleMs)
    const idle = memoryOf(product)
    const visibleMs = await untilVisible(product)
    return [
      {
        name: 'start on an empty directory',
        figure: Math.round(median(empty)),
        unit: 'ms',
        reference: 'bar 8,000',
      },
      {
        name: 'start after the first',
        figure: Math.round(median(later)),
        unit: 'ms',
        reference: 'bar 4,000',
      },
      {
        name: 'idle family, PSS',
        figure: Math.round(idle / 1024),
        unit: 'MB',
        reference: 'bar 500',
      },
      {
        name: 'accepted until listed',
        figure: Math.round(visibleMs),
        unit: 'ms',
        reference: 'bar 2,000',
      },
    ]
  } finally {
    await product.stop()
    removeDataDir(dataDir)
  }
}

async function untilVisible(product: Product): Promise<number> {
  const traceId = await exportTrace(product, 'protobuf')
  const startedAt = performance.now()
  for (;;) {
    const { body } = await get(product, '/v1/traces')
    if (body.items.some((item: { trace_id: string }) => item.trace_id === traceId))
      return performance.now() - startedAt
  }
}

function memoryOf(product: Product): number {
  return familyOf(product.pid).reduce((sum, pid) => sum + pssOf(pid), 0)
}

function pssOf(pid: number): number {
  try {
    return Number(
      /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0,
    )
  } catch {
    return 0
  }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
