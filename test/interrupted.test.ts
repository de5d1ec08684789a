// Calls that a kill -9 cut off: each is ended once, by the next start, as a run and a record that anyone can verify.

import { afterAll, expect, test } from 'vitest'
import { get } from './clients.ts'
import { newDataDir, type Product, removeDataDir, startProduct } from './product.ts'

const dataDir = newDataDir()
const running: Product[] = []

afterAll(async () => {
  for (const product of running) await product.killFamily()
  removeDataDir(dataDir)
})

async function start(): Promise<Product> {
  const product = await startProduct({ dataDir })
  running.push(product)
  return product
}

function call(product: Product, simulation: string, stream: boolean): Promise<Response> {
  return fetch(`${product.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${product.key}`,
      'X-BatchIn-Prompt-Version': 'cut@v1',
      'X-Sandbox': simulation,
    },
    body: JSON.stringify({
      model: 'm',
      stream,
      messages: [{ role: 'user', content: 'Tell me a very long story, please.' }],
    }),
  })
}

async function openCalls(product: Product): Promise<number> {
  const metrics = await (await fetch(`${product.url}/metrics`)).text()
  return Number(/^runledger_spool_open_calls (\d+)$/m.exec(metrics)?.[1])
}

async function recordsOf(product: Product): Promise<string[]> {
  const { body } = await get(product, '/v1/traces?status=interrupted&limit=100')
  return body.items.map((item: { record_id: string }) => item.record_id).toSorted()
}

test('every call that was open at a kill -9 has one run and one final record, however often the process dies', async () => {
  const product = await start()
  expect((await call(product, 'latency=0', false)).status).toBe(200)
  const held = [1, 2, 3].map(() => call(product, 'latency=60000', false).catch(() => undefined))
  const streams = await Promise.all([1, 2].map(() => call(product, 'pace=60000', true)))
  const shown = streams.map(({ headers }) => headers.get('x-vaas-record-id') ?? '')
  await expect.poll(() => openCalls(product), { timeout: 20_000 }).toBe(5)
  // What surrounds their notes is drained before the kill: the notes have moved on.
  expect((await get(product, '/v1/traces')).body.items.length).toBe(1)
  await product.killFamily()
  await Promise.all(held)

  const second = await start()
  const records = await recordsOf(second)
  expect(new Set(records).size).toBe(5)
  expect(records).toEqual(expect.arrayContaining(shown))
  expect(second.output()).toMatch(/5 of 5 that were cut off/)
  await second.killFamily()

  const third = await start()
  expect(third.output()).not.toMatch(/cut off/)
  expect(await recordsOf(third)).toEqual(records)
  for (const record of records) {
    const { status, body } = await get(third, `/v1/vaas/${record}`)
    expect({ status, says: body.status }).toEqual({ status: 200, says: 'interrupted' })
    const verified = await get(third, `/v1/vaas/${record}/verify`)
    expect(verified.body.valid, record).toBe(true)
    const { body: evidence } = await get(third, `/v1/vaas/${record}/evidence`)
    expect(evidence.begin === null, record).toBe(!shown.includes(record))
    expect(evidence.payload).toMatchObject({
      usage: { output_tokens: 0 },
      usage_estimated: true,
      prompt_version_id: 'cut@v1',
    })
    expect(evidence.payload.usage.input_tokens).toBeGreaterThan(10)
  }
  const { body } = await get(third, '/v1/traces?limit=100')
  expect(body.items.length).toBe(6)
  expect(await openCalls(third)).toBe(0)
  expect(await third.stop()).toBe(0)
})
