// Everything that answers over HTTP, and what each of them needs.

import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import Router from '@koa/router'
import type { Middleware } from 'koa'
import { ByteBudget } from '../collectors/body.ts'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { KnownBodies } from '../collectors/otlp/known-bodies.ts'
import { otlpLimits } from '../collectors/otlp/take.ts'
import type { IdempotentAnswers } from '../collectors/proxy/answers.ts'
import { LiveAnswers } from '../collectors/proxy/live-answers.ts'
import type { Money } from '../collectors/proxy/money.ts'
import { endInterrupted } from '../collectors/proxy/openings.ts'
import { createOutbound, type Outbound } from '../collectors/proxy/outbound.ts'
import type { LiveRoutes } from '../collectors/proxy/targets/routes.ts'
import type { Settings } from '../schemas/settings.ts'
import type { Accounts } from './accounts/accounts.ts'
import { ensureOwner } from './accounts/keys.ts'
import { openLogin } from './accounts/login.ts'
import { sessionRoutes } from './accounts/sessions.ts'
import { openUsers } from './accounts/users.ts'
import { destinationRoutes } from './api/destinations.ts'
import { healthRoutes } from './api/health.ts'
import { keyRoutes } from './api/keys.ts'
import { meRoutes } from './api/me.ts'
import { mediaRoutes } from './api/media.ts'
import { topupRoutes } from './api/topup.ts'
import { usageRoutes } from './api/usage.ts'
import { userRoutes } from './api/users.ts'
import type { LiveConfig } from './config.ts'
import { type Destinations, openDestinations } from './destinations/destinations.ts'
import type { Wishes } from './erasing/wishes.ts'
import { openExperimenting } from './experimenting.ts'
import type { Engine } from './experiments/engine.ts'
import { createApp, type Door, listRoutes, type Route } from './http/app.ts'
import { consoleRoutes } from './http/console-files.ts'
import { enterDirectly } from './http/direct-doors.ts'
import type { OtlpShared } from './http/grpc-door.ts'
import { ingestDoors } from './ingest-doors.ts'
import { forgetJobs } from './jobs/jobs.ts'
import type { Media } from './jobs/media.ts'
import type { Metrics } from './metrics.ts'
import { openPrices } from './money/prices.ts'
import { openUsageLog } from './money/usage-log.ts'
import type { Stores } from './plane.ts'
import { openPrompting } from './prompting.ts'
import { openRecording } from './recording.ts'
import { packageRoot } from './root.ts'
import { openRouting } from './routing.ts'
import type { SelfTrace } from './self-trace.ts'
import type { Lanes } from './spooling.ts'
import type { Watermark } from './stores/watermark.ts'
import { openTraceDoors } from './trace-doors.ts'
import type { StoredSpans } from './traces/stored-spans.ts'
import type { Traces } from './traces/traces.ts'

// How long a read waits for what was accepted just before it. ClickHouse away means older answers, not none.
const flushDeadlineMs = 2_000
// Upstream calls of runs that are being given up.
const closeDeadlineMs = 2_000

export type Doors = {
  answer: RequestListener
  routes: readonly Route[]
  provider: string
  /** For OTLP over gRPC, which has a listener of its own. */
  otlp: OtlpShared
  /** Ends the inference calls under way, each with its receipt. */
  interrupt(): void
  /** Replays what was recorded; it calls this very process, so it begins after the doors and ends before them. */
  engine: Engine
  close(): Promise<void>
}

export type DoorDeps = Stores &
  Accounts & {
    settings: Settings
    version: string
    metrics: Metrics
    nowMs: () => number
    log: (line: string) => void
    spool: Lanes
    /** Of this plane among those that share its stores. */
    planeId: string
    watermark: Watermark
    wishes: Wishes
    /** Where this process answers. */
    url: () => string
    config: LiveConfig
    money: Money
    keptAnswers: IdempotentAnswers
    media: Media
  }

export async function openDoors(given: DoorDeps): Promise<Doors> {
  const { settings, metrics, spool, nowMs, log, version } = given
  const selfTrace = await traceItself(given, () => otlp)
  const rows = selfTrace?.watch(given.clickhouse) ?? given.clickhouse
  const deps = { ...given, clickhouse: rows }
  const outbound = createOutbound()
  const load = () => spool.flush(flushDeadlineMs)
  const flush = async () => void (await load())

  const router = new Router({ strict: true, sensitive: true })
  const routes = openRouting(router, { ...deps, outbound })
  healthRoutes(router, { vitals: vitalsOf(deps, routes, () => engine.depth()), metrics, version })
  accountRoutes(router, deps)
  const traced = openTraceDoors(router, {
    ...{ rows, wishes: deps.wishes, flush, load, nowMs, log },
    loadedBefore: deps.watermark.loadedBefore,
  })
  const { traces, storedSpans } = traced
  mediaRoutes(router, deps.media)
  const destinations = await openPush(router, { ...deps, storedSpans, outbound })
  const prompting = await openPrompting(router, { ...deps, storedSpans, flush })
  const { engine, internal } = await openExperimenting(router, {
    ...{ ...deps, rows, storedSpans, flush, outbound, counters: metrics },
    ...{ registry: prompting.registry, hasRoute: routes.has },
    ...settings,
    prices: openPrices(deps.config.current),
  })
  openRecording(router, { ...deps, rows, flush })
  await consoleRoutes(router, join(packageRoot(), 'dist', 'console'))

  const otlp: OtlpShared = {
    intake: spool,
    prompts: prompting.links,
    counters: metrics,
    nowMs,
    envelopes: new EnvelopeBook(nowMs),
    budget: new ByteBudget(otlpLimits.inFlightBytesMax),
    bodies: new KnownBodies(nowMs),
    via: deps.installation,
  }
  deps.wishes.onWish((workspace) => otlp.bodies.forget(workspace))
  // A run of ours may be asked for before it is loaded.
  const findRuns: Traces['findRuns'] = async (workspace, ids) => {
    await flush()
    return traces.findRuns(workspace, ids)
  }
  const live = new LiveAnswers()
  metrics.gauge('proxy_live_answers', () => live.size)
  const ingest = ingestDoors(deps, { otlp, router, routes, live, findRuns, prompting })
  await endCutOff(deps)
  const app = createApp({
    ...{ keys: deps.keys, metrics, log, doors: ingest.doors, router, internal },
    watchers: watchersOf(selfTrace, ingest.doors),
  })
  return {
    answer: enterDirectly(app, { doors: ingest.doors, keys: deps.keys, histograms: metrics }),
    routes: listRoutes(router, ingest.doors),
    provider: deps.config.current().routes[0]?.targets[0]?.provider ?? 'none',
    otlp,
    interrupt: () => live.interrupt(),
    engine,
    async close() {
      await Promise.all([ingest.close(), selfTrace?.close()])
      await traced.close()
      await destinations.close()
      await prompting.close()
      await outbound.close(closeDeadlineMs)
    },
  }
}

/** Undefined unless the settings ask for it. */
async function traceItself(deps: DoorDeps, take: () => OtlpShared): Promise<SelfTrace | undefined> {
  if (!deps.settings.selfTraces) return undefined
  const workspace = await ensureOwner(deps.postgres)
  // The SDK is loaded by those who ask for it, not by every start.
  const { openSelfTrace } = await import('./self-trace.ts')
  return openSelfTrace({ workspace, version: deps.version, take })
}

/** The doors are left out: ingest would feed itself, and an inference call is traced by its run. */
function watchersOf(selfTrace: SelfTrace | undefined, doors: Door[]): Middleware[] {
  const paths = new Set(doors.flatMap((door) => door.paths))
  return selfTrace
    ? [selfTrace.middleware((method, path) => method === 'POST' && paths.has(path))]
    : []
}

/** Calls that an earlier process left open. */
async function endCutOff({
  spool,
  metrics,
  ledger,
  postgres,
  nowMs,
  log,
}: DoorDeps): Promise<void> {
  const left = spool.calls.interrupted()
  if (left.length > 0)
    await forgetJobs(
      postgres,
      left.map(({ id }) => Buffer.from(id).toString('hex')),
    )
  await endInterrupted(left, {
    intake: spool.calls,
    envelopes: new EnvelopeBook(nowMs),
    counters: metrics,
    signerOf: ledger.signerOf,
    log,
  })
}

function accountRoutes(router: Router, deps: DoorDeps): void {
  const { settings, keys, postgres: sql, version } = deps
  const users = openUsers(sql)
  const login = openLogin(users)
  sessionRoutes(router, { keys, login, environment: settings.environment, version })
  userRoutes(router, { users, keys, login, isSignupPublic: settings.publicSignup })
  keyRoutes(router, { sql, keys })
  meRoutes(router, { sql, keys, users })
  topupRoutes(router, { sql, users })
  const flush = async () => void (await deps.spool.flush(flushDeadlineMs))
  usageRoutes(router, {
    usage: openUsageLog(deps.clickhouse, deps.nowMs),
    flush,
    nowMs: deps.nowMs,
  })
}

/** Push to destinations: those made over the API, and those of the configuration file as it is now and as it changes. */
async function openPush(
  router: Router,
  deps: DoorDeps & { storedSpans: StoredSpans; outbound: Outbound },
): Promise<Destinations> {
  const { config, metrics, postgres: sql, log } = deps
  const destinations = await openDestinations({
    ...deps,
    sql,
    counters: metrics,
    loadedBefore: deps.watermark.loadedBefore,
    random: Math.random,
  })
  destinationRoutes(router, destinations)
  metrics.gauge('destination_lag_seconds', () => destinations.state().lagMs / 1_000)
  metrics.gauge('destinations_failing', () => destinations.state().failing)
  await destinations.configure(config.current().destinations)
  config.onChange((changed) => {
    destinations.configure(changed.destinations).catch((error) => log(String(error)))
  })
  return destinations
}

function vitalsOf(deps: DoorDeps, routes: LiveRoutes, jobsWaiting: () => Promise<number>) {
  return {
    // The doors exist only once everything behind them does; a spool that refuses is overload, not a start.
    isReady: () => true,
    describe: async () => ({
      engines: deps.engines(),
      db: (await deps.postgres.ping()) ? 'ok' : 'down',
      queue_depth: await jobsWaiting(),
      // What the contract names and this version does not have yet, said as such.
      tiers: {},
      cache: 'off',
      stripe: 'off',
      spool: deps.spool.state(),
      config: deps.config.describe(),
      // Targets that are left alone for now, or being tried again.
      breakers_open: routes.breakers().filter(({ state }) => state !== 'closed').length,
      uptime_s: Math.round(process.uptime()),
    }),
  }
}
