// What discovery found, written to the registry: in order, each event whole, and the same event again changes nothing.

import type { Template } from '../../replay/discovery/template.ts'
import type { DiscoveryEvent, VersionHashes } from '../../schemas/discovery.ts'
import { parsePromptVersionId } from '../../schemas/ids.ts'
import type { Actor } from '../../schemas/prompt-history.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Postgres } from '../stores/postgres.ts'
import { becomeBaseline } from './declare.ts'
import type { LearnedVersion } from './discovery-messages.ts'
import { changeRegistry } from './history.ts'
import type { StableVersion } from './registry.ts'
import { findVersion, type VersionAt } from './rows.ts'

const actor: Actor = { kind: 'machine', id: 'discovery' }

export async function writeEvent(postgres: Postgres, event: DiscoveryEvent): Promise<void> {
  const at = { workspace: event.workspace, registry: event.registry }
  switch (event.type) {
    case 'version_merged':
      return writeMerge(postgres, event)
    case 'version_conflict':
      return writeConflict(postgres, event)
    case 'registry_paused':
      await ensureRegistry(postgres, at)
      await changeRegistry(postgres, at, async ({ registry, tell }) => {
        if (registry.state.flooded) return
        const reason = 'More new versions than edits would make: this looks like a variable.'
        await tell({ type: 'flooded', newVersions: event.newVersions }, { actor, reason })
      })
      return
    // Steps on the way (a registry is there from its first version on), versions that `writeLearned` writes, and runs that
    // assignments.ts tells.
    case 'family_found':
    case 'version_stable':
    case 'version_provisional':
    case 'variant_folded':
    case 'assigned':
      return
    default:
      return event satisfies never
  }
}

async function ensureRegistry(
  sql: Sql,
  { workspace, registry }: { workspace: string; registry: string },
): Promise<void> {
  await sql.query(
    `INSERT INTO prompt_registries (workspace, registry_id, display_name, source) VALUES ($1, $2, $2, 'auto_backfill')
     ON CONFLICT DO NOTHING`,
    [workspace, registry],
  )
}

/** The version to tell listeners of, when it is new to the registry; of a known one the template is kept up to date. */
export async function writeLearned(
  postgres: Postgres,
  learned: LearnedVersion,
): Promise<StableVersion | undefined> {
  const { event } = learned
  const at = versionAt(event)
  if (!at) return undefined
  const before = await findVersion(postgres, at)
  if (before && before.contentHash !== null) {
    await writeTemplate(postgres, at, learned)
    return undefined
  }
  await ensureRegistry(postgres, at)
  return changeRegistry(postgres, at, async ({ sql, registry, tell }) => {
    const known = await findVersion(sql, at)
    // Declared meanwhile: what is declared stays.
    if (known && known.contentHash !== null) return undefined
    await upsertVersion(sql, at, learned)
    const evidence = { runs: event.runs, rendered: event.rendered }
    const because = { actor, reason: 'Seen often enough.', evidence }
    await tell(
      { type: 'discovered', version: at.version, contentHash: event.hashes.content },
      because,
    )
    const isBaseline = await becomeBaseline(registry, at.version, { tell, because })
    return { ...at, versionId: event.versionId, isBaseline }
  })
}

const conflictReason = 'The same name came with another content.'

// A slot's sample is what one run held there, a name perhaps: of it only the white space is kept, and that something stood there.
function withoutSamples(template: Template): Template {
  const slots = template.slots.map((slot) => ({
    ...slot,
    sample: slot.sample.replace(/\S[\s\S]*\S|\S/, '…'),
  }))
  return { ...template, slots }
}

async function upsertVersion(sql: Sql, at: VersionAt, learned: LearnedVersion): Promise<void> {
  const { event, template, tools, responseFormat } = learned
  const { content: contentHash, ...hashes }: VersionHashes = event.hashes
  await sql.query(
    `INSERT INTO prompt_versions (workspace, registry_id, version, source, content_hash, hashes, content, first_seen_at)
     VALUES ($1, $2, $3, 'auto_backfill', $4, $5, $6, $7)
     ON CONFLICT (workspace, registry_id, version) DO UPDATE SET content_hash = EXCLUDED.content_hash,
       hashes = EXCLUDED.hashes, content = EXCLUDED.content`,
    [
      at.workspace,
      at.registry,
      at.version,
      contentHash,
      JSON.stringify(hashes),
      template
        ? storable({
            kind: 'discovered',
            template: withoutSamples(template),
            tools,
            response_format: responseFormat,
          })
        : null,
      new Date(event.firstSeenMs),
    ],
  )
}

// Texts from traffic may hold what Postgres refuses in JSON: NUL and halves of surrogate pairs. Such a template would not give
// back its bytes, so none is stored.
function storable(content: object): string | null {
  const text = JSON.stringify(content)
  return /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/i.test(text) ? null : text
}

/** A better template of a version that was found in traffic; its identity stays. */
async function writeTemplate(sql: Sql, at: VersionAt, learned: LearnedVersion): Promise<void> {
  const text = learned.template && storable(withoutSamples(learned.template))
  if (!text) return
  await sql.query(
    `UPDATE prompt_versions SET content = coalesce(content, '{"kind": "discovered"}'::jsonb) || jsonb_build_object('template', $4::jsonb)
     WHERE workspace = $1 AND registry_id = $2 AND version = $3 AND source = 'auto_backfill' AND content_hash IS NOT NULL`,
    [at.workspace, at.registry, at.version, text],
  )
}

async function writeMerge(
  postgres: Postgres,
  event: Extract<DiscoveryEvent, { type: 'version_merged' }>,
): Promise<void> {
  const [from, into] = [event.from, event.into].map((id) => parsePromptVersionId(id)?.version)
  if (from === undefined || into === undefined) return
  const at = { workspace: event.workspace, registry: event.registry }
  // Neither was written: there may be no registry yet.
  if (!(await findVersion(postgres, { ...at, version: from }))) return
  await changeRegistry(postgres, at, async ({ sql, tell }) => {
    const known = await findVersion(sql, { ...at, version: from })
    if (!known || known.source === 'declared' || known.mergedInto !== null) return
    await tell({ type: 'merged', version: from, into }, { actor, reason: event.reason })
    await sql.query(
      'UPDATE prompt_versions SET merged_into = $4 WHERE workspace = $1 AND registry_id = $2 AND version = $3',
      [at.workspace, at.registry, from, event.into],
    )
  })
}

async function writeConflict(
  postgres: Postgres,
  event: Extract<DiscoveryEvent, { type: 'version_conflict' }>,
): Promise<void> {
  const at = versionAt(event)
  if (!at) return
  await changeRegistry(postgres, at, async ({ sql, tell }) => {
    const known = await findVersion(sql, at)
    if (!known || known.conflict) return
    await tell({ type: 'conflict', version: at.version }, { actor, reason: conflictReason })
    await setConflict(sql, at)
  })
}

async function setConflict(sql: Sql, at: VersionAt): Promise<void> {
  await sql.query(
    'UPDATE prompt_versions SET conflict = true WHERE workspace = $1 AND registry_id = $2 AND version = $3',
    [at.workspace, at.registry, at.version],
  )
}

function versionAt(of: {
  workspace: string
  registry: string
  versionId: string
}): VersionAt | undefined {
  const version = parsePromptVersionId(of.versionId)?.version
  return version === undefined
    ? undefined
    : { workspace: of.workspace, registry: of.registry, version }
}
