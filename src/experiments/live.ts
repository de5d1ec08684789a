// The way of a passed candidate into served traffic: shadow, then shares of it, each under the sequential guardrails, then all of
// it, watched for a while. Missing data holds; only proof of harm goes back. What a person changes on the way ends the way.

import type { ExperimentRow, Move } from '../../replay/experiment.ts'
import type { DecisionPolicy } from '../../schemas/experiment.ts'
import type { RegistryState } from '../../schemas/prompt-history.ts'
import type { PromptPolicy } from '../../schemas/prompt-policy.ts'
import {
  atOf,
  because,
  beside,
  endLive,
  giveShare,
  held,
  type Live,
  type LiveDeps,
  MovedMeanwhile,
} from './live-moves.ts'
import { comparePairs, type LiveReading, type LiveRun, readLiveRuns } from './live-runs.ts'
import { openShadowUnits, readShadowOutcome, shadowUnits } from './shadow.ts'

// Pairs of live runs in a step before the next: fewer would show only what is broken outright.
const stepPairsMin = 25
// Of the time that a promoted version is watched, how much each step lasts at least.
const stepDwellShare = 0.1
const minuteMs = 60_000
// How far back the runs of the version before lie that a promoted one is held against.
const memoryMs = 7 * 86_400_000

type Way = Exclude<Live, { phase: 'reference' }>

/** Where a passed candidate of a served prompt begins. */
export function beginLive(nowMs: number): Move {
  const live: Live = { phase: 'shadow', sinceMs: nowMs }
  return { status: 'shadow', reason: 'Replaying what comes in now.', live }
}

/** One look; returns the shadow's conversations that are to be replayed. */
export async function stepLive(deps: LiveDeps, row: ExperimentRow): Promise<number[]> {
  try {
    return await step(deps, row)
  } catch (error) {
    // Cancelled between our reading and our move: nothing was done, and the next look sees it.
    if (error instanceof MovedMeanwhile) return []
    throw error
  }
}

async function step(deps: LiveDeps, row: ExperimentRow): Promise<number[]> {
  const live = row.live as Way | null // written by this file; before it comes what `aftermath` looks at
  const at = { workspace: row.workspace, registry: row.registryId }
  const [found, policy] = await Promise.all([
    deps.registry.findRegistry(at),
    deps.registry.policyOf(at),
  ])
  const rule = row.registered?.registration.policy
  if (live === null || !found || !policy || rule === undefined) {
    await deps.store.move(row, { ...held('The prompt is gone.'), live: null })
    return []
  }
  const why = endedBy(row, live, found.state)
  if (why !== undefined) {
    // What was promoted stays so called; it is watched no longer.
    if (live.phase === 'watch') await deps.store.move(row, { reason: why, live: null })
    else await endLive(deps, row, held(why))
    return []
  }
  await deps.flush()
  const given = { row, rule, policy: policy.policy, state: found.state }
  switch (live.phase) {
    case 'shadow':
      return shadow(deps, given, live)
    case 'canary':
      await canary(deps, given, live)
      return []
    case 'watch':
      await watch(deps, given, live)
      return []
    default:
      return live satisfies never
  }
}

type Given = {
  row: ExperimentRow
  rule: DecisionPolicy
  policy: PromptPolicy
  state: RegistryState
}

/** What somebody did to the registry that our way does not go with. */
function endedBy(row: ExperimentRow, live: Way, state: RegistryState): string | undefined {
  const present = state.promoted ?? state.baseline
  if (state.mode !== 'serve') return 'The prompt is only observed now.'
  if (state.pinned !== null && state.pinned !== row.candidate) return 'A version was pinned.'
  if (live.phase === 'watch') {
    return present === row.candidate ? undefined : 'Another version was put in force.'
  }
  if (present !== row.baseline) return 'Another version was put in force.'
  if (live.phase === 'canary' && state.canary?.version !== row.candidate) {
    return 'The share of the candidate was taken away.'
  }
  return undefined
}

async function shadow(
  deps: LiveDeps,
  { row, rule, policy }: Given,
  live: Extract<Live, { phase: 'shadow' }>,
): Promise<number[]> {
  if (row.stopped !== null) {
    await endLive(deps, row, held(`Stopped (${row.stopped}) in the shadow of live traffic.`))
    return []
  }
  const { count, judged, isWorse, hardFailures } = await readShadowOutcome(deps.postgres, row, rule)
  if (isWorse) {
    await endLive(deps, row, {
      status: 'failed',
      ...no('Proven worse on live traffic, in its shadow.'),
    })
    return []
  }
  if (count < shadowUnits) {
    if (isOverdue(deps, policy, live.sinceMs)) {
      await endLive(deps, row, tooQuiet(policy, `${count} of ${shadowUnits} conversations`))
      return []
    }
    return openShadowUnits(deps, row, live.sinceMs)
  }
  if (count - judged > count * rule.unusableShareMax) {
    await endLive(
      deps,
      row,
      held(`${count - judged} of ${count} live conversations have no verdict.`),
    )
    return []
  }
  if (hardFailures > 0) {
    await endLive(
      deps,
      row,
      held(`${hardFailures} of ${count} live conversations fail a validator.`),
    )
    return []
  }
  await toStep(deps, { row, policy, step: 0, sinceMs: deps.nowMs() })
  return []
}

async function canary(
  deps: LiveDeps,
  { row, rule, policy, state }: Given,
  live: Extract<Live, { phase: 'canary' }>,
): Promise<void> {
  const [reading, inStep] = await Promise.all([
    compareSince(deps, row, { rule, fromMs: live.sinceMs }),
    compareSince(deps, row, { rule, fromMs: live.stepSinceMs }),
  ])
  if (reading.look === 'failed') {
    const reason = `Worse in live traffic after ${reading.pairs} pairs: ${reading.worse.join(', ')}.`
    return endLive(deps, row, { status: 'failed', promotionStatus: 'rolled_back', reason })
  }
  const dwellMs = policy.watch_minutes * minuteMs * stepDwellShare
  const isEarly = deps.nowMs() - live.stepSinceMs < dwellMs
  if (inStep.pairs < stepPairsMin && isOverdue(deps, policy, live.stepSinceMs)) {
    return endLive(deps, row, tooQuiet(policy, `${inStep.pairs} of ${stepPairsMin} pairs of calls`))
  }
  if (inStep.pairs < stepPairsMin || isEarly) return
  if (live.step + 1 < policy.canary_steps.length) {
    return toStep(deps, { row, policy, step: live.step + 1, sinceMs: live.sinceMs })
  }
  const now = deps.nowMs()
  const untilMs = now + policy.watch_minutes * minuteMs
  const watching: Live = { phase: 'watch', sinceMs: now, untilMs, baselineUntilMs: now }
  const reason = `Promoted after ${reading.pairs} pairs of live calls without harm.`
  const moved = await deps.registry.promote({
    ...atOf(row),
    version: row.candidate,
    expected: state.promoted,
    ...because(row, reason),
    beside: beside(row, {
      status: 'passed',
      promotionStatus: 'promoted',
      reason,
      live: watching,
    }),
  })
  if (moved.outcome === 'moved') return
  const why = moved.outcome === 'refused' ? moved.why : 'Another version was promoted meanwhile.'
  await endLive(deps, row, held(why))
}

/** A way without traffic would keep every newer version waiting for ever. */
function isOverdue(deps: LiveDeps, policy: PromptPolicy, sinceMs: number): boolean {
  return deps.nowMs() - sinceMs > policy.canary_hours * 60 * minuteMs
}

function tooQuiet(policy: PromptPolicy, seen: string): Move {
  const reason = `No harm was seen, but only ${seen} came in ${policy.canary_hours} hours: too few to go on.`
  return { status: 'inconclusive', ...held(reason) }
}

async function watch(
  deps: LiveDeps,
  { row, rule }: Given,
  live: Extract<Live, { phase: 'watch' }>,
): Promise<void> {
  const versions = versionsOf(row)
  const [before, since] = await Promise.all([
    readLiveRuns(deps.rows, versions.baseline, {
      fromMs: live.baselineUntilMs - memoryMs,
      toMs: live.baselineUntilMs,
      isBackward: true,
    }),
    readLiveRuns(deps.rows, versions.candidate, { fromMs: live.sinceMs }),
  ])
  const reading = comparePairs(liveRule(rule, before, since), before, since)
  if (reading.look === 'failed') {
    const reason = `Worse than before after ${reading.pairs} calls: ${reading.worse.join(', ')}.`
    const moved = await deps.registry.rollback({
      ...atOf(row),
      to: row.baseline,
      ...because(row, reason),
      beside: beside(row, { promotionStatus: 'rolled_back', reason, live: null }),
    })
    if (moved.outcome === 'moved') return
    // A person's decision stands; what was seen is told beside it.
    const why = moved.outcome === 'refused' ? moved.why : 'Another version is in force.'
    await deps.store.move(row, { reason: `${reason} ${why}`, live: null })
    return
  }
  if (deps.nowMs() >= live.untilMs) {
    await deps.store.move(row, { reason: row.reason, live: null })
  }
}

async function toStep(
  deps: LiveDeps,
  given: { row: ExperimentRow; policy: PromptPolicy; step: number; sinceMs: number },
): Promise<void> {
  const { row, policy, step, sinceMs } = given
  const share = policy.canary_steps[step] ?? 0.5
  const reason = `${Math.round(share * 100)} % of the served calls go to ${row.registryId}@${row.candidate}.`
  const stepSinceMs = deps.nowMs()
  await giveShare(deps, row, {
    live: { phase: 'canary', step, share, sinceMs, stepSinceMs },
    reason,
  })
}

async function compareSince(
  deps: LiveDeps,
  row: ExperimentRow,
  { rule, fromMs }: { rule: DecisionPolicy; fromMs: number },
): Promise<LiveReading> {
  const { baseline, candidate } = versionsOf(row)
  const [before, after] = await Promise.all([
    readLiveRuns(deps.rows, baseline, { fromMs }),
    readLiveRuns(deps.rows, candidate, { fromMs }),
  ])
  return comparePairs(liveRule(rule, before, after), before, after)
}

/** Costs are compared where every call has one. */
function liveRule(rule: DecisionPolicy, ...runs: (readonly LiveRun[])[]): DecisionPolicy {
  const isPriced = runs.flat().every(({ figures }) => figures.costUsd !== null)
  const guardrails = rule.guardrails.filter((name) => name !== 'cost' || isPriced)
  // Live runs are not told apart: the whole chance to fail by mistake is for them together.
  return {
    ...rule,
    slices: [],
    guardrails: [...new Set([...guardrails, 'hard_failures' as const])],
  }
}

function versionsOf(row: ExperimentRow) {
  const of = (version: string) => ({
    workspace: row.workspace,
    versionId: `${row.registryId}@${version}`,
  })
  return { baseline: of(row.baseline), candidate: of(row.candidate) }
}

function no(reason: string): Move {
  return { promotionStatus: 'not_promoted', reason }
}
