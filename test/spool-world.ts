// A spool over a disk in memory, with limits small enough that segments roll and batches fill within a test.

import type { SpoolLimits } from '../collectors/spool/limits.ts'
import { openSpool, type Spool } from '../collectors/spool/spool.ts'
import { MemoryDisk } from './spool-disk.ts'
import { CountedCounters } from './spool-rows.ts'

export const smallLimits: Partial<SpoolLimits> = {
  segmentBytes: 32 * 1024,
  sliceBytes: 4 * 1024,
  aheadBytes: 8 * 1024,
  windowBytes: 8 * 1024,
  batchBytes: 16 * 1024,
  spaceEveryMs: 5,
  freeBytesMin: 0,
  freeShareMin: 0,
  // Drained segments are soon written over.
  retainedBytes: 80 * 1024,
  drainEveryMs: 1,
  restFirstMs: 1,
  restLastMs: 4,
  backoffFirstMs: 1,
  backoffLastMs: 4,
}

export type World = {
  spool: Spool
  disk: MemoryDisk
  counters: CountedCounters
  logged: string[]
}

export async function openWorld(
  given: { disk?: MemoryDisk; limits?: Partial<SpoolLimits>; nowMs?: () => number } = {},
): Promise<World> {
  const disk = given.disk ?? new MemoryDisk()
  const counters = new CountedCounters()
  const logged: string[] = []
  const spool = await openSpool({
    dir: '/spool',
    disk,
    counters,
    nowMs: given.nowMs ?? (() => 1_800_000_000_000),
    log: (level, message) => logged.push(`${level}: ${message}`),
    limits: { ...smallLimits, ...given.limits },
  })
  return { spool, disk, counters, logged }
}

/** Resolves once `holds`; the test's own deadline is the bound. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

/** Mulberry32: numbers in [0, 1) that a seed decides. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
