// Prompts as the gateway serves them: every declared version at hand, so that a call waits for nothing. Changes made here are
// seen at once, those of other processes within a second.

import { hash } from 'node:crypto'
import type { Counters } from '../../schemas/counters.ts'
import { Fault } from '../../schemas/faults.ts'
import type { PromptServing, ServedPrompt, WantedPrompt } from '../../schemas/prompt.ts'
import { type PromptContent, partsOfContent } from '../../schemas/prompt-content.ts'
import type { Canary } from '../../schemas/prompt-history.ts'
import type { PromptMode } from '../../schemas/prompt-policy.ts'
import {
  renderedCharsMax,
  renderTemplate,
  type TemplatePart,
  variablesOf,
} from '../../schemas/template.ts'
import type { Sql } from '../accounts/keys.ts'
import { repeatEvery } from '../repeat.ts'
import { findRegistry, listVersions, type RegistryAt } from './rows.ts'

// How long another process serves what was in force before a promotion here.
const reloadEveryMs = 1_000
// Transactions commit out of order: a reload looks back this far, so that a late one is not missed.
const changesBack = 200
// Of all contents at hand; a workspace that declares books would leave no room for the others.
const heldCharsMax = 64 * 1024 * 1024

type Served = {
  content: PromptContent
  parts: TemplatePart[][]
  variables: string[]
  chars: number
}
type ServedRegistry = {
  mode: PromptMode
  inForce: string | null
  canary: Canary | null
  versions: Map<string, Served>
}

export type Serving = PromptServing & {
  /** Reads a registry anew, after a change made here. */
  refresh(at: RegistryAt): Promise<void>
  close(): Promise<void>
}

export async function openServing(deps: {
  sql: Sql
  counters: Counters
  log: (line: string) => void
}): Promise<Serving> {
  const { sql, counters } = deps
  const registries = new Map<string, ServedRegistry>()
  const changes = new Map<string, number>()
  // Of each registry, the last reading that counted: one that began earlier and came later would bring back what was replaced.
  const applied = new Map<string, number>()
  let readings = 0
  let lastChange = 0
  let heldChars = 0

  async function refresh(at: RegistryAt): Promise<void> {
    const reading = ++readings
    const [registry, versions] = await Promise.all([findRegistry(sql, at), listVersions(sql, at)])
    const key = keyOf(at)
    if (reading < (applied.get(key) ?? 0)) return
    applied.set(key, reading)
    heldChars -= sumChars(registries.get(key))
    registries.delete(key)
    const declared = versions.filter((one) => one.content?.kind === 'declared')
    if (!registry || declared.length === 0) return
    const { mode, promoted, baseline, canary } = registry.state
    const held: ServedRegistry = {
      mode,
      inForce: promoted ?? baseline,
      canary,
      versions: new Map(),
    }
    // The newest first: they are the likeliest to be asked for, should there be no room for all.
    for (const { version, content } of declared.reverse()) {
      if (content?.kind !== 'declared') continue
      const chars = JSON.stringify(content).length
      if (heldChars + chars > heldCharsMax) {
        counters.count('prompt_contents_not_held_total', {})
        continue
      }
      heldChars += chars
      const parts = partsOfContent(content)
      held.versions.set(version, { content, parts, variables: variablesOf(parts.flat()), chars })
    }
    registries.set(key, held)
  }

  async function reload(): Promise<void> {
    const rows = await sql.query<ChangedRow>(changedSql, [lastChange - changesBack])
    for (const { workspace, registry_id: registry, changed, is_declared } of rows) {
      const at = { workspace, registry }
      if (changes.get(keyOf(at)) === changed) continue
      if (is_declared || registries.has(keyOf(at))) await refresh(at)
      changes.set(keyOf(at), changed)
      lastChange = Math.max(lastChange, changed)
    }
  }

  await reload()
  const repeated = repeatEvery(reloadEveryMs, reload, (error) =>
    deps.log(`prompts in force, trying again: ${String(error)}`),
  )
  return {
    refresh,
    resolve: (workspace, wanted) => {
      const registry = registries.get(keyOf({ workspace, registry: wanted.slug }))
      return resolve(registry, wanted, (why) =>
        counters.count('prompts_served_total', { outcome: why }),
      )
    },
    close: () => repeated.stop(),
  }
}

type ChangedRow = { workspace: string; registry_id: string; changed: number; is_declared: boolean }

// Most registries are only observed, and nothing of them is held here.
const changedSql = `SELECT workspace, registry_id, changed, EXISTS (SELECT 1 FROM prompt_versions v
    WHERE v.workspace = r.workspace AND v.registry_id = r.registry_id AND v.source = 'declared') AS is_declared
  FROM prompt_registries r WHERE changed > $1 ORDER BY changed`

function keyOf({ workspace, registry }: RegistryAt): string {
  return `${workspace} ${registry}`
}

function sumChars(registry: ServedRegistry | undefined): number {
  let sum = 0
  for (const version of registry?.versions.values() ?? []) sum += version.chars
  return sum
}

function resolve(
  registry: ServedRegistry | undefined,
  wanted: WantedPrompt,
  count: (outcome: string) => void,
): ServedPrompt | undefined {
  const name = wanted.version === undefined ? wanted.slug : `${wanted.slug}@${wanted.version}`
  if (!registry) {
    if (wanted.mayPass) return undefined
    throw new Fault('not_found', { message: `There is no prompt ${name}.`, param: 'prompt.id' })
  }
  if (registry.mode === 'observe' && wanted.namedIn === 'header') return undefined
  const version = wanted.version ?? registry.inForce
  const isCanary = wanted.version === undefined && isInCanary(registry, wanted)
  const candidate =
    isCanary && registry.canary ? registry.versions.get(registry.canary.version) : undefined
  if (candidate && registry.canary && faultsOf(candidate, wanted.variables).length === 0) {
    count('canary')
    return toServed(`${wanted.slug}@${registry.canary.version}`, candidate, wanted)
  }
  // A caller's variables fit the version in force; a candidate that asks for others cannot have its share of them.
  if (candidate) count('canary_unfit')
  const found = version === null ? undefined : registry.versions.get(version)
  if (!found || version === null) {
    const what =
      version === null
        ? `No version of ${wanted.slug} is in force.`
        : `There is no declared version ${wanted.slug}@${version}.`
    throw new Fault('not_found', {
      message: what,
      param: wanted.version === undefined ? 'prompt.id' : 'prompt.version',
    })
  }
  count('served')
  return toServed(`${wanted.slug}@${version}`, found, wanted)
}

/** The same conversation or person is always on the same side of a share, and stays in when the share grows. */
function isInCanary({ mode, canary }: ServedRegistry, wanted: WantedPrompt): boolean {
  if (mode !== 'serve' || !canary) return false
  const digest = hash('sha256', `${wanted.slug}@${canary.version}\n${wanted.sticky}`, 'buffer')
  return digest.readUInt32BE(0) / 2 ** 32 < canary.share
}

function toServed(versionId: string, served: Served, { variables }: WantedPrompt): ServedPrompt {
  const wrong = faultsOf(served, variables)
  if (wrong.length > 0)
    throw new Fault('invalid_request', {
      message: `${versionId}: ${wrong.join('; ')}.`,
      param: 'prompt.variables',
    })
  const values = new Map(Object.entries(variables).map(([name, value]) => [name, toText(value)]))
  const { content } = served
  let chars = 0
  const messages = content.messages.map(({ role }, i) => {
    const text = renderTemplate(served.parts[i]!, values)
    chars += text.length
    return { role, content: text }
  })
  if (chars > renderedCharsMax)
    throw new Fault('invalid_request', {
      message: `${versionId} with these variables has more than ${renderedCharsMax} characters.`,
      param: 'prompt.variables',
    })
  return {
    versionId,
    messages,
    model: content.model,
    params: content.params ?? {},
    tools: content.tools,
    responseFormat: content.response_format,
  }
}

function faultsOf({ variables }: Served, given: WantedPrompt['variables']): string[] {
  const missing = variables.filter((name) => !Object.hasOwn(given, name))
  const empty = variables.filter((name) => Object.hasOwn(given, name) && given[name] === null)
  const extra = Object.keys(given).filter((name) => !variables.includes(name))
  return [
    ...(missing.length > 0 ? [`missing ${listed(missing)}`] : []),
    ...(empty.length > 0 ? [`null for ${listed(empty)}`] : []),
    ...(extra.length > 0 ? [`no such variable ${listed(extra)}`] : []),
  ]
}

function listed(names: readonly string[]): string {
  return names.map((name) => name.slice(0, 64)).join(', ')
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
