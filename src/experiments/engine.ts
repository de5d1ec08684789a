// The experiment engine, put together: store, queue, replays over our own /v1, candidates found and decisions carried out.

import { randomBytes } from 'node:crypto'
import type { Outbound } from '../../collectors/proxy/outbound.ts'
import type { PriceOf } from '../../replay/calls.ts'
import { type Coordinator, openCoordinator } from '../../replay/coordinator.ts'
import type { ExperimentRow, ExperimentStore, Frames, Rules } from '../../replay/experiment.ts'
import { openJudgeMore } from '../../replay/judges/asked.ts'
import { openLoopback } from '../../replay/loopback.ts'
import { jobsSchema, openJobs, prepareJobStore } from '../../replay/queues.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { RegistryState } from '../../schemas/prompt-history.ts'
import { type Prices, priceOf } from '../money/prices.ts'
import type { Ledger } from '../records/ledger.ts'
import type { Registry } from '../registry/registry.ts'
import type { RegistryAt } from '../registry/rows.ts'
import { type Repeated, repeatEvery } from '../repeat.ts'
import type { Postgres } from '../stores/postgres.ts'
import type { StoredSpans } from '../traces/stored-spans.ts'
import type { Rows } from '../traces/traces.ts'
import { openAftermath } from './aftermath.ts'
import { findBaseline, findReference } from './baseline.ts'
import { type Cancelling, cancelExperiment } from './cancelling.ts'
import { openCandidates } from './candidates.ts'
import { openFrames } from './frames.ts'
import { type QueueAnswer, type QueueAsk, queueExperiment } from './queueing.ts'
import { openReading } from './reading.ts'
import { openRules } from './rules.ts'
import { openExperimentStore } from './store.ts'
import { openWebhooks } from './webhooks.ts'

// Conversations replayed at once by this process; each makes one call at a time.
const slots = 6
const jobConnectionsMax = 4
const lookEveryMs = 1_500
// Decisions of the last day are folded again this often: a mismatch would mean that rows were changed, or the rule was.
const checkEveryMs = 3_600_000

export type EngineDeps = {
  postgres: Postgres
  outbound: Outbound
  ledger: Ledger
  rows: Rows
  storedSpans: StoredSpans
  registry: Registry
  counters: Counters
  redisUrl: string | undefined
  prices: Prices
  /** Models that judge, and the one that embeds, when they are configured. */
  judgeModels: readonly string[]
  embeddingModel: string | undefined
  hasRoute: (model: string) => boolean
  /** Where this process answers, once it does. */
  url: () => string
  internalToken: string
  flush: () => Promise<void>
  nowMs: () => number
  log: (line: string) => void
}

export type Engine = {
  store: ExperimentStore
  frames: Frames
  rules: Rules
  /** What a version of this registry is compared with by itself. */
  baselineOf(at: RegistryAt, state: RegistryState): Promise<string | undefined>
  /** False when it is decided and carried out already. */
  cancel(row: ExperimentRow, by: Cancelling): Promise<boolean>
  queue(ask: QueueAsk): Promise<QueueAnswer | undefined>
  /** Looks at an experiment soon, because something about it has changed. */
  nudge(experimentId: string): Promise<void>
  depth(): Promise<number>
  /** Begins to work: this process answers by now. */
  start(): void
  close(): Promise<void>
}

/** Makes the tables of the queue where they are missing; nothing is done before `start`. */
export async function openEngine(deps: EngineDeps): Promise<Engine> {
  const { postgres, registry, log } = deps
  const owner = randomBytes(6).toString('hex')
  const store = openExperimentStore(postgres, owner)
  const rules = openRules(postgres, registry, deps.judgeModels)
  const frames = openFrames({ ...deps, rerender: (given) => registry.rerender(given) })
  const loopback = openLoopback({ url: deps.url, token: deps.internalToken })
  const candidates = openCandidates(deps)
  const webhooks = openWebhooks(deps)
  async function tellRegression(row: ExperimentRow): Promise<void> {
    const { mode, webhookUrl } = await rules.of(row.workspace, row.registryId)
    // What is only observed was live before we saw it; what is served was kept from going live.
    if (mode === 'serve') return
    if (webhookUrl !== null) await webhooks.tell(row, 'regression_open', webhookUrl)
    deps.counters.count('regressions_open_total', {})
    log(
      `${row.registryId}@${row.candidate} is proven worse than ${row.registryId}@${row.baseline}.`,
    )
  }
  async function presentOf(row: ExperimentRow): Promise<string | undefined> {
    const at = { workspace: row.workspace, registry: row.registryId }
    const found = await registry.findRegistry(at)
    return found && findBaseline(postgres, at, found.state)
  }
  async function referenceOf(row: ExperimentRow): Promise<string | undefined> {
    const at = { workspace: row.workspace, registry: row.registryId }
    const found = await registry.findRegistry(at)
    return found && findReference(postgres, at, found.state)
  }
  const reading = openReading(postgres)
  async function checkDecisions(): Promise<void> {
    for (const row of await reading.decidedLately()) {
      const checked = await reading.check(row)
      if (checked === null) continue
      deps.counters.count('decisions_checked_total', { matches: String(checked.matches) })
      if (!checked.matches) log(`${row.experimentId}: its rows do not give its decision any more.`)
    }
  }
  const aftermath = openAftermath({
    ...{ postgres, store, registry, rules, tellRegression },
    live: { ...deps, store, frames },
  })
  const { pool, jobStore } = await openJobStore(deps)
  let running: { coordinator: Coordinator; looking: Repeated; checking: Repeated } | undefined

  return {
    store,
    frames,
    rules,
    baselineOf: (at, state) => findBaseline(postgres, at, state),
    async cancel(row, by) {
      const isCancelled = await cancelExperiment({ postgres, store, registry }, row, by)
      if (isCancelled) await running?.coordinator.nudge(row.experimentId)
      return isCancelled
    },
    async queue(ask) {
      const queued = await queueExperiment(deps, ask)
      if (queued) await running?.coordinator.nudge(queued.experimentId)
      return queued
    },
    nudge: async (experimentId) => running?.coordinator.nudge(experimentId),
    depth: async () => (await running?.coordinator.depth()) ?? 0,
    start() {
      const coordinator = openCoordinator({
        ...{ store, frames, rules, aftermath, loopback, owner, log },
        ...{ nowMs: deps.nowMs, counters: deps.counters, baselineOf: presentOf },
        referenceOf,
        priceOf: toPriceOf(deps.prices),
        judgeMore: openJudgeMore(deps.embeddingModel),
        openJobs: (handle) =>
          openJobs('experiments', { store: jobStore, log, concurrency: slots, handle }),
      })
      const look = async () => {
        for (const { experimentId } of await candidates.look())
          await coordinator.nudge(experimentId)
      }
      const looking = repeatEvery(lookEveryMs, look, (error) =>
        log(`experiments, looking for candidates: ${String(error)}`),
      )
      const checking = repeatEvery(checkEveryMs, checkDecisions, (error) =>
        log(`experiments, folding decisions again: ${String(error)}`),
      )
      webhooks.start()
      running = { coordinator, looking, checking }
    },
    async close() {
      // Jobs are told first: what they call is refused from this moment on, and that must not count against a prompt.
      const jobs = running?.coordinator.close()
      await running?.looking.stop()
      await running?.checking.stop()
      await webhooks.close()
      await jobs
      running = undefined
      loopback.close()
      await pool?.end()
    },
  }
}

/** Redis where there is one; else connections to Postgres of its own, which the caller ends. */
async function openJobStore({ postgres, redisUrl }: EngineDeps) {
  const pool =
    redisUrl === undefined
      ? postgres.openPool({ schema: jobsSchema, connectionsMax: jobConnectionsMax })
      : undefined
  const jobStore = pool ? { pool } : { redisUrl: redisUrl ?? '' }
  await postgres.exclusively(() => prepareJobStore(jobStore))
  return { pool, jobStore }
}

/** By the same prices that the gateway reckons with. */
function toPriceOf(prices: Prices): PriceOf {
  return ({ model, routeId, served }, usage, isNeutral = false) => {
    const price = priceOf(prices.of(model, routeId), served)
    const counted = isNeutral ? { ...usage, cachedTokens: 0 } : usage
    const nanoUsd = price?.cost(counted, undefined)
    return nanoUsd === undefined ? null : Number(nanoUsd)
  }
}
