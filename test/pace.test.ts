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

test('the engine yields from its start on, and while there are pauses between its inserts', () => {
  const { said, insert, pass } = opened()
  for (let i = 0; i < 50; i++) {
    insert(700)
    pass(550)
  }
  insert(2_000)
  pass(500)
  expect(said).toEqual([10])
})

test('inserts without a pause, two at once or one after the other, give it an equal part until they are over', () => {
  const { pace, said, insert, pass } = opened()
  for (let i = 0; i < 5; i++) insert(900)
  expect(said).toEqual([10, 0])
  pace.begin()
  insert(5_000)
  pace.end()
  expect(said).toEqual([10, 0])
  pass(1_000)
  expect(said).toEqual([10, 0, 10])
})

test('what could not be said is said again', () => {
  const { said, answers, insert, pass } = opened()
  answers.isTooSoon = true
  insert(5_000)
  expect(said).toEqual([10])
  answers.isTooSoon = false
  pass(250)
  expect(said).toEqual([10, 0])
})
