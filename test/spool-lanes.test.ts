// Bulk and calls side by side: what fills the one leaves the other its room, and one mark says how far both have come.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Lanes, openLanes } from '../collectors/spool/lanes.ts'
import type { SpoolLimits } from '../collectors/spool/limits.ts'
import { MemoryDisk } from './spool-disk.ts'
import { CountedCounters, MemoryClickHouse, pushRow, pushSpan } from './spool-rows.ts'
import { openWorld, randomOf, smallLimits } from './spool-world.ts'

async function open(
  disk: MemoryDisk,
  limits: Partial<SpoolLimits> = {},
  nowMs = () => 1_800_000_000_000,
): Promise<Lanes> {
  return openLanes({
    ...{ dir: '/spool', disk, nowMs, counters: new CountedCounters(), log: () => {} },
    limits: { ...smallLimits, ...limits },
    callLimits: { freeBytesMin: 0, spoolBytes: 1 << 20 },
  })
}

async function fill(lanes: Lanes): Promise<unknown> {
  for (;;) {
    try {
      await lanes.write((batch) => pushSpan(batch, 'a trace'))
    } catch (error) {
      return error
    }
  }
}

test('a spool that traces have filled still takes calls and records, and both go in once ClickHouse is back', async () => {
  const disk = new MemoryDisk()
  const lanes = await open(disk, { spoolBytes: 16 * 1024 })
  const house = new MemoryClickHouse()
  let isDown = true
  house.before = () => (isDown ? new Error('refused') : undefined)
  lanes.drainTo(house.insert)
  expect(await fill(lanes)).toMatchObject({ code: 'service_unavailable' })
  for (let i = 0; i < 50; i++)
    await lanes.calls.write((batch) => pushRow(batch, 'records', `record ${i}`))
  expect(lanes.calls.refusal()).toBeUndefined()
  expect(lanes.state()).toMatchObject({ status: 'full', lanes: { calls: { status: 'ready' } } })
  isDown = false
  expect(await lanes.flush()).toBe(true)
  expect(house.names('records').length).toBe(50)
  expect(house.names('spans').length).toBeGreaterThan(0)
  await lanes.close()
})

test('a disk below the floor of bulk still takes calls', async () => {
  const disk = new MemoryDisk()
  const lanes = await open(disk, { freeBytesMin: 1 << 20, spaceEveryMs: 1 })
  disk.freeBytes = 1 << 19
  await expect.poll(() => lanes.refusal()).toBe('disk_full')
  await lanes.calls.write((batch) => pushRow(batch, 'records', 'a record'))
  await lanes.close()
})

test('calls do not wait behind a backlog of traces', async () => {
  const disk = new MemoryDisk()
  const lanes = await open(disk)
  const house = new MemoryClickHouse()
  let pass = () => {}
  const gate = new Promise<undefined>((resolve) => {
    pass = () => resolve(undefined)
  })
  house.before = ({ table }) => (table === 'spans' ? gate : undefined)
  lanes.drainTo(house.insert)
  await lanes.write((batch) => pushSpan(batch, 'slow'))
  await lanes.calls.write((batch) => pushRow(batch, 'records', 'quick'))
  await expect.poll(() => house.names('records')).toEqual(['quick'])
  expect(house.names('spans')).toEqual([])
  pass()
  await lanes.close()
})

test('what is to be forgotten is erased when the rows of both lanes are in ClickHouse, not of one alone', async () => {
  const lanes = await open(new MemoryDisk())
  const house = new MemoryClickHouse()
  let pass = () => {}
  const gate = new Promise<undefined>((resolve) => {
    pass = () => resolve(undefined)
  })
  house.before = ({ table }) => (table === 'spans' ? gate : undefined)
  const erased: string[][] = []
  lanes.drainTo(house.insert, async () => {
    erased.push(house.rows.map(({ name }) => name).toSorted())
  })
  await lanes.write((batch) => pushRow(batch, 'spans', 'slow'))
  await lanes.calls.write((batch) => pushRow(batch, 'records', 'quick'))
  const done = lanes.forget({ workspace: 'w', userId: 'u' })
  await expect.poll(() => house.names('records')).toEqual(['quick'])
  expect(erased).toEqual([])
  pass()
  expect(await done).toBe(true)
  expect(erased).toEqual([
    ['quick', 'slow'],
    ['quick', 'slow'],
  ])
  await lanes.close()
})

test('nothing that is not loaded yet has a number below the mark, in whatever order lanes write, load, restart and clocks jump', async () => {
  const step = fc.record({
    lane: fc.constantFrom('bulk' as const, 'calls' as const),
    rows: fc.integer({ min: 1, max: 4 }),
    turns: fc.integer({ min: 0, max: 12 }),
    clockMs: fc.integer({ min: -50, max: 50 }),
    restarts: fc.integer({ min: 0, max: 9 }).map((of10) => of10 === 3),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 30 }),
      fc.integer(),
      async (steps, seed) => {
        const random = randomOf(seed)
        const disk = new MemoryDisk()
        disk.latency = async () => {
          if (random() < 0.5) await new Promise((resolve) => setImmediate(resolve))
        }
        const house = new MemoryClickHouse()
        const marks: { mark: bigint; loaded: Set<bigint> }[] = []
        let clock = 1_800_000_000_000
        let lanes = await open(disk, {}, () => clock)
        lanes.drainTo(house.insert)
        for (const { lane, rows, turns, clockMs, restarts } of steps) {
          clock += clockMs
          const into = lane === 'bulk' ? lanes : lanes.calls
          void into.write((batch) => {
            for (let i = 0; i < rows; i++) pushRow(batch, 'envelopes', 'row')
          })
          for (let i = 0; i < turns; i++) {
            await new Promise((resolve) => setImmediate(resolve))
            marks.push({
              mark: lanes.drainedSeq(),
              loaded: new Set(house.rows.map((row) => row.seq)),
            })
          }
          if (!restarts) continue
          await lanes.close()
          lanes = await open(disk, {}, () => clock)
          lanes.drainTo(house.insert)
        }
        expect(await lanes.flush()).toBe(true)
        await lanes.close()
        for (const { mark, loaded } of marks)
          expect(house.rows.filter(({ seq }) => seq < mark && !loaded.has(seq))).toEqual([])
        expect(new Set(house.rows.map(({ seq }) => seq)).size).toBe(house.rows.length)
      },
    ),
    { numRuns: 60, seed: 20261120 },
  )
})

test('with little room left, who fills the spool is refused, and the others and whoever comes new are not', async () => {
  const { spool } = await openWorld({ limits: { spoolBytes: 64 * 1024 } })
  const write = (workspace: string) =>
    spool.write((batch) => pushSpan(batch, workspace), { workspace })
  await write('quiet')
  const refusal = await (async () => {
    for (;;) {
      try {
        await write('noisy')
      } catch (error) {
        return error
      }
    }
  })()
  expect(refusal).toMatchObject({ code: 'rate_limited', status: 429 })
  await write('quiet')
  await write('new')
  await expect(write('noisy')).rejects.toMatchObject({ code: 'rate_limited' })
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  await spool.flush()
  await write('noisy')
  await spool.close()
})

test('rows of two months are never in one insert', async () => {
  let nowMs = Date.UTC(2027, 0, 31, 23, 59, 59)
  const { spool } = await openWorld({ nowMs: () => nowMs })
  await spool.write((batch) => pushSpan(batch, 'january'))
  nowMs += 2_000
  await spool.write((batch) => pushSpan(batch, 'february'))
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  await spool.flush()
  expect(house.attempts.map(({ rows }) => rows)).toEqual([1, 1, 1, 1])
  await spool.close()
})
