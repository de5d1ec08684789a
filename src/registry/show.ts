// Versions, moves and events as the API shows them.

import { variablesOfContent } from '../../schemas/prompt-content.ts'
import type { PromptEvent } from '../../schemas/prompt-history.ts'
import { writeTemplate } from '../../schemas/template.ts'
import type { StoredContent, VersionFacts } from './rows.ts'

type ShownMessage = { role: string; content: string }

/** The whole prompt as one text with `{{variables}}`; messages after the first begin with their role. */
export function templateText(content: StoredContent): string {
  if (content.kind === 'discovered') return discoveredText(content.template)
  return content.messages
    .map(({ role, content: text }, i) =>
      i === 0 && role === 'system' ? text : `[${role}]\n${text}`,
    )
    .join('\n')
}

// A gap that was blank when it was learned is shown as the white space that it is.
function discoveredText({
  literals,
  slots,
}: Extract<StoredContent, { kind: 'discovered' }>['template']): string {
  const shown = slots.map((slot) => {
    if (slot.sample.trim() === '') return slot.sample
    const [before, after] = [/^\s*/.exec(slot.sample)![0], /\s*$/.exec(slot.sample)![0]]
    return `${before}{{${slot.name}}}${after}`
  })
  return shown.reduce((text, slot, i) => text + slot + writeTemplate(asText(literals[i])), '')
}

function asText(text: string | undefined) {
  return text === undefined ? [] : [{ kind: 'text' as const, text }]
}

export function showVersion(version: VersionFacts) {
  const { content, hashes } = version
  return {
    version_id: version.versionId,
    registry_id: version.registry,
    version: version.version,
    status: version.status,
    source: version.source,
    content_hash: version.contentHash,
    hashes: hashes && {
      text: hashes.text,
      tools: hashes.tools,
      response_format: hashes.responseFormat,
      params: hashes.params,
    },
    messages: content ? messagesOf(content) : null,
    variables: content ? variablesIn(content) : null,
    model: content?.kind === 'declared' ? (content.model ?? null) : null,
    params: content?.kind === 'declared' ? (content.params ?? null) : null,
    tools: content?.tools ?? null,
    response_format: content?.response_format ?? null,
    note: version.note,
    conflict: version.conflict,
    merged_into: version.mergedInto,
    first_seen_at: version.firstSeenAt.toISOString(),
  }
}

function messagesOf(content: StoredContent): ShownMessage[] {
  if (content.kind === 'declared') return content.messages
  return [{ role: 'system', content: discoveredText(content.template) }]
}

function variablesIn(content: StoredContent): string[] {
  if (content.kind === 'declared') return variablesOfContent(content)
  return content.template.slots.filter((slot) => slot.sample.trim() !== '').map((slot) => slot.name)
}

export function showEvent(registry: string, event: PromptEvent) {
  const { type, ...fact } = event.fact
  return {
    seq: event.seq,
    at: event.at,
    type,
    ...toSnake(registry, fact),
    actor: event.actor,
    reason: event.reason,
    evidence: event.evidence,
    previous_hash: event.previousHash || null,
    hash: event.hash,
  }
}

const versionMembers = new Set(['version', 'from', 'into'])

function toSnake(registry: string, fact: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fact).map(([name, value]) => {
      const isVersion = versionMembers.has(name) && typeof value === 'string'
      const snake = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      return isVersion ? [`${snake}_id`, `${registry}@${value}`] : [snake, value]
    }),
  )
}
