// Everything about records, opened together: their evidence and their routes.

import type Router from '@koa/router'
import type { Settings } from '../schemas/settings.ts'
import { vaasRoutes } from './api/vaas.ts'
import { openEvidence } from './evidence.ts'
import type { Ledger } from './ledger.ts'
import { openRecords } from './records.ts'
import type { Lanes } from './spooling.ts'
import type { Rows } from './traces.ts'

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
    records: openRecords(deps),
    evidence: openEvidence(ledger),
    ledger,
    intake: deps.spool.calls,
    environment: deps.settings.environment,
  })
}
