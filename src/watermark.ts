// Up to where every plane that shares these stores has loaded what it accepted. A cursor in ingest order may not pass rows that
// another plane still has on its disk: each says where it is, and readers go no further than the one that is furthest behind.

import { setTimeout as wait } from 'node:timers/promises'
import type { Counters } from '../schemas/counters.ts'
import type { Sql } from './keys.ts'
import type { Lanes } from './spooling.ts'

const publishEveryMs = 1_000
// A plane that says nothing for so long is gone, perhaps with rows on its disk: readers wait this long for it, then go on without
// it. What it loads when it comes back is found by every query but a cursor that has passed it.
export const goneAfterS = 300

export type Watermark = {
  /** Every row with a smaller place in ingest order has been loaded, by whichever plane accepted it. */
  loadedBefore(): bigint
  /** To be called when the spool is closed: what it has loaded by then holds nobody up. */
  close(): Promise<void>
}

/** `id` and `spool`: of this plane. Resolves once the marks of the others are known. */
export async function openWatermark(deps: {
  id: string
  sql: Sql
  spool: Pick<Lanes, 'drainedSeq' | 'mark' | 'state'>
  counters: Counters
  log: (line: string) => void
}): Promise<Watermark> {
  const { id, sql, spool } = deps
  let others: bigint[] = []

  async function publish(): Promise<void> {
    const rows = await sql.query<{ id: string; mark: string }>(
      `WITH mine AS (
         INSERT INTO watermarks (id, mark, seen_at) VALUES ($1, $2, now())
         ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, seen_at = excluded.seen_at
       ), gone AS (
         DELETE FROM watermarks WHERE seen_at < now() - make_interval(secs => $3)
       )
       SELECT id, mark FROM watermarks WHERE id != $1 AND seen_at >= now() - make_interval(secs => $3)`,
      [id, String(spool.mark()), goneAfterS],
    )
    others = rows.map(({ mark }) => BigInt(mark))
  }

  await publish()
  // The others read on in the meantime, until they have seen that this one is there too.
  if (others.length > 0) await wait(2 * publishEveryMs)
  let publishing: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    publishing = publishing.then(publish).catch((error) => {
      deps.counters.count('watermark_faults_total', {})
      deps.log(`the watermark was not published, trying again: ${String(error)}`)
    })
  }, publishEveryMs)
  timer.unref()

  return {
    // Alone, a plane that is at rest is not asked again and again for what cannot have come.
    loadedBefore: () =>
      others.length === 0 ? spool.drainedSeq() : least([spool.mark(), ...others]),
    async close() {
      clearInterval(timer)
      await publishing
      // What is still on this disk is loaded by the next start here; until then the others wait for it.
      if (spool.state().undrainedRows === 0)
        await sql.query('DELETE FROM watermarks WHERE id = $1', [id])
    },
  }
}

function least(marks: bigint[]): bigint {
  return marks.reduce((low, mark) => (mark < low ? mark : low))
}
