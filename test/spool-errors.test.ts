// One failing call of the disk at a time: who is refused, what is found after the crash, how writing goes on.

import { expect, test, vi } from 'vitest'
import type { DiskOp, Fault, MemoryDisk } from './spool-disk.ts'
import { MemoryClickHouse, pushSpan } from './spool-rows.ts'
import { openWorld, type World } from './spool-world.ts'

// No zeros are written in the background, so that the calls a test sees are a commit's.
const quiet = { segmentBytes: 32 * 1024, sliceBytes: 32 * 1024, aheadBytes: 0 }

async function opened(): Promise<World> {
  const world = await openWorld({ limits: quiet })
  await world.spool.write((batch) => pushSpan(batch, 'good'))
  return world
}

/** The next call of `op` on a segment fails. */
function failNext(disk: MemoryDisk, op: DiskOp, fault: Fault): void {
  let isArmed = true
  disk.fault = (called, path) => {
    if (!isArmed || called !== op || !path.endsWith('.seg')) return undefined
    isArmed = false
    return fault
  }
}

async function drained(disk: MemoryDisk): Promise<string[]> {
  const { spool } = await openWorld({ disk })
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  await spool.flush()
  await spool.close()
  return house.names('spans')
}

test.each([
  ['write', 'ENOSPC'],
  ['write', 'EIO'],
  ['sync', 'EIO'],
  ['sync', 'lost'],
] as const)(
  'a %s that fails with %s refuses its writers, and its rows are not found after a kill',
  async (op, fault) => {
    const { spool, disk, counters } = await opened()
    failNext(disk, op, fault)
    const writes = ['bad', 'worse'].map((name) => spool.write((batch) => pushSpan(batch, name)))
    for (const outcome of await Promise.allSettled(writes))
      expect(outcome).toMatchObject({ reason: { code: 'service_unavailable' } })
    expect(spool.state()).toMatchObject({ status: 'failing', reason: 'disk_failing' })
    expect(counters.totals['spool_rejected_writes_total disk_failing']).toBe(2)
    expect(await drained(disk.crash('kill'))).toEqual(['good'])
  },
)

test('after a failed sync that file is never synced again, and the next write starts another', async () => {
  const { spool, disk } = await opened()
  failNext(disk, 'sync', 'lost')
  await expect(spool.write((batch) => pushSpan(batch, 'bad'))).rejects.toThrow()
  disk.calls.length = 0
  await spool.write((batch) => pushSpan(batch, 'next'))
  expect(spool.state().status).toBe('ready')
  const synced = disk.calls.filter((call) => call.startsWith('sync '))
  expect(new Set(synced)).toEqual(new Set(['sync /spool/segments/000000000002.seg']))
  expect(await drained(disk.crash('power', () => 1))).toEqual(['good', 'next'])
})

test('what a failed sync left behind is fixed as refused by the next segment, also when it could not be blanked', async () => {
  const { spool, disk } = await opened()
  let failing = ''
  disk.fault = (op, path) => {
    if (op === 'sync' && !failing) failing = path
    else if (op !== 'write' || path !== failing) return undefined
    return 'EIO'
  }
  await expect(spool.write((batch) => pushSpan(batch, 'bad'))).rejects.toThrow()
  await spool.write((batch) => pushSpan(batch, 'next'))
  expect(await drained(disk.crash('kill'))).toEqual(['good', 'next'])
})

test('a short write is continued where it stopped', async () => {
  const { spool, disk } = await opened()
  failNext(disk, 'write', 'short')
  await spool.write((batch) => pushSpan(batch, 'in two parts'))
  expect(await drained(disk.crash('power', () => 1))).toEqual(['good', 'in two parts'])
})

test('a disk that fails twice in a row is left alone for a while', async () => {
  const { spool, disk } = await openWorld({ limits: { restFirstMs: 60_000, restLastMs: 60_000 } })
  disk.fault = (op) => (op === 'sync' ? 'EIO' : undefined)
  const write = () => spool.write((batch) => pushSpan(batch, 'a'))
  await expect(write()).rejects.toMatchObject({ code: 'service_unavailable' })
  await expect(write()).rejects.toMatchObject({ code: 'service_unavailable' })
  const calls = disk.calls.length
  await expect(write()).rejects.toMatchObject({ code: 'service_unavailable' })
  expect(disk.calls.slice(calls).filter((call) => !call.startsWith('space'))).toEqual([])
})

test('a write is tried again after a failure though nobody else writes, because asking does not keep it refused', async () => {
  const { spool, disk } = await opened()
  expect(spool.refusal()).toBeUndefined()
  failNext(disk, 'sync', 'EIO')
  await expect(spool.write((batch) => pushSpan(batch, 'bad'))).rejects.toThrow()
  expect(spool.state().status).toBe('failing')
  await expect.poll(() => spool.refusal(), { timeout: 10_000 }).toBeUndefined()
  await spool.write((batch) => pushSpan(batch, 'next'))
  expect(spool.state().status).toBe('ready')
  const closing = spool.close()
  expect(spool.refusal()).toBe('closed')
  await closing
})

test('a disk that failed takes writes again once it works', async () => {
  const { spool, disk } = await openWorld()
  disk.fault = (op) => (op === 'sync' ? 'EIO' : undefined)
  const write = () =>
    spool
      .write((batch) => pushSpan(batch, 'a'))
      .then(() => true)
      .catch(() => false)
  for (let i = 0; i < 5; i++) expect(await write()).toBe(false)
  disk.fault = () => undefined
  while (!(await write())) await new Promise((resolve) => setImmediate(resolve))
  expect(spool.state().status).toBe('ready')
  expect(await drained(disk.crash('kill'))).toEqual(['a'])
})

test('a disk that goes on failing takes no more memory with each write that it refuses', async () => {
  const bytes = 256 * 1024
  const limits = { ...quiet, segmentBytes: bytes, sliceBytes: bytes, batchBytes: bytes }
  const { spool, disk } = await openWorld({ limits: { ...limits, restFirstMs: 0, restLastMs: 0 } })
  const taken = vi.spyOn(Buffer, 'allocUnsafeSlow')
  // Stays, so that the memory it lies in is not let go however long this takes.
  await spool.write((batch) => pushSpan(batch, 'good'))
  disk.fault = (op, path) => (op === 'sync' && path.endsWith('.seg') ? 'EIO' : undefined)
  // Each takes more than half of a slab, and they are more than a region has slabs.
  const name = 'x'.repeat(70_000)
  for (let i = 0; i < 150; i++)
    await expect(spool.write((batch) => pushSpan(batch, name))).rejects.toThrow(/did not take/)
  const regions = taken.mock.calls.filter(([size]) => size === 32 << 20)
  taken.mockRestore()
  expect(regions).toHaveLength(1)
  disk.fault = () => undefined
  await spool.close()
})
