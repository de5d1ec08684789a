// Who moves experiments on: looks at what is due, hands out a batch of conversations, folds what came back, and looks again.
// Everything it knows is in the store, so any process may go on where another one stopped.

import type { Counters } from '../schemas/counters.ts'
import type { Sample } from '../schemas/experiment.ts'
import { type CallDeps, NotNow } from './calls.ts'
import { decide } from './decide.ts'
import type { Aftermath, Conclusion, ExperimentRow, ExperimentStore } from './experiment.ts'
import type { JudgeMore } from './judges/asked.ts'
import { type PrepareDeps, prepare } from './prepare.ts'
import type { Job, Jobs } from './queues.ts'
import { replayUnit, warmUp } from './unit.ts'

const sweepEveryMs = 1_000
const dueAtOnceMax = 50
// With the pauses between them, half an hour: what fails so often in a row is not a moment's fault.
const failuresMax = 12
const saidCharsMax = 300

export type CoordinatorDeps = PrepareDeps &
  Pick<CallDeps, 'loopback' | 'priceOf'> & {
    store: ExperimentStore
    aftermath: Aftermath
    judgeMore: JudgeMore
    /** This process, so that its jobs are not taken for those of one that died. */
    owner: string
    counters: Counters
    log: (line: string) => void
    openJobs: (handle: (job: Job) => Promise<void>) => Jobs
  }

export type Coordinator = {
  /** Looks at this experiment soon. */
  nudge(experimentId: string): Promise<void>
  depth(): Promise<number>
  close(): Promise<void>
}

export function openCoordinator(deps: CoordinatorDeps): Coordinator {
  const { store, owner } = deps
  const jobs = deps.openJobs(handle)
  let sweeping: Promise<void> = Promise.resolve()

  const nudge = (experimentId: string, why: string | number = 'now') =>
    jobs.add('advance', `advance-${experimentId}-${why}-${owner}`, { experimentId })

  async function handle(job: Job): Promise<void> {
    const { experimentId, unit } = job.data as { experimentId: string; unit?: number } // only `nudge` and `handOut` add jobs
    const row = await store.find(experimentId)
    if (row === undefined) return
    try {
      if (job.name === 'advance') await advance(row)
      else if (row.status === 'replaying' || row.status === 'shadow')
        await replay(row, unit ?? 0, job)
    } catch (error) {
      if (error instanceof NotNow)
        return void (error.message === 'stopped' && (await nudge(experimentId)))
      if (job.signal.aborted) return
      await failed(row, job, error)
    }
  }

  /** A fault of ours or of a store: later again, ever later, and in the end not at all. */
  async function failed(row: ExperimentRow, job: Job, error: unknown): Promise<void> {
    deps.counters.count('experiment_failures_total', { job: job.name })
    const why = error instanceof Error ? (error.stack ?? error.message) : String(error)
    deps.log(`experiments, ${job.name} of ${row.experimentId}: ${why}`)
    const failures = await store.backOff(row.experimentId)
    if (failures < failuresMax) return
    deps.counters.count('experiments_given_up_total', {})
    const said = (error instanceof Error ? error.message : String(error)).slice(0, saidCharsMax)
    await deps.aftermath.giveUp(row, `The engine failed ${failures} times in a row: ${said}`)
  }

  async function advance(row: ExperimentRow): Promise<void> {
    if (row.status === 'queued') {
      await prepare(deps, row)
      const now = await store.find(row.experimentId)
      if (now?.status === 'replaying') await handOut(now)
    } else if (row.status === 'replaying') {
      const isOver = await store.conclude(row.experimentId, fold)
      if (!isOver) return handOut(row)
      const decided = await store.find(row.experimentId)
      if (decided) await deps.aftermath.afterDecision(decided)
    } else if (row.live !== null) await add(row, await deps.aftermath.live(row))
    else if (row.promotionStatus === 'pending') await deps.aftermath.afterDecision(row)
  }

  /** The rest of the first unfinished batch. The next one only after the fold: what is decided is not paid for. */
  async function handOut(row: ExperimentRow): Promise<void> {
    const { experimentId, registered } = row
    if (registered === null) return
    if (!(await store.isWarm(experimentId))) {
      await jobs.add('warm', `warm-${experimentId}-${owner}`, { experimentId })
      return
    }
    await add(row, await store.openUnits(experimentId, registered.registration.policy.batch))
  }

  async function add({ experimentId }: ExperimentRow, units: readonly number[]): Promise<void> {
    for (const unit of units) {
      await jobs.add('unit', `unit-${experimentId}-${unit}-${owner}`, { experimentId, unit })
    }
  }

  async function replay(row: ExperimentRow, unit: number, job: Job): Promise<void> {
    const { experimentId, registered } = row
    const found = await store.findUnit(experimentId, unit)
    if (found === undefined || found.isDone || registered === null) return
    const { seed } = registered.registration.frame
    const calls: CallDeps = {
      ...row,
      ledger: store.ledgerOf(experimentId),
      loopback: deps.loopback,
      priceOf: deps.priceOf,
      signal: job.signal,
    }
    if (job.name === 'warm') await warmUp(calls, found.drawn)
    else {
      const { judge, judges, expectations } = registered.registration
      const { judgeMore } = deps
      const sample = await replayUnit(
        { ...calls, seed, judge, judges, expectations, judgeMore },
        found.drawn,
      )
      await store.saveOutcome(experimentId, sample)
      const { batch } = registered.registration.policy
      const open = await store.openUnits(experimentId, batch)
      if (open.some((left) => Math.floor(left / batch) === Math.floor(unit / batch))) return
    }
    // A look that is under way may have read the rows before this one: it gets a key of its own.
    await nudge(experimentId, unit)
  }

  const timer = setInterval(() => {
    sweeping = sweeping.then(sweep).catch((error) => deps.log(`experiments: ${String(error)}`))
  }, sweepEveryMs)
  timer.unref()

  /** Whatever was lost with a process is found again here. */
  async function sweep(): Promise<void> {
    for (const experimentId of await store.takeDue(dueAtOnceMax)) await nudge(experimentId)
  }

  return {
    nudge,
    depth: () => jobs.depth(),
    async close() {
      clearInterval(timer)
      await sweeping
      await jobs.close()
    },
  }
}

/** The decision on the rows so far; undefined while it is open. Recomputed from the same rows it is the same. */
export function fold(row: ExperimentRow, samples: Sample[]): Conclusion | undefined {
  if (row.registered === null) return undefined
  const decision = decide(row.registered, samples, row.stopped ?? undefined)
  if (decision.status !== 'replaying') {
    // Whoever cancelled it said why.
    return row.stopped === 'cancelled'
      ? { status: 'cancelled', decision, reason: row.reason }
      : { status: decision.status, decision, reason: decision.detail }
  }
  const { batch } = row.registered.registration.policy
  if (samples.length < Math.min(batch, row.registered.registration.policy.unitsMax))
    return undefined
  if (samples.some(({ outcome }) => outcome !== 'error')) return undefined
  return {
    status: 'error',
    decision,
    reason:
      'Every call of the first batch failed: the provider, the model or the key does not answer.',
  }
}
