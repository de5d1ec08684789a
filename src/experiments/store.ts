// Experiments in Postgres: what the coordinator asks of a store. Each move is one transaction with its event.

import type { Beginning, ExperimentRow, ExperimentStore, Move } from '../../replay/experiment.ts'
import { warmUpUnit } from '../../replay/unit.ts'
import type { Sample } from '../../schemas/experiment.ts'
import type { DrawnUnit } from '../../schemas/replay.ts'
import { type Postgres, type Sql, sqlState } from '../stores/postgres.ts'
import { isEarlier } from './baseline.ts'
import { openCallLedger } from './call-ledger.ts'
import { experimentColumns, getUuid, type StoredExperiment, toRow } from './rows.ts'
import { shadowFrom } from './shadow.ts'
import { toStoredJson } from './stored-json.ts'

// A look that is lost with its process is made up for after this.
const lookAgainMs = 3_000
// Seconds that an experiment is left alone after a failure of ours, doubled each time.
const [firstBackOffS, backOffMaxS] = [3, 300]
// A failure so long after the pause before it is no continuation of that one.
const forgivenAfterS = 900
const duplicateKey = '23505'
const unitsPerInsert = 200

export function openExperimentStore(sql: Postgres, owner: string): ExperimentStore {
  return {
    find: (experimentId) => find(sql, experimentId),
    takeDue: (limit) => takeDue(sql, limit),
    begin: (experimentId, beginning) => begin(sql, experimentId, beginning),
    postpone: (experimentId, reason, delayMs) =>
      postpone(sql, experimentId, { reason, delayMs, attempts: 1 }),
    wait: (experimentId, reason, delayMs) =>
      postpone(sql, experimentId, { reason, delayMs, attempts: 0 }),
    findAhead: (row) => findAhead(sql, row),
    rebase: (row, baseline) => sql.transaction((tx) => rebase(tx, row, baseline)),
    backOff: (experimentId) => backOff(sql, experimentId),
    move: (row, to) => sql.transaction((tx) => moveIn(tx, row, to)),
    conclude: (experimentId, fold) => conclude(sql, experimentId, fold),
    findUnit: (experimentId, unit) => findUnit(sql, experimentId, unit),
    openUnits: (experimentId, batch) =>
      openUnitsFrom(sql, getUuid(experimentId), { from: 0, batch }),
    saveOutcome: (experimentId, sample) => saveOutcome(sql, experimentId, sample),
    isWarm: (experimentId) => isWarm(sql, experimentId),
    ledgerOf: (experimentId) => openCallLedger(sql, experimentId, owner),
  }
}

async function find(sql: Sql, experimentId: string): Promise<ExperimentRow | undefined> {
  const [stored] = await sql.query<StoredExperiment>(
    `SELECT ${experimentColumns} FROM experiments WHERE experiment_id = $1`,
    [getUuid(experimentId)],
  )
  return stored && toRow(stored)
}

async function takeDue(sql: Sql, limit: number): Promise<string[]> {
  const due = await sql.query<StoredExperiment>(
    `UPDATE experiments SET due_at = now() + make_interval(secs => $2)
     WHERE experiment_id IN (SELECT experiment_id FROM experiments
       WHERE (status IN ('queued', 'replaying', 'shadow', 'canary') OR promotion_status = 'pending' OR live IS NOT NULL)
         AND due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
     RETURNING ${experimentColumns}`,
    [limit, lookAgainMs / 1000],
  )
  return due.map((stored) => toRow(stored).experimentId)
}

async function begin(sql: Postgres, experimentId: string, beginning: Beginning): Promise<boolean> {
  const id = getUuid(experimentId)
  const { registered, frame, units, budgetNanoUsd, budgetPerDayNanoUsd } = beginning
  try {
    return await sql.transaction(async (tx) => {
      const [row] = await tx.query<StoredExperiment>(
        `UPDATE experiments SET status = 'replaying', reason = '', registration = $2, registration_hash = $3, frame = $4,
           budget_nano_usd = $5, budget_per_day_nano_usd = $6, started_at = now(), due_at = now() + interval '3 seconds'
         WHERE experiment_id = $1 AND status = 'queued' AND NOT EXISTS (${aheadOf('experiments')})
         RETURNING ${experimentColumns}`,
        [
          id,
          JSON.stringify(registered.registration),
          registered.hash,
          JSON.stringify(frame),
          budgetNanoUsd,
          budgetPerDayNanoUsd,
        ],
      )
      if (row === undefined) return false
      await insertUnits(tx, id, units)
      await note(tx, toRow(row), { reason: `Registered as ${registered.hash}.` })
      return true
    })
  } catch (error) {
    // Another experiment of this registry is running: this one stays in the queue.
    if (sqlState(error) === duplicateKey) return false
    throw error
  }
}

async function postpone(
  sql: Sql,
  experimentId: string,
  { reason, delayMs, attempts }: { reason: string; delayMs: number; attempts: number },
): Promise<void> {
  await sql.query(
    `UPDATE experiments SET reason = $2, attempts = attempts + $4, due_at = now() + make_interval(secs => $3)
     WHERE experiment_id = $1 AND status = 'queued'`,
    [getUuid(experimentId), reason, delayMs / 1000, attempts],
  )
}

/** SQL: experiments of the same prompt that run, have yet to be carried out, or are on their way into traffic. */
function aheadOf(table: string): string {
  return `SELECT o.candidate FROM experiments o WHERE o.workspace = ${table}.workspace AND o.registry_id = ${table}.registry_id
    AND o.experiment_id != ${table}.experiment_id AND (o.status IN ('replaying', 'shadow', 'canary')
      OR (o.status != 'queued' AND o.promotion_status = 'pending')) LIMIT 1`
}

async function findAhead(sql: Sql, row: ExperimentRow): Promise<string | undefined> {
  const [found] = await sql.query<{ candidate: string | null }>(
    `SELECT (${aheadOf('e')}) AS candidate FROM experiments e WHERE e.experiment_id = $1`,
    [getUuid(row.experimentId)],
  )
  return found?.candidate ?? undefined
}

async function rebase(tx: Sql, row: ExperimentRow, baseline: string): Promise<void> {
  const name = `${row.registryId}@${baseline}`
  if (baseline === row.candidate || isEarlier(row.candidate, baseline)) {
    const reason = `${name} is in force by now.`
    await moveIn(tx, row, { status: 'cancelled', reason })
    return
  }
  const moved = await tx.query(
    `UPDATE experiments SET baseline = $3, due_at = now() WHERE experiment_id = $1 AND status = 'queued' AND baseline = $2 RETURNING 1`,
    [getUuid(row.experimentId), row.baseline, baseline],
  )
  if (moved.length > 0)
    await note(tx, row, { reason: `Compared with ${name}, which is in force by now.` })
}

async function backOff(sql: Sql, experimentId: string): Promise<number> {
  const [found] = await sql.query<{ failures: number }>(
    `UPDATE experiments SET failures = counted, failed_until = until, due_at = until
     FROM (SELECT experiment_id AS id, counted, now() + make_interval(secs => least($3, $2 * 2 ^ (counted - 1))) AS until
       FROM (SELECT experiment_id, CASE WHEN failed_until > now() - make_interval(secs => $4) THEN failures + 1 ELSE 1 END AS counted
         FROM experiments WHERE experiment_id = $1 AND coalesce(failed_until <= now(), true)) AS one) AS next
     WHERE experiment_id = id RETURNING failures`,
    [getUuid(experimentId), firstBackOffS, backOffMaxS, forgivenAfterS],
  )
  return found?.failures ?? 0
}

function conclude(
  sql: Postgres,
  experimentId: string,
  fold: Parameters<ExperimentStore['conclude']>[1],
): Promise<boolean> {
  const id = getUuid(experimentId)
  return sql.transaction(async (tx) => {
    const [stored] = await tx.query<StoredExperiment>(
      `SELECT ${experimentColumns} FROM experiments WHERE experiment_id = $1 AND status = 'replaying' FOR UPDATE`,
      [id],
    )
    if (stored === undefined) return true
    const row = toRow(stored)
    const conclusion = fold(row, await readOutcomes(tx, id))
    if (conclusion === undefined) return false
    await tx.query(
      `UPDATE experiments SET status = $2, decision = $3, reason = $4, decided_at = now(), due_at = now(), failures = 0
       WHERE experiment_id = $1`,
      [id, conclusion.status, JSON.stringify(conclusion.decision), conclusion.reason],
    )
    await note(tx, row, conclusion)
    return true
  })
}

async function findUnit(sql: Sql, experimentId: string, unit: number) {
  const [found] = await sql.query<DrawnUnit & { is_done: boolean }>(
    `SELECT unit, source, request, outcome IS NOT NULL AS is_done FROM experiment_units
     WHERE experiment_id = $1 AND unit = $2`,
    [getUuid(experimentId), unit],
  )
  if (found === undefined) return undefined
  const { is_done: isDone, ...drawn } = found
  return { drawn, isDone }
}

/** Of the conversations numbered from `from` on, a whole number of batches after 0, those of the first unfinished batch. */
export async function openUnitsFrom(
  sql: Sql,
  id: string,
  { from, batch }: { from: number; batch: number },
): Promise<number[]> {
  const open = await sql.query<{ unit: number }>(
    `SELECT unit FROM experiment_units WHERE experiment_id = $1 AND outcome IS NULL AND unit >= $3 AND unit < $4 ORDER BY unit LIMIT $2`,
    [id, batch, from, from + shadowFrom],
  )
  const first = open[0]?.unit ?? 0
  const end = (Math.floor(first / batch) + 1) * batch
  return open.map(({ unit }) => unit).filter((unit) => unit < end)
}

async function saveOutcome(sql: Postgres, experimentId: string, sample: Sample): Promise<void> {
  const id = getUuid(experimentId)
  await sql.transaction(async (tx) => {
    const open = await tx.query(
      `SELECT 1 FROM experiments WHERE experiment_id = $1 AND status IN ('replaying', 'shadow') FOR SHARE`,
      [id],
    )
    if (open.length === 0) return
    await tx.query(
      'UPDATE experiment_units SET outcome = $3 WHERE experiment_id = $1 AND unit = $2 AND outcome IS NULL',
      [id, sample.unit, toStoredJson(sample)],
    )
  })
  // By itself: those that save at once share the row below, and none may then wait to write it.
  await sql.query('UPDATE experiments SET failures = 0 WHERE experiment_id = $1 AND failures > 0', [
    id,
  ])
}

async function isWarm(sql: Sql, experimentId: string): Promise<boolean> {
  const [found] = await sql.query<{ count: number }>(
    `SELECT count(*) AS count FROM experiment_calls WHERE experiment_id = $1 AND unit = $2 AND state != 'claimed'`,
    [getUuid(experimentId), warmUpUnit],
  )
  return (found?.count ?? 0) >= 2
}

/** The rows of evidence of an experiment, in the drawn order. */
export function readOutcomes(sql: Sql, id: string): Promise<Sample[]> {
  return readOutcomesFrom(sql, id, 0)
}

export async function readOutcomesFrom(sql: Sql, id: string, from: number): Promise<Sample[]> {
  const rows = await sql.query<{ outcome: Sample }>(
    'SELECT outcome FROM experiment_units WHERE experiment_id = $1 AND outcome IS NOT NULL AND unit >= $2 AND unit < $3 ORDER BY unit',
    [id, from, from + shadowFrom],
  )
  return rows.map(({ outcome }) => outcome)
}

/** Within a transaction; false when the row is not as the caller saw it any more. */
export async function moveIn(tx: Sql, row: ExperimentRow, to: Move): Promise<boolean> {
  const moved = await tx.query(
    `UPDATE experiments SET status = $4, promotion_status = $5, reason = $6, due_at = now(), failures = 0,
       live = CASE WHEN $7 THEN $8::json ELSE live END,
       decided_at = CASE WHEN $4 IN ('queued', 'replaying') THEN decided_at ELSE coalesce(decided_at, now()) END
     WHERE experiment_id = $1 AND status = $2 AND promotion_status = $3 RETURNING 1`,
    [
      getUuid(row.experimentId),
      row.status,
      row.promotionStatus,
      to.status ?? row.status,
      to.promotionStatus ?? row.promotionStatus,
      to.reason,
      to.live !== undefined,
      to.live === undefined || to.live === null ? null : JSON.stringify(to.live),
    ],
  )
  if (moved.length === 0) return false
  await note(tx, row, to)
  return true
}

async function note(tx: Sql, row: ExperimentRow, to: Move): Promise<void> {
  await tx.query(
    `INSERT INTO experiment_events (experiment_id, actor, status, promotion_status, reason) VALUES ($1, $2, $3, $4, $5)`,
    [
      getUuid(row.experimentId),
      to.actor ?? 'machine',
      to.status ?? row.status,
      to.promotionStatus ?? row.promotionStatus,
      to.reason,
    ],
  )
}

export async function insertUnits(tx: Sql, id: string, units: readonly DrawnUnit[]): Promise<void> {
  for (let at = 0; at < units.length; at += unitsPerInsert) {
    const page = units.slice(at, at + unitsPerInsert)
    await tx.query(
      `INSERT INTO experiment_units (experiment_id, unit, source, request)
       SELECT $1, u, s, r FROM unnest($2::int[], $3::json[], $4::json[]) AS given (u, s, r)`,
      [
        id,
        page.map(({ unit }) => unit),
        page.map(({ source }) => toStoredJson(source)),
        page.map(({ request }) => toStoredJson(request)),
      ],
    )
  }
}
