// What is to be forgotten goes, wherever it is on its way into ClickHouse, whatever crashes, and does not come back.

import { expect, test } from 'vitest'
import { holdsAny } from '../collectors/spool/ids-in.ts'
import type { Erase } from '../collectors/spool/spool.ts'
import type { MemoryDisk } from './spool-disk.ts'
import { MemoryClickHouse, poison, pushRow, pushSpan } from './spool-rows.ts'
import { openWorld, randomOf, until, type World } from './spool-world.ts'

const ada = { workspace: 'w', userId: 'zoë.h' }

/** Deletes the rows of that name, as the query engine does by user; remembers what it was asked. */
function eraserOf(house: MemoryClickHouse) {
  const asked: Parameters<Erase>[0][] = []
  const erase: Erase = async (what) => {
    asked.push(what)
    const kept = house.rows.filter((row) => row.name !== what.userId || row.seq >= what.beforeSeq)
    house.rows.splice(0, house.rows.length, ...kept)
  }
  return { asked, erase }
}

async function write(world: World, ...names: string[]): Promise<void> {
  for (const name of names) await world.spool.write((batch) => pushSpan(batch, name))
}

/** Files of the spool in which the name stands. */
function holding(disk: MemoryDisk, name: string): string[] {
  return disk.paths().filter((path) => !path.endsWith('.json') && disk.bytesOf(path).includes(name))
}

test('rows that wait for ClickHouse are deleted once they are in it, and what comes later stays', async () => {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  const { asked, erase } = eraserOf(house)
  let isDown = true
  house.before = () => (isDown ? new Error('refused') : undefined)
  world.spool.drainTo(house.insert, erase)
  await write(world, 'bob', 'zoë.h', 'bob')
  expect(await world.spool.forget(ada, 20)).toBe(false)
  await write(world, 'zoë.h', 'bob')
  expect(asked).toEqual([])
  isDown = false
  expect(await world.spool.flush()).toBe(true)
  await until(() => asked.length === 1 && !world.disk.paths().some(isFirst))
  expect(house.names('spans')).toEqual(['bob', 'bob', 'zoë.h', 'bob'])
  expect(house.names('payloads')).toEqual(['bob', 'bob', 'zoë.h', 'bob'])
  await world.spool.close()
})

function isFirst(path: string): boolean {
  return path.endsWith('/000000000001.seg')
}

test('nothing of it is left on disk: not in the segment being written, in drained ones, or in quarantine', async () => {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  house.before = ({ table, bytes }) =>
    table === 'payloads' && bytes.includes('zoë.h') ? poison() : undefined
  world.spool.drainTo(house.insert, eraserOf(house).erase)
  await write(world, 'zoë.h', 'bob')
  await world.spool.flush()
  expect(holding(world.disk, 'zoë.h').map((path) => path.split('/')[2])).toEqual([
    'quarantine',
    'segments',
  ])
  expect(await world.spool.forget(ada)).toBe(true)
  expect(holding(world.disk, 'zoë.h')).toEqual([])
  expect(house.names('spans')).not.toContain('zoë.h')
  await write(world, 'carol')
  await world.spool.flush()
  expect(house.names('spans')).toContain('carol')
  await world.spool.close()
})

test('what is set aside of a user goes though it does not name him: of his chunk, and of his traces', async () => {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  house.before = () => poison()
  const trace = 'sixteen-byte-id.'
  const erase: Erase = (_, { alsoOf }) => alsoOf([Buffer.from(trace).toString('hex')])
  world.spool.drainTo(house.insert, erase)
  await write(world, trace, 'bob')
  await world.spool.write((batch) => {
    pushRow(batch, 'spans', 'zoë.h')
    pushRow(batch, 'payloads', 'his words')
  })
  await world.spool.flush()
  expect(await world.spool.forget(ada)).toBe(true)
  for (const name of [trace, 'zoë.h', 'his words']) expect(holding(world.disk, name)).toEqual([])
  expect(holding(world.disk, 'bob').map((path) => path.split('/')[2])).toEqual([
    'quarantine',
    'quarantine',
  ])
  await world.spool.close()
})

test('of many ids each is found, wherever in the bytes it stands, and none that is not there', () => {
  const random = randomOf(11)
  const bytesOf = (count: number) => Buffer.from(Array.from({ length: count }, () => random() * 3))
  for (let round = 0; round < 300; round++) {
    const bytes = bytesOf(Math.floor(random() * 60))
    const ids = Array.from({ length: 3 }, () => bytesOf(16))
    if (round % 2 === 0 && bytes.length >= 16)
      ids.push(
        bytes
          .subarray(bytes.length - 16 - Math.floor(random() * (bytes.length - 15)))
          .subarray(0, 16),
      )
    expect(holdsAny(bytes, ids)).toBe(ids.some((id) => bytes.includes(id)))
  }
})

test('a wish that was acknowledged is fulfilled after a crash at any call of the disk', async () => {
  let at = 0
  for (let wasCut = true; wasCut; at++) {
    wasCut = false
    const house = new MemoryClickHouse()
    const first = await openWorld()
    await write(first, 'bob', 'zoë.h')
    // ClickHouse is away until after the crash, so that the wish has to outlive it.
    let isDown = true
    const { erase } = eraserOf(house)
    const refuse = (attempt: unknown) => (isDown && attempt ? new Error('refused') : undefined)
    house.before = refuse
    first.spool.drainTo(house.insert, erase)
    expect(await first.spool.forget(ada, 1)).toBe(false)
    const second = await openWorld({ disk: first.disk.crash('power', randomOf(at)) })
    isDown = false
    let crashed: MemoryDisk | undefined
    let calls = 0
    second.disk.fault = () => {
      if (!crashed && calls++ === at) crashed = second.disk.crash('kill')
      return undefined
    }
    second.spool.drainTo(house.insert, erase)
    await until(() => crashed !== undefined || isGone(second.disk))
    await second.spool.close(0)
    wasCut = crashed !== undefined
    second.disk.fault = () => undefined
    const third = await openWorld({ disk: crashed ?? second.disk })
    third.spool.drainTo(house.insert, erase)
    await third.spool.flush()
    await until(() => isGone(third.disk))
    expect(house.names('spans'), `call ${at}`).toEqual(['bob'])
    await third.spool.close()
    await first.spool.close(0)
  }
  expect(at).toBeGreaterThan(20)
})

/** Neither its bytes nor the wish are there any more: the list is an empty array and its checksum. */
function isGone(disk: MemoryDisk): boolean {
  const wishes = disk.bytesOf('/spool/forget.json').toString()
  return holding(disk, 'zoë.h').length === 0 && wishes.startsWith('[]\n')
}

test('a wish that cannot be written down is refused, and one that nobody can fulfil too', async () => {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  await expect(world.spool.forget(ada)).rejects.toMatchObject({ code: 'service_unavailable' })
  world.spool.drainTo(house.insert, eraserOf(house).erase)
  world.disk.fault = (op, path) =>
    op === 'write' && path.includes('forget') ? 'ENOSPC' : undefined
  await expect(world.spool.forget(ada)).rejects.toMatchObject({ code: 'service_unavailable' })
  world.disk.fault = () => undefined
  expect(await world.spool.forget(ada)).toBe(true)
  await world.spool.close()
})

test('what is being loaded again from quarantine while it is deleted does not come back', async () => {
  const world = await openWorld()
  const house = new MemoryClickHouse()
  const { erase } = eraserOf(house)
  house.before = ({ bytes }) => (bytes.includes('zoë.h') ? poison() : undefined)
  world.spool.drainTo(house.insert, erase)
  await write(world, 'zoë.h', 'bob')
  await world.spool.flush()
  let isLoading = false
  const { promise, release } = gate()
  house.before = () => {
    isLoading = true
    return promise
  }
  for (const path of world.disk.paths().filter((one) => /quarantine.*json$/.test(one)))
    await (await world.disk.open(path.replace('.json', '.again'), 'create')).close()
  await until(() => isLoading)
  expect(await world.spool.forget(ada, 20)).toBe(false)
  release()
  expect(await world.spool.forget(ada)).toBe(true)
  expect(holding(world.disk, 'zoë.h')).toEqual([])
  expect(house.names('spans')).toEqual(['bob'])
  expect(house.names('payloads')).toEqual(['bob'])
  await world.spool.close()
})

function gate(): { promise: Promise<void>; release: () => void } {
  let release = () => {}
  const promise = new Promise<void>((resolve) => {
    release = resolve
  })
  return { promise, release }
}
