// The spool as its callers see it: what an acknowledgement means, who shares a sync, when it refuses.

import { expect, test } from 'vitest'
import { NativeBlock } from '../collectors/spool/native.ts'
import { readNative } from './native-reader.ts'
import { MemoryClickHouse, pushRow, pushSpan } from './spool-rows.ts'
import { openWorld, until } from './spool-world.ts'

// No zeros are written in the background, so that every sync a test sees is a commit's.
const allZerosAtOnce = { segmentBytes: 32 * 1024, sliceBytes: 32 * 1024, aheadBytes: 0 }

test('a write gives back what its fill returned, and its rows reach ClickHouse in every table', async () => {
  const { spool, counters } = await openWorld()
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  const answer = await spool.write((batch) => {
    pushSpan(batch, 'a')
    pushRow(batch, 'records', 'r')
    pushRow(batch, 'envelopes', 'e')
    return 42
  })
  expect(answer).toBe(42)
  expect(await spool.flush()).toBe(true)
  const seq = BigInt(1_800_000_000_000) << 20n
  const at = { seq, ingestedAt: 1_800_000_000 }
  expect(house.rows.toSorted((a, b) => a.table.localeCompare(b.table))).toEqual([
    { table: 'envelopes', name: 'e', ...at },
    { table: 'payloads', name: 'a', ...at },
    { table: 'records', name: 'r', ...at },
    { table: 'spans', name: 'a', ...at },
  ])
  expect(spool.state()).toMatchObject({ status: 'ready', undrainedBytes: 0, undrainedRows: 0 })
  expect(spool.drainedSeq()).toBe(seq + 1n)
  expect(counters.totals).toMatchObject({
    'spool_accepted_rows_total spans': 1,
    'spool_drained_rows_total spans': 1,
  })
  await spool.close()
})

test('a write is not acknowledged before its sync has ended, and writes that come meanwhile share the next one', async () => {
  const { spool, disk } = await openWorld({ limits: allZerosAtOnce })
  await spool.write((batch) => pushSpan(batch, 'opens the segment'))
  const syncs: (() => void)[] = []
  disk.beforeSync = () => new Promise((resolve) => syncs.push(resolve))
  const acknowledged: string[] = []
  const write = async (name: string) => {
    await spool.write((batch) => pushSpan(batch, name))
    acknowledged.push(name)
  }
  const writes = [write('first')]
  await until(() => syncs.length === 1)
  const others = ['b', 'c', 'd', 'e']
  writes.push(...others.map(write))
  expect(acknowledged).toEqual([])
  syncs[0]!()
  await until(() => syncs.length === 2)
  expect(acknowledged).toEqual(['first'])
  syncs[1]!()
  await Promise.all(writes)
  expect(acknowledged).toEqual(['first', ...others])
  expect(syncs.length).toBe(2)
  disk.beforeSync = async () => {}
  await spool.close()
})

test('a fill that throws takes back its rows and leaves those of other writers', async () => {
  const { spool, counters } = await openWorld()
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  const writes = [
    spool.write((batch) => pushSpan(batch, 'before')),
    spool.write((batch) => {
      pushSpan(batch, 'half')
      batch.spans.columns.workspace.pushText('and a row that never ends')
      throw new Error('the request is not valid')
    }),
    spool.write((batch) => pushSpan(batch, 'after')),
  ]
  const outcomes = await Promise.allSettled(writes)
  expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  await spool.flush()
  expect(house.names('spans')).toEqual(['before', 'after'])
  expect(house.names('payloads')).toEqual(['before', 'after'])
  expect(counters.totals['spool_rejected_writes_total threw']).toBe(1)
  await spool.close()
})

test('a write that pushes no row is answered at once and stores nothing', async () => {
  const { spool, disk } = await openWorld()
  const calls = disk.calls.length
  expect(await spool.write(() => 'nothing to keep')).toBe('nothing to keep')
  expect(disk.calls.length).toBe(calls)
  await spool.close()
})

test('rows of every table are numbered in the order they were accepted, also across a restart and a clock set back', async () => {
  let nowMs = 1_800_000_000_000
  const house = new MemoryClickHouse()
  const first = await openWorld({ nowMs: () => nowMs })
  first.spool.drainTo(house.insert)
  for (let i = 0; i < 5; i++)
    await first.spool.write((batch) => {
      pushSpan(batch, `a${i}`)
      pushSpan(batch, `b${i}`)
    })
  await first.spool.flush()
  await first.spool.close()
  nowMs -= 86_400_000
  const second = await openWorld({ disk: first.disk, nowMs: () => nowMs })
  second.spool.drainTo(house.insert)
  for (let i = 0; i < 5; i++) await second.spool.write((batch) => pushSpan(batch, `c${i}`))
  await second.spool.flush()
  const seqs = house.rows.filter((row) => row.table === 'spans').map((row) => row.seq)
  expect(new Set(seqs).size).toBe(15)
  expect(seqs).toEqual(seqs.toSorted((a, b) => (a < b ? -1 : 1)))
  expect(second.spool.drainedSeq()).toBe(seqs.at(-1)! + 1n)
  await second.spool.close()
})

test('sequence numbers carry into the upper word', () => {
  const block = new NativeBlock('envelopes')
  for (let row = 0; row < 3; row++) {
    block.columns.workspace.pushText('w')
    block.columns.hash.pushZeros()
    block.columns.raw.pushText('')
    block.endRow()
  }
  const rows = readNative(Buffer.concat(block.seal(0x5_ffff_ffffn, 7)))
  expect(rows.map((row) => row.ingest_seq)).toEqual([
    0x5_ffff_ffffn,
    0x6_0000_0000n,
    0x6_0000_0001n,
  ])
  expect(rows.map((row) => row.ingested_at)).toEqual([7, 7, 7])
})

test('a flush waits for everything acknowledged before it, and for nothing acknowledged later', async () => {
  const { spool } = await openWorld({ limits: { drainEveryMs: 60_000 } })
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  await spool.write((batch) => pushSpan(batch, 'starts the first batch'))
  await spool.flush()
  for (let i = 0; i < 20; i++) await spool.write((batch) => pushSpan(batch, `row ${i}`))
  const before = house.attempts.length
  const flushes = [spool.flush(), spool.flush(), spool.flush()]
  expect(await Promise.all(flushes)).toEqual([true, true, true])
  expect(house.names('spans').length).toBe(21)
  expect(house.attempts.length - before).toBe(2)
  await spool.close()
})

test('a flush gives up at its deadline while ClickHouse is away, and the rows arrive when it is back', async () => {
  const { spool } = await openWorld()
  const house = new MemoryClickHouse()
  house.before = () => new Error('connection refused')
  spool.drainTo(house.insert)
  await spool.write((batch) => pushSpan(batch, 'a'))
  expect(await spool.flush(10)).toBe(false)
  expect(spool.state()).toMatchObject({ status: 'ready', undrainedRows: 2 })
  expect(spool.state().lastError).toBe('connection refused')
  house.before = () => undefined
  expect(await spool.flush()).toBe(true)
  expect(house.names('spans')).toEqual(['a'])
  await spool.close()
})

test('a full spool refuses before anything is appended, and takes writes again after draining', async () => {
  const { spool, counters } = await openWorld({ limits: { spoolBytes: 8 * 1024 } })
  let accepted = 0
  const refusal = await (async () => {
    for (;;) {
      try {
        await spool.write((batch) => pushSpan(batch, `row ${accepted}`))
        accepted += 1
      } catch (error) {
        return error
      }
    }
  })()
  expect(refusal).toMatchObject({ code: 'service_unavailable' })
  expect(spool.state()).toMatchObject({ status: 'full', reason: 'spool_full' })
  expect(counters.totals['spool_rejected_writes_total spool_full']).toBe(1)
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  await spool.flush()
  await spool.write((batch) => pushSpan(batch, 'again'))
  await spool.flush()
  expect(house.names('spans').length).toBe(accepted + 1)
  await spool.close()
})

test('more unsynced bytes than the bound are refused, and accepted again after the sync', async () => {
  const { spool, disk } = await openWorld({ limits: { pendingBytes: 4_000 } })
  let release = () => {}
  const held = new Promise<void>((resolve) => (release = resolve))
  disk.beforeSync = () => held
  const writes = Array.from({ length: 100 }, (_, i) =>
    spool.write((batch) => pushSpan(batch, `row ${i}`)),
  )
  release()
  const outcomes = await Promise.allSettled(writes)
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
  expect(refused.length).toBeGreaterThan(0)
  expect(refused.length).toBeLessThan(100)
  for (const { reason } of refused) expect(reason).toMatchObject({ code: 'service_unavailable' })
  // Whoever was refused together does not come back together, and nobody is sent away for longer than an exporter waits.
  const waits = new Set(refused.map(({ reason }) => reason.retryAfterS))
  expect([...waits].toSorted()).toEqual([1, 2, 3])
  await spool.write((batch) => pushSpan(batch, 'again'))
  expect(spool.state().pendingBytes).toBe(0)
  await spool.close()
})

test('a disk below its floor refuses writes and gives up retained segments, and recovers by itself', async () => {
  const world = await openWorld({ limits: { freeBytesMin: 1 << 20 } })
  const { spool, disk } = world
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  for (let i = 0; i < 40; i++) await spool.write((batch) => pushSpan(batch, `row ${i}`))
  await spool.flush()
  await until(() => disk.paths().some((path) => path.startsWith('/spool/drained/')))
  disk.freeBytes = 1 << 19
  await until(() => spool.state().reason === 'disk_full')
  await expect(spool.write((batch) => pushSpan(batch, 'refused'))).rejects.toMatchObject({
    code: 'service_unavailable',
  })
  await until(() => !disk.paths().some((path) => path.startsWith('/spool/drained/')))
  disk.freeBytes = 1 << 30
  await until(() => spool.state().status === 'ready')
  await spool.write((batch) => pushSpan(batch, 'again'))
  await spool.close()
})

test('a write larger than the bound is refused as too large, and its neighbours are kept', async () => {
  const { spool } = await openWorld({ limits: { writeBytesMax: 10_000 } })
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  const small = spool.write((batch) => pushSpan(batch, 'small'))
  const large = spool.write((batch) => pushSpan(batch, 'x'.repeat(20_000)))
  await expect(large).rejects.toMatchObject({ code: 'payload_too_large' })
  await small
  await spool.flush()
  expect(house.names('spans')).toEqual(['small'])
  await spool.close()
})

test('a write larger than a segment is kept whole, and so are those around it', async () => {
  const first = await openWorld()
  const names = ['small', 'x'.repeat(100_000), 'small again', 'y'.repeat(70_000)]
  for (const name of names) await first.spool.write((batch) => pushSpan(batch, name))
  const house = new MemoryClickHouse()
  const second = await openWorld({ disk: first.disk.crash('kill') })
  second.spool.drainTo(house.insert)
  await second.spool.flush()
  expect(house.names('spans')).toEqual(names)
  await second.spool.close()
})

test('drained segments are kept for the retention and then removed', async () => {
  let nowMs = 1_800_000_000_000
  const { spool, disk } = await openWorld({
    nowMs: () => nowMs,
    limits: { retainMs: 60_000, retainedBytes: 1 << 20 },
  })
  const house = new MemoryClickHouse()
  spool.drainTo(house.insert)
  for (let i = 0; i < 100; i++) await spool.write((batch) => pushSpan(batch, `row ${i}`))
  await spool.flush()
  const kept = () => disk.paths().filter((path) => path.startsWith('/spool/drained/')).length
  await until(() => kept() > 1)
  expect(disk.paths().filter((path) => path.startsWith('/spool/segments/')).length).toBeLessThan(3)
  nowMs += 60_000
  await until(() => kept() === 0)
  await spool.close()
})

test('closing settles what is open, refuses what comes later, and leaves nothing behind but data', async () => {
  const { spool, disk } = await openWorld()
  const open = spool.write((batch) => pushSpan(batch, 'open'))
  const closed = spool.close()
  await expect(spool.write((batch) => pushSpan(batch, 'late'))).rejects.toMatchObject({
    code: 'service_unavailable',
  })
  await Promise.all([open, closed])
  expect(spool.state().status).toBe('closed')
  const segments = disk.paths().filter((path) => path.startsWith('/spool/segments/'))
  expect(segments.length).toBe(1)
  const again = await openWorld({ disk })
  const house = new MemoryClickHouse()
  again.spool.drainTo(house.insert)
  await again.spool.flush()
  expect(house.names('spans')).toEqual(['open'])
  await again.spool.close()
})
