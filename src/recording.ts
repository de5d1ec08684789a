// Everything about records, opened together: their evidence and their routes.

import type Router from '@koa/router'
import type { Settings } from '../schemas/settings.ts'
import { vaasRoutes } from './api/vaas.ts'
import { openEvidence } from './records/evidence.ts'
import type { Ledger } from './records/ledger.ts'
import { openRecords } from './records/records.ts'
import type { Lanes } from './spooling.ts'
import type { Rows } from './traces/traces.ts'

// As for every read: ClickHouse away means an older answer, not none.
const flushDeadlineMs = 2_000

export function openRecording(
  router: Router,
  deps: {
    rows: Rows
    flush: () => Promise<void>
    ledger: Ledger
    spool: Lanes
    settings: Settings
  },
): void {
  const { ledger } = deps
  vaasRoutes(router, {
    records: openRecords({
      ...deps,
      flushCalls: async () => void (await deps.spool.calls.flush(flushDeadlineMs)),
    }),
    evidence: openEvidence(ledger),
    ledger,
    intake: deps.spool.calls,
    environment: deps.settings.environment,
  })
}
