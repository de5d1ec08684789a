// Up to where every plane that shares these stores has loaded what it accepted. A cursor in ingest order may not pass rows that
// another plane still has on its disk: each says where it is, and readers go no further than the one that is furthest behind.

import { setTimeout as wait } from 'node:timers/promises'
import type { Counters } from '../../schemas/counters.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Lanes } from '../spooling.ts'

const publishEveryMs = 1_000
// How long a start waits until the others have seen it, of which one may have crashed.
const knownWithinMs = 5_000
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

  async function publish(): Promise<Map<string, string>> {
    await sql.query(
      `WITH gone AS (
         DELETE FROM watermarks WHERE id != $1 AND seen_at < now() - make_interval(secs => $3)
       )
       INSERT INTO watermarks (id, mark, seen_at) VALUES ($1, $2, clock_timestamp())
       ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, seen_at = excluded.seen_at`,
      [id, String(spool.mark()), goneAfterS],
    )
    // A statement of its own: one statement would not see the row of a plane that starts in the same moment, nor that plane this one.
    const rows = await sql.query<{ id: string; mark: string; at: string }>(
      `SELECT id, mark, seen_at::text AS at FROM watermarks WHERE id != $1 AND seen_at >= now() - make_interval(secs => $2)`,
      [id, goneAfterS],
    )
    others = rows.map(({ mark }) => BigInt(mark))
    return new Map(rows.map((row) => [row.id, row.at]))
  }

  /** Resolves when every other plane knows of this one, or says nothing any more. */
  async function untilKnown(): Promise<void> {
    const deadline = performance.now() + knownWithinMs
    let then = await publish()
    // Who has published since has read the row of this plane behind it; that it read is certain once it has published again.
    const again = new Map<string, number>([...then.keys()].map((other) => [other, 0]))
    while ([...again.values()].some((times) => times < 2) && performance.now() < deadline) {
      await wait(publishEveryMs / 4)
      const now = await publish()
      for (const [other, times] of again)
        if (!now.has(other)) again.delete(other)
        else if (now.get(other) !== then.get(other)) again.set(other, times + 1)
      then = now
    }
  }

  await untilKnown()
  let publishing: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    publishing = publishing
      .then(async () => void (await publish()))
      .catch((error) => {
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
