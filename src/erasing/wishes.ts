// Deletions, told to every plane that shares the stores: rows of a trace may wait on the disk of any of them.
// Law: a wish is in Postgres before it is acknowledged; a plane that was away takes it when it is back, before it takes traffic.

import { setTimeout as wait } from 'node:timers/promises'
import type { Forget, Spool } from '../../collectors/spool/spool.ts'
import type { Counters } from '../../schemas/counters.ts'
import { Fault } from '../../schemas/faults.ts'
import type { Sql } from '../accounts/keys.ts'
import { goneAfterS } from '../stores/watermark.ts'

const takeEveryMs = 2_000
const lookEveryMs = 200
const takenAtOnce = 100
const waitMs = 10_000
const keptDays = 90
// One inserts at a time, so that numbers are committed in their order. Any number will do that nobody else locks.
const orderLock = 7_205_759
// Another plane's clock may be ahead of the one that the wish is dated by.
const clockSkewMs = 10_000

export type Wishes = {
  /**
   * As `Spool.forget`, for all planes. True: it is done here, and every plane that is alive has it written down; false: not yet.
   * Rejects with `service_unavailable` when it cannot be promised.
   */
  forget(what: Forget, deadlineMs?: number): Promise<boolean>
  /** Hears the workspace of every wish, when it is made and once it is written down here: for what is kept in memory alone. */
  onWish(hear: (workspace: string) => void): void
  close(): Promise<void>
}

type Row = {
  id: string
  workspace: string
  trace_id: string | null
  user_id: string | null
  made_ms: string
}

/** Resolves when all wishes that others made so far are written down here. */
export async function openWishes(deps: {
  planeId: string
  sql: Sql
  spool: Pick<Spool, 'forget'>
  counters: Counters
  log: (line: string) => void
}): Promise<Wishes> {
  const { planeId, sql, spool } = deps
  // A plane that is new here has nothing of earlier times on its disk.
  await sql.query(
    `INSERT INTO wishes_taken (plane, id) SELECT $1, coalesce(max(id), 0) FROM wishes
     ON CONFLICT (plane) DO NOTHING`,
    [planeId],
  )
  await sql.query('DELETE FROM wishes WHERE made_at < now() - make_interval(days => $1)', [
    keptDays,
  ])

  const hearers: ((workspace: string) => void)[] = []
  function tell(workspace: string): void {
    for (const hear of hearers) hear(workspace)
  }

  async function take(): Promise<void> {
    for (;;) {
      const rows = await sql.query<Row & { plane: string }>(
        `SELECT id, plane, workspace, trace_id, user_id, (extract(epoch FROM made_at) * 1000)::bigint AS made_ms
         FROM wishes WHERE id > (SELECT id FROM wishes_taken WHERE plane = $1) ORDER BY id LIMIT ${takenAtOnce}`,
        [planeId],
      )
      for (const row of rows) {
        if (row.plane !== planeId) {
          await spool.forget(toForget(row), 0)
          tell(row.workspace)
        }
        await sql.query('UPDATE wishes_taken SET id = $2 WHERE plane = $1', [planeId, row.id])
      }
      if (rows.length < takenAtOnce) return
    }
  }

  await take()
  let taking: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    taking = taking.then(take).catch((error) => {
      deps.counters.count('wishes_faults_total', {})
      deps.log(`deletions of other planes were not taken, trying again: ${String(error)}`)
    })
  }, takeEveryMs)
  timer.unref()

  async function isTaken(id: string): Promise<boolean> {
    const [row] = await sql.query<{ behind: string }>(
      `SELECT count(*) AS behind FROM watermarks w LEFT JOIN wishes_taken t ON t.plane = w.id
       WHERE w.id <> $1 AND w.seen_at >= now() - make_interval(secs => $2) AND coalesce(t.id, 0) < $3`,
      [planeId, goneAfterS, id],
    )
    return Number(row?.behind) === 0
  }

  return {
    async forget(what, deadlineMs = waitMs) {
      const until = performance.now() + deadlineMs
      const id = await write(sql, planeId, what)
      tell(what.workspace)
      // Told again: what came in meanwhile, until the deletion had its edge, goes as well and must not stay known.
      const isDone = await spool.forget(what, deadlineMs).finally(() => tell(what.workspace))
      if (!isDone) return false
      while (!(await isTaken(id))) {
        if (performance.now() > until) return false
        await wait(lookEveryMs)
      }
      return true
    },
    onWish: (hear) => void hearers.push(hear),
    async close() {
      clearInterval(timer)
      await taking
    },
  }
}

async function write(sql: Sql, planeId: string, what: Forget): Promise<string> {
  try {
    const [row] = await sql.query<{ id: string }>(
      `INSERT INTO wishes (plane, workspace, trace_id, user_id)
       SELECT $1, $2, $3, $4 FROM (SELECT pg_advisory_xact_lock(${orderLock})) AS ordered RETURNING id`,
      [planeId, what.workspace, what.traceId ?? null, what.userId ?? null],
    )
    if (!row) throw new Error('Postgres gave the wish no number.')
    return row.id
  } catch (cause) {
    throw new Fault('service_unavailable', {}, { cause })
  }
}

function toForget({ workspace, trace_id: traceId, user_id: userId, made_ms: madeMs }: Row): Forget {
  return {
    workspace,
    ...(traceId === null ? {} : { traceId }),
    ...(userId === null ? {} : { userId }),
    beforeMs: Number(madeMs) + clockSkewMs,
  }
}
