// Budgets and limits on one Postgres: nobody spends what is not there, however many ask at once and from however many processes.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Grant } from '../collectors/proxy/money.ts'
import { readConfig } from '../schemas/config-file.ts'
import { Fault } from '../schemas/faults.ts'
import { newId, toUuid } from '../schemas/ids.ts'
import { openMoney } from '../src/money/money.ts'
import { type Pot, takeAll } from '../src/money/pot.ts'
import { openRates } from '../src/money/rates.ts'
import { openTill, type Till } from '../src/money/till.ts'
import { connectPostgres, type Postgres } from '../src/stores/postgres.ts'
import { newWorkspace, type OwnPostgres, startOwnPostgres } from './own-stores.ts'

let own: OwnPostgres
let sql: Postgres
let workspace: string
const counted = new Map<string, number>()
const counters = {
  count: (name: string, _labels: object, by = 1) =>
    void counted.set(name, (counted.get(name) ?? 0) + by),
}

beforeAll(async () => {
  own = await startOwnPostgres()
  sql = own.sql
  await sql.migrate()
  workspace = await newWorkspace(sql)
})

afterAll(async () => {
  await own.end()
})

async function newKey(budget: bigint | null): Promise<string> {
  const id = toUuid(newId())
  const digest = Buffer.from(id.replaceAll('-', '').repeat(2), 'hex')
  await sql.query(
    `INSERT INTO keys (id, user_id, digest, name, scopes, monthly_budget_nano_usd) VALUES ($1, $2, $3, 'k', '{}', $4)`,
    [id, workspace, digest, budget === null ? null : String(budget)],
  )
  return id
}

const tillOn = (store: Postgres, tickMs?: () => number) =>
  openTill({
    sql: store,
    home: toUuid(newId()),
    counters,
    log: () => {},
    ...(tickMs ? { tickMs } : {}),
  })

async function booksOf(purse: string): Promise<{ spent: bigint; held: bigint }> {
  const [row] = await sql.query<{ spent: string; held: string }>(
    'SELECT spent_nano_usd::text AS spent, held_nano_usd::text AS held FROM purses WHERE purse = $1',
    [purse],
  )
  return { spent: BigInt(row?.spent ?? 0), held: BigInt(row?.held ?? 0) }
}

/** A call that reserves `most` and, a turn of the event loop later, costs `cost`. True when it was allowed. */
async function spend(till: Till, key: string, amounts: { most: bigint; cost: bigint }) {
  const purse = till.purse({ purse: key, period: till.month(), workspace })
  try {
    await takeAll([{ pot: purse, amount: amounts.most }])
  } catch (error) {
    if (error instanceof Fault && error.code === 'payment_required') return false
    throw error
  }
  await new Promise(setImmediate)
  purse.settle(amounts.most, amounts.cost)
  return true
}

describe('a budget', () => {
  test('for one call lets one of two hundred through', async () => {
    const till = await tillOn(sql)
    const key = await newKey(100n)
    const calls = Array.from({ length: 200 }, () => spend(till, key, { most: 100n, cost: 100n }))
    expect((await Promise.all(calls)).filter(Boolean)).toHaveLength(1)
    await till.close()
    expect(await booksOf(key)).toEqual({ spent: 100n, held: 0n })
  })

  test('holds when two processes spend from it at once, and is spent to the last of it', async () => {
    const stores = [connectPostgres(own.config), connectPostgres(own.config)]
    const tills = await Promise.all(stores.map((store) => tillOn(store)))
    const key = await newKey(10_000n)
    let spent = 0n
    const client = async (seed: number) => {
      for (let i = 0; i < 50; i++) {
        const cost = BigInt(1 + ((seed * 7 + i * 13) % 40))
        if (await spend(tills[seed % 2]!, key, { most: 40n, cost })) spent += cost
      }
    }
    await Promise.all(Array.from({ length: 40 }, (_, seed) => client(seed)))
    for (const till of tills) await till.close()
    for (const store of stores) await store.close()
    expect(await booksOf(key)).toEqual({ spent, held: 0n })
    expect(spent <= 10_000n).toBe(true)
    const last = await tillOn(sql)
    while (await spend(last, key, { most: 40n, cost: 40n })) spent += 40n
    await last.close()
    expect(await booksOf(key)).toEqual({ spent, held: 0n })
    expect(spent <= 10_000n).toBe(true)
    // What is left is less than one call may cost.
    expect(spent > 10_000n - 40n).toBe(true)
  }, 30_000)

  test('of which there is plenty refuses nobody, also when others take what came back meanwhile', async () => {
    const gates: (() => void)[] = []
    const gated: Postgres = {
      ...sql,
      transaction: async (work) => {
        await new Promise<void>((open) => gates.push(open))
        return sql.transaction(work)
      },
    }
    const openNext = async () => {
      await expect.poll(() => gates.length).toBe(1)
      gates.pop()?.()
    }
    const till = await tillOn(gated, () => 0)
    const period = till.month()
    const [busy, other] = await Promise.all(
      [1_000_000n, 1_000_000n].map(async (budget) =>
        till.purse({ purse: await newKey(budget), period, workspace }),
      ),
    )
    const take = (pot: Pot, amount: bigint) => takeAll([{ pot, amount }])
    const first = take(busy!, 10n)
    await openNext()
    await first
    expect(take(busy!, busy!.free)).toBeUndefined()
    // While the store is asked for another, this one waits its turn; what it lacks comes back, and is gone again when it is asked.
    const elsewhere = take(other!, 10n)
    await expect.poll(() => gates.length).toBe(1)
    const waiting = take(busy!, 20n)
    busy!.settle(100n, 0n)
    await openNext()
    await elsewhere
    await expect.poll(() => gates.length).toBe(1)
    expect(take(busy!, busy!.free - 5n)).toBeUndefined()
    await openNext()
    await openNext()
    await expect(waiting).resolves.toBeUndefined()
    const closing = till.close()
    await openNext()
    await closing
  })

  test('is asked for again where others took what came, and refuses by the store’s word alone', async () => {
    const scripted = (left: { taken: number; rounds: number }): Pot & { free: bigint } => ({
      free: 0n,
      take: () => {},
      async refill(amount) {
        left.rounds -= 1
        this.free = left.taken-- > 0 ? 0n : amount
      },
      mayHave: () => left.rounds > 0,
      refusal: () => new Fault('payment_required'),
    })
    const take = async (left: { taken: number; rounds: number }) =>
      takeAll([{ pot: scripted(left), amount: 5n }])
    await expect(take({ taken: 3, rounds: 10 })).resolves.toBeUndefined()
    await expect(take({ taken: 3, rounds: 2 })).rejects.toMatchObject({ code: 'payment_required' })
    const endless = { taken: 1_000, rounds: 1_000 }
    await expect(take(endless)).rejects.toMatchObject({ code: 'service_unavailable' })
  })

  test('is asked for once in a while, not by every call', async () => {
    let transactions = 0
    const watched: Postgres = {
      ...sql,
      transaction: (work) => {
        transactions += 1
        return sql.transaction(work)
      },
    }
    const till = await tillOn(watched)
    const key = await newKey(1_000_000n)
    for (let i = 0; i < 1000; i++) await spend(till, key, { most: 10n, cost: 7n })
    expect(transactions).toBeLessThan(150)
    await till.close()
    expect(await booksOf(key)).toEqual({ spent: 7_000n, held: 0n })
  })

  test('that is used up says what is left, and that trying again is of no use', async () => {
    const till = await tillOn(sql)
    const key = await newKey(50_000_000n)
    const purse = till.purse({ purse: key, period: till.month(), workspace })
    const refused = takeAll([{ pot: purse, amount: 60_000_000n }])
    await expect(refused).rejects.toMatchObject({
      code: 'payment_required',
      message:
        "This call may cost up to $0.060000, and $0.050000 is left of the key's monthly budget of $0.050000. A smaller max_tokens reserves less.",
      detail: { headers: { 'x-should-retry': 'false' } },
    })
    await till.close()
  })

  test('is written once though the answer of a write is lost', async () => {
    let isCut = false
    const cut: Postgres = {
      ...sql,
      transaction: async (work) => {
        const done = await sql.transaction(work)
        if (!isCut) return done
        isCut = false
        throw new Error('Connection terminated unexpectedly')
      },
    }
    const till = await tillOn(cut)
    const key = await newKey(1_000n)
    expect(await spend(till, key, { most: 10n, cost: 5n })).toBe(true)
    isCut = true
    const purse = till.purse({ purse: key, period: till.month(), workspace })
    // More than is leased, so that the store is asked, and its answer lost.
    await expect(takeAll([{ pot: purse, amount: 500n }])).rejects.toThrow('terminated')
    expect(await spend(till, key, { most: 500n, cost: 5n })).toBe(true)
    await till.close()
    expect(await booksOf(key)).toEqual({ spent: 10n, held: 0n })
  })

  test('is taken from together with a balance, of both or of none', async () => {
    const till = await tillOn(sql)
    const key = await newKey(1_000n)
    await sql.query('UPDATE users SET credited_nano_usd = 1500 WHERE id = $1', [workspace])
    const period = till.month()
    const both = [
      till.purse({ purse: key, period, workspace }),
      till.purse({ purse: workspace, period: '', workspace }),
    ]
    const needs = both.map((pot) => ({ pot, amount: 600n }))
    await takeAll(needs)
    for (const purse of both) purse.settle(600n, 600n)
    await expect(takeAll(needs)).rejects.toThrow("the key's monthly budget")
    await till.close()
    expect(await booksOf(key)).toEqual({ spent: 600n, held: 0n })
    expect(await booksOf(workspace)).toEqual({ spent: 600n, held: 0n })
  })

  test('of which nobody spent for a while still knows what was spent before', async () => {
    let tick = 0
    const till = await tillOn(sql, () => tick)
    const key = await newKey(1_000n)
    expect(await spend(till, key, { most: 100n, cost: 100n })).toBe(true)
    const before = till.purse({ purse: key, period: till.month(), workspace })
    // First what it held goes back; so long afterwards the till lets go of it.
    const isForgotten = () => {
      tick += 700_000
      return till.purse({ purse: key, period: till.month(), workspace }) !== before
    }
    await expect.poll(isForgotten, { timeout: 20_000 }).toBe(true)
    expect(await spend(till, key, { most: 100n, cost: 100n })).toBe(true)
    await till.close()
    expect(await booksOf(key)).toEqual({ spent: 200n, held: 0n })
  })

  test('that one process holds and does not use comes back to the others', async () => {
    let tick = 0
    const [idle, busy] = [await tillOn(sql, () => tick), await tillOn(sql)]
    const key = await newKey(1_600n)
    expect(await spend(idle, key, { most: 100n, cost: 100n })).toBe(true)
    expect((await booksOf(key)).held).toBeGreaterThan(0n)
    tick += 60_000
    await expect
      .poll(async () => booksOf(key), { timeout: 20_000 })
      .toEqual({ spent: 100n, held: 0n })
    expect(await spend(busy, key, { most: 1_500n, cost: 1_500n })).toBe(true)
    await idle.close()
    await busy.close()
  })
})

describe('a call that reports more than it reserved', () => {
  const priced = { id: 'm', pricing: { std_input: 1, std_output: 2 } }
  const config = readConfig(JSON.stringify({ models: [priced] }), {
    env: () => undefined,
    known: [],
  })
  const cut = 'money_over_reserved_total'
  const usageOf = (outputTokens: number) => ({
    ...{ inputTokens: 10, outputTokens, cachedTokens: 0, reasoningTokens: 0, estimated: false },
  })
  async function take(): Promise<{ grant: Grant; key: string; till: Till }> {
    const till = await tillOn(sql)
    const key = await newKey(1_000_000n)
    const money = openMoney({
      keys: { terms: () => ({ requestsPerMinute: undefined, monthlyBudgetNanoUsd: 1_000_000n }) },
      ...{ config: () => config, till, rates: openRates({ sql, counters }), counters },
      ...{ isPrepaid: false, region: undefined },
    })
    const grant = await money.take({
      ...{ workspace, keyId: key, runId: newId(), model: 'm', routeId: 'r', origin: '' },
      ...{ inputTokensMax: 10, outputTokensMax: 20, pieces: undefined },
    })
    counted.delete(cut)
    return { grant, key, till }
  }

  test('costs what it reserved, and is counted once, whatever was reckoned meanwhile', async () => {
    const { grant, key, till } = await take()
    const cost = grant.cost(usageOf(4_000_000_000), undefined, 'm')
    // The note of an opening is written when the disk has time, which may be now.
    grant.cost(usageOf(0), undefined, 'm')
    grant.settle({ cost, usage: usageOf(4_000_000_000) })
    grant.settle()
    expect(cost).toMatchObject({ nanoUsd: 50_000n, isCut: true })
    expect(counted.get(cut)).toBe(1)
    await till.close()
    expect(await booksOf(key)).toEqual({ spent: 50_000n, held: 0n })
  })

  test('is not counted where it is charged nothing, or no more than was reserved', async () => {
    for (const isCharged of [false, true]) {
      const { grant, till } = await take()
      grant.cost(usageOf(4_000_000_000), undefined, 'm')
      const cost = grant.cost(usageOf(20), undefined, 'm')
      grant.settle(isCharged ? { cost, usage: usageOf(20) } : undefined)
      expect(counted.get(cut)).toBe(undefined)
      await till.close()
    }
  })
})

describe('a limit a minute', () => {
  const ratesOn = (store: Postgres, tickMs?: () => number) =>
    openRates({ sql: store, counters, ...(tickMs ? { tickMs } : {}) })

  async function passes(rates: ReturnType<typeof openRates>, name: string, perMinute: number) {
    const pot = rates.bucket(name, 'requests', perMinute)
    try {
      await takeAll([{ pot, amount: pot.needOf(1) }])
      return true
    } catch (error) {
      if (error instanceof Fault && error.code === 'rate_limited') return false
      throw error
    }
  }

  test('lets as many through as it says, from two processes together', async () => {
    const stores = [connectPostgres(own.config), connectPostgres(own.config)]
    const rates = stores.map((store) => ratesOn(store))
    const startedAt = performance.now()
    const asked = Array.from({ length: 200 }, (_, i) => passes(rates[i % 2]!, 'both', 20))
    const passed = (await Promise.all(asked)).filter(Boolean).length
    const refilled = Math.ceil(((performance.now() - startedAt) / 60_000) * 20)
    expect(passed).toBeGreaterThanOrEqual(20)
    expect(passed).toBeLessThanOrEqual(20 + refilled)
    for (const store of stores) await store.close()
  })

  test('says when to come again, and what is left', async () => {
    const rates = ratesOn(sql)
    expect(await passes(rates, 'slow', 2)).toBe(true)
    const pot = rates.bucket('slow', 'requests', 2)
    expect(pot.headers().slice(0, 4)).toEqual([
      'x-ratelimit-limit-requests',
      '2',
      'x-ratelimit-remaining-requests',
      '1',
    ])
    expect(await passes(rates, 'slow', 2)).toBe(true)
    const refused = takeAll([{ pot: rates.bucket('slow', 'requests', 2), amount: 1n }])
    await expect(refused).rejects.toMatchObject({
      code: 'rate_limited',
      message: 'The limit of 2 requests a minute is reached.',
      detail: { retryAfterS: 30, headers: { 'x-ratelimit-remaining-requests': '0' } },
    })
  })

  test('takes from every bucket or from none', async () => {
    const rates = ratesOn(sql)
    const wide = rates.bucket('wide', 'requests', 100)
    const narrow = rates.bucket('narrow', 'requests', 1)
    const both = () =>
      takeAll([
        { pot: wide, amount: 1n },
        { pot: narrow, amount: 1n },
      ])
    await both()
    const before = wide.remaining()
    for (let i = 0; i < 5; i++) await expect(both()).rejects.toThrow('The limit of 1 requests')
    expect(wide.remaining()).toBe(before)
  })

  test('holds in each process by itself while Postgres is away', async () => {
    const away = connectPostgres({ ...own.config, port: 1 })
    const rates = ratesOn(away)
    const passed: boolean[] = []
    for (let i = 0; i < 6; i++) passed.push(await passes(rates, 'alone', 4))
    expect(passed).toEqual([true, true, true, true, false, false])
    expect(counted.get('rate_limits_alone_total')).toBeGreaterThan(0)
    await away.close()
  })

  test('of tokens gives back what a call did not use', async () => {
    const rates = ratesOn(sql)
    const pot = rates.bucket('tokens', 'tokens', 1_000)
    await takeAll([{ pot, amount: pot.needOf(900) }])
    expect(pot.remaining()).toBeLessThan(200)
    pot.giveBack(850n)
    expect(pot.remaining()).toBeGreaterThan(900)
    // A call larger than the whole bucket needs the whole bucket.
    expect(pot.needOf(5_000)).toBe(1_000n)
  })
})
