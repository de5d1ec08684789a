// The doors to what was traced: reading, figures, export, deletion; and the rolling up behind the figures.

import type Router from '@koa/router'
import { attributeRoutes } from './api/attributes.ts'
import { dataRoutes } from './api/data.ts'
import { exportRoutes } from './api/export.ts'
import { metricRoutes } from './api/metrics.ts'
import { traceRoutes } from './api/traces.ts'
import type { Wishes } from './erasing/wishes.ts'
import { openFigures } from './rollups/figures.ts'
import { startRolling } from './rollups/roll.ts'
import type { Clickhouse } from './stores/clickhouse.ts'
import { openAttributeNames } from './traces/attributes.ts'
import { openStoredSpans, type StoredSpans } from './traces/stored-spans.ts'
import { openTraces, type Traces } from './traces/traces.ts'

export type TraceDoors = {
  traces: Traces
  storedSpans: StoredSpans
  close(): Promise<void>
}

export function openTraceDoors(
  router: Router,
  deps: {
    rows: Pick<Clickhouse, 'query' | 'command'>
    wishes: Wishes
    flush: () => Promise<void>
    /** The same, and whether all of it is loaded now. */
    load: () => Promise<boolean>
    /** Every row with a smaller place in ingest order has been loaded, by whichever plane accepted it. */
    loadedBefore: () => bigint
    nowMs: () => number
    log: (line: string) => void
  },
): TraceDoors {
  const { rows, wishes, flush, nowMs } = deps
  const traces = openTraces(rows, nowMs)
  const storedSpans = openStoredSpans(rows)
  traceRoutes(router, { traces, storedSpans, flush })
  exportRoutes(router, { storedSpans, flush, loadedBefore: deps.loadedBefore })
  dataRoutes(router, { wishes, traces, load: deps.load })
  metricRoutes(router, { figures: openFigures(rows), flush, nowMs })
  attributeRoutes(router, { attributes: openAttributeNames(rows, nowMs), flush })
  const rolling = startRolling(rows, deps)
  return { traces, storedSpans, close: () => rolling.stop() }
}
