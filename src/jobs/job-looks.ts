// Jobs that nobody asks about are looked at now and then, so that one that failed gives back what it took, and one that was made
// has its run. Law: however many planes look, each look is one plane's.

import type { Job } from '../../collectors/proxy/jobs/job.ts'
import type { Counters } from '../../schemas/counters.ts'
import { type Repeated, repeatEvery } from '../repeat.ts'
import type { Postgres } from '../stores/postgres.ts'

const roundEveryMs = 5_000
// Asked about side by side: a provider that hangs holds a round for its own deadline, and no longer.
const atOnceMax = 8
// Ten minutes, twenty, … then twice a day: a week in all. What a provider has not settled by then it does not know any more.
const pause = `least(interval '10 minutes' * power(2, looks), interval '12 hours')`
const looksMax = 20

type Due = { job: Job; looks: number }

/** `look` tells whether the job is over, and throws where its provider could not be asked. */
export function startJobLooks(deps: {
  sql: Postgres
  look: (job: Job) => Promise<boolean>
  counters: Counters
  log: (line: string) => void
}): Repeated {
  const { sql, look, counters, log } = deps
  const lookOne = async ({ job, looks }: Due) => {
    const isOver = await look(job).catch(() => undefined)
    const outcome = isOver === undefined ? 'failed' : isOver ? 'over' : 'open'
    counters.count('jobs_looked_at_total', { outcome })
    if (isOver || looks < looksMax) return
    counters.count('jobs_given_up_total', {})
    log(`jobs: ${job.provider} has not settled ${job.id} in a week; what it took stays taken`)
  }
  return repeatEvery(
    roundEveryMs,
    async () => void (await Promise.all((await takeDue(sql)).map(lookOne))),
    (error) => log(`jobs: those that nobody asks about could not be looked at: ${String(error)}`),
  )
}

/** The next look is set with this one, so that one that is cut off is made again later, not by others meanwhile. */
function takeDue(sql: Postgres): Promise<Due[]> {
  return sql.query<Due>(
    `UPDATE jobs SET looks = looks + 1, look_at = now() + ${pause} WHERE (workspace, id) IN (
       SELECT workspace, id FROM jobs WHERE closed_at IS NULL AND look_at <= now() AND looks < ${looksMax}
       ORDER BY look_at LIMIT ${atOnceMax} FOR UPDATE SKIP LOCKED
     ) RETURNING job, looks`,
  )
}
