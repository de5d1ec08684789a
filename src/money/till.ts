// This process's till: it leases from purses in Postgres, so that most calls take without asking, and writes back what was spent.
// Law: what a till holds and what was spent never exceed a purse's bound together, however many tills there are.

import type { Counters } from '../../schemas/counters.ts'
import { newId, toUuid } from '../../schemas/ids.ts'
import type { Postgres } from '../stores/postgres.ts'
import { exchange, type Order } from './exchange.ts'
import { Purse, type PurseName } from './purse.ts'

// How late the books may be, and how soon another process sees what this one gave back.
const writeEveryMs = 250
// What was leased and not used for so long goes back, for others to have.
const idleMs = 2_000
// Tells others that this process lives. A till not seen for an hour is taken for dead (recovery.ts).
const seenEveryMs = 10_000
const ordersMax = 500
// A purse that nothing happened in for so long is looked up anew.
const forgottenMs = 600_000

export type Till = {
  readonly id: string
  /** The month by the database's clock, so that a wrong clock here opens no new budget. */
  month(): string
  purse(name: PurseName): Purse
  /** Writes what was spent, gives back what was leased, and takes the till out of the books. */
  close(): Promise<void>
}

type Batch = { wants: Map<Purse, bigint>; done: Promise<void>; settle: (error?: unknown) => void }

export async function openTill(deps: {
  sql: Postgres
  /** The data directory's own id: a later start from it settles what this one may leave behind. */
  home: string
  counters: Counters
  log: (line: string) => void
  tickMs?: () => number
}): Promise<Till> {
  const { sql, log, counters } = deps
  const tickMs = deps.tickMs ?? (() => performance.now())
  const id = toUuid(newId())
  const [opened] = await sql.query<{ month: string }>(
    `INSERT INTO tills (till, home) VALUES ($1, $2)
     RETURNING to_char(now() AT TIME ZONE 'utc', 'YYYY-MM') AS month`,
    [id, deps.home],
  )
  let month = opened?.month ?? ''
  let seenTick = tickMs()
  let next: Batch | undefined
  let running: Promise<void> | undefined
  let isFailing = false
  const purses = new Map<string, Purse>()

  function order(purse: Purse, amount: bigint): Promise<void> {
    next ??= newBatch()
    next.wants.set(purse, (next.wants.get(purse) ?? 0n) + amount)
    const { done } = next
    run()
    return done
  }

  /** One exchange at a time: the totals it writes are then never older than those of another one under way. */
  function run(): void {
    // A call that wants of two purses orders both before the first exchange begins.
    running ??= Promise.resolve()
      .then(work)
      .finally(() => {
        running = undefined
        if (next) run()
      })
  }

  async function work(): Promise<void> {
    while (next) {
      const batch: Batch = next
      next = undefined
      try {
        await trade(batch.wants)
        batch.settle()
        isFailing = false
      } catch (error) {
        counters.count('money_exchanges_failed_total', {})
        if (!isFailing) log(`money: the books cannot be reached, trying again: ${String(error)}`)
        isFailing = true
        batch.settle(error ?? new Error('The books could not be reached.'))
      }
    }
  }

  async function trade(wants: Map<Purse, bigint>): Promise<void> {
    const orders: Order[] = []
    for (const [purse, want] of wants) orders.push({ purse, want, mayReturn: false })
    for (const purse of purses.values()) {
      if (orders.length >= ordersMax) break
      if (wants.has(purse) || !isDue(purse)) continue
      orders.push({ purse, want: 0n, mayReturn: isIdle(purse) })
    }
    month = await exchange(sql, id, orders)
    seenTick = tickMs()
  }

  const isIdle = (purse: Purse) => tickMs() - purse.usedTick > idleMs
  const isDue = (purse: Purse) =>
    purse.settled !== purse.written ||
    purse.booked !== purse.bookedSeen ||
    (purse.free > 0n && isIdle(purse))

  function beat(): void {
    for (const [name, purse] of purses) {
      const isEmpty = purse.free === 0n && purse.lent === 0n && !isDue(purse)
      if (isEmpty && tickMs() - purse.usedTick > forgottenMs) purses.delete(name)
    }
    const isSilent = tickMs() - seenTick > seenEveryMs
    if (!isSilent && ![...purses.values()].some(isDue)) return
    next ??= newBatch()
    run()
  }

  const timer = setInterval(beat, writeEveryMs)
  timer.unref()

  return {
    id,
    month: () => month,
    purse(name) {
      const key = `${name.purse}/${name.period}`
      const known = purses.get(key)
      if (known) return known
      const made = new Purse(name, { order, tickMs })
      purses.set(key, made)
      return made
    },
    async close() {
      clearInterval(timer)
      await running
      const orders = [...purses.values()].map((purse) => ({ purse, want: 0n, mayReturn: true }))
      await exchange(sql, id, orders)
      // With a call that never settled it stays in the books, for recovery to settle from its run.
      if (orders.every(({ purse }) => purse.lent === 0n))
        await sql.query('DELETE FROM tills WHERE till = $1', [id])
    },
  }
}

function newBatch(): Batch {
  let settle: Batch['settle'] = () => {}
  const done = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error))
  })
  done.catch(() => {}) // whoever waits for it sees it too
  return { wants: new Map(), done, settle }
}
