// The rows of jobs. Which process closes one is settled here, so that its run is written once however many ask for it.

import type { Job, JobReceipt, Jobs } from '../collectors/proxy/jobs/job.ts'
import { Fault } from '../schemas/faults.ts'
import type { Sql } from './postgres.ts'

// Closing writes one record and one run; whoever has not done it after this has died.
const claimS = 60
// Longer than any upstream keeps what it made.
const keptDays = 90
const sweepEveryMs = 24 * 60 * 60 * 1000

export function openJobs(deps: {
  sql: Sql
  nowMs: () => number
  log: (line: string) => void
}): Jobs {
  const { sql, nowMs, log } = deps
  let sweptAtMs = 0

  /** Beside the work of a job that is opened, and never awaited by it. */
  function sweep(): void {
    if (nowMs() - sweptAtMs < sweepEveryMs) return
    sweptAtMs = nowMs()
    const text = `DELETE FROM jobs WHERE created_at < now() - interval '${keptDays} days'`
    ask(sql, text, []).catch((error) =>
      log(`jobs: old ones could not be removed: ${String(error)}`),
    )
  }

  return {
    async open(job) {
      sweep()
      const { workspace, id, fileId } = job
      await ask(
        sql,
        'INSERT INTO jobs (workspace, id, file_id, job) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
        [workspace, id, fileId, JSON.stringify(job)],
      )
    },
    async find(workspace, id) {
      const text = 'SELECT job FROM jobs WHERE workspace = $1 AND id = $2'
      return (await ask<Row>(sql, text, [workspace, id]))[0]?.job
    },
    async findByFile(workspace, fileId) {
      const text = 'SELECT job FROM jobs WHERE workspace = $1 AND file_id = $2 LIMIT 1'
      return (await ask<Row>(sql, text, [workspace, fileId]))[0]?.job
    },
    async claim({ workspace, id }) {
      const text = `UPDATE jobs SET claimed_until = now() + interval '${claimS} seconds'
        WHERE workspace = $1 AND id = $2 AND closed_at IS NULL AND claimed_until < now() RETURNING id`
      return (await ask(sql, text, [workspace, id])).length > 0
    },
    async close({ workspace, id }, receipt: JobReceipt) {
      const text = `UPDATE jobs SET closed_at = now(), job = jsonb_set(job, '{receipt}', $3)
        WHERE workspace = $1 AND id = $2`
      await ask(sql, text, [workspace, id, JSON.stringify(receipt)])
    },
  }
}

type Row = { job: Job }

/** A store that does not answer is a condition that passes, not a defect. */
async function ask<T>(sql: Sql, text: string, params: readonly unknown[]): Promise<T[]> {
  try {
    return await sql.query<T>(text, params)
  } catch (error) {
    throw new Fault('service_unavailable', {}, { cause: error })
  }
}
