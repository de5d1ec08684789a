// Two processes on one Postgres: one budget, one balance, one limit, one Idempotency-Key, and a revoked key that both refuse.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addCredit } from '../src/money/credit.ts'
import { callersOf } from './money-world.ts'
import { type OwnPostgres, startOwnPostgres } from './own-stores.ts'
import { newDataDir, type Product, removeDataDir, startProduct } from './product.ts'

const dir = mkdtempSync(join(tmpdir(), 'runledger-two-'))
const configFile = join(dir, 'runledger.json')
const dataDirs = [newDataDir(), newDataDir()]
let own: OwnPostgres
let planes: Product[] = []

function start(at: number): Promise<Product> {
  return startProduct({
    dataDir: dataDirs[at]!,
    env: { ...own.env, RUNLEDGER_CONFIG: configFile, RUNLEDGER_BILLING: 'prepaid' },
  })
}

beforeAll(async () => {
  writeFileSync(
    configFile,
    JSON.stringify({
      routes: [{ id: 'all', models: ['*'], targets: [{ provider: 'sandbox' }] }],
      models: [{ id: 'priced', context_length: 1000, pricing: { std_input: 1, std_output: 2 } }],
    }),
  )
  own = await startOwnPostgres()
  planes = [await start(0), await start(1)]
  const { id } = await callersOf(planes[0]!).get('/v1/users/me')
  const credit = {
    workspace: id,
    amountNanoUsd: 100_000_000_000n,
    kind: 'test',
    reference: '1',
  }
  await addCredit(own.sql, credit)
}, 120_000)

afterAll(async () => {
  for (const plane of planes) await plane.killFamily()
  await own?.end()
  for (const dataDir of dataDirs) removeDataDir(dataDir)
  rmSync(dir, { recursive: true, force: true })
})

// Long enough that calls of both are under way together.
const slow = { 'x-sandbox': 'latency=1500' }
const both = () => planes.map((plane) => callersOf(plane))

async function statuses(
  key: string,
  headers: Record<string, string>,
): Promise<Map<number, number>> {
  const callers = both()
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => callers[i % 2]!.chat(key, {}, headers)),
  )
  const counts = new Map<number, number>()
  for (const { status } of answers) counts.set(status, (counts.get(status) ?? 0) + 1)
  return counts
}

test('two hundred calls on a budget for one, half to each, are one call', async () => {
  const [first] = both()
  // A call of this size may cost up to about 0.022 cents.
  const key = await first!.newKey({ monthly_budget_cents: 0.03 })
  expect(await statuses(key.key, slow)).toEqual(
    new Map([
      [200, 1],
      [402, 199],
    ]),
  )
}, 60_000)

test('two hundred calls on a balance for one, half to each, are one call', async () => {
  const [first] = both()
  const made = await fetch(`${planes[0]!.url}/v1/users`, {
    method: 'POST',
    headers: { authorization: `Bearer ${planes[0]!.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'poor@example.com', name: 'Poor', password: 'long enough' }),
  })
  const user = (await made.json()) as { id: string }
  await addCredit(own.sql, {
    workspace: user.id,
    amountNanoUsd: 300_000n,
    kind: 'test',
    reference: '2',
  })
  const key = await first!.newKey({ user_id: user.id })
  expect((await statuses(key.key, slow)).get(200)).toBe(1)
  const balance = async () => (await first!.get('/v1/users/me', key.key)).credit_balance_cents
  await expect.poll(balance, { timeout: 20_000 }).toBeLessThan(0.03)
  expect(await balance()).toBeGreaterThan(0)
}, 60_000)

test('one limit a minute holds for both together', async () => {
  const key = await both()[0]!.newKey({ rate_limit_rpm: 10 })
  const startedAt = performance.now()
  const passed = (await statuses(key.key, {})).get(200) ?? 0
  const refilled = Math.ceil((performance.now() - startedAt) / 6_000)
  expect(passed).toBeGreaterThanOrEqual(10)
  expect(passed).toBeLessThanOrEqual(10 + refilled)
}, 60_000)

test('what one answered under an Idempotency-Key the other gives again', async () => {
  const [first, second] = both()
  const key = await first!.newKey({})
  const name = { 'idempotency-key': 'across' }
  const answer = await first!.chat(key.key, {}, name)
  const again = await second!.chat(key.key, {}, name)
  expect(again.headers.get('idempotent-replayed')).toBe('true')
  expect(again.headers.get('x-batchin-run-id')).toBe(answer.headers.get('x-batchin-run-id'))
}, 60_000)

test('a key revoked at one is refused by the other within seconds', async () => {
  const [first, second] = both()
  const key = await first!.newKey({})
  expect((await second!.chat(key.key)).status).toBe(200)
  await fetch(`${planes[0]!.url}/v1/keys/${key.id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${planes[0]!.key}` },
  })
  const status = async () => (await second!.chat(key.key)).status
  await expect.poll(status, { timeout: 10_000 }).toBe(401)
}, 60_000)

test('what a killed process held comes back when it starts again, and the other was never let beyond the rest', async () => {
  const key = await both()[0]!.newKey({ monthly_budget_cents: 0.05 })
  // Under way at the first, and so held by it, when it dies.
  const cut = both()[0]!
    .chat(key.key, {}, { 'x-sandbox': 'latency=60000' })

    .catch(() => undefined)
  const held = async () => {
    const [row] = await own.sql.query<{ held: number }>(
      'SELECT held_nano_usd AS held FROM purses WHERE purse = $1',
      [key.id],
    )
    return row?.held ?? 0
  }
  await expect.poll(held, { timeout: 20_000 }).toBeGreaterThan(0)
  await planes[0]!.killFamily()
  await cut
  const passes = async () => (await both()[1]!.chat(key.key, { max_tokens: 150 })).status
  expect(await passes()).toBe(402)
  planes[0] = await start(0)
  await expect.poll(passes, { timeout: 60_000 }).toBe(200)
}, 120_000)
