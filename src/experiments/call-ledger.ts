// Calls of an experiment in Postgres: one row each, claimed under a lease, and the money for it set aside in the same
// transaction. A lost call keeps its reservation, because a provider may have billed it.

import type { CallLedger, CallName, Claim } from '../../replay/calls.ts'
import type { CallAnswer } from '../../schemas/replay.ts'
import type { Postgres, Sql } from '../stores/postgres.ts'
import { getUuid } from './rows.ts'
import { toStoredJson } from './stored-json.ts'

// Of what one registry may spend in a day, what all of a workspace may.
const workspaceDayFactor = 5
// Budgets in dollars do not bound a model without a price; this does.
const callsPerUnitMax = 40

type Holder = {
  status: string
  stopped: string | null
  workspace: string
  registry_id: string
  budget_nano_usd: number | null
  budget_per_day_nano_usd: number | null
  spent_nano_usd: number
  calls: number
  units: number
}
type Held = { state: string; is_alive: boolean; answer: CallAnswer | null }

export function openCallLedger(sql: Postgres, experimentId: string, owner: string): CallLedger {
  const id = getUuid(experimentId)
  return {
    claim: (call, terms) =>
      sql.transaction(async (tx): Promise<Claim> => {
        const [holder] = await tx.query<Holder>(
          `SELECT status, stopped, workspace, registry_id, budget_nano_usd, budget_per_day_nano_usd, spent_nano_usd, calls,
             coalesce((registration->'frame'->>'units')::int, 0) AS units
           FROM experiments WHERE experiment_id = $1 FOR UPDATE`,
          [id],
        )
        const [held] = await tx.query<Held>(
          `SELECT state, lease_until > now() AS is_alive, answer FROM experiment_calls
           WHERE experiment_id = $1 AND unit = $2 AND arm = $3 AND step = $4`,
          [id, call.unit, call.arm, call.step],
        )
        if (held?.answer) return { kind: 'known', answer: held.answer }
        if (held?.is_alive) return { kind: 'taken' }
        const isOpen = holder?.status === 'replaying' || holder?.status === 'shadow'
        if (!isOpen || holder.stopped !== null) return { kind: 'stopped' }
        const reserve = terms.reserveNanoUsd
        if (!(await isAffordable(tx, holder, reserve))) {
          await tx.query(`UPDATE experiments SET stopped = 'budget' WHERE experiment_id = $1`, [id])
          return { kind: 'stopped' }
        }
        await tx.query(
          `INSERT INTO experiment_calls (experiment_id, unit, arm, step, state, owner, lease_until, reserved_nano_usd)
           VALUES ($1, $2, $3, $4, 'claimed', $5, now() + make_interval(secs => $6), $7)
           ON CONFLICT (experiment_id, unit, arm, step) DO UPDATE SET owner = EXCLUDED.owner,
             lease_until = EXCLUDED.lease_until, attempts = experiment_calls.attempts + 1,
             reserved_nano_usd = EXCLUDED.reserved_nano_usd`,
          [id, call.unit, call.arm, call.step, owner, terms.leaseMs / 1000, reserve],
        )
        await tx.query(
          'UPDATE experiments SET calls = calls + 1, duplicate_calls = duplicate_calls + $2 WHERE experiment_id = $1',
          [id, held === undefined ? 0 : 1],
        )
        await spend(tx, { id, ...holder }, reserve)
        return { kind: 'mine' }
      }),

    async renew(call, leaseMs) {
      await sql.query(
        `UPDATE experiment_calls SET lease_until = now() + make_interval(secs => $5)
         WHERE experiment_id = $1 AND unit = $2 AND arm = $3 AND step = $4 AND state = 'claimed' AND owner = $6`,
        [...at(id, call), leaseMs / 1000, owner],
      )
    },

    settle: (call, answer, costNanoUsd) =>
      sql.transaction(async (tx) => {
        // The experiment's row first, as when claiming: two transactions never wait for each other crosswise.
        const [holder] = await tx.query<Holder>(
          'SELECT workspace, registry_id FROM experiments WHERE experiment_id = $1 FOR UPDATE',
          [id],
        )
        const [settled] = await tx.query<{ reserved: number }>(
          `UPDATE experiment_calls SET state = $5, answer = $6, cost_nano_usd = $7
           WHERE experiment_id = $1 AND unit = $2 AND arm = $3 AND step = $4 AND state = 'claimed'
           RETURNING reserved_nano_usd AS reserved`,
          [...at(id, call), answer.kind, toStoredJson(answer), costNanoUsd],
        )
        if (settled === undefined || holder === undefined || costNanoUsd === null) return
        await spend(tx, { id, ...holder }, costNanoUsd - settled.reserved)
      }),
  }
}

function at(id: string, call: CallName): unknown[] {
  return [id, call.unit, call.arm, call.step]
}

async function isAffordable(tx: Sql, holder: Holder, reserve: number): Promise<boolean> {
  if (holder.calls >= (holder.units + 2) * callsPerUnitMax) return false
  const { budget_nano_usd: budget, budget_per_day_nano_usd: perDay } = holder
  if (budget !== null && holder.spent_nano_usd + reserve > budget) return false
  if (perDay === null) return true
  // The day's two rows are made where missing and held until the call is paid for: of two that claim at once, the second sees
  // what the first set aside. Everybody takes the workspace's row first.
  const days = await tx.query<{ registry_id: string; spent_nano_usd: number }>(
    `INSERT INTO experiment_spend (workspace, registry_id, day, spent_nano_usd)
     SELECT $1, given, (now() AT TIME ZONE 'UTC')::date, 0 FROM unnest(ARRAY['', $2::text]) AS given
     ON CONFLICT (workspace, registry_id, day) DO UPDATE SET spent_nano_usd = experiment_spend.spent_nano_usd
     RETURNING registry_id, spent_nano_usd`,
    [holder.workspace, holder.registry_id],
  )
  return days.every(({ registry_id, spent_nano_usd }) => {
    const factor = registry_id === '' ? workspaceDayFactor : 1
    return spent_nano_usd + reserve <= perDay * factor
  })
}

async function spend(
  tx: Sql,
  { id, workspace, registry_id }: { id: string; workspace: string; registry_id: string },
  nanoUsd: number,
): Promise<void> {
  if (nanoUsd === 0) return
  await tx.query(
    'UPDATE experiments SET spent_nano_usd = spent_nano_usd + $2 WHERE experiment_id = $1',
    [id, nanoUsd],
  )
  await tx.query(
    `INSERT INTO experiment_spend (workspace, registry_id, day, spent_nano_usd)
     SELECT $1, given, (now() AT TIME ZONE 'UTC')::date, $3 FROM unnest(ARRAY['', $2::text]) AS given
     ON CONFLICT (workspace, registry_id, day) DO UPDATE SET spent_nano_usd = experiment_spend.spent_nano_usd + EXCLUDED.spent_nano_usd`,
    [workspace, registry_id, nanoUsd],
  )
}
