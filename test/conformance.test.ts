// The conformance table of OTLP/HTTP, every row a test against the whole product. `npm run conformance` prints it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { knownIds, rows } from './conformance/catalogue.ts'
import { casesOf, type Outcome, runRows } from './conformance/run-rows.ts'
import { startWorld, type World } from './world.ts'

let world: World
let outcomes: Outcome[] = []
beforeAll(async () => {
  world = await startWorld()
  const headers = { Authorization: `Bearer ${world.key}` }
  outcomes = await runRows(rows, { url: world.url, headers, isOurs: true })
}, 300_000)
afterAll(() => world.end())

test('every requirement, tricky payload and bad input that was catalogued has its row', () => {
  const named = new Set(rows.flatMap((row) => row.id.split(' ')))
  expect(knownIds.filter((id) => !named.has(id))).toEqual([])
  expect([...named].filter((id) => !knownIds.includes(id))).toEqual([])
})

test('no answer was a 500, which clients may not retry and which tells them nothing', () => {
  expect(outcomes.filter(({ why }) => /^50[0-24-9] /.test(why))).toEqual([])
})

test('no attribute’s key reached a prototype', () => {
  expect(Object.keys(Object.prototype)).toEqual([])
  for (const key of ['polluted', 'x']) expect(key in {}).toBe(false)
})

describe('conformance', () => {
  for (const row of rows)
    for (const { name } of casesOf(row))
      test.skipIf(row.slow)(`${row.id} ${row.level}: ${row.what} (${name})`, () => {
        const outcome = outcomes.find((one) => one.row === row && one.name === name)
        expect(outcome?.why === 'not offered' ? '' : outcome?.why).toBe('')
      })
})
