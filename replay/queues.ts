// Queues of jobs, on Postgres or on Redis behind one interface; the only importer of bullmq. A job is a hint to look at a row:
// it may be delivered twice or never, and what is true stands in the database.

import { createPostgresBackend, type PgPool, Queue, runMigrations, Worker } from 'bullmq'

// A worker that died is noticed after this; long jobs renew their lock at half of it.
const lockMs = 15_000
const stalledEveryMs = 10_000
// How often a job may be found without its worker before it is dropped; the sweep makes it again.
const stalledMax = 20
const closeDeadlineMs = 10_000

/** Where jobs are kept. The pool is a `pg.Pool` with `search_path` set to `jobsSchema`; it stays its owner's to close. */
export type JobStore = { redisUrl: string } | { pool: { connect(): Promise<unknown> } }

export const jobsSchema = 'bullmq'

export type Job = { name: string; data: unknown; signal: AbortSignal }

export type Jobs = {
  /** The same key again while the first is waiting or running adds nothing. Colons are not allowed in keys. */
  add(name: string, key: string, data: unknown, delayMs?: number): Promise<void>
  depth(): Promise<number>
  /** Waits for the jobs under way, whose signals abort; what does not end in time is left to its lease. */
  close(): Promise<void>
}

export type QueueDeps = {
  store: JobStore
  log: (line: string) => void
  /** Of Redis keys, so that planes that share a server do not share jobs. */
  prefix?: string
}

/** Makes the tables of the Postgres store; several processes may do it at once. */
export async function prepareJobStore(store: JobStore): Promise<void> {
  if (!('pool' in store)) return
  const client = await toPgPool(store.pool).connect()
  try {
    await runMigrations(client, jobsSchema)
  } finally {
    client.release()
  }
}

/** A queue of that name and `concurrency` workers for it in this process. A handler that throws is logged, and not tried again here. */
export function openJobs(
  name: string,
  deps: QueueDeps & { concurrency: number; handle: (job: Job) => Promise<void> },
): Jobs {
  const stopping = new AbortController()
  const { queue, worker } = connect(name, deps, async (job) => {
    await deps.handle({ name: job.name, data: job.data, signal: stopping.signal })
  })
  const onError = (error: Error) => {
    if (!stopping.signal.aborted) deps.log(`jobs of ${name}: ${error.message}`)
  }
  queue.on('error', onError)
  worker.on('error', onError)
  worker.on('failed', (job, error) => onError(new Error(`${job?.name ?? 'a job'}: ${error.stack}`)))
  return {
    async add(job, key, data, delayMs = 0) {
      await queue.add(job, data, {
        jobId: key,
        delay: delayMs,
        removeOnComplete: true,
        removeOnFail: true,
      })
    },
    depth: () => queue.count(),
    async close() {
      stopping.abort()
      let timer: NodeJS.Timeout | undefined
      const deadline = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, closeDeadlineMs)
      })
      await Promise.race([worker.close(), deadline])
      clearTimeout(timer)
      await worker.close(true)
      await queue.close()
    },
  }
}

type Process = (job: { name: string; data: unknown }) => Promise<void>

/** The two stores differ in their types only; everything after this is the same. */
function connect(name: string, deps: QueueDeps & { concurrency: number }, process: Process) {
  const { store, concurrency } = deps
  const settings = {
    concurrency,
    lockDuration: lockMs,
    stalledInterval: stalledEveryMs,
    maxStalledCount: stalledMax,
  }
  if ('pool' in store) {
    const connection = toPgPool(store.pool)
    return {
      queue: new Queue(name, { connection }, createPostgresBackend),
      worker: new Worker(name, process, { connection, ...settings }, createPostgresBackend),
    }
  }
  // A worker waits for Redis as long as it takes; what is asked for is then late, not lost.
  const connection = { url: store.redisUrl, maxRetriesPerRequest: null }
  const prefix = deps.prefix ?? 'runledger'
  return {
    queue: new Queue(name, { connection, prefix }),
    worker: new Worker(name, process, { connection, prefix, ...settings }),
  }
}

// A pg.Pool is one; only the overloads of its listeners cannot be matched with those that bullmq asks for.
function toPgPool(pool: { connect(): Promise<unknown> }): PgPool {
  return pool as PgPool
}
