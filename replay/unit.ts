// One drawn conversation, replayed: the baseline, the baseline once more and the candidate, in an order drawn for this one, one
// after the other, so that the minute and the load are the same for all. Then the judges, then one row of evidence.

import type { Expectations, Sample } from '../schemas/experiment.ts'
import { type Arm, type ArmRequest, arms, type DrawnUnit } from '../schemas/replay.ts'
import { type ArmRun, type ArmTask, runArm } from './arm.ts'
import { type CallDeps, callOnce } from './calls.ts'
import type { JudgeMore } from './judges/asked.ts'
import { judgePair } from './judges/judge-pair.ts'
import { unitInterval } from './sampler.ts'

/** Before the first pair, each arm answers once and is not counted: the baseline's prefix is in the provider's cache already. */
export const warmUpUnit = -1

// Asked of the budget before a call whose recorded run cost less than this.
const reserveMinNanoUsd = 1_000
// Of a request whose own cost is not known: so many characters are a token, so many tokens an answer that names no limit.
const charsPerToken = 3
const answerTokens = 1_000
// Answers vary in length; what was reserved too much is given back.
const reserveFactor = 2

export type UnitDeps = CallDeps & {
  seed: string
  judge: string
  judges: readonly string[]
  expectations: Expectations
  judgeMore: JudgeMore
}

/** Throws NotNow when another worker is at it, or nothing may be called any more; then nothing is decided about it. */
export async function replayUnit(deps: UnitDeps, drawn: DrawnUnit): Promise<Sample> {
  const runs = {} as Record<Arm, ArmRun> // every arm is set below, or this function has returned or thrown
  for (const arm of drawnOrder(deps.seed, drawn.unit)) {
    const run = await runArm(deps, taskOf(deps, drawn, arm))
    if (run.kind === 'failed') return { ...place(drawn), outcome: 'error' }
    runs[arm] = run
  }
  const { baseline, repeat, candidate } = runs
  if (baseline.kind !== 'answered' || repeat.kind !== 'answered' || candidate.kind !== 'answered') {
    return { ...place(drawn), outcome: 'error' }
  }
  // The recorded results no longer fit the prompt that they were recorded under: nothing can be said of the other one.
  if (baseline.hasDiverged) return { ...place(drawn), outcome: 'diverged' }
  const pair = {
    baseline: baseline.output,
    repeat: repeat.output,
    candidate: candidate.output,
    expectations: deps.expectations,
  }
  const similarity = await deps.judgeMore.similarityOf(deps, drawn.unit, pair)
  const verdict = judgePair(deps.judge, pair, similarity)
  return {
    ...place(drawn),
    outcome: 'judged',
    verdict: await deps.judgeMore.ask(deps, { judges: deps.judges, drawn, pair, verdict }),
    baseline: figuresOf(baseline),
    repeat: figuresOf(repeat),
    candidate: figuresOf(candidate),
  }
}

/** The discarded call of each arm. A failure is the pairs' to find. */
export async function warmUp(deps: CallDeps, first: DrawnUnit): Promise<void> {
  for (const arm of ['baseline', 'candidate'] as const) {
    const task = { ...taskOf(deps, first, arm), unit: warmUpUnit }
    await callOnce(deps, { unit: warmUpUnit, arm, step: 0 }, task)
  }
}

function taskOf(deps: CallDeps, drawn: DrawnUnit, arm: Arm): ArmTask {
  const { unit, source, request } = drawn
  const asked = arm === 'candidate' ? request.candidate : request.baseline
  return {
    ...{ unit, arm, request: asked, results: request.results, routeId: source.routeId },
    reserveNanoUsd: reserveOf(deps, drawn, asked),
  }
}

/** What the recorded run cost and as much again, times how much longer this arm's prompt is; 0 for a model without a price. */
function reserveOf({ priceOf }: CallDeps, { source, request }: DrawnUnit, asked: ArmRequest) {
  const { routeId, recordedCostNanoUsd: recorded } = source
  const chars = JSON.stringify(asked.messages).length
  if (recorded !== null) {
    const longer = Math.max(1, chars / JSON.stringify(request.baseline.messages).length)
    return Math.max(reserveMinNanoUsd, Math.ceil(recorded * reserveFactor * longer))
  }
  const { model, parameters } = asked
  const limit = parameters.max_completion_tokens ?? parameters.max_tokens
  const usage = {
    inputTokens: Math.ceil(chars / charsPerToken),
    outputTokens: typeof limit === 'number' ? limit : answerTokens,
    ...{ cachedTokens: 0, reasoningTokens: 0, estimated: true },
  }
  return Math.ceil(priceOf({ model, routeId, served: model }, usage) ?? 0)
}

function drawnOrder(seed: string, unit: number): Arm[] {
  const drawn = arms.map((arm) => ({ arm, at: unitInterval(seed, `arm ${unit} ${arm}`) }))
  return drawn.sort((a, b) => a.at - b.at).map(({ arm }) => arm)
}

function place({ unit, source: { slices } }: DrawnUnit) {
  return { unit, turn: 0, turns: 1, ...(slices === undefined ? {} : { slices }) }
}

/** A loop that stopped early was quick and cheap for that: it is not compared. */
function figuresOf(run: Extract<ArmRun, { kind: 'answered' }>) {
  if (run.hasDiverged) return { latencyMs: null, costUsd: null }
  return {
    latencyMs: run.latencyMs,
    costUsd: run.costNanoUsd === null ? null : run.costNanoUsd / 1e9,
  }
}
