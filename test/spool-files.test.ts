// A segment's file and its descriptors: nothing is written through one that is closed, whose number may be another file's by then.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nodeDisk } from '../collectors/spool/disk.ts'
import { Segment } from '../collectors/spool/segment.ts'
import { MemoryDisk } from './spool-disk.ts'

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
