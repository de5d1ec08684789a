// What a deletion reaches in Postgres beside the rows of spans: samples of experiments quote the runs they were drawn from, and dead
// letters name their spans. Law: every text goes, and the replays that said it again; what was decided keeps its figures.

import { warmUpUnit } from '../../replay/unit.ts'
import type { Sample } from '../../schemas/experiment.ts'
import type { ArmRequest, CallAnswer, ReplayRequest, UnitSource } from '../../schemas/replay.ts'
import type { Sql } from '../accounts/keys.ts'

const unitsAtOnce = 200
const firstUuid = '00000000-0000-0000-0000-000000000000'

type UnitRow = {
  experiment_id: string
  unit: number
  source: UnitSource
  request: ReplayRequest
  outcome: Sample | null
}
type CallRow = {
  experiment_id: string
  unit: number
  arm: string
  step: number
  answer: CallAnswer
}

/** Of these traces, or of all of the workspace. Resolves to the runs that replayed them. Safe to repeat. */
export async function eraseSamples(
  sql: Sql,
  of: { workspace: string; traceIds: readonly string[] | undefined; beforeSeq: bigint },
): Promise<string[]> {
  const { workspace, traceIds = null, beforeSeq } = of
  await sql.query(
    `DELETE FROM dead_letters l USING destinations d WHERE d.id = l.destination_id AND d.workspace = $1
       AND ($2::text[] IS NULL OR l.trace_id = ANY ($2)) AND l.seq < $3`,
    [workspace, traceIds, String(beforeSeq)],
  )
  // What a destination said last may quote a span, and nothing tells of which.
  await sql.query('UPDATE destinations SET last_error = NULL WHERE workspace = $1', [workspace])
  const runs: string[] = []
  let [experiment, unit] = [firstUuid, -1]
  for (;;) {
    // Not by `->>`, which fails for a text with \u0000 anywhere in it.
    const units = await sql.query<UnitRow>(
      `SELECT u.experiment_id, u.unit, u.source, u.request, u.outcome
       FROM experiment_units u JOIN experiments e ON e.experiment_id = u.experiment_id
       WHERE e.workspace = $1 AND ($2::text[] IS NULL OR substring(u.source::text FROM '"traceId":"([0-9a-f]{32})"') = ANY ($2))
         AND (u.experiment_id, u.unit) > ($3::uuid, $4::int)
       ORDER BY u.experiment_id, u.unit LIMIT ${unitsAtOnce}`,
      [workspace, traceIds, experiment, unit],
    )
    runs.push(...(await blankCalls(sql, units)))
    await blankUnits(sql, units)
    const last = units.at(-1)
    if (!last || units.length < unitsAtOnce) return runs
    ;[experiment, unit] = [last.experiment_id, last.unit]
  }
}

/** The warm-up repeats one of them, and no sample shows it: it goes with any. */
async function blankCalls(sql: Sql, units: readonly UnitRow[]): Promise<string[]> {
  const calls = await sql.query<CallRow>(
    `SELECT experiment_id, unit, arm, step, answer FROM experiment_calls WHERE answer IS NOT NULL AND (experiment_id, unit) IN (
       SELECT * FROM unnest($1::uuid[], $2::int[]) UNION SELECT unnest($1::uuid[]), ${warmUpUnit})`,
    [units.map((one) => one.experiment_id), units.map((one) => one.unit)],
  )
  await sql.query(
    `UPDATE experiment_calls c SET answer = given.answer
     FROM unnest($1::uuid[], $2::int[], $3::text[], $4::int[], $5::json[]) AS given (experiment_id, unit, arm, step, answer)
     WHERE c.experiment_id = given.experiment_id AND c.unit = given.unit AND c.arm = given.arm AND c.step = given.step`,
    [
      calls.map((one) => one.experiment_id),
      calls.map((one) => one.unit),
      calls.map((one) => one.arm),
      calls.map((one) => one.step),
      calls.map((one) => JSON.stringify(withoutText(one.answer))),
    ],
  )
  return calls.flatMap(({ answer }) => (answer.kind === 'answered' ? (answer.runId ?? []) : []))
}

async function blankUnits(sql: Sql, units: readonly UnitRow[]): Promise<void> {
  await sql.query(
    `UPDATE experiment_units u SET source = given.source, request = given.request, outcome = given.outcome, note = NULL
     FROM unnest($1::uuid[], $2::int[], $3::json[], $4::json[], $5::json[]) AS given (experiment_id, unit, source, request, outcome)
     WHERE u.experiment_id = given.experiment_id AND u.unit = given.unit`,
    [
      units.map((one) => one.experiment_id),
      units.map((one) => one.unit),
      // A conversation goes by the name that its caller gave it.
      units.map(({ source }) =>
        JSON.stringify({ ...source, conversation: '', recordedOutput: null }),
      ),
      units.map(({ request }) => JSON.stringify(toBlank(request))),
      units.map((one) => JSON.stringify(toOutcome(one))),
    ],
  )
}

function withoutText(answer: CallAnswer): CallAnswer {
  if (answer.kind === 'failed') return { ...answer, message: '' }
  const { finishReason } = answer.output
  return {
    ...answer,
    output: { text: '', toolCalls: [], finishReason },
    message: { role: 'assistant', content: '' },
  }
}

function toBlank({ baseline, candidate }: ReplayRequest): ReplayRequest {
  const blank = ({ model }: ArmRequest): ArmRequest => ({ model, messages: [], parameters: {} })
  return { baseline: blank(baseline), candidate: blank(candidate), results: [] }
}

/** One that was not judged yet is not replayed any more; findings stay by name, without what they quote. */
function toOutcome({ unit, outcome }: UnitRow): Sample {
  if (outcome === null) return { unit, turn: 0, turns: 1, outcome: 'not_replayable' }
  if (outcome.outcome !== 'judged') return outcome
  const findings = outcome.verdict.findings.map((finding) => ({ ...finding, detail: '' }))
  return { ...outcome, verdict: { ...outcome.verdict, findings } }
}
