// The list of answers under way: whoever goes leaves all others in it, whatever the order.

import { expect, test } from 'vitest'
import { LiveAnswers, type Seat } from '../collectors/proxy/live-answers.ts'
import { randomOf } from './spool-world.ts'

test('those who are told are those who came and have not gone, in any order of coming and going', () => {
  const random = randomOf(4)
  const live = new LiveAnswers()
  const told: number[] = []
  const here = new Map<number, Seat>()
  for (let i = 0; i < 2_000; i++) {
    here.set(i, live.add({ interrupt: () => told.push(i) }))
    for (const [name, seat] of here) {
      if (random() > 0.05) continue
      live.delete(seat)
      live.delete(seat)
      here.delete(name)
    }
  }
  expect(live.size).toBe(here.size)
  live.interrupt()
  expect(told.sort((a, b) => a - b)).toEqual([...here.keys()])
})

test('an answer may go while all are told', () => {
  const live = new LiveAnswers()
  const told: number[] = []
  const seats = [0, 1, 2].map((i) =>
    live.add({
      interrupt() {
        told.push(i)
        live.delete(seats[i]!)
      },
    }),
  )
  live.interrupt()
  expect([told, live.size]).toEqual([[0, 1, 2], 0])
})
