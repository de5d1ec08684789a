// A kill -9 in the middle of calls on a budget: every call whose last byte left has its cost once, and what the books say was
// spent is what the runs say.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { callersOf } from './money-world.ts'
import { newDataDir, type Product, removeDataDir, startProduct } from './product.ts'

const rounds = Number(process.env.KILL_ROUNDS ?? 2)
const workers = 8
const callsBeforeKill = 60

const dataDir = newDataDir()
const configDir = mkdtempSync(join(tmpdir(), 'runledger-config-'))
const configFile = join(configDir, 'runledger.json')
writeFileSync(
  configFile,
  JSON.stringify({
    routes: [{ id: 'all', models: ['*'], targets: [{ provider: 'sandbox' }] }],
    models: [{ id: 'priced', context_length: 1000, pricing: { std_input: 1, std_output: 2 } }],
  }),
)
let product: Product | undefined

afterAll(async () => {
  await product?.killFamily()
  removeDataDir(dataDir)
  rmSync(configDir, { recursive: true, force: true })
})

async function start(): Promise<Product> {
  product = await startProduct({ dataDir, env: { RUNLEDGER_CONFIG: configFile } })
  return product
}

type Logged = { run_id: string; cost_cents: number }

test(`what was spent is what the runs cost, after kill -9 of everything (${rounds} rounds)`, async () => {
  let running = await start()
  const key = await callersOf(running).newKey({ monthly_budget_cents: 100_000 })
  const acked = new Set<string>()
  for (let round = 0; round < rounds; round++) {
    const before = acked.size
    const { chat } = callersOf(running)
    const worker = async (stream: boolean) => {
      for (;;) {
        const run = await chat(key.key, { stream })
          .then(async (answer) => {
            const text = await answer.text()
            const isWhole = answer.status === 200 && (!stream || text.includes('[DONE]'))
            return isWhole ? answer.headers.get('x-batchin-run-id') : undefined
          })
          .catch(() => null)
        if (run === null) return
        if (run) acked.add(run)
      }
    }
    const all = Promise.all(Array.from({ length: workers }, (_, i) => worker(i % 2 === 0)))
    await expect
      .poll(() => acked.size - before, { timeout: 60_000 })
      .toBeGreaterThan(callsBeforeKill)
    await running.killFamily()
    await all
    running = await start()
  }
  const { get } = callersOf(running)
  const logs: Logged[] = []
  for (let offset = 0; ; offset += 500) {
    const page: Logged[] = await get(`/v1/usage/logs?limit=500&offset=${offset}&key_id=${key.id}`)
    logs.push(...page)
    if (page.length < 500) break
  }
  const times = new Map<string, number>()
  for (const { run_id } of logs) times.set(run_id, (times.get(run_id) ?? 0) + 1)
  expect([...acked].filter((run) => times.get(run) !== 1)).toEqual([])
  expect(times.size).toBe(logs.length)
  // A call that the kill cut off has its estimate.
  expect(logs.filter((row) => row.cost_cents === 0)).toEqual([])
  const { total_cost_cents: told } = await get(`/v1/usage/summary?key_id=${key.id}`)
  expect(told).toBeGreaterThan(0)
  const spent = async () =>
    (await get('/v1/keys')).find((row: { id: string }) => row.id === key.id).month_spent_cents
  await expect.poll(spent, { timeout: 20_000 }).toBe(told)
  expect(await running.stop()).toBe(0)
}, 240_000)
