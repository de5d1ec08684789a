// Segments that were drained are written over: what is in them then is told from what was in them, whatever happens.

import { expect, test } from 'vitest'
import { MemoryDisk } from './spool-disk.ts'
import { MemoryClickHouse, pushSpan } from './spool-rows.ts'
import { openWorld, randomOf, type World } from './spool-world.ts'

const rowsASegment = 3
let tried = 0

/** Rows that fill this many segments, drained as they come. */
async function fill(world: World, segments: number, names: string[]): Promise<void> {
  for (let i = 0; i < segments * rowsASegment; i++) {
    const name = `row ${tried++} `.padEnd(3_000, '.')
    await world.spool.write((batch) => pushSpan(batch, name))
    names.push(name)
    if (i % rowsASegment === 0) await world.spool.flush()
  }
}

/** A spool in which segments lie that were drained, and are spare. */
async function openDrained() {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  world.spool.drainTo(house.insert)
  const names: string[] = []
  await fill(world, 6, names)
  return { world, house, names }
}

function reuses(disk: MemoryDisk): number {
  return disk.calls.filter((call) => call.startsWith('rename /spool/drained/')).length
}

test('once enough is retained, new segments are drained ones, and no more zeros are written', async () => {
  const { world, house, names } = await openDrained()
  const before = { reused: reuses(world.disk), zeros: world.disk.zerosWritten }
  await fill(world, 6, names)
  await world.spool.flush()
  expect(reuses(world.disk) - before.reused).toBeGreaterThanOrEqual(4)
  // What a segment that was cut a little short needs to be whole again.
  expect(world.disk.zerosWritten - before.zeros).toBeLessThan(before.zeros / 2)
  expect(house.names('spans')).toEqual(names)
  await world.spool.close()
})

test.each(['kill', 'power'] as const)(
  'after a %s nothing that was drained comes back, and nothing acknowledged is missing',
  async (kind) => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = randomOf(seed)
      const house = new MemoryClickHouse()
      const disk = new MemoryDisk()
      const world = await openWorld({ disk })
      world.spool.drainTo(house.insert)
      const names: string[] = []
      await fill(world, 8 + Math.floor(random() * 5), names)
      // The next calls of the disk are the last ones of this process.
      let left = Math.floor(random() * 40)
      let next: MemoryDisk | undefined
      disk.fault = () => {
        if (left-- !== 0) return undefined
        next = disk.crash(kind, random)
        void world.spool.close(0)
        return 'EIO'
      }
      await fill(world, 20, names).catch(() => {})
      expect(next, `seed ${seed}`).toBeDefined()
      await world.spool.close(0)
      const second = await openWorld({ disk: next! })
      second.spool.drainTo(house.insert)
      await fill(second, 4, names)
      expect(await second.spool.flush(), `seed ${seed}`).toBe(true)
      await second.spool.close()
      const stored = house.names('spans')
      expect(stored.length, `seed ${seed}`).toBe(new Set(stored).size)
      expect(names.filter((name) => !stored.includes(name))).toEqual([])
    }
  },
)

test('a segment that was taken to be written over and got no row is no damage', async () => {
  const { world } = await openDrained()
  await world.spool.flush()
  const next = await openWorld({ disk: world.disk.crash('kill') })
  expect(next.logged.filter((line) => line.includes('cut off'))).toEqual([])
  expect(next.disk.paths().filter((path) => path.includes('quarantine/'))).toEqual([])
  await world.spool.close(0)
  await next.spool.close()
})

test('a spoilt header of the last chunk is counted and kept, where drained bytes stand behind it', async () => {
  const { world } = await openDrained()
  await world.spool.flush()
  await world.spool.write((batch) => pushSpan(batch, 'the last one'))
  const left = world.disk.crash('kill')
  const path = left.paths().find((one) => left.bytesOf(one).includes('the last one')) ?? ''
  const header = left
    .bytesOf(path)
    .lastIndexOf(left.bytesOf(path).subarray(24, 32), left.bytesOf(path).indexOf('the last one'))
  expect(header).toBeGreaterThan(64)
  for (let at = 0; at < 56; at++) {
    const spoilt = left.crash('kill')
    spoilt.bytesOf(path)[header + at]! ^= 0x40
    const { spool, disk, counters } = await openWorld({ disk: spoilt })
    const torn = disk.paths().find((name) => name.endsWith('.torn.bin')) ?? ''
    expect(torn, `byte ${at}`).not.toBe('')
    expect(disk.bytesOf(torn).includes('the last one'), `byte ${at}`).toBe(true)
    expect(counters.totals['spool_damaged_bytes_total tail']).toBeGreaterThan(0)
    await spool.close()
  }
  await world.spool.close(0)
})

test('what was to be forgotten does not stay behind in a segment that is written over', async () => {
  for (let at = 0; at < 4 * rowsASegment; at++) {
    const world = await openWorld()
    const house = new MemoryClickHouse()
    world.spool.drainTo(house.insert, async () => {})
    const names: string[] = []
    await fill(world, 4, names)
    await world.spool.write((batch) => pushSpan(batch, 'zoë.h'))
    // Far enough for its segment to be spare, or written over in part.
    for (let i = 0; i < at; i++) await fill(world, 1 / rowsASegment, names)
    expect(await world.spool.forget({ workspace: 'w', userId: 'zoë.h' })).toBe(true)
    await fill(world, 1, names)
    const holding = world.disk
      .paths()
      .filter((path) => path.endsWith('.seg') && world.disk.bytesOf(path).includes('zoë.h'))
    expect(holding, `${at} rows later`).toEqual([])
    await world.spool.close()
  }
})
