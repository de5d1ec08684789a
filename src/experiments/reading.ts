// Reading experiments for the API: lists, one, its samples. Every query binds the workspace.

import { fold } from '../../replay/coordinator.ts'
import type { ExperimentRow } from '../../replay/experiment.ts'
import { toJcs } from '../../schemas/jcs.ts'
import type { Sql } from '../accounts/keys.ts'
import { referenceFrom } from './reference.ts'
import { experimentColumns, getUuid, type StoredExperiment, toRow, uuidOf } from './rows.ts'
import { readOutcomes } from './store.ts'
import { decisionOf, inOrderOfRisk, isWithheld, type StoredSample, toSample } from './views.ts'

export type ListAsk = {
  limit: number
  registry: string | undefined
  /** An experiment's id: what was made before it. */
  before: string | undefined
}

export type Event = {
  at: string
  actor: string
  status: string
  promotion_status: string
  reason: string
}

export type Reading = ReturnType<typeof openReading>

export function openReading(sql: Sql) {
  async function withDecision(row: ExperimentRow) {
    const isRunning = row.status === 'replaying' && row.registered !== null
    const samples = isRunning ? await readOutcomes(sql, getUuid(row.experimentId)) : []
    return { row, decision: isRunning ? decisionOf(row, samples) : row.decision }
  }

  /** Newest first. */
  async function list(workspace: string, { limit, registry, before }: ListAsk) {
    const found = await sql.query<StoredExperiment>(
      `SELECT ${experimentColumns} FROM experiments WHERE workspace = $1
         AND ($2::text IS NULL OR registry_id = $2) AND ($3::uuid IS NULL OR experiment_id < $3)
       ORDER BY experiment_id DESC LIMIT $4`,
      [workspace, registry ?? null, before === undefined ? null : getUuid(before), limit + 1],
    )
    const rows = found.map(toRow)
    const shown = await Promise.all(rows.slice(0, limit).map(withDecision))
    const next = rows.length > limit ? (shown.at(-1)?.row.experimentId ?? null) : null
    return { shown, next }
  }

  /** By `preg_…` or `pexp_…`. */
  async function find(workspace: string, id: string) {
    const [experiment, regression] = [uuidOf('pexp', id), uuidOf('preg', id)]
    if (experiment === undefined && regression === undefined) return undefined
    const [stored] = await sql.query<StoredExperiment>(
      `SELECT ${experimentColumns} FROM experiments WHERE workspace = $1 AND (experiment_id = $2 OR regression_id = $3)`,
      [workspace, experiment ?? null, regression ?? null],
    )
    return stored && withDecision(toRow(stored))
  }

  /** Of the first units of the drawn order, those that may be seen, risky ones first. */
  async function samples(row: ExperimentRow, limit: number) {
    const id = getUuid(row.experimentId)
    const stored = await sql.query<StoredSample>(
      `SELECT unit, source, request->'baseline'->'messages' AS baseline_messages,
         request->'candidate'->'messages' AS candidate_messages, outcome, label, note,
         coalesce((SELECT json_agg(json_build_object('arm', arm, 'step', step, 'answer', answer) ORDER BY step)
           FROM experiment_calls c WHERE c.experiment_id = u.experiment_id AND c.unit = u.unit AND answer IS NOT NULL), '[]') AS answers
       FROM experiment_units u WHERE experiment_id = $1 AND unit < $3
       ORDER BY outcome IS NULL, (outcome->'verdict'->>'direction')::int NULLS LAST,
         outcome->'verdict'->>'candidateDeviates' DESC NULLS LAST, unit LIMIT $2`,
      [id, limit, referenceFrom],
    )
    const seen = stored.filter(({ unit }) => !isWithheld(row, unit))
    return {
      samples: inOrderOfRisk(seen.map(toSample)),
      withheld: stored.length - seen.length,
    }
  }

  async function events(row: ExperimentRow): Promise<Event[]> {
    const events = await sql.query<Omit<Event, 'at'> & { at: Date }>(
      `SELECT at, actor, status, promotion_status, reason FROM experiment_events WHERE experiment_id = $1 ORDER BY ordinal`,
      [getUuid(row.experimentId)],
    )
    return events.map((event) => ({ ...event, at: event.at.toISOString() }))
  }

  /** Of all workspaces: for the plane's own check, never for an answer. */
  async function decidedLately(): Promise<ExperimentRow[]> {
    const found = await sql.query<StoredExperiment>(
      `SELECT ${experimentColumns} FROM experiments WHERE decided_at > now() - interval '1 day' AND decision IS NOT NULL
       ORDER BY decided_at DESC LIMIT 500`,
    )
    return found.map(toRow)
  }

  /** Whether the stored rows, folded again, give the stored decision; null before there is one. */
  async function check(row: ExperimentRow): Promise<{ matches: boolean } | null> {
    if (row.decision === null) return null
    const again = fold(row, await readOutcomes(sql, getUuid(row.experimentId)))
    return { matches: again !== undefined && toJcs(again.decision) === toJcs(row.decision) }
  }

  /** Each kind of input by itself, so that a loss in one is not hidden by the others. */
  async function slices(row: ExperimentRow) {
    const found = await sql.query<{ stratum: string; count: number; delta: number }>(
      `SELECT source->>'stratum' AS stratum, count(*) AS count, avg((outcome->'verdict'->>'direction')::int)::float8 AS delta
       FROM experiment_units WHERE experiment_id = $1 AND outcome->>'outcome' = 'judged'
       GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100`,
      [getUuid(row.experimentId)],
    )
    return found.map(({ stratum, count, delta }) => ({ stratum, sample_count: count, delta }))
  }

  /** What was told of it, and whether it was taken. */
  async function webhooks(row: ExperimentRow) {
    return sql.query<{
      event: string
      status: string
      attempts: number
      last_error: string | null
    }>(
      'SELECT event, status, attempts, last_error FROM webhooks WHERE experiment_id = $1 ORDER BY created_at',
      [getUuid(row.experimentId)],
    )
  }

  async function findLabel(row: ExperimentRow, unit: number) {
    const [found] = await sql.query<{ label: string | null; note: string | null }>(
      'SELECT label, note FROM experiment_units WHERE experiment_id = $1 AND unit = $2',
      [getUuid(row.experimentId), unit],
    )
    return found
  }

  /** What a person made of a pair; false when there is no such sample. */
  async function label(
    row: ExperimentRow,
    unit: number,
    given: { label: string; note: string | null; by: string },
  ): Promise<boolean> {
    const found = await sql.query(
      `UPDATE experiment_units SET label = $3, note = $4, labelled_by = $5 WHERE experiment_id = $1 AND unit = $2 RETURNING 1`,
      [getUuid(row.experimentId), unit, given.label, given.note, given.by],
    )
    return found.length > 0
  }

  return { list, find, check, decidedLately, webhooks, samples, events, slices, findLabel, label }
}
