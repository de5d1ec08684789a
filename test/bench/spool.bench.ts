// How many writes a second the spool acknowledges, each after the fdatasync that covers it, against the bare disk.

import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import type { Batch } from '../../collectors/spool/intake.ts'
import { openSpool } from '../../collectors/spool/spool.ts'
import { pushSpan } from '../spool-rows.ts'

export type Figure = { name: string; figure: number; unit: string; reference?: string }

export const method =
  'Writers in one process, each waiting for its acknowledgement before the next write, for 0.8 s; rows are built within the time. ' +
  'The reference writes 8 KB and syncs, one after the other, into a file of zeros.'

const measureMs = 800
const referenceBytes = 8 * 1024

export async function run(): Promise<Figure[]> {
  const dir = await mkdtemp(`${tmpdir()}/spool-bench-`)
  try {
    const figures: Figure[] = []
    for (const rows of [1, 500])
      for (const writers of [1, 8, 64]) {
        const disk = await measureDisk(`${dir}/reference`)
        figures.push(...(await measure(dir, { rows, writers, syncsPerS: disk })))
      }
    figures.push(await measureStart(dir))
    return figures
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

async function measure(
  root: string,
  load: { rows: number; writers: number; syncsPerS: number },
): Promise<Figure[]> {
  const dir = `${root}/${load.rows}-${load.writers}`
  const spool = await openBenchSpool(dir)
  spool.drainTo(async () => {})
  const fill = (batch: Batch) => {
    for (let row = 0; row < load.rows; row++) pushSpan(batch, 'a span with a name of some length')
  }
  const latencies: number[] = []
  const until = performance.now() + measureMs
  const started = performance.now()
  const writer = async () => {
    while (performance.now() < until) {
      const from = performance.now()
      await spool.write(fill)
      latencies.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: load.writers }, writer))
  const seconds = (performance.now() - started) / 1_000
  await spool.close()
  await rm(dir, { recursive: true })
  latencies.sort((a, b) => a - b)
  const name = `spool, ${load.writers} writers of ${load.rows} rows`
  return [
    {
      name,
      figure: Math.round(latencies.length / seconds),
      unit: 'acks/s',
      reference: `bare disk ${Math.round(load.syncsPerS)} syncs/s, ratio ${round(latencies.length / seconds / load.syncsPerS)}`,
    },
    { name: `${name}, p50`, figure: round(latencies[latencies.length >> 1]!), unit: 'ms' },
    {
      name: `${name}, p99`,
      figure: round(latencies[Math.floor(latencies.length * 0.99)]!),
      unit: 'ms',
    },
  ]
}

/** Opening a directory that does not exist yet, up to the first acknowledgement. */
async function measureStart(root: string): Promise<Figure> {
  const started = performance.now()
  const spool = await openBenchSpool(`${root}/start`)
  await spool.write((batch) => pushSpan(batch, 'first'))
  const figure = round(performance.now() - started)
  await spool.close()
  return { name: 'spool, first start to first ack', figure, unit: 'ms' }
}

/** Syncs per second. */
async function measureDisk(path: string): Promise<number> {
  const file = await open(path, 'w+')
  const block = Buffer.alloc(referenceBytes)
  const blocks = 512
  await file.write(Buffer.alloc(referenceBytes * blocks))
  await file.datasync()
  const started = performance.now()
  let count = 0
  while (count < blocks && performance.now() - started < measureMs) {
    await file.write(block, 0, block.length, count * referenceBytes)
    await file.datasync()
    count += 1
  }
  const seconds = (performance.now() - started) / 1_000
  await file.close()
  return count / seconds
}

function openBenchSpool(dir: string) {
  const counters = { count: () => {} }
  return openSpool({ dir, nowMs: Date.now, counters, log: () => {} })
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100
}
