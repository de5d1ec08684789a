// The spool and its drain into ClickHouse, with their figures.

import { type Lanes, openLanes } from '../collectors/spool/lanes.ts'
import type { Erase } from '../collectors/spool/spool.ts'
import type { Metrics } from './metrics.ts'
import type { Clickhouse } from './stores/clickhouse.ts'

export type { Lanes }

/** Finds what earlier runs left, and starts loading. `close` settles open writes and lets the batch in progress finish. */
export async function openIntake(deps: {
  dir: string
  clickhouse: Clickhouse
  /** Deletes what `spool.forget` was told, in every table that holds it; without it such a wish is refused. */
  erase?: Erase
  metrics: Metrics
  nowMs: () => number
  log: (line: string) => void
}): Promise<Lanes> {
  const { clickhouse, metrics } = deps
  const spool = await openLanes({
    dir: deps.dir,
    nowMs: deps.nowMs,
    counters: metrics,
    log: (level, message, facts) => deps.log(`spool ${level}: ${message} ${JSON.stringify(facts)}`),
  })
  spool.drainTo(
    (table, body, { token, signal }) => clickhouse.insertNative(table, body, { token, signal }),
    deps.erase,
  )
  metrics.gauge('spool_undrained_bytes', () => spool.state().undrainedBytes)
  metrics.gauge('spool_undrained_rows', () => spool.state().undrainedRows)
  metrics.gauge('spool_oldest_undrained_seconds', () => spool.state().oldestUndrainedMs / 1_000)
  metrics.gauge('spool_open_calls', () => spool.state().openCalls)
  metrics.gauge('spool_pending_bytes', () => spool.state().pendingBytes)
  metrics.gauge('spool_quarantine_bytes', () => spool.state().quarantineBytes)
  return spool
}
