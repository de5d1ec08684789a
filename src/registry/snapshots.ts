// What discovery wrote down, and what it must know of the registry: names that are given, floods that are over.

import { seqOf } from '../../collectors/spool/sequence.ts'
import type { Sql } from '../accounts/keys.ts'
import type { ReservedNames } from './discovery-messages.ts'

// Transactions commit out of order: what is read again is only told again.
const ordinalsBack = 500
const namesMax = 100_000
// Calls that are older tell of prompts that have been replaced since.
const followedBackMs = 86_400_000
// A wish and a snapshot that crossed: told twice does no harm.
const crossing = '5 minutes'

/** How far the stored calls were followed, and which of those behind were seen as they passed. */
export type Position = { cursor: bigint; passed: Buffer }

export async function saveSnapshot(
  sql: Sql,
  bytes: Uint8Array,
  { cursor, passed }: Position,
): Promise<void> {
  await sql.query(
    `INSERT INTO discovery_snapshots (id, snapshot, cursor, passed, written_at) VALUES (1, $1, $2, $3, now())
     ON CONFLICT (id) DO UPDATE SET snapshot = EXCLUDED.snapshot, cursor = EXCLUDED.cursor, passed = EXCLUDED.passed,
       written_at = EXCLUDED.written_at`,
    [Buffer.from(bytes), String(cursor), passed],
  )
}

/** Where nothing was written, or by a version that did not follow, the position is as far back as is worth it. */
export async function loadSnapshot(
  sql: Sql,
): Promise<{ snapshot: Uint8Array | undefined; position: Position }> {
  const [row] = await sql.query<{
    snapshot: Buffer
    cursor: string | null
    passed: Buffer
    written_at: Date
  }>('SELECT snapshot, cursor, passed, written_at FROM discovery_snapshots WHERE id = 1')
  const farthest = seqOf(Date.now() - followedBackMs)
  const cursor = row
    ? row.cursor === null
      ? seqOf(row.written_at.getTime())
      : BigInt(row.cursor)
    : 0n
  return {
    snapshot: row?.snapshot,
    position: {
      cursor: cursor > farthest ? cursor : farthest,
      passed: row?.passed ?? Buffer.alloc(0),
    },
  }
}

/** Versions whose content is known, since an ordinal. Names without a content are free for the first that is found. */
export async function namesSince(
  sql: Sql,
  after: number,
): Promise<{ names: ReservedNames[]; last: number }> {
  const rows = await sql.query<{
    workspace: string
    registry_id: string
    version: string
    content_hash: string
    is_declared: boolean
    ordinal: number
  }>(
    `SELECT v.workspace, v.registry_id, v.version, v.content_hash, r.source = 'declared' AS is_declared, v.ordinal
     FROM prompt_versions v JOIN prompt_registries r USING (workspace, registry_id)
     WHERE v.ordinal > $1 AND v.content_hash IS NOT NULL ORDER BY v.ordinal DESC LIMIT $2`,
    [after - ordinalsBack, namesMax],
  )
  const byRegistry = new Map<string, ReservedNames>()
  for (const row of rows.reverse()) {
    const key = `${row.workspace} ${row.registry_id}`
    const names = byRegistry.get(key) ?? {
      workspace: row.workspace,
      registry: row.registry_id,
      isDeclared: row.is_declared,
      versions: [],
    }
    names.versions.push([row.version, row.content_hash])
    byRegistry.set(key, names)
  }
  return { names: [...byRegistry.values()], last: rows.at(-1)?.ordinal ?? after }
}

/** Registries whose flood a person has ended since the last change that was read. */
export async function resumedOf(
  sql: Sql,
  after: number,
): Promise<{ registries: { workspace: string; registry: string }[]; last: number }> {
  const rows = await sql.query<{ workspace: string; registry_id: string; changed: number }>(
    `SELECT workspace, registry_id, changed FROM prompt_registries r WHERE changed > $1 AND NOT flooded
       AND EXISTS (SELECT 1 FROM prompt_events e WHERE e.workspace = r.workspace AND e.registry_id = r.registry_id
         AND e.fact->>'type' = 'resumed')
     ORDER BY changed`,
    [after],
  )
  return {
    registries: rows.map((row) => ({ workspace: row.workspace, registry: row.registry_id })),
    last: rows.at(-1)?.changed ?? after,
  }
}

export type Deletion = { workspace: string; madeMs: number }

/**
 * Workspaces of which something was deleted, and when it was last: since a wish, or, at first, since the snapshot was written;
 * with none, a leader begins without any text, and what it finds in the stores may be on its way out.
 */
export async function wishesSince(
  sql: Sql,
  after: string | undefined,
): Promise<{ deletions: Deletion[]; last: string }> {
  const [row] = await sql.query<{ deletions: Deletion[]; last: string }>(
    `SELECT (SELECT coalesce(max(id), 0)::text FROM wishes) AS last,
       coalesce(json_agg(json_build_object('workspace', workspace, 'madeMs', made_ms)), '[]') AS deletions
     FROM (SELECT workspace, (extract(epoch FROM max(made_at)) * 1000)::bigint AS made_ms
       FROM wishes WHERE CASE WHEN $1::bigint IS NOT NULL THEN id > $1::bigint
         ELSE made_at >= coalesce((SELECT written_at FROM discovery_snapshots WHERE id = 1), now()) - interval '${crossing}' END
       GROUP BY workspace) AS deleted`,
    [after ?? null],
  )
  return row ?? { deletions: [], last: after ?? '0' }
}
