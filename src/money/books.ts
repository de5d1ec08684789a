// Money, put together: this process's till and buckets, the sweeps that keep the tables small, and the settling of tills that
// a crash left behind.

import type { Money } from '../../collectors/proxy/money.ts'
import type { Config } from '../../schemas/config.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { Settings } from '../../schemas/settings.ts'
import type { Keys } from '../accounts/keys.ts'
import type { Postgres } from '../stores/postgres.ts'
import type { Rows } from '../traces/traces.ts'
import { openMoney } from './money.ts'
import { openRates } from './rates.ts'
import { settleLost, settleOwn } from './recovery.ts'
import { openTill } from './till.ts'

const sweepEveryMs = 60_000
// After a start that found ClickHouse away, or a spool that drains slowly.
const recoverAgainMs = 2_000
const flushMs = 2_000

export type Books = {
  money: Money
  /**
   * Settles what earlier starts left behind, in the background: once everything they accepted is in the spool, the runs of
   * calls that were cut off included.
   */
  recover(): void
  close(): Promise<void>
}

export async function openBooks(deps: {
  settings: Pick<Settings, 'billing' | 'region'>
  config: () => Config
  /** Of this plane: a later start of it settles what this one may leave behind. */
  planeId: string
  sql: Postgres
  rows: Rows
  keys: Pick<Keys, 'terms'>
  counters: Counters
  log: (line: string) => void
  /** True once everything that earlier starts accepted is in ClickHouse. */
  flush: (deadlineMs: number) => Promise<boolean>
}): Promise<Books> {
  const { sql, rows, settings, counters, log } = deps
  const home = deps.planeId
  const till = await openTill({ sql, home, counters, log })
  const rates = openRates({ sql, counters })
  const stopping = new AbortController()
  let working: Promise<void> = Promise.resolve()
  const sweep = () => {
    working = working
      .then(() => sweepAll({ sql, rows }, till.id))
      .catch((error) => log(`money, sweeping again in a minute: ${String(error)}`))
  }
  const timer = setInterval(sweep, sweepEveryMs)
  timer.unref()
  let recovering: Promise<void> | undefined
  return {
    money: openMoney({
      keys: deps.keys,
      config: deps.config,
      till,
      rates,
      counters,
      isPrepaid: settings.billing === 'prepaid',
      region: settings.region,
    }),
    recover() {
      recovering ??= recover({ ...deps, home, till: till.id, signal: stopping.signal })
    },
    async close() {
      clearInterval(timer)
      stopping.abort()
      await Promise.all([working, recovering])
      await till.close()
    },
  }
}

async function sweepAll(deps: { sql: Postgres; rows: Rows }, own: string): Promise<void> {
  await deps.sql.query(`DELETE FROM rate_buckets WHERE at < now() - interval '1 hour'`)
  await settleLost(deps, own)
}

async function recover(deps: {
  sql: Postgres
  rows: Rows
  home: string
  till: string
  flush: (deadlineMs: number) => Promise<boolean>
  log: (line: string) => void
  signal: AbortSignal
}): Promise<void> {
  const { signal, log } = deps
  while (!signal.aborted) {
    try {
      if (await deps.flush(flushMs)) {
        const settled = await settleOwn(deps, deps.home, deps.till)
        if (settled > 0) log(`money: settled what ${settled} earlier start(s) left behind`)
        return
      }
    } catch (error) {
      log(`money, settling again soon: ${String(error)}`)
    }
    await pause(recoverAgainMs, signal)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    timer.unref()
    signal.addEventListener('abort', () => resolve(clearTimeout(timer)), { once: true })
  })
}
