// Two installations that push to each other: what one had and gets back is known to it, and goes out no second time.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { get, type Json } from './clients.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { newDataDir } from './product.ts'
import { startWorld, type World } from './world.ts'

const folder = mkdtempSync(join(tmpdir(), 'runledger-two-'))
const files = ['here', 'there'].map((name) => join(folder, `${name}.json`))
let here: World
let there: World
beforeAll(async () => {
  for (const file of files) writeFileSync(file, '{}')
  const [first, second] = await Promise.all(
    files.map((file) => startWorld({ RUNLEDGER_CONFIG: file }, newDataDir())),
  )
  here = first!
  there = second!
})
afterAll(async () => {
  await Promise.all([here?.end(), there?.end()])
  rmSync(folder, { recursive: true })
})

/** Every span of the one goes to the other from now on. */
async function point(from: World, to: World, more: Json): Promise<void> {
  const headers = { authorization: `Bearer ${to.key}` }
  const row = { name: randomHex(4), url: `${to.url}/`, headers, ...more }
  writeFileSync(files[from === here ? 0 : 1]!, JSON.stringify({ destinations: [row] }))
  expect(await from.plane.reload()).toBe(true)
  await expect.poll(() => pushed(from), { timeout: 20_000 }).toBe(0)
}

async function pushed(from: World): Promise<number | undefined> {
  const { body } = await get(from, '/v1/otlp/destinations')
  return body.items.at(-1)?.sent_spans
}

async function accept(count: number): Promise<void> {
  const attributes = [
    { key: 'gen_ai.input.messages', value: { stringValue: '[{"role":"user","content":"hi"}]' } },
    { key: 'n', value: { intValue: '9007199254740993' } },
  ]
  const spans = Array.from({ length: count }, () =>
    jsonSpan({ traceId: randomHex(16), spanId: randomHex(8), attributes }),
  )
  const response = await fetch(`${here.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${here.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(jsonRequest(...spans)),
  })
  expect(response.status).toBe(200)
}

// Without its content a span that comes back is another one to whom it left whole: it goes out once more, and never again.
test.each([
  ['whole', {}, 1],
  ['without its content', { redact: { content: true } }, 2],
])('a span that left %s comes back and stays', { timeout: 150_000 }, async (_how, more, trips) => {
  await point(here, there, { protocol: 'http/json', ...more })
  await point(there, here, {})
  const rounds = 3
  for (let round = 1; round <= rounds; round++) {
    await accept(3)
    // What came back of the rounds before stands before this one in both orders, so it has been passed by then.
    await expect.poll(() => pushed(there), { timeout: 40_000 }).toBe(3 * round)
  }
  expect(await pushed(here)).toBeGreaterThanOrEqual(3 * rounds)
  expect(await pushed(here)).toBeLessThanOrEqual(3 * rounds * trips)
})
