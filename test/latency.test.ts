// The latency of small frames: equal prompts are held one time in a hundred at most, however unevenly they answer, and a
// candidate that is slower than the contract's margin is held as soon as its answers show it.

import { expect, test } from 'vitest'
import { readLatency, type Timed, tailDifference } from '../replay/latency.ts'
import { randomFrom } from './decision-world.ts'

const replications = 500
const timed = (baselineMs: number, repeatMs: number, candidateMs: number): Timed => ({
  baseline: { latencyMs: baselineMs, costUsd: null },
  repeat: { latencyMs: repeatMs, costUsd: null },
  candidate: { latencyMs: candidateMs, costUsd: null },
})

type Arms = { medianMs: number; spread: number; ratio: number; stallShare: number; n: number }

function drawnFrames({ medianMs, spread, ratio, stallShare, n }: Arms, seed: number): Timed[][] {
  const random = randomFrom(seed)
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const answer = (times: number) =>
    medianMs * times * Math.exp(spread * gaussian()) * (random() < stallShare ? 10 : 1)
  return Array.from({ length: replications }, () =>
    Array.from({ length: n }, () => timed(answer(1), answer(1), answer(ratio))),
  )
}

const heldShare = (arms: Arms, seed: number) =>
  drawnFrames(arms, seed).filter((frame) => readLatency(frame)?.isSlower).length / replications

const equal = [12, 100, 800].flatMap((medianMs) =>
  [0.05, 0.3, 0.8].flatMap((spread) => [5, 8, 30, 99].map((n) => ({ medianMs, spread, n }))),
)

test.each(equal)(
  'equal prompts of $n pairs at $medianMs ms, log spread $spread, are hardly ever held',
  (arms) => {
    const share = heldShare({ ...arms, ratio: 1, stallShare: 0.05 }, 11)
    // 1 %, and three standard errors of so many replications.
    expect(share).toBeLessThanOrEqual(0.01 + 3 * Math.sqrt((0.01 * 0.99) / replications))
  },
)

test.each([
  { ratio: 1.2, spread: 0.03, n: 3, atLeast: 0.9 },
  { ratio: 1.2, spread: 0.05, n: 8, atLeast: 0.9 },
  { ratio: 1.2, spread: 0.1, n: 30, atLeast: 0.9 },
  { ratio: 1.5, spread: 0.3, n: 30, atLeast: 0.9 },
  { ratio: 2, spread: 0.1, n: 5, atLeast: 0.9 },
])(
  'a candidate that takes $ratio times as long is held: $n pairs, log spread $spread',
  ({ atLeast, ...arms }) => {
    expect(heldShare({ ...arms, medianMs: 800, stallShare: 0 }, 12)).toBeGreaterThanOrEqual(atLeast)
  },
)

test('a candidate within the margin is never called slower, however surely it is the slowest', () => {
  const within = [timed(100, 100, 119), timed(1_000, 1_000, 1_099), timed(5, 5, 24)]
  expect(readLatency([...within, ...within, ...within])).toMatchObject({
    beyond: 0,
    isSlower: false,
  })
  const beyond = [timed(100, 100, 121), timed(1_000, 1_000, 1_101), timed(5, 5, 26)]
  expect(readLatency(beyond)).toMatchObject({ beyond: 3, isBeyond: true, isSlower: true })
})

test('where the baseline answered once, the pair alone speaks', () => {
  const one = {
    baseline: { latencyMs: 100, costUsd: null },
    candidate: { latencyMs: 200, costUsd: null },
  }
  expect(readLatency([one, one, one])).toMatchObject({ chance: 1 / 8, isSlower: true })
  expect(readLatency([{ ...one, candidate: { latencyMs: null, costUsd: null } }])).toBeUndefined()
  expect(tailDifference({ ...one, candidate: { latencyMs: 300, costUsd: null } })).toBe(-1)
})

test('a stall counts for whoever stalled, and equal prompts stall alike', () => {
  expect(tailDifference(timed(100, 100, 1_000))).toBe(-1)
  expect(tailDifference(timed(1_000, 100, 100))).toBe(0.5)
  expect(tailDifference(timed(100, 1_000, 1_000))).toBe(0)
  const random = randomFrom(13)
  let sum = 0
  for (let i = 0; i < 20_000; i++) {
    const answer = () => 100 * Math.exp(1.5 * (random() - 0.5)) * (random() < 0.1 ? 10 : 1)
    sum += tailDifference(timed(answer(), answer(), answer())) ?? 0
  }
  expect(Math.abs(sum / 20_000)).toBeLessThan(0.01)
})
