// How much of the processor the embedded ClickHouse takes from the plane, by how its inserts follow each other.

import { expect, test } from 'vitest'
import { Pace } from '../src/engines/pace.ts'

function opened() {
  const clock = { nowMs: 0 }
  const said: number[] = []
  const answers = { isTooSoon: false }
  const pace = new Pace({
    nowMs: () => clock.nowMs,
    say: (niceness) => {
      if (answers.isTooSoon) return false
      said.push(niceness)
      return true
    },
  })
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= 250) {
      clock.nowMs += Math.min(250, left)
      pace.look()
    }
  }
  const insert = (ms: number) => {
    pace.begin()
    pass(ms)
    pace.end()
  }
  return { pace, said, answers, pass, insert }
}

test('the engine yields while inserts with pauses between them take a good part of the time', () => {
  const { said, insert, pass } = opened()
  for (let i = 0; i < 50; i++) {
    insert(700)
    pass(550)
  }
  insert(2_000)
  pass(500)
  expect(said).toEqual([0, 10])
})

test('at rest, and between inserts now and then, it has an equal part', () => {
  const { said, insert, pass } = opened()
  for (let i = 0; i < 50; i++) {
    insert(200)
    pass(1_800)
  }
  expect(said).toEqual([0])
  for (let i = 0; i < 10; i++) {
    insert(700)
    pass(550)
  }
  pass(5_000)
  expect(said).toEqual([0, 10, 0])
})

test('inserts without a pause, two at once or one after the other, give it an equal part until they are over', () => {
  const { pace, said, insert, pass } = opened()
  for (let i = 0; i < 5; i++) insert(900)
  expect(said).toEqual([0, 10, 0])
  pace.begin()
  insert(5_000)
  pace.end()
  expect(said).toEqual([0, 10, 0])
  pass(1_000)
  expect(said).toEqual([0, 10, 0, 10])
})

test('what could not be said is said again', () => {
  const { said, answers, insert, pass } = opened()
  answers.isTooSoon = true
  insert(1_000)
  expect(said).toEqual([0])
  answers.isTooSoon = false
  pass(250)
  expect(said).toEqual([0, 10])
})
