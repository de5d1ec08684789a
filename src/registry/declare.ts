// A declared version: its content checked, its references put in, stored once however often it is posted.

import { hash } from 'node:crypto'
import type { VersionHashes } from '../../schemas/discovery.ts'
import { Fault } from '../../schemas/faults.ts'
import { parsePromptVersionId } from '../../schemas/ids.ts'
import {
  type Declaration,
  hashedPartsOf,
  type PromptContent,
} from '../../schemas/prompt-content.ts'
import {
  parseTemplate,
  renderedCharsMax,
  type TemplatePart,
  writeTemplate,
} from '../../schemas/template.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Postgres } from '../stores/postgres.ts'
import { type Because, changeRegistry, type Tell } from './history.ts'
import {
  findVersion,
  listVersions,
  type RegistryAt,
  type RegistryFacts,
  type VersionFacts,
} from './rows.ts'

// A caller that declares one version a request would fill the table.
const declaredVersionsMax = 2_000

export type Declared = { version: VersionFacts; isNew: boolean; isBaseline: boolean }

/** The version with this content: the one that has it already, or a new one under the name given or the next number. */
export async function declare(
  postgres: Postgres,
  at: RegistryAt,
  given: Declaration & Because,
): Promise<Declared> {
  const content = await resolveReferences(postgres, at, given)
  const hashes = hashesOf(content)
  await postgres.query(
    `INSERT INTO prompt_registries (workspace, registry_id, display_name, source) VALUES ($1, $2, $2, 'declared')
     ON CONFLICT DO NOTHING`,
    [at.workspace, at.registry],
  )
  return changeRegistry(postgres, at, async ({ sql, registry, tell }) => {
    const versions = await listVersions(sql, at)
    const same = versions.find(
      (one) => one.source === 'declared' && one.contentHash === hashes.content,
    )
    if (same) return { version: same, isNew: false, isBaseline: false }
    if (versions.filter((one) => one.source === 'declared').length >= declaredVersionsMax)
      throw new Fault('conflict', {
        message: `${at.registry} has ${declaredVersionsMax} declared versions; that is the most it may have.`,
      })
    const version = given.version ?? nextName(versions)
    const known = versions.find((one) => one.version === version)
    if (known && known.contentHash !== null)
      throw new Fault('conflict', {
        message: `${known.versionId} has another content. A version is never changed: leave version out, or give another name.`,
        param: 'version',
      })
    await insertVersion(sql, { ...at, version }, { content, hashes, note: given.note ?? null })
    await tell({ type: 'declared', version, contentHash: hashes.content }, given)
    const isBaseline = await becomeBaseline(registry, version, { tell, because: given })
    return { version: (await findVersion(sql, { ...at, version }))!, isNew: true, isBaseline }
  })
}

/** Contract section 6: the first stable version of a registry becomes its baseline by itself. */
export async function becomeBaseline(
  { state }: RegistryFacts,
  version: string,
  { tell, because }: { tell: Tell; because: Because },
): Promise<boolean> {
  if (state.baseline !== null || state.promoted !== null) return false
  await tell(
    { type: 'baseline', version },
    { ...because, reason: 'The first stable version.', actor: { kind: 'machine', id: 'registry' } },
  )
  return true
}

export function hashesOf(content: PromptContent): VersionHashes {
  const parts = hashedPartsOf(content)
  const text = sha256(parts.text)
  const [tools, responseFormat, params] = [parts.tools, parts.responseFormat, parts.params].map(
    (part) => (part === '' ? '' : sha256(part)),
  ) as [string, string, string] // three in, three out
  return {
    content: sha256([text, tools, responseFormat, params].join('\n')),
    text,
    tools,
    responseFormat,
    params,
  }
}

function sha256(text: string): string {
  return hash('sha256', text, 'hex')
}

function nextName(versions: readonly VersionFacts[]): string {
  const numbers = versions.map((one) => Number(/^v(\d{1,9})$/.exec(one.version)?.[1] ?? 0))
  return `v${Math.max(0, ...numbers) + 1}`
}

async function insertVersion(
  sql: Sql,
  at: RegistryAt & { version: string },
  given: { content: PromptContent; hashes: VersionHashes; note: string | null },
): Promise<void> {
  const { content: contentHash, ...hashes } = given.hashes
  // A name that only traffic gave so far gets its content.
  await sql.query(
    `INSERT INTO prompt_versions (workspace, registry_id, version, source, content_hash, hashes, content, note)
     VALUES ($1, $2, $3, 'declared', $4, $5, $6, $7)
     ON CONFLICT (workspace, registry_id, version) DO UPDATE SET source = 'declared', content_hash = EXCLUDED.content_hash,
       hashes = EXCLUDED.hashes, content = EXCLUDED.content, note = EXCLUDED.note`,
    [
      at.workspace,
      at.registry,
      at.version,
      contentHash,
      JSON.stringify(hashes),
      JSON.stringify({ kind: 'declared', ...given.content }),
      given.note,
    ],
  )
}

/**
 * Puts the messages of referenced versions where they are named. What is referenced is stored already and flat itself, so
 * nothing nests and nothing turns in a circle; the one circle that can be written, a version that names itself, is refused.
 */
async function resolveReferences(
  sql: Sql,
  at: RegistryAt,
  given: Declaration,
): Promise<PromptContent> {
  const { messages, model, params, tools, response_format } = given
  const self = given.version === undefined ? undefined : `${at.registry}@${given.version}`
  const flat = []
  let chars = 0
  for (const [i, message] of messages.entries()) {
    const parts: TemplatePart[] = []
    for (const part of parseTemplate(message.content))
      if (part.kind === 'reference') {
        const param = `messages[${i}].content`
        parts.push(...(await partsOfReference(sql, at, { versionId: part.versionId, self, param })))
      } else parts.push(part)
    const content = writeTemplate(parts)
    chars += content.length
    if (chars > renderedCharsMax)
      throw new Fault('invalid_request', {
        message: `With its references the prompt has more than ${renderedCharsMax} characters.`,
        param: 'messages',
      })
    flat.push({ ...message, content })
  }
  return {
    messages: flat,
    ...(model === undefined ? {} : { model }),
    ...(params === undefined ? {} : { params }),
    ...(tools === undefined ? {} : { tools }),
    ...(response_format === undefined ? {} : { response_format }),
  }
}

async function partsOfReference(
  sql: Sql,
  { workspace }: RegistryAt,
  given: { versionId: string; self: string | undefined; param: string },
): Promise<TemplatePart[]> {
  const { versionId, self, param } = given
  const refuse = (says: string) =>
    new Fault('invalid_request', { message: `${param}: {{> ${versionId}}} ${says}.`, param })
  if (versionId === self) throw refuse('refers to itself')
  const { slug, version } = parsePromptVersionId(versionId)! // the template was parsed with this very check
  const found = await findVersion(sql, { workspace, registry: slug, version })
  if (!found) throw refuse('refers to a version that does not exist')
  if (found.content?.kind !== 'declared') throw refuse('refers to a version that was not declared')
  return found.content.messages.flatMap((message, i) => [
    ...(i > 0 ? [{ kind: 'text' as const, text: '\n' }] : []),
    ...parseTemplate(message.content),
  ])
}
