// Shadow: conversations that came in after the decision, replayed under the candidate while the version in force goes on
// answering them. The last look at what the replayed past could not know.

import type { ExperimentRow, Frames } from '../../replay/experiment.ts'
import { activeMetrics, toUnitValue } from '../../replay/metrics.ts'
import { Monitor } from '../../replay/monitor.ts'
import { drawFrame } from '../../replay/sampler.ts'
import type { DecisionPolicy, Sample } from '../../schemas/experiment.ts'
import type { Postgres, Sql } from '../stores/postgres.ts'
import { getUuid } from './rows.ts'
import { toStoredJson } from './stored-json.ts'

/** Their numbers lie above those of every drawn sample, so the decision never reads them. */
export const shadowFrom = 1_000_000
/** Fewer could not prove the candidate worse even if it lost every one of them. */
export const shadowUnits = 12

/** Draws what is still missing from the traffic since then, and says which have no outcome yet. */
export async function openShadowUnits(
  deps: { postgres: Postgres; frames: Frames; nowMs: () => number },
  row: ExperimentRow,
  sinceMs: number,
): Promise<number[]> {
  const id = getUuid(row.experimentId)
  const known = await readShadow(deps.postgres, id)
  const missing = shadowUnits - known.length
  if (missing > 0) {
    const versionId = `${row.registryId}@${row.baseline}`
    const runs = await deps.frames.runs(row.workspace, versionId, sinceMs)
    const seen = new Set(known.map(({ conversation }) => conversation))
    const fresh = runs.filter((run) => run.startMs >= sinceMs && !seen.has(run.conversation))
    const { units } = await drawFrame(fresh, await deps.frames.open(row), {
      seed: `${row.experimentId} shadow ${known.length}`,
      unitsMax: missing,
      nowMs: deps.nowMs(),
    })
    for (const [i, { source, request }] of units.entries()) {
      await deps.postgres.query(
        `INSERT INTO experiment_units (experiment_id, unit, source, request) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
        [id, shadowFrom + known.length + i, toStoredJson(source), toStoredJson(request)],
      )
    }
  }
  const now = await readShadow(deps.postgres, id)
  return now.filter(({ outcome }) => outcome === null).map(({ unit }) => unit)
}

export type ShadowReading = {
  count: number
  /** Of them, those that have a verdict. */
  judged: number
  isWorse: boolean
  hardFailures: number
}

/** What the shadow showed so far. */
export async function readShadowOutcome(
  sql: Sql,
  row: ExperimentRow,
  policy: DecisionPolicy,
): Promise<ShadowReading> {
  const stored = await readShadow(sql, getUuid(row.experimentId))
  return judgeShadow(
    stored.flatMap(({ outcome }) => (outcome === null ? [] : [outcome])),
    policy,
  )
}

/** Whether the candidate was proven worse. A call that failed says nothing of it. */
export function judgeShadow(outcomes: readonly Sample[], policy: DecisionPolicy): ShadowReading {
  const rule: DecisionPolicy = { ...policy, slices: [], guardrails: ['hard_failures'] }
  const monitor = new Monitor(rule)
  const active = activeMetrics(rule)
  const judged = outcomes.filter((sample) => sample.outcome === 'judged')
  for (const sample of judged) monitor.add(active.map((one) => toUnitValue(one, [sample])))
  return {
    count: outcomes.length,
    judged: judged.length,
    isWorse: monitor.look() === 'failed',
    hardFailures: judged.filter(({ verdict }) => verdict.candidateHard && !verdict.baselineHard)
      .length,
  }
}

type Shadow = { unit: number; conversation: string; outcome: Sample | null }

function readShadow(sql: Sql, id: string): Promise<Shadow[]> {
  return sql.query<Shadow>(
    `SELECT unit, source->>'conversation' AS conversation, outcome FROM experiment_units
     WHERE experiment_id = $1 AND unit >= $2 AND unit < 2 * $2 ORDER BY unit`,
    [id, shadowFrom],
  )
}
