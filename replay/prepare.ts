// From queued to replaying: draw the frame, choose the rule, hash both, and only then let anything be called.

import type { Registered, Registration } from '../schemas/experiment.ts'
import type { DrawnUnit } from '../schemas/replay.ts'
import type { ExperimentRow, ExperimentStore, Frames, Rule, Rules } from './experiment.ts'
import { llmJudge, mayJudge } from './judges/asked.ts'
import { findUncheckable } from './judges/json-schema.ts'
import { judgeNamesOf } from './judges/table.ts'
import { planPolicy, register } from './registration.ts'
import { drawFrame, type Frame } from './sampler.ts'
import { testedSlices } from './slices.ts'
import { thresholdSamplesMin } from './threshold.ts'

export const pairsMax = 2_000
const dayMs = 86_400_000
const panelSize = 3
// A registry without traffic is looked at less and less often.
const firstWaitMs = 2_000
const waitMaxMs = 600_000
// One that waits for another of its prompt asks this often; what it asks is cheap.
const aheadWaitMs = 2_000

export type PrepareDeps = {
  store: ExperimentStore
  /** What is in force now; undefined when nothing is. */
  baselineOf: (row: ExperimentRow) => Promise<string | undefined>
  /** What losses are counted from: the version that a person, or the beginning, put in force. */
  referenceOf: (row: ExperimentRow) => Promise<string | undefined>
  frames: Frames
  rules: Rules
  nowMs: () => number
}

/** Draws and registers; an experiment without enough to replay waits, one that was asked for by hand is told so. */
export async function prepare(deps: PrepareDeps, row: ExperimentRow): Promise<void> {
  const ahead = await deps.store.findAhead(row)
  if (ahead !== undefined) {
    const reason = `Waits until ${row.registryId}@${ahead} is through.`
    return deps.store.wait(row.experimentId, reason, aheadWaitMs)
  }
  // Whoever was ahead may be in force by now; what a person asked for stays as it was asked.
  const present = row.startedBy === 'machine' ? await deps.baselineOf(row) : undefined
  if (present !== undefined && present !== row.baseline) return deps.store.rebase(row, present)
  const rule = await deps.rules.of(row.workspace, row.registryId)
  if (!rule.mayReplay) {
    const reason = 'The policy of this prompt says that its runs are never replayed.'
    await deps.store.move(row, { status: 'inconclusive', promotionStatus: 'held', reason })
    return
  }
  const frame = await draw(deps, row, rule)
  const { units, report } = frame
  if (units.length < thresholdSamplesMin) {
    const reason = `${units.length} of at least ${thresholdSamplesMin} conversations can be replayed.`
    if (row.startedBy === 'machine') {
      await deps.store.postpone(
        row.experimentId,
        reason,
        Math.min(waitMaxMs, firstWaitMs * 2 ** row.attempts),
      )
    } else {
      await deps.store.move(row, {
        status: 'inconclusive',
        promotionStatus: 'not_promoted',
        reason,
      })
    }
    return
  }
  const reference = await deps.referenceOf(row)
  const began = await deps.store.begin(row.experimentId, {
    registered: toRegistered(
      { ...row, reference },
      await withJudge(deps, row, { rule, units }),
      frame,
    ),
    frame: report,
    units,
    budgetNanoUsd: row.asked.budgetNanoUsd ?? rule.budgetNanoUsd,
    budgetPerDayNanoUsd: rule.budgetPerDayNanoUsd,
  })
  if (!began) await deps.store.wait(row.experimentId, row.reason, aheadWaitMs)
}

/** The frame of an experiment, drawn; nothing is stored and nothing is called. */
export async function draw(
  deps: Pick<PrepareDeps, 'frames' | 'nowMs'>,
  row: Pick<
    ExperimentRow,
    'experimentId' | 'workspace' | 'registryId' | 'baseline' | 'candidate' | 'asked'
  >,
  rule: Rule,
): Promise<Frame> {
  const nowMs = deps.nowMs()
  const versionId = `${row.registryId}@${row.baseline}`
  const runs = await deps.frames.runs(row.workspace, versionId, nowMs - rule.sampleDays * dayMs)
  const unitsMax = Math.min(pairsMax, row.asked.maxPairs ?? rule.pairsMax)
  return drawFrame(runs, await deps.frames.open(row), {
    seed: row.experimentId,
    unitsMax,
    nowMs,
  })
}

/** The rule with the judges that may judge these arms, and the margin that such a judge leaves. */
async function withJudge(
  { rules }: PrepareDeps,
  row: ExperimentRow,
  { rule, units }: { rule: Rule; units: readonly DrawnUnit[] },
): Promise<Rule> {
  const arms = units.flatMap(({ request }) => [request.baseline.model, request.candidate.model])
  const may = rule.judgeModels.filter((model) => mayJudge(model, [...new Set(arms)]))
  const judgeModels = may.slice(0, may.length >= panelSize ? panelSize : 1)
  if (judgeModels.length === 0) return { ...rule, judgeModels }
  const judge = judgeModels.length === panelSize ? 'panel' : 'pairwise_llm'
  const { j, isCalibrated } = await rules.calibration(row.workspace, row.registryId, judge)
  const chosen = isCalibrated && j !== null ? { ...rule.chosen, judgeJ: j } : rule.chosen
  return { ...rule, judge, judgeModels, chosen }
}

/** What is hashed before the first call. A model without a price has no cost to guard. */
export function toRegistered(
  row: Pick<ExperimentRow, 'experimentId' | 'registryId' | 'baseline' | 'candidate' | 'asked'> & {
    reference?: string | undefined
  },
  rule: Rule,
  { units, report }: Frame,
): Registered {
  const isPriced = units.every(({ source }) => source.recordedCostNanoUsd !== null)
  const planned = planPolicy(units.length, rule.chosen)
  const budget = row.asked.budgetNanoUsd ?? rule.budgetNanoUsd
  const { reference } = row
  const hasOther = reference !== undefined && ![row.baseline, row.candidate].includes(reference)
  const registration: Registration = {
    registryId: row.registryId,
    baseline: row.baseline,
    candidate: row.candidate,
    ...(hasOther ? { reference } : {}),
    frame: {
      query: `Finished runs of ${row.registryId}@${row.baseline} in the last ${rule.sampleDays} days that are no replays: one turn of each of ${report.conversations} conversations, distinct inputs.`,
      units: units.length,
      seed: row.experimentId,
    },
    judge: rule.judge,
    judges: [
      ...judgeNamesOf(rule.judge),
      ...(rule.judge === 'deterministic_replay'
        ? []
        : rule.judgeModels.map((model) => `${llmJudge} ${model}`)),
    ],
    expectations: expectationsOf(rule, units),
    budgetUsd: budget / 1e9,
    policy: {
      ...planned,
      ...slicesIn(units),
      guardrails: planned.guardrails.filter((name) => name !== 'cost' || isPriced),
    },
  }
  return register(registration)
}

/** Without parts to tell apart the rule stays as it is without them. */
function slicesIn(units: readonly DrawnUnit[]): { slices?: string[] } {
  const slices = testedSlices(units)
  return slices.length === 0 ? {} : { slices }
}

/** What the owner declared, else what every recorded request asked its answer to be. */
function expectationsOf(rule: Rule, units: readonly DrawnUnit[]): Registration['expectations'] {
  if (rule.expectations.schema !== undefined) return rule.expectations
  const formats = new Set(
    units.map(({ request }) => JSON.stringify(request.baseline.parameters.response_format)),
  )
  const [only] = formats
  if (formats.size !== 1 || only === undefined) return rule.expectations
  const format: unknown = JSON.parse(only)
  const schema = schemaOf(format)
  // A provider may know words of JSON Schema that we do not; then the answers are held against each other alone.
  return schema === undefined || findUncheckable(schema) !== undefined
    ? rule.expectations
    : { ...rule.expectations, schema }
}

function schemaOf(format: unknown): unknown {
  if (typeof format !== 'object' || format === null || !('type' in format)) return undefined
  if (format.type === 'json_object') return { type: 'object' }
  const { json_schema: named } = format as { json_schema?: { schema?: unknown } } // checked on the next line
  return typeof named === 'object' && named !== null ? named.schema : undefined
}
