// The short forms of `npm run chaos`: the same scripts, a few seconds each.

import { expect, test } from 'vitest'
import { killUnderCalls } from './chaos/calls.ts'
import { diskTrouble } from './chaos/disk.ts'
import { hung } from './chaos/hung.ts'
import { killCycles } from './chaos/kills.ts'
import { outage } from './chaos/outage.ts'
import { whyNoSmallDisk } from './chaos/small-disk.ts'

// `KILL_ROUNDS=20 npm test -- chaos` is longer; `npm run chaos` is as long as you say.
const cycles = Number(process.env.KILL_ROUNDS ?? 3)

test(
  `what was acknowledged, spans and calls, is there once after kill -9 (${cycles} times)`,
  async () => {
    const report = await killCycles({
      cycles,
      spansPerCycle: 3_000,
      callers: 2,
      verified: 100,
      seed: 7,
    })
    expect(report).toMatchObject({ lost: [], doubled: [], unproven: [], refused: {} })
    expect(report.spansAcked).toBeGreaterThan(cycles * 500)
    expect(report.callsAnswered).toBeGreaterThan(0)
  },
  120_000 + cycles * 20_000,
)

test(
  `a call whose last byte left has its row, its cost once and a receipt that verifies, after kill -9 under 500 calls a second (${cycles} times)`,
  async () => {
    const report = await killUnderCalls({
      rounds: cycles,
      perSecond: 500,
      callsPerRound: 600,
      verified: 150,
      seed: 11,
    })
    expect(report).toMatchObject({ missing: [], doubled: [], mispriced: [], free: [] })
    expect(report).toMatchObject({ unbalanced: [], unproven: [], refused: {} })
    expect(report.answered).toBeGreaterThan(cycles * 200)
    expect(report.rows).toBeGreaterThanOrEqual(report.answered)
    expect(report.verified).toBeGreaterThan(0)
  },
  120_000 + cycles * 20_000,
)

test('ClickHouse away for some seconds is not noticed by clients, and everything is there once afterwards', async () => {
  const report = await outage({ outageS: 3, spansPerS: 1_000 })
  expect(report).toMatchObject({ lost: [], doubled: [], refused: 0 })
  expect(report.spansAcked).toBeGreaterThan(3_000)
  expect(report.backlogRows).toBeGreaterThan(2_000)
}, 120_000)

test('a ClickHouse that hangs, stores without answering, or breaks off is not noticed by clients, and everything is there once', async () => {
  const report = await hung({ seconds: 1, rounds: 1, spansPerS: 1_000 })
  expect(report).toMatchObject({ lost: [], doubled: [], refused: 0, failedCalls: 0 })
  expect(report.spansAcked).toBeGreaterThan(3_000)
  expect(report.callsAnswered).toBeGreaterThan(10)
  expect(report.insertsRetried).toBeGreaterThan(0)
}, 120_000)

const noDisk = whyNoSmallDisk()

test.skipIf(noDisk !== undefined)(
  `a disk that fills or fails costs nothing that was acknowledged: 503, calls longer than spans, and back by itself${noDisk ? ` (not here: ${noDisk})` : ''}`,
  async () => {
    const report = await diskTrouble({ seconds: 1 })
    expect(report).toMatchObject({ lost: [], doubled: [], undead: [], unclean: [] })
    expect([report.onlyCalls, report.nothing]).toEqual([
      [503, 200],
      [503, 503],
    ])
    expect(report.refused).toBeGreaterThan(0)
    expect(report.callsAnswered).toBeGreaterThan(0)
  },
  180_000,
)
