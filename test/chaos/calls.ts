// kill -9 again and again while calls come in at a fixed rate: a call whose last byte left has its row, its cost once, and a
// receipt that verifies without us. What the books say was spent is what the rows say.

import { setTimeout as wait } from 'node:timers/promises'
import { toVerdict, verifyEvidence } from '../../schemas/verify.ts'
import { get, type Json, type Target } from '../clients.ts'
import { callersOf, moneySettings } from '../money-world.ts'
import { newDataDir, type Product, removeDataDir, startProduct } from '../product.ts'
import { randomOf } from '../spool-world.ts'
import { startUpstream } from '../upstream.ts'
import { type Answered, costOf, playNumbered, type Sender, sendAtRate } from './call-load.ts'

export type CallKillOptions = {
  rounds: number
  /** Intended calls a second, whatever the answers do. */
  perSecond: number
  /** Answered in a round before it is killed, on average. */
  callsPerRound: number
  /** Receipts that are verified at the end, at random; rows and costs are checked of all. */
  verified: number
  seed: number
  print?: (line: string) => void
}

export type CallKillReport = {
  rounds: number
  perSecond: number
  answeredPerSecond: number
  answered: number
  rows: number
  /** Rows of calls that a kill cut off, closed by the next start. */
  interrupted: number
  /** Runs of answered calls without a row. */
  missing: string[]
  doubled: string[]
  /** Runs whose row costs something else than what its upstream reported. */
  mispriced: string[]
  /** Rows of calls on the budget that cost nothing: one that was cut off has an estimate. */
  free: string[]
  /** Cents: what the key's month and its summary differ by, if they do. */
  unbalanced: string[]
  verified: number
  /** Record ids whose evidence does not verify, or is not what the caller was shown. */
  unproven: string[]
  refused: Record<string, number>
  startMsMax: number
  seconds: number
  seed: number
}

type Keys = { budgeted: { id: string; key: string }; plain: { id: string; key: string } }
type Row = { run_id: string; status: string; cost_cents: number }

const booksDeadlineMs = 30_000

export async function killUnderCalls(options: CallKillOptions): Promise<CallKillReport> {
  const startedAt = performance.now()
  const random = randomOf(options.seed)
  const upstream = await startUpstream()
  playNumbered(upstream)
  const settings = moneySettings(upstream)
  const dataDir = newDataDir()
  const sender: Sender = { answered: new Map(), refused: new Map(), next: 0 }
  const starts: number[] = []
  const start = async () => {
    const product = await startProduct({ dataDir, env: settings.env })
    starts.push(product.startedInMs)
    return product
  }
  let product: Product | undefined
  let loadMs = 0
  try {
    product = await start()
    const keys = await makeKeys(product)
    for (let round = 1; round <= options.rounds; round++) {
      loadMs += await loadAndKill(product, keys, { sender, options, random })
      options.print?.(`round ${round}: ${sender.answered.size} calls answered`)
      product = await start()
    }
    const judged = await judgeCalls(product, keys, { answered: sender.answered, options, random })
    await product.stop()
    return {
      rounds: options.rounds,
      perSecond: options.perSecond,
      answeredPerSecond: Math.round((sender.answered.size * 1000) / loadMs),
      answered: sender.answered.size,
      ...judged,
      refused: Object.fromEntries(sender.refused),
      startMsMax: Math.round(Math.max(...starts)),
      seconds: Math.round((performance.now() - startedAt) / 1000),
      seed: options.seed,
    }
  } finally {
    await product?.killFamily()
    await upstream.close()
    settings.end()
    removeDataDir(dataDir)
  }
}

async function makeKeys(product: Product): Promise<Keys> {
  const { newKey } = callersOf(product)
  return { budgeted: await newKey({ monthly_budget_cents: 1_000_000 }), plain: await newKey({}) }
}

/** One round; how long its load took, in milliseconds. */
async function loadAndKill(
  product: Product,
  keys: Keys,
  run: { sender: Sender; options: CallKillOptions; random: () => number },
): Promise<number> {
  const { sender, options, random } = run
  const startedAt = performance.now()
  const enough = sender.answered.size + options.callsPerRound * (0.4 + 1.2 * random())
  const load = sendAtRate(product.url, sender, {
    perSecond: options.perSecond,
    keys: [keys.budgeted.key, keys.plain.key],
  })
  while (sender.answered.size < enough) {
    if (await Promise.race([load.over.then(() => true), wait(5, false)]))
      throw new Error(`It ended by itself:\n${product.output()}`)
  }
  // Any moment of an opening, an answer, a sync, a cursor on its way.
  await wait(random() * 60)
  // One time in four the engines are left alive: the next start finds them and ends them.
  if (random() < 0.25) await product.stop('SIGKILL')
  else await product.killFamily()
  const loadMs = performance.now() - startedAt
  load.stop()
  await load.over
  return loadMs
}

async function judgeCalls(
  product: Product,
  keys: Keys,
  run: {
    answered: ReadonlyMap<string, Answered>
    options: CallKillOptions
    random: () => number
  },
) {
  const { answered, options, random } = run
  const budgeted = await rowsOf(product, keys.budgeted.id)
  const rows = [...budgeted, ...(await rowsOf(product, keys.plain.id))]
  const times = new Map<string, number>()
  for (const { run_id: id } of rows) times.set(id, (times.get(id) ?? 0) + 1)
  const cents = new Map(rows.map((row) => [row.run_id, row.cost_cents]))
  const shares = options.verified / answered.size
  const chosen = [...answered.values()].filter(() => random() < shares)
  return {
    rows: rows.length,
    interrupted: rows.filter((row) => row.status === 'interrupted').length,
    missing: [...answered.keys()].filter((id) => !times.has(id)),
    doubled: [...times].filter(([, count]) => count !== 1).map(([id]) => id),
    mispriced: [...answered]
      .filter(([id, { number }]) => cents.has(id) && cents.get(id) !== costOf(number))
      .map(([id]) => id),
    free: budgeted.filter((row) => row.cost_cents === 0).map((row) => row.run_id),
    unbalanced: await differences(product, keys.budgeted.id),
    verified: chosen.length,
    unproven: await findUnproven(product, chosen),
  }
}

async function rowsOf(product: Product, keyId: string): Promise<Row[]> {
  const { get: read } = callersOf(product)
  const rows: Row[] = []
  for (;;) {
    const page: Row[] = await read(
      `/v1/usage/logs?limit=500&offset=${rows.length}&key_id=${keyId}&from=2020-01-01T00:00:00Z`,
    )
    rows.push(...page)
    if (page.length < 500) return rows
  }
}

/** Empty once the month of the key says what its rows say: what earlier starts held is settled in the background. */
async function differences(product: Product, keyId: string): Promise<string[]> {
  const { get: read } = callersOf(product)
  const { total_cost_cents: told } = await read(`/v1/usage/summary?key_id=${keyId}`)
  const deadline = performance.now() + booksDeadlineMs
  for (;;) {
    const key = (await read('/v1/keys')).find((row: Json) => row.id === keyId)
    if (key.month_spent_cents === told) return []
    if (performance.now() > deadline) return [`${key.month_spent_cents} spent, ${told} in rows`]
    await wait(100)
  }
}

/** Taken away and verified here, under the root that the product names, as anybody could. */
async function findUnproven(target: Target, calls: readonly Answered[]): Promise<string[]> {
  const { body } = await get(target, '/v1/vaas/pubkey/current')
  const unproven: string[] = []
  for (const { record, signature, opening } of calls) {
    const { status, body: pack } = await get(target, `/v1/vaas/${record}/evidence`)
    const isShown =
      status === 200 &&
      pack.payload.status === 'completed' &&
      pack.signature === signature &&
      (opening === undefined || pack.begin?.signature === opening)
    const checks = isShown && (await verifyEvidence(JSON.stringify(pack), { roots: [body.root] }))
    if (!checks || toVerdict(checks) !== 'valid') unproven.push(record)
  }
  return unproven
}
