// What a deletion reaches besides rows: the pieces that the deleted spans name, and jobs that have not closed.
// Law: a piece that another run names too goes all the same; its name stays there. Whoever is forgotten leaves no picture.

import type { MediaStore } from '../../collectors/proxy/media/store.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Clickhouse } from '../stores/clickhouse.ts'
import type { Where } from '../traces/trace-query.ts'

type Stores = {
  clickhouse: Pick<Clickhouse, 'query'>
  sql: Sql
  media: Pick<MediaStore, 'remove'>
}

// As long as a plane that was away still takes a wish (wishes.ts).
const keptDays = 90

/** Before the rows go, because they name the pieces. `where`: a clause over spans and payloads alike. */
export async function eraseMedia({ clickhouse, sql, media }: Stores, where: Where): Promise<void> {
  const found = await clickhouse.query<{ sha256: string }>({
    sql: `SELECT DISTINCT arrayJoin(extractAll(raw, '"sha256":"([0-9a-f]{64})"')) AS sha256 FROM payloads WHERE ${where.sql}`,
    params: where.params,
    lane: 'heavy',
  })
  const workspace = String(where.params.workspace)
  const hashes = found.map(({ sha256 }) => sha256)
  await sql.query(
    `INSERT INTO erased_media (workspace, sha256) SELECT $1, unnest($2::text[])
     ON CONFLICT (workspace, sha256) DO UPDATE SET erased_at = now()`,
    [workspace, hashes],
  )
  for (const sha256 of hashes) await media.remove(workspace, sha256)
}

/** What another plane has erased the rows of since the wish was made: its files are on that disk, ours on this. */
export async function eraseSharedMedia(
  { sql, media }: Pick<Stores, 'sql' | 'media'>,
  of: { workspace: string; madeMs: number },
): Promise<void> {
  await sql.query('DELETE FROM erased_media WHERE erased_at < now() - make_interval(days => $1)', [
    keptDays,
  ])
  const erased = await sql.query<{ sha256: string }>(
    'SELECT sha256 FROM erased_media WHERE workspace = $1 AND erased_at >= to_timestamp($2)',
    [of.workspace, of.madeMs / 1_000],
  )
  for (const { sha256 } of erased) await media.remove(of.workspace, sha256)
}

/** By what its note says of the run that would close it; with neither, all of the workspace. */
export async function eraseJobs(
  { sql }: Stores,
  of: { workspace: string; traceId?: string | undefined; userId?: string | undefined },
): Promise<void> {
  const note = "(job->>'note')::jsonb"
  const [clause, value] =
    of.traceId !== undefined
      ? [`AND ${note}->>'traceId' = $2`, of.traceId]
      : of.userId !== undefined
        ? [`AND ${note}->>'userId' = $2`, of.userId]
        : ['', undefined]
  const params = value === undefined ? [of.workspace] : [of.workspace, value]
  await sql.query(`DELETE FROM jobs WHERE workspace = $1 ${clause}`, params)
}
