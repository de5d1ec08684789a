// What live traffic says of two versions: the k-th run of one beside the k-th of the other, in the order they came, under the same
// sequential rule as replays. Whether texts are worse is not asked here; whether calls fail, stall or cost more is.

import { activeMetrics, toUnitValue } from '../../replay/metrics.ts'
import { type Look, Monitor } from '../../replay/monitor.ts'
import type { ArmFigures, DecisionPolicy, Sample } from '../../schemas/experiment.ts'
import { and, between, inWorkspace } from '../traces/trace-query.ts'
import type { Rows } from '../traces/traces.ts'

// Of one version in one look; what is proven is proven long before.
const runsMax = 4_000
const farMs = 86_400_000

export type LiveRun = { isFailed: boolean; figures: ArmFigures }

/** Runs of a version that started in the range, oldest first; the newest first with `isBackward`. */
export async function readLiveRuns(
  rows: Rows,
  of: { workspace: string; versionId: string },
  range: { fromMs: number; toMs?: number; isBackward?: boolean },
): Promise<LiveRun[]> {
  const where = between(
    and(
      inWorkspace(of.workspace),
      `prompt_version_id = {version:String} AND origin != 'replay' AND type = 'llm' AND status != 'client_closed'`,
      { version: of.versionId },
    ),
    range.fromMs,
    range.toMs ?? range.fromMs + 365 * farMs,
  )
  const found = await rows.query<{ status: string; ns: string; usage: number; cost: string }>({
    sql: `SELECT status, toString(duration_ns) AS ns, usage, toString(cost_nano_usd) AS cost FROM spans WHERE ${where.sql}
      ORDER BY start_time ${range.isBackward ? 'DESC' : 'ASC'} LIMIT 1 BY trace_id, span_id LIMIT ${runsMax}`,
    params: where.params,
  })
  return found.map(({ status, ns, usage, cost }) => ({
    isFailed: status !== 'ok' && status !== 'cache_hit',
    figures: {
      latencyMs: Number(ns) / 1e6,
      costUsd: (Number(usage) & 2) === 0 ? null : Number(cost) / 1e9,
    },
  }))
}

export type LiveReading = { pairs: number; look: Look; worse: string[] }

/** The rule over pairs of runs; a failure is remembered as any proof is. */
export function comparePairs(
  policy: DecisionPolicy,
  baseline: readonly LiveRun[],
  candidate: readonly LiveRun[],
): LiveReading {
  const monitor = new Monitor(policy)
  const active = activeMetrics(policy)
  const pairs = Math.min(baseline.length, candidate.length)
  let look: Look = 'continue'
  for (let i = 0; i < pairs && look !== 'failed'; i++) {
    const judged = [toJudged(baseline[i]!, candidate[i]!, i)]
    monitor.add(active.map((metric) => toUnitValue(metric, judged)))
    if (monitor.units % policy.batch === 0 || i === pairs - 1) look = monitor.look()
  }
  const worse = monitor.watched.filter((one) => one.worse).map(({ metric }) => metric.name)
  return { pairs, look, worse }
}

function toJudged(
  baseline: LiveRun,
  candidate: LiveRun,
  unit: number,
): Extract<Sample, { outcome: 'judged' }> {
  return {
    ...{ unit, turn: 0, turns: 1, outcome: 'judged' },
    verdict: {
      direction: 0,
      baselineHard: baseline.isFailed,
      candidateHard: candidate.isFailed,
      candidateDeviates: false,
      ...{ similarity: 1, selfSimilarity: null, selfAgrees: null, decidedBy: 'live', findings: [] },
    },
    baseline: baseline.figures,
    candidate: candidate.figures,
  }
}
