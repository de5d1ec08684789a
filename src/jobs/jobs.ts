// The rows of jobs. Which process closes one is settled here, so that its run is written once however many ask for it; and what
// it costs is taken with its row, so that a job that fails gives it back once, whenever that is seen.

import type { Job, JobReceipt, Jobs } from '../../collectors/proxy/jobs/job.ts'
import { Fault } from '../../schemas/faults.ts'
import { giveBackCharge, takeCharge } from '../money/charges.ts'
import type { Postgres, Sql } from '../stores/postgres.ts'

// Closing writes one record and one run; whoever has not done it after this has died.
const claimS = 60
// What a plane had written when it was cut off is on its disk. Another closes the job in its place only when it stays away.
const awayS = 3600
// Longer than any upstream keeps what it made.
const keptDays = 90
const sweepEveryMs = 24 * 60 * 60 * 1000

export function openJobs(deps: {
  sql: Postgres
  planeId: string
  /** The receipt of the final record, if one was written: everything this plane accepted has been looked through. */
  findReceipt: (job: Job) => Promise<JobReceipt | undefined>
  nowMs: () => number
  log: (line: string) => void
}): Jobs {
  const { sql, planeId, findReceipt, nowMs, log } = deps
  let sweptAtMs = 0
  const closing = new Set<string>()

  /** Beside the work of a job that is opened, and never awaited by it. */
  function sweep(): void {
    if (nowMs() - sweptAtMs < sweepEveryMs) return
    sweptAtMs = nowMs()
    const text = `DELETE FROM jobs WHERE created_at < now() - interval '${keptDays} days'`
    sql.query(text).catch((error) => log(`jobs: old ones could not be removed: ${String(error)}`))
  }

  const jobs: Jobs = {
    async open(job) {
      sweep()
      const { workspace, id, fileId, charge } = job
      return asked(
        sql.transaction(async (tx) => {
          const added = await tx.query(
            `INSERT INTO jobs (workspace, id, file_id, job) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING RETURNING id`,
            [workspace, id, fileId, JSON.stringify(job)],
          )
          const isNew = added.length > 0
          if (isNew && charge) await takeCharge(tx, charge)
          return isNew
        }),
      )
    },
    async find(workspace, id) {
      const text = 'SELECT job FROM jobs WHERE workspace = $1 AND id = $2'
      return (await asked(sql.query<Row>(text, [workspace, id])))[0]?.job
    },
    async findByFile(workspace, fileId) {
      const text = 'SELECT job FROM jobs WHERE workspace = $1 AND file_id = $2 LIMIT 1'
      return (await asked(sql.query<Row>(text, [workspace, fileId])))[0]?.job
    },
    async closeOnce(job, close) {
      const name = `${job.workspace} ${job.id}`
      // One that hangs for longer than its claim looks, in the rows, as one that died, and would write its record after the next.
      if (closing.has(name)) return job.receipt
      closing.add(name)
      try {
        const before = await asked(claimRow(sql, job, planeId))
        if (before === 'refused') return job.receipt
        // Somebody was cut off while closing it, perhaps after writing all of it.
        const written = before === 'again' ? await findReceipt(job) : undefined
        if (!written) return await close()
        await jobs.close(job, written)
        return written
      } finally {
        closing.delete(name)
      }
    },
    async close({ workspace, id }, receipt) {
      await asked(
        sql.transaction(async (tx) => {
          const [closed] = await tx.query<Row>(
            `UPDATE jobs SET closed_at = now(), job = jsonb_set(job, '{receipt}', $3)
             WHERE workspace = $1 AND id = $2 AND closed_at IS NULL RETURNING job`,
            [workspace, id, JSON.stringify(receipt)],
          )
          if (closed?.job.charge && receipt.recordStatus !== 'completed')
            await giveBackCharge(tx, closed.job.charge)
        }),
      )
    },
  }
  return jobs
}

/**
 * Jobs of calls that were cut off before anybody heard of them (`runIds`, in hex): their runs are `interrupted`, with an estimate,
 * and what the jobs took goes back. Again it changes nothing.
 */
export function forgetJobs(sql: Postgres, runIds: readonly string[]): Promise<void> {
  return sql.transaction(async (tx) => {
    const gone = await tx.query<Row>(
      `DELETE FROM jobs WHERE job->>'runId' = ANY($1) AND closed_at IS NULL RETURNING job`,
      [runIds],
    )
    for (const { job } of gone) if (job.charge) await giveBackCharge(tx, job.charge)
  })
}

type Row = { job: Job }
type ClaimedRow = { claimed_by: string | null }

function claimRow(
  sql: Postgres,
  { workspace, id }: Job,
  planeId: string,
): Promise<'first' | 'again' | 'refused'> {
  return sql.transaction(async (tx: Sql) => {
    const [free] = await tx.query<ClaimedRow>(
      `SELECT claimed_by FROM jobs WHERE workspace = $1 AND id = $2 AND closed_at IS NULL AND claimed_until < now()
         AND (claimed_by IS NULL OR claimed_by = $3 OR claimed_until < now() - interval '${awayS} seconds')
       FOR UPDATE`,
      [workspace, id, planeId],
    )
    if (!free) return 'refused'
    await tx.query(
      `UPDATE jobs SET claimed_by = $3, claimed_until = now() + interval '${claimS} seconds'
       WHERE workspace = $1 AND id = $2`,
      [workspace, id, planeId],
    )
    return free.claimed_by === null ? 'first' : 'again'
  })
}

/** A store that does not answer is a condition that passes, not a defect. */
async function asked<T>(asking: Promise<T>): Promise<T> {
  try {
    return await asking
  } catch (error) {
    throw new Fault('service_unavailable', {}, { cause: error })
  }
}
