// Every way a call or a trace comes in, and what each of them is given.

import type Router from '@koa/router'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { otlpTraces } from '../collectors/otlp/route.ts'
import type { ProxyDeps } from '../collectors/proxy/call.ts'
import type { Jobs } from '../collectors/proxy/jobs/job.ts'
import { jobAnswers } from '../collectors/proxy/jobs/job-answers.ts'
import { lookAt } from '../collectors/proxy/jobs/look.ts'
import type { LiveAnswers } from '../collectors/proxy/live-answers.ts'
import { callMeters } from '../collectors/proxy/meters.ts'
import { operations } from '../collectors/proxy/operations.ts'
import { ResponseCache } from '../collectors/proxy/response-cache.ts'
import { inference, throughKoa } from '../collectors/proxy/route.ts'
import type { LiveRoutes } from '../collectors/proxy/targets/routes.ts'
import { redactionBy } from '../collectors/redact.ts'
import { runs } from '../collectors/run/route.ts'
import { newId, toPrefixed } from '../schemas/ids.ts'
import { jobRoutes } from './api/jobs.ts'
import type { DoorDeps } from './doors.ts'
import type { Door } from './http/app.ts'
import type { OtlpShared } from './http/grpc-door.ts'
import { startJobLooks } from './jobs/job-looks.ts'
import { hasBegun, jobReceipts } from './jobs/job-receipts.ts'
import { openJobs } from './jobs/jobs.ts'
import { runPrices } from './money/prices.ts'
import type { Prompting } from './prompting.ts'
import { openRecords } from './records/records.ts'
import type { Repeated } from './repeat.ts'
import type { Traces } from './traces/traces.ts'

// As for every read: ClickHouse away means an older answer, not none.
const flushDeadlineMs = 2_000

/** One bound on what all calls hold, one book of their envelopes. */
export function ingestDoors(
  deps: DoorDeps,
  made: {
    otlp: OtlpShared
    router: Router
    routes: LiveRoutes
    live: LiveAnswers
    findRuns: Traces['findRuns']
    prompting: Prompting
  },
): { doors: Door[]; close(): Promise<void> } {
  const { spool, settings, ledger } = deps
  const signed = {
    ...made.otlp,
    signerOf: ledger.signerOf,
    environment: settings.environment,
    redaction: redactionBy(deps.config.current),
  }
  const cache = new ResponseCache()
  deps.wishes.onWish((workspace) => cache.forget(workspace))
  const proxy: ProxyDeps = {
    ...signed,
    intake: spool.calls,
    serving: made.prompting.registry,
    sights: made.prompting.discovering,
    // Not those of bulk: an envelope is on its way in one lane only.
    envelopes: new EnvelopeBook(deps.nowMs),
    routes: made.routes,
    live: made.live,
    meters: callMeters(deps.metrics),
    money: deps.money,
    idempotent: deps.keptAnswers,
    cache,
    media: deps.media,
    jobs: jobsOf(deps),
    ready: () => spool.calls.refusal() === undefined,
  }
  jobRoutes(made.router, jobAnswers(proxy))
  const infer = inference(proxy)
  const looks = lookAfterJobs(deps, proxy)
  const doors: Door[] = [
    ...operations.map((operation): Door => {
      const direct = infer(operation)
      const { paths } = operation
      return { method: 'POST', paths, scope: 'proxy', infer: direct, enter: throughKoa(direct) }
    }),
    {
      method: 'POST',
      paths: ['/v1/otlp/traces', '/v1/otlp/v1/traces', '/v1/traces'],
      scope: 'ingest',
      enter: otlpTraces(made.otlp),
    },
    {
      method: 'POST',
      paths: ['/v1/runs'],
      scope: 'ingest',
      enter: runs({
        ...signed,
        sights: made.prompting.discovering,
        priceOf: runPrices(deps.config.current),
        idSecret: deps.idSecret,
        findRuns: made.findRuns,
      }),
    },
  ]
  return { doors, close: () => looks.stop() }
}

/** On nobody's behalf: without a caller's headers. */
function lookAfterJobs(deps: DoorDeps, proxy: ProxyDeps): Repeated {
  const { clickhouse: rows, spool } = deps
  const flush = async () => void (await spool.calls.flush(flushDeadlineMs))
  const records = openRecords({ rows, flush })
  return startJobLooks({
    ...{ sql: deps.postgres, counters: deps.metrics, log: deps.log },
    async look(job, signal) {
      if (!(await hasBegun(records, job))) return false
      const by = { clientHeaders: {}, requestId: toPrefixed('req', newId()), signal }
      return (await lookAt(proxy, job, by)).receipt.phase === 'final'
    },
  })
}

function jobsOf(deps: DoorDeps): Jobs {
  const { clickhouse: rows, postgres: sql, planeId, spool, ledger, nowMs, log } = deps
  const flush = (deadlineMs: number) => spool.calls.flush(deadlineMs)
  const records = openRecords({ rows, flush: async () => {} })
  return openJobs({
    sql,
    planeId,
    nowMs,
    log,
    findReceipt: jobReceipts({ records, ledger, flush }),
  })
}
