// From the spool into ClickHouse: the same bytes under the same token, whatever fails, and what is refused is set aside.

import { expect, test } from 'vitest'
import {
  type Attempt,
  contains,
  MemoryClickHouse,
  poison,
  pushRow,
  pushSpan,
} from './spool-rows.ts'
import { openWorld, until } from './spool-world.ts'

const segments = (paths: string[]) => paths.filter((path) => path.startsWith('/spool/segments/'))

async function spooled(names: string[], limits = {}) {
  const world = await openWorld({ limits })
  for (const name of names) await world.spool.write((batch) => pushSpan(batch, name))
  return world
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `row ${i}`)
}

test('a batch that failed is sent again with the same bytes and the same token', async () => {
  const { spool } = await spooled(numbered(10))
  const house = new MemoryClickHouse()
  let failures = 3
  house.before = () => (failures-- > 0 ? new Error('timeout') : undefined)
  spool.drainTo(house.insert)
  const late = spool.write((batch) => pushSpan(batch, 'late'))
  expect(await spool.flush()).toBe(true)
  await late
  const sent = new Map<string, string>()
  for (const { table, token, bytes } of house.attempts) {
    const digest = bytes.toString('hex')
    expect(sent.get(`${table} ${token}`) ?? digest).toBe(digest)
    sent.set(`${table} ${token}`, digest)
  }
  expect(house.attempts.length).toBe(sent.size + 3)
  expect(house.names('spans').slice(0, 10)).toEqual(numbered(10))
  await spool.close()
})

test('an insert that was stored but not answered is not stored twice', async () => {
  const { spool } = await spooled(numbered(10))
  const house = new MemoryClickHouse()
  let resets = 4
  house.after = () => (resets-- > 0 ? new Error('connection reset') : undefined)
  spool.drainTo(house.insert)
  expect(await spool.flush()).toBe(true)
  expect(house.names('spans')).toEqual(numbered(10))
  expect(house.names('payloads')).toEqual(numbered(10))
  await spool.close()
})

test.each([
  ['between the inserts of two tables', (attempt: Attempt) => attempt.table === 'payloads'],
  ['after the inserts, before the cursor moved', (attempt: Attempt) => attempt.table === 'spans'],
] as const)('a crash %s repeats the same inserts and doubles nothing', async (_when, isLast) => {
  const { spool, disk } = await spooled(numbered(10))
  const house = new MemoryClickHouse()
  let crashed: ReturnType<typeof disk.crash> | undefined
  house.after = (attempt) => {
    if (!crashed && isLast(attempt)) crashed = disk.crash('kill')
    return crashed ? new Error('the process is gone') : undefined
  }
  spool.drainTo(house.insert)
  await until(() => crashed !== undefined)
  await spool.close(0)
  house.after = () => undefined
  const first = house.attempts.map(({ table, token }) => `${table} ${token}`)
  house.attempts.length = 0
  const again = await openWorld({ disk: crashed! })
  // More rows are there now; the batch that was decided must not grow by them.
  await again.spool.write((batch) => pushSpan(batch, 'later'))
  again.spool.drainTo(house.insert)
  expect(await again.spool.flush()).toBe(true)
  const second = house.attempts.slice(0, 2).map(({ table, token }) => `${table} ${token}`)
  expect(new Set([...first, ...second]).size).toBe(2)
  expect(house.names('spans')).toEqual([...numbered(10), 'later'])
  expect(house.names('payloads')).toEqual([...numbered(10), 'later'])
  await again.spool.close()
})

test('a chunk that ClickHouse refuses for good is set aside with its reason, and the rest goes in', async () => {
  const { spool, disk, counters } = await spooled(numbered(17))
  const house = new MemoryClickHouse()
  house.before = (attempt) =>
    attempt.table === 'spans' && contains(attempt, 'row 11') ? poison('bad value') : undefined
  spool.drainTo(house.insert)
  expect(await spool.flush()).toBe(true)
  expect(house.names('spans')).toEqual(numbered(17).filter((name) => name !== 'row 11'))
  expect(house.names('payloads')).toEqual(numbered(17))
  expect(counters.totals).toMatchObject({
    'spool_quarantined_rows_total spans': 1,
    'spool_drained_rows_total spans': 16,
    'spool_drained_rows_total payloads': 17,
  })
  const files = disk.paths().filter((path) => path.startsWith('/spool/quarantine/'))
  expect(files.length).toBe(2)
  const facts = JSON.parse(disk.bytesOf(files.find((path) => path.endsWith('.json'))!).toString())
  expect(facts).toMatchObject({ table: 'spans', rows: 1, reason: 'bad value' })
  const house2 = new MemoryClickHouse()
  const bytes = disk.bytesOf(files.find((path) => path.endsWith('.bin'))!)
  const opts = { token: 't', rows: 1, signal: new AbortController().signal }
  await house2.insert('spans', [bytes], opts)
  expect(house2.names('spans')).toEqual(['row 11'])
  await spool.close()
})

test('after a crash in the middle of splitting, a batch that would now be taken whole still doubles nothing', async () => {
  const { spool, disk } = await spooled(numbered(16))
  const house = new MemoryClickHouse()
  let crashed: ReturnType<typeof disk.crash> | undefined
  house.before = (attempt) => {
    if (crashed) return new Error('the process is gone')
    return attempt.table === 'spans' && contains(attempt, 'row 9') ? poison() : undefined
  }
  house.after = (attempt) => {
    if (attempt.table === 'spans' && attempt.rows === 8 && !crashed) crashed = disk.crash('kill')
    return undefined
  }
  spool.drainTo(house.insert)
  await until(() => crashed !== undefined)
  await spool.close(0)
  house.before = () => undefined
  const again = await openWorld({ disk: crashed! })
  again.spool.drainTo(house.insert)
  expect(await again.spool.flush()).toBe(true)
  expect(house.names('spans').toSorted()).toEqual(numbered(16).toSorted())
  expect(house.names('payloads')).toEqual(numbered(16))
  await again.spool.close()
})

test('batches are cut at the row limit and never inside a chunk', async () => {
  const world = await openWorld({ limits: { drainRows: 10 } })
  for (let i = 0; i < 9; i++)
    await world.spool.write((batch) => {
      for (let j = 0; j < 4; j++) pushSpan(batch, `${i}.${j}`)
    })
  const house = new MemoryClickHouse()
  world.spool.drainTo(house.insert)
  await world.spool.flush()
  const rows = house.attempts.filter(({ table }) => table === 'spans').map(({ rows }) => rows)
  expect(rows).toEqual([8, 8, 8, 8, 4])
  await world.spool.close()
})

test('rows that are no longer held in memory are read from disk, byte for byte the same', async () => {
  const names = numbered(60)
  const house = new MemoryClickHouse()
  const houseFromDisk = new MemoryClickHouse()
  const held = await spooled(names, { drainRows: 25 })
  const read = await openWorld({ disk: held.disk.crash('kill'), limits: { drainRows: 25 } })
  read.spool.drainTo(houseFromDisk.insert)
  await read.spool.flush()
  held.spool.drainTo(house.insert)
  expect(houseFromDisk.names('spans')).toEqual(names)
  await read.spool.close()
  await held.spool.close(0)
})

test('a quarantine that is full makes the drain wait rather than lose the row', async () => {
  const { spool } = await spooled(['good', 'bad'], { quarantineBytes: 10 })
  const house = new MemoryClickHouse()
  house.before = (attempt) => (contains(attempt, 'bad') ? poison() : undefined)
  spool.drainTo(house.insert)
  expect(await spool.flush(20)).toBe(false)
  expect(spool.state().lastError).toMatch(/quarantine is full/)
  expect(spool.state().undrainedRows).toBe(4)
  await spool.close(0)
})

test('what a span refers to is inserted before it', async () => {
  const { spool } = await openWorld()
  await spool.write((batch) => {
    pushSpan(batch, 'a')
    pushRow(batch, 'records', 'r')
    pushRow(batch, 'envelopes', 'e')
  })
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  await spool.flush()
  const order = house.attempts.map((attempt) => attempt.table)
  expect(order.slice(0, 2).toSorted()).toEqual(['envelopes', 'records'])
  expect(order.slice(2)).toEqual(['payloads', 'spans'])
  await spool.close()
})

test('a torn tail is cut off and kept in quarantine, and everything before it is drained', async () => {
  const { disk } = await spooled(numbered(5))
  const next = disk.crash('kill')
  const path = segments(next.paths())[0]!
  const bytes = next.bytesOf(path)
  const mark = Buffer.from(bytes.subarray(64, 72))
  const last = bytes.lastIndexOf(mark)
  bytes.fill(0, last + 500)
  const { spool, counters, disk: disk2 } = await openWorld({ disk: next })
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  await spool.flush()
  expect(house.names('spans')).toEqual(numbered(4))
  expect(counters.totals['spool_damaged_bytes_total tail']).toBeGreaterThan(0)
  expect(disk2.paths().filter((name) => name.endsWith('.torn.bin')).length).toBe(1)
  await spool.write((batch) => pushSpan(batch, 'new'))
  await spool.flush()
  expect(house.names('spans')).toEqual([...numbered(4), 'new'])
  await spool.close()
})

test('any flipped byte costs at most the chunk it is in, and never keeps the spool from opening', async () => {
  const { disk } = await spooled(numbered(6))
  const original = disk.crash('kill')
  const path = segments(original.paths())[0]!
  const used = original.bytesOf(path).lastIndexOf(1) + 1
  let whole = 0
  for (let at = 0; at < used; at += 13) {
    const damaged = original.crash('kill')
    damaged.bytesOf(path)[at]! ^= 0x40
    const { spool } = await openWorld({ disk: damaged })
    const house = new MemoryClickHouse()
    spool.drainTo(house.insert)
    expect(await spool.flush(), `byte ${at}`).toBe(true)
    const names = house.names('spans')
    expect(numbered(6).filter((name) => !names.includes(name)).length).toBeLessThanOrEqual(1)
    expect(new Set(names).size).toBe(names.length)
    if (names.length === 6) whole += 1
    else expect(damaged.paths().some((name) => name.startsWith('/spool/quarantine/'))).toBe(true)
    await spool.close()
  }
  // Only the head of the segment and spare bytes may be damaged without loss.
  expect(whole).toBeGreaterThan(0)
  expect(whole).toBeLessThan(10)
})

test('a damaged drain file repeats rows rather than losing any, and says so', async () => {
  const first = await spooled(numbered(3))
  await first.spool.close()
  const house = new MemoryClickHouse()
  const drained = await openWorld({ disk: first.disk })
  drained.spool.drainTo(house.insert)
  await drained.spool.flush()
  await drained.spool.write((batch) => pushSpan(batch, 'undrained'))
  const { disk } = drained
  const crashed = disk.crash('kill')
  crashed.bytesOf('/spool/drain.json')[20]! ^= 1
  const again = await openWorld({ disk: crashed })
  again.spool.drainTo(house.insert)
  await again.spool.flush()
  expect(new Set(house.names('spans'))).toEqual(new Set([...numbered(3), 'undrained']))
  expect(again.logged.join('\n')).toMatch(/drain file is damaged/)
  await again.spool.close()
  await drained.spool.close(0)
})

test('a spool of a newer version is refused in a sentence, and left as it is', async () => {
  const { disk } = await spooled(numbered(2))
  const next = disk.crash('kill')
  const path = segments(next.paths())[0]!
  const bytes = next.bytesOf(path)
  bytes.writeUInt32LE(99, 8)
  const { crc32 } = await import('node:zlib')
  bytes.writeUInt32LE(crc32(bytes.subarray(16, 64), crc32(bytes.subarray(0, 12), 1)), 12)
  const before = Buffer.from(bytes)
  await expect(openWorld({ disk: next })).rejects.toThrow(/newer version/)
  expect(next.bytesOf(path).equals(before)).toBe(true)
})

test('memory that goes round never changes rows that are still on their way', async () => {
  // Rows of 50 KB: every write fills slabs, and later writes reuse those of chunks already drained.
  const mebi = 1 << 20
  const limits = { segmentBytes: 4 * mebi, sliceBytes: mebi, windowBytes: mebi, heldBytes: mebi }
  const { spool } = await openWorld({ limits })
  const house = new MemoryClickHouse()
  let failures = 2
  house.before = () => (failures-- > 0 ? new Error('timeout') : undefined)
  spool.drainTo(house.insert)
  const sent: string[] = []
  for (let round = 0; round < 6; round++) {
    const names = Array.from({ length: 6 }, (_, i) => `${round}-${i} `.repeat(10_000))
    await spool.write((batch) => {
      for (const name of names) pushSpan(batch, name)
    })
    sent.push(...names)
    if (round % 3 === 2) expect(await spool.flush()).toBe(true)
  }
  expect(await spool.flush()).toBe(true)
  const toHeads = (names: string[]) => names.map((name) => [name.length, name.slice(0, 8)])
  for (const table of ['spans', 'payloads'] as const) {
    expect(toHeads(house.names(table))).toEqual(toHeads(sent))
    expect(house.names(table).every((name, i) => name === sent[i])).toBe(true)
  }
  await spool.close()
})
