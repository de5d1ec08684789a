// The started product, as a user starts it: first day, stop, restart, a second start, engines that are killed.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { type Acked, countStored, judge, sendUntilGone } from './chaos/spans.ts'
import { exportTrace, get } from './clients.ts'
import { firstDay } from './journey.ts'
import { familyOf, newDataDir, type Product, removeDataDir, startProduct } from './product.ts'

const dirs: string[] = []
const running: Product[] = []

async function start(options: Parameters<typeof startProduct>[0] = {}): Promise<Product> {
  const dataDir = options.dataDir ?? newDataDir()
  if (!dirs.includes(dataDir)) dirs.push(dataDir)
  const product = await startProduct({ ...options, dataDir })
  running.push(product)
  return product
}

afterAll(async () => {
  for (const product of running) await product.killFamily()
  for (const dir of dirs) removeDataDir(dir)
})

test('a first day with real clients comes back whole, and is still there after a restart', async () => {
  const first = await start()
  await firstDay(first)
  const traceId = await exportTrace(first, 'protobuf')
  expect(await first.stop()).toBe(0)
  const second = await start({ dataDir: first.dataDir })
  const { body } = await get(second, `/v1/traces/${traceId}`)
  expect(body.span_count).toBe(3)
  const listed = await get(second, '/v1/traces?limit=100')
  expect(listed.body.items.length).toBe(6)
  expect(await second.stop()).toBe(0)
})

test('a second start on one data directory is refused with a sentence, and the first is not disturbed', async () => {
  const first = await start()
  await expect(start({ dataDir: first.dataDir })).rejects.toThrow(/another|already/i)
  expect((await get(first, '/health')).status).toBe(200)
  expect(await first.stop()).toBe(0)
})

test('Ctrl-C reaches the whole group and still stops everything in order', async () => {
  const product = await start()
  await exportTrace(product, 'json')
  const family = familyOf(product.pid)
  expect(family.length).toBeGreaterThan(2)
  process.kill(-product.pid, 'SIGINT')
  expect(await product.stop('SIGCONT')).toBe(0)
  await expect.poll(() => family.filter(isRunning), { timeout: 10_000 }).toEqual([])
})

test('engines whose plane was killed end by themselves', async () => {
  const product = await start()
  const family = familyOf(product.pid)
  await product.stop('SIGKILL')
  await expect.poll(() => family.filter(isRunning), { timeout: 10_000 }).toEqual([])
})

test('a prompt version that a call named is known after kill -9 right behind its answer', async () => {
  const product = await start()
  const response = await fetch(`${product.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${product.key}`,
      'X-BatchIn-Prompt-Version': 'sudden@v3',
    },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] }),
  })
  expect(response.status).toBe(200)
  await product.killFamily()
  const again = await start({ dataDir: product.dataDir })
  const { body } = await get(again, '/v1/prompts')
  expect(body.items).toMatchObject([{ registry_id: 'sudden', total_runs: 1 }])
  expect(await again.stop()).toBe(0)
})

test('engines killed in the middle of ingest are not noticed by clients, and nothing is lost or doubled', async () => {
  const product = await start()
  const acked: Acked = new Set()
  const stop = new AbortController()
  const refused = new Map<number, number>()
  let number = 0
  const next = () => {
    number += 50
    return number
  }
  const how = { connections: 4, batch: 50, signal: stop.signal }
  const sender = sendUntilGone(product, { acked, refused, next }, how)
  await expect
    .poll(async () => (await get(product, '/v1/traces')).body.items?.length, { timeout: 30_000 })
    .toBeGreaterThan(0)
  for (let kills = 1; kills <= 3; kills++) {
    await expect
      .poll(() => acked.size, { interval: 20, timeout: 30_000 })
      .toBeGreaterThan(kills * 2_000)
    // What is acknowledged goes on growing while the one that was killed before is not back yet.
    let engine: number | undefined
    await expect
      .poll(
        () => {
          engine = familyOf(product.pid).find(isClickhouse)
          return engine
        },
        { interval: 20, timeout: 30_000 },
      )
      .toBeDefined()
    if (engine) process.kill(engine, 'SIGKILL')
    // A read meanwhile is answered, or told to come again; it is never our fault and never an empty list.
    const { status, body } = await get(product, '/v1/traces')
    expect(status === 503 || body.items?.length > 0, `${status}`).toBe(true)
  }
  stop.abort()
  await sender
  expect(judge(acked, await countStored(product))).toEqual({ lost: [], doubled: [] })
  expect(refused.size).toBe(0)
  expect(await product.stop()).toBe(0)
})

test('an API key made by the start is printed once and works', async () => {
  const product = await start({ env: { RUNLEDGER_BOOTSTRAP_KEY: '' } })
  const key = /batchin_api_\S+/.exec(product.output())?.[0] ?? ''
  expect((await get({ url: product.url, key }, '/v1/traces')).status).toBe(200)
  expect(await product.stop()).toBe(0)
  const again = await start({ dataDir: product.dataDir, env: { RUNLEDGER_BOOTSTRAP_KEY: '' } })
  expect(again.output()).not.toContain(key)
  expect((await get({ url: again.url, key }, '/v1/traces')).status).toBe(200)
  expect(await again.stop()).toBe(0)
})

test('a public address without any key is refused with a sentence', async () => {
  const env = { RUNLEDGER_BOOTSTRAP_KEY: '', HOST: '0.0.0.0' }
  await expect(start({ env })).rejects.toThrow(/No API key exists yet/)
})

function isClickhouse(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('chdb-child')
}

function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return false
  const state = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], {
    encoding: 'utf8',
  }).stdout.trim()
  return state !== '' && !state.startsWith('Z')
}
