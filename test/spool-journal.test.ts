// Calls that are open: found after a crash for as long as they are, however far the drain has come, and not a moment longer.

import { expect, test } from 'vitest'
import type { MemoryDisk } from './spool-disk.ts'
import { MemoryClickHouse, pushSpan } from './spool-rows.ts'
import { openWorld, until, type World } from './spool-world.ts'

const ada = Buffer.from('the call of Ada.')
const bob = Buffer.from('the call of Bob.')

async function write(world: World, name: string, also = {}): Promise<void> {
  await world.spool.write((batch) => pushSpan(batch, name), also)
}

/** Notes of the calls that the next process finds open. */
async function foundAfter(disk: MemoryDisk): Promise<string[]> {
  const { spool } = await openWorld({ disk })
  const notes = spool.interrupted().map(({ note }) => note)
  await spool.close()
  return notes
}

test('a call that is open while everything around it is drained is found after a crash', async () => {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  world.spool.drainTo(house.insert)
  await write(world, 'a', { opens: { id: ada, note: 'ada' } })
  await write(world, 'b', { opens: { id: bob, note: 'bob' } })
  for (let i = 0; i < 50; i++) {
    await write(world, `${i} `.padEnd(3_000, '.'))
    await world.spool.flush()
  }
  await write(world, 'end', { closes: bob })
  expect(world.disk.paths()).not.toContain('/spool/segments/000000000001.seg')
  const disk = world.disk.crash('power', () => 0)
  await world.spool.close(0)
  expect(await foundAfter(disk)).toEqual(['ada'])
})

test('a call that ends while the drain carries it on is not found', async () => {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  let pass = () => {}
  const gate = new Promise<void>((resolve) => {
    pass = resolve
  })
  house.before = () => gate.then(() => undefined)
  await write(world, 'a', { opens: { id: ada, note: 'ada' } })
  await write(world, 'b', { opens: { id: bob, note: 'bob' } })
  world.spool.drainTo(house.insert)
  await until(() => house.attempts.length === 2)
  // While one commit hangs in its sync, the next gathers: the drain's wish to carry both, and the end of one.
  let sync = () => {}
  const syncing = new Promise<void>((resolve) => {
    sync = resolve
  })
  let hangs = 0
  world.disk.beforeSync = () => {
    hangs += 1
    return syncing
  }
  const first = write(world, 'c')
  await until(() => hangs > 0)
  pass()
  await until(() => house.rows.length === 4)
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
  const last = write(world, 'd', { closes: ada })
  sync()
  await Promise.all([first, last])
  expect(await world.spool.flush()).toBe(true)
  const disk = world.disk.crash('kill')
  await world.spool.close(0)
  expect(await foundAfter(disk)).toEqual(['bob'])
})

test('a note of its own becomes durable though nobody else writes, and shares the commit of who does', async () => {
  const world = await openWorld({ limits: { aheadBytes: 0, sliceBytes: 32 * 1024 } })
  await write(world, 'opens the segment')
  world.disk.calls.length = 0
  world.spool.open({ id: ada, note: 'ada' })
  await until(() => world.disk.calls.some((call) => call.startsWith('sync ')))
  world.disk.calls.length = 0
  world.spool.open({ id: bob, note: 'bob' })
  await write(world, 'shares')
  expect(world.disk.calls.filter((call) => call.startsWith('sync ')).length).toBe(1)
  const disk = world.disk.crash('power', () => 0)
  await world.spool.close(0)
  expect((await foundAfter(disk)).toSorted()).toEqual(['ada', 'bob'])
})

test('a call that begins and ends in one commit leaves no note at all', async () => {
  const world = await openWorld()
  world.spool.open({ id: ada, note: 'a note of Ada' })
  await write(world, 'whole', { closes: ada })
  const held = world.disk.paths().filter((path) => world.disk.bytesOf(path).includes('a note of'))
  expect(held).toEqual([])
  await world.spool.close()
})

test('a spool that closes writes the notes it has taken', async () => {
  const world = await openWorld({ limits: { openingDelayMs: 60_000 } })
  world.spool.open({ id: ada, note: 'ada' })
  await world.spool.close()
  expect(await foundAfter(world.disk)).toEqual(['ada'])
})

test('beyond the bound of open calls a call is not noted, and counted', async () => {
  const world = await openWorld({ limits: { openCallsMax: 1 } })
  world.spool.open({ id: ada, note: 'ada' })
  world.spool.open({ id: bob, note: 'bob' })
  await write(world, 'a')
  expect(world.counters.totals['spool_rejected_writes_total openings']).toBe(1)
  await world.spool.close()
  expect(await foundAfter(world.disk)).toEqual(['ada'])
})
