// Jobs that nobody asks about are looked at now and then, so that one that failed gives back what it took, and one that was made
// has its run. Law: however many planes look, each look is one plane's.

import type { Job } from '../../collectors/proxy/jobs/job.ts'
import type { Counters } from '../../schemas/counters.ts'
import { type Repeated, repeatEvery } from '../repeat.ts'
import type { Postgres } from '../stores/postgres.ts'

const roundEveryMs = 5_000
// Asked about side by side. Each read from a provider has a deadline; one that goes on saying a little ends with its round.
const atOnceMax = 8
const roundDeadlineMs = 60_000
// Ten minutes, twenty, … then twice a day: a week in all. What a provider has not settled by then it does not know any more.
const pause = `least(interval '10 minutes' * power(2, looks), interval '12 hours')`
const looksMax = 20

type Due = { job: Job; looks: number }

/** `look` tells whether the job is over, and throws where its provider could not be asked before the signal. */
export function startJobLooks(deps: {
  sql: Postgres
  look: (job: Job, signal: AbortSignal) => Promise<boolean>
  counters: Counters
  log: (line: string) => void
}): Repeated {
  const { sql, look, counters, log } = deps
  const stopping = new AbortController()
  const lookOne = async ({ job, looks }: Due, signal: AbortSignal) => {
    const isOver = await look(job, signal).catch(() => undefined)
    const outcome = isOver === undefined ? 'failed' : isOver ? 'over' : 'open'
    counters.count('jobs_looked_at_total', { outcome })
    if (isOver || looks < looksMax) return
    counters.count('jobs_given_up_total', {})
    log(`jobs: ${job.provider} has not settled ${job.id} in a week; what it took stays taken`)
  }
  const round = async () => {
    const over = new AbortController()
    const end = () => over.abort()
    const timer = setTimeout(end, roundDeadlineMs)
    stopping.signal.addEventListener('abort', end, { once: true })
    try {
      const due = await takeDue(sql)
      await Promise.all(due.map((one) => lookOne(one, over.signal)))
    } finally {
      clearTimeout(timer)
      stopping.signal.removeEventListener('abort', end)
    }
  }
  const repeated = repeatEvery(roundEveryMs, round, (error) =>
    log(`jobs: those that nobody asks about could not be looked at: ${String(error)}`),
  )
  return {
    now: repeated.now,
    stop() {
      stopping.abort()
      return repeated.stop()
    },
  }
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
