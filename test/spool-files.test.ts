// A segment's file and its descriptors: nothing is written through one that is closed, whose number may be another file's by then.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nodeDisk } from '../collectors/spool/disk.ts'
import { Segment } from '../collectors/spool/segment.ts'
import { MemoryDisk } from './spool-disk.ts'
import { MemoryClickHouse, pushSpan } from './spool-rows.ts'
import { openWorld } from './spool-world.ts'

test('a file is closed behind the writes that are under way', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'runledger-files-'))
  try {
    const bytes = Buffer.alloc(32 << 20, 1)
    for (const mode of ['create', 'commit'] as const) {
      const file = await nodeDisk.open(join(dir, mode), mode)
      const order: string[] = []
      const written = file.write([bytes], 0).then((count) => order.push(`written ${count}`))
      const closed = file.close().then(() => order.push('closed'))
      await Promise.all([written, closed])
      expect(order).toEqual([`written ${bytes.length}`, 'closed'])
      await expect(file.write([bytes], 0)).rejects.toThrow()
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a segment that is ended while its zeros are written gets no more of them', async () => {
  const disk = new MemoryDisk()
  const plan = { disk, dir: '/s', number: 1, node: '0'.repeat(32), sliceBytes: 4_096 }
  const segment = await Segment.create({ ...plan, onBytes: () => {} })
  disk.latency = () => new Promise((resolve) => setImmediate(resolve))
  const prepared = segment.prepareTo(64 * 4_096)
  await segment.trim()
  await segment.close()
  const calls = disk.calls.length
  await prepared
  expect(disk.calls.length).toBe(calls)
  expect(disk.paths().map((path) => disk.bytesOf(path).length)).toEqual([segment.end])
})

test('what is written next does not wait for the segment before it to be cut; what is drained is moved once it was', async () => {
  const { spool, disk } = await openWorld()
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  let release = (): void => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  disk.latency = (op) => (op === 'truncate' ? held : Promise.resolve())
  const names = Array.from({ length: 30 }, (_, i) => `row ${i} `.padEnd(4_000, '.'))
  for (const name of names) await spool.write((batch) => pushSpan(batch, name))
  const moved = () => disk.paths().filter((path) => path.startsWith('/spool/drained/')).length
  expect(moved()).toBe(0)
  release()
  expect(await spool.flush()).toBe(true)
  expect(moved()).toBeGreaterThan(1)
  expect(house.names('spans')).toEqual(names)
  await spool.close()
})

test('zeros go ahead of the chunks in step with them, and are there when a segment is begun', async () => {
  const limits = { segmentBytes: 128 * 1024, sliceBytes: 4 * 1024, aheadBytes: 8 * 1024 }
  const { spool, disk } = await openWorld({ limits })
  const name = 'x'.repeat(1_000)
  for (let i = 0; i < 200; i++) {
    const before = disk.zerosWritten
    await spool.write((batch) => pushSpan(batch, name))
    // This disk takes no time: a turn of the loop later, what was begun is done.
    await new Promise((resolve) => setImmediate(resolve))
    if (i > 0) expect(disk.zerosWritten - before).toBeLessThanOrEqual(4 * limits.sliceBytes)
  }
  const segments = disk.paths().filter((path) => path.endsWith('.seg'))
  expect(segments.length).toBeGreaterThan(2)
  const first = disk.calls.filter((call) => call.endsWith(segments[1]!))
  const rolled = disk.calls.indexOf(`truncate ${segments[0]}`)
  expect(disk.calls.slice(rolled)).not.toContain(first[0])
  await spool.close()
})
