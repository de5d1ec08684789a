// How the stored calls are followed: each shown once, in their order, and whatever is not shown is counted.

import { expect, test } from 'vitest'
import type { SeenCall } from '../schemas/prompt.ts'
import { type FollowDeps, startFollowing } from '../src/registry/following.ts'
import { openPassed } from '../src/registry/passed.ts'
import { sharesOf } from '../src/registry/shares.ts'
import { type CallAt, nameOf, type StoredCalls } from '../src/registry/stored-calls.ts'
import { ClickhouseError } from '../src/stores/clickhouse-reply.ts'
import { oracle } from './otlp-messages.ts'

const second = 1_000n << 20n

/** The i-th call that was stored, a second after the one before; its prompt says which it is. */
function callAt(i: number, over: Partial<CallAt> = {}): CallAt {
  return {
    workspace: 'w',
    trace: i.toString(16).padStart(32, '0'),
    span: i.toString(16).padStart(16, '0'),
    quarter: 900,
    runId: '',
    seq: BigInt(i) * second,
    versionId: '',
    startNs: 1_000_000_000n,
    durationNs: 1n,
    ...over,
  }
}

function spanOf(text: string): Buffer {
  const attributes = [{ key: 'gen_ai.input.messages', value: { stringValue: text } }]
  return oracle.encode('Span', { attributes })
}

/** Stores that hold these calls and no others. */
function storesOf(calls: readonly CallAt[]): StoredCalls {
  const inside = ({ after, before }: { after: bigint; before: bigint }) =>
    calls.filter(({ seq }) => seq > after && seq < before)
  return {
    loadedBefore: () => (calls.at(-1)?.seq ?? 0n) + 1n,
    async count(stretch) {
      const counts = new Map<string, number>()
      for (const { workspace } of inside(stretch))
        counts.set(workspace, (counts.get(workspace) ?? 0) + 1)
      return counts
    },
    list: async (stretch, { oneIn, limit }) =>
      inside(stretch)
        .filter((call) => Number(call.seq / second) % (oneIn.get(call.workspace) ?? 1) === 0)
        .slice(0, limit),
    load: async (_, asked) =>
      new Map(
        asked.map((call) => {
          const [traceId, spanId, none] = [call.trace, call.span, Buffer.alloc(0)]
          const span = spanOf(`call ${call.seq / second}`)
          const { seq } = call
          return [
            nameOf(call),
            { traceId, spanId, seq, isFirst: true, resource: none, scope: none, span },
          ]
        }),
      ),
    findShadowed: async () => new Set<string>(),
  }
}

type Late = Parameters<FollowDeps['late']>[0]

/** One that follows these stores, what it showed, and what it counted. */
function follow(stores: StoredCalls, over: Partial<FollowDeps> = {}, from = 0n) {
  const shown: string[] = []
  const counts = new Map<string, number>()
  const told: Late = []
  const counters = {
    count: (_: string, { outcome = '' }: Record<string, string>, by = 1) =>
      void counts.set(outcome, (counts.get(outcome) ?? 0) + by),
  }
  const passed = over.passed ?? openPassed(counters)
  const meet = (call: SeenCall) => {
    const [message] = call.messages as { content: string }[] // as `describe` gives them
    shown.push(message!.content)
    return undefined
  }
  const following = startFollowing(
    {
      ...{ calls: stores, passed, counters, redact: undefined, log: () => {}, untold: () => 0 },
      sights: { meet, hasRoom: () => true },
      late: (late) => void told.push(...late),
      limits: { everyMs: 1_000_000, callsPerS: 1_000_000 },
      ...over,
    },
    from,
  )
  return { following, shown, counts, told, passed }
}

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `call ${from + i}`)

test('every call is shown once, in the order they came in, but those that passed and those that are sent again', async () => {
  const run = 'ab'.repeat(16)
  const again = callAt(3, { seq: 130n * second })
  const calls = [...Array.from({ length: 120 }, (_, i) => callAt(i + 1)), again]
  calls[4] = callAt(5, { runId: run })
  const passed = openPassed({ count() {} })
  passed.note(Buffer.from(run, 'hex'))
  const { following, shown, counts } = follow(storesOf(calls), { passed })
  await following.now()
  expect(shown).toEqual(numbers(1, 121).filter((text) => text !== 'call 5'))
  expect([following.cursor(), following.lagMs()]).toEqual([130n * second, 0])
  expect(Object.fromEntries(counts)).toMatchObject({ shown: 119, known: 2, left_out: 0 })
  await following.now()
  expect(shown).toHaveLength(119)
  expect(passed.bytes()).toHaveLength(0)
  await following.stop()
})

test('who goes on from a cursor, with the runs that had passed by then, shows what is behind it and nothing else', async () => {
  const ids = ['01'.repeat(16), '02'.repeat(16)]
  const calls = Array.from({ length: 9 }, (_, i) => callAt(i + 1))
  calls[6] = callAt(7, { runId: ids[1]! })
  const before = openPassed({ count() {} })
  for (const id of ids) before.note(Buffer.from(id, 'hex'))
  const passed = openPassed({ count() {} }, before.bytes())
  const { following, shown } = follow(storesOf(calls), { passed }, 5n * second)
  await following.now()
  expect(shown).toEqual(['call 6', 'call 8', 'call 9'])
  expect(passed.bytes().toString('hex')).toBe(ids[0])
  await following.stop()
})

test('of two calls at one place none is behind the cursor before both are shown', async () => {
  const calls = [callAt(1), callAt(2), callAt(3, { seq: 2n * second })]
  let room = 2
  const stores = storesOf(calls)
  const seen: bigint[] = []
  const { following } = follow(stores, {
    sights: {
      hasRoom: () => {
        seen.push(following.cursor())
        return room-- > 0 || room < -3
      },
      meet: () => undefined,
    },
  })
  await following.now()
  expect([...new Set(seen)]).toEqual([0n, 2n * second - 1n])
  expect(following.cursor()).toBe(2n * second)
  await following.stop()
})

test('when there is more than can be looked at, each workspace has its share, and every call left out is counted', async () => {
  expect(
    Object.fromEntries(
      sharesOf(
        new Map([
          ['few', 50],
          ['many', 100_000],
        ]),
        12_000,
      ),
    ),
  ).toEqual({
    few: 1,
    many: 9,
  })
  const calls = Array.from({ length: 3_000 }, (_, i) =>
    callAt(i + 1, { workspace: i % 100 === 0 ? 'few' : 'many' }),
  )
  const { following, shown, counts } = follow(storesOf(calls), {
    limits: { everyMs: 1_000_000, callsPerS: 1_000_000, roundMax: 330 },
  })
  await following.now()
  expect(shown).toHaveLength(30 + 300)
  expect(counts.get('left_out')).toBe(2_670)
  expect(following.lagMs()).toBe(0)
  await following.stop()
})

test('after a deletion nothing of its workspace is shown that had come in before, and what comes after is', async () => {
  const calls = Array.from({ length: 6 }, (_, i) => callAt(i + 1))
  calls[1] = callAt(2, { workspace: 'other' })
  const { following, shown, counts } = follow(storesOf(calls))
  following.leaveOut('w', 4_000)
  await following.now()
  expect(shown).toEqual(['call 2', 'call 4', 'call 5', 'call 6'])
  expect(counts.get('deleted')).toBe(2)
  await following.stop()
})

test('stores that are away are asked until they are back; a page that they refuse three times is left out', async () => {
  const stores = storesOf([callAt(1), callAt(2)])
  let fault: Error | undefined = new ClickhouseError('away', { code: undefined, transient: true })
  const { following, shown, counts } = follow({
    ...stores,
    load: async (...asked) => {
      if (fault) throw fault
      return stores.load(...asked)
    },
  })
  for (let i = 0; i < 5; i++) await following.now()
  expect([following.cursor(), following.lagMs()]).toEqual([0n, 2_000])
  fault = new ClickhouseError('Memory limit exceeded', { code: 241, transient: false })
  for (let i = 0; i < 3; i++) await following.now()
  expect([shown, counts.get('refused'), following.cursor()]).toEqual([[], 2, 2n * second])
  await following.stop()
})

test('a stored call is told its version when it bears another one, and not when its caller named it', async () => {
  const calls = [callAt(1), callAt(2, { versionId: 'support@v1' })]
  const { following, told } = follow(storesOf(calls), {
    sights: { hasRoom: () => true, meet: () => 'support@v1' },
  })
  await following.now()
  expect(told).toEqual([{ workspace: 'w', ref: expect.any(Uint8Array), versionId: 'support@v1' }])
  expect(Buffer.from(told[0]!.ref).toString('hex')).toBe(
    `${callAt(1).trace}${callAt(1).span}00000384`,
  )
  await following.stop()
})
