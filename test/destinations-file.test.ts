// Destinations of the configuration file, on the started product: there from the start, changed while it runs, and past a crash.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { get, type Json } from './clients.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { newDataDir, type Product, removeDataDir, startProduct } from './product.ts'
import { type Receiver, startReceiver } from './receiver.ts'

const eventually = { timeout: 30_000, interval: 50 }
const dataDir = newDataDir()
const folder = mkdtempSync(join(tmpdir(), 'runledger-config-'))
const file = join(folder, 'runledger.json')
const started: Product[] = []
let first: Receiver
let second: Receiver
beforeAll(async () => {
  first = await startReceiver()
  second = await startReceiver()
})
afterAll(async () => {
  await Promise.all(started.map((product) => product.killFamily()))
  await first.close()
  await second.close()
  rmSync(folder, { recursive: true })
  removeDataDir(dataDir)
})

async function start(): Promise<Product> {
  const env = { RUNLEDGER_CONFIG: file, COLLECTOR_KEY: 'hush' }
  const product = await startProduct({ dataDir, env })
  started.push(product)
  return product
}

function configure(...destinations: Json[]): void {
  writeFileSync(file, JSON.stringify({ destinations }))
}

async function send(product: Product, count: number): Promise<string[]> {
  const spans = Array.from({ length: count }, () =>
    jsonSpan({ traceId: randomHex(16), spanId: randomHex(8) }),
  )
  const response = await fetch(`${product.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${product.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(jsonRequest(...spans)),
  })
  expect(response.status).toBe(200)
  return spans.map(({ spanId }) => String(spanId))
}

const arrived = (at: Receiver) => at.taken.map(({ spanId }) => spanId.toString('hex'))

test('spans that a destination could not take before kill -9 reach it afterwards, each of them', async () => {
  configure({ name: 'out', url: first.url, headers_env: { 'X-Key': 'COLLECTOR_KEY' } })
  const product = await start()
  const early = await send(product, 3)
  await vi.waitFor(() => expect(arrived(first)).toEqual(early), eventually)
  expect(first.pushes[0]?.headers['x-key']).toBe('hush')
  first.reply = () => ({ status: 503 })
  const held = await send(product, 50)
  await vi.waitFor(() => expect(first.pushes.length).toBeGreaterThan(1), eventually)
  await product.killFamily()
  first.reply = () => undefined
  const again = await start()
  const late = await send(again, 2)
  const all = new Set([...early, ...held, ...late])
  await vi.waitFor(() => expect(new Set(arrived(first))).toEqual(all), eventually)
  const { body } = await get(again, '/v1/otlp/destinations')
  expect(body.items).toMatchObject([{ name: 'out', trusted: true, header_names: ['X-Key'] }])
})

test('a file that changes while it runs moves the spans to where it says now', async () => {
  const product = started.at(-1)!
  configure({ name: 'elsewhere', url: second.url, protocol: 'http/json' })
  await vi.waitFor(async () => {
    const { body } = await get(product, '/v1/otlp/destinations')
    expect(body.items).toMatchObject([{ name: 'elsewhere' }])
  }, eventually)
  const sent = await send(product, 2)
  const moved = () => second.taken.map(({ spanId }) => spanId)
  await vi.waitFor(() => expect(moved()).toEqual(sent), eventually)
  expect(arrived(first)).not.toContain(sent[0])
})

test('a filter that says nothing changes nothing', async () => {
  const product = started.at(-1)!
  configure(
    { name: 'bad', url: first.url, filter: { colour: 'red' } },
    { name: 'elsewhere', url: second.url, protocol: 'http/json' },
  )
  await vi.waitFor(
    () => expect(product.output()).toContain('destinations: bad: `colour`'),
    eventually,
  )
  const { body } = await get(product, '/v1/otlp/destinations')
  expect(body.items).toMatchObject([{ name: 'elsewhere' }])
  const sent = await send(product, 1)
  await vi.waitFor(() => expect(second.taken.at(-1)?.spanId).toEqual(sent[0]), eventually)
})
