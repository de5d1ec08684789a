// An experiment as the coordinator sees it, and what it asks of whoever keeps rows, runs and prompts. `src` answers.

import type {
  Decision,
  DecisionPolicy,
  Expectations,
  Registered,
  Sample,
} from '../schemas/experiment.ts'
import type { DrawnUnit } from '../schemas/replay.ts'
import type { Calibration } from './calibration.ts'
import type { CallLedger } from './calls.ts'
import type { StopReason } from './decide.ts'
import type { FrameReport, FrameRun, LoadedRun } from './sampler.ts'

export type ExperimentStatus =
  | 'queued'
  | 'replaying'
  | 'passed'
  | 'failed'
  | 'inconclusive'
  | 'error'
  | 'cancelled'
  | 'shadow'
  | 'canary'

export type PromotionStatus = 'pending' | 'promoted' | 'held' | 'not_promoted' | 'rolled_back'

/** What whoever started it by hand asked for; empty for those the machine starts. */
export type Asked = { maxPairs?: number; budgetNanoUsd?: number }

export type ExperimentRow = {
  experimentId: string
  regressionId: string
  workspace: string
  registryId: string
  baseline: string
  candidate: string
  status: ExperimentStatus
  promotionStatus: PromotionStatus
  reason: string
  /** `machine`, or who did it. */
  startedBy: string
  asked: Asked
  registered: Registered | null
  frame: FrameReport | null
  decision: Decision | null
  /** Where the ramp and the watch are; null outside serve mode. */
  live: unknown
  stopped: StopReason | null
  budgetNanoUsd: number | null
  spentNanoUsd: number
  calls: number
  duplicateCalls: number
  attempts: number
  /** How often in a row the engine itself failed at it. */
  failures: number
  createdAt: Date
  startedAt: Date | null
  decidedAt: Date | null
}

/** A change of state, with who made it and why. */
export type Move = {
  status?: ExperimentStatus
  promotionStatus?: PromotionStatus
  reason: string
  actor?: string
  /** Where the ramp and the watch are from now on; absent: where they were. */
  live?: unknown
}

export type Beginning = {
  registered: Registered
  frame: FrameReport
  units: readonly DrawnUnit[]
  budgetNanoUsd: number
  budgetPerDayNanoUsd: number
}

export type ExperimentStore = {
  find(experimentId: string): Promise<ExperimentRow | undefined>
  /** Ids of experiments that have something to do, and looks away from them for a while. */
  takeDue(limit: number): Promise<string[]>
  /** From queued to replaying, with its units. False: it is not queued any more, or another of its registry is running. */
  begin(experimentId: string, beginning: Beginning): Promise<boolean>
  /** Nothing to do before the delay is over. Counts an attempt. */
  postpone(experimentId: string, reason: string, delayMs: number): Promise<void>
  /** The same, and counts nothing: another experiment is in the way. */
  wait(experimentId: string, reason: string, delayMs: number): Promise<void>
  /** The candidate of an experiment of the same prompt that runs or is on its way into traffic; this one waits then. */
  findAhead(row: ExperimentRow): Promise<string | undefined>
  /** Compared with the version that is in force by now; over, when that one came later than the candidate. */
  rebase(row: ExperimentRow, baseline: string): Promise<void>
  /** Leaves it alone for a while, longer each time; how often in a row that was. A failure while it is left alone is not counted. */
  backOff(experimentId: string): Promise<number>
  /** A move from the state that the caller saw; false when it is another by now. */
  move(row: ExperimentRow, to: Move): Promise<boolean>
  /**
   * Reads every outcome with the experiment locked, and stores what `fold` makes of them, unless that is nothing. Outcomes that
   * arrive after a decision are not taken, so the stored rows always give the stored decision.
   */
  conclude(
    experimentId: string,
    fold: (row: ExperimentRow, samples: Sample[]) => Conclusion | undefined,
  ): Promise<boolean>
  findUnit(
    experimentId: string,
    unit: number,
  ): Promise<{ drawn: DrawnUnit; isDone: boolean } | undefined>
  /** The first units without an outcome: the number of the first, and those below the end of its batch. */
  openUnits(experimentId: string, batch: number): Promise<number[]>
  saveOutcome(experimentId: string, sample: Sample): Promise<void>
  isWarm(experimentId: string): Promise<boolean>
  ledgerOf(experimentId: string): CallLedger
}

/** Past runs of a version, and what they become under another one. */
export type Frames = {
  runs(workspace: string, versionId: string, sinceMs: number): Promise<FrameRun[]>
  /** Loads runs in the order given. */
  open(row: {
    workspace: string
    registryId: string
    baseline: string
    candidate: string
  }): Promise<(page: readonly FrameRun[]) => Promise<LoadedRun[]>>
}

/** The owner's rule for a registry. */
export type Rule = {
  mode: 'observe' | 'serve'
  autoPromote: 'off' | 'threshold' | 'proven'
  chosen: Partial<DecisionPolicy>
  pairsMax: number
  sampleDays: number
  /** False: no run of this prompt is ever replayed. */
  mayReplay: boolean
  budgetNanoUsd: number
  budgetPerDayNanoUsd: number
  judge: string
  /** Models that may be asked to judge, in order; those of an arm's own family are left out. */
  judgeModels: readonly string[]
  expectations: Expectations
  /** Told when a version that is live is proven worse. */
  webhookUrl: string | null
}

export type Rules = {
  of(workspace: string, registryId: string): Promise<Rule>
  /** How well the models that judge this registry agree with people. */
  calibration(workspace: string, registryId: string, judge: string): Promise<Calibration>
}

export type Conclusion = { status: ExperimentStatus; decision: Decision; reason: string }

/** What follows a conclusion: promoting, holding, telling. Each may be called again after a crash and does its part once. */
export type Aftermath = {
  afterDecision(row: ExperimentRow): Promise<void>
  /** The engine cannot go on with it: held, with the reason, and never promoted for that. */
  giveUp(row: ExperimentRow, reason: string): Promise<void>
  /** Shadow, ramp and watch of a version that is served; returns the units that are to be replayed now. */
  live(row: ExperimentRow): Promise<number[]>
}
