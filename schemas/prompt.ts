// Prompts as collectors see them: a name and perhaps a version on a span, and the version that it links to.

import { isVersion } from './ids.ts'

/** On a run whose caller named its prompt: `version`, or `name` where the version is ours to say. */
export const namedAttribute = 'batchin.prompt.named'

export type PromptLinks = {
  /**
   * The version id (`support@v2`) for a registry's slug and a version name; without a version, the registry's latest.
   * Synchronous: the one who implements it keeps the latest versions at hand and registers new ones in the background.
   */
  link(workspace: string, slug: string, version: string | undefined): string
}

/** A prompt that a call asks for. `sticky`: the conversation or person that keeps its version while shares change. */
export type WantedPrompt = {
  slug: string
  version: string | undefined
  variables: Readonly<Record<string, unknown>>
  /** Where it is named: a body asks for the rendered prompt, a header only labels unless the prompt is served. */
  namedIn: 'body' | 'header'
  /** A name of which nothing is declared is not refused: it is a label, or another knows it. */
  mayPass: boolean
  sticky: string
}

/** What a version says a request is. Absent members are the caller's to choose. */
export type ServedPrompt = {
  versionId: string
  messages: { role: string; content: string }[]
  model: string | undefined
  params: Readonly<Record<string, unknown>>
  tools: readonly unknown[] | undefined
  responseFormat: unknown
}

export type PromptServing = {
  /**
   * The rendered version; undefined when the name is only a label. Synchronous, from memory. Throws `not_found` for a
   * prompt or version that is not there, `invalid_request` naming every variable that is missing or too many.
   */
  resolve(workspace: string, wanted: WantedPrompt): ServedPrompt | undefined
}

/** A call as whoever finds prompt versions sees it. Values are as the request has them; nothing is changed. */
export type SeenCall = {
  workspace: string
  /** What is told its version when that is found late: a run's id, or where a stored span lies; undefined: nobody is told. */
  ref: Uint8Array | undefined
  messages: unknown
  tools: unknown
  responseFormat: unknown
  temperature: unknown
  /** What the caller said, when it did; the version only when the caller gave one. */
  slug: string | undefined
  version: string | undefined
  user: string
  /** A text as it may be written, by the name it is written under; '' when it is left out. */
  redact: ((name: string, text: string) => string) | undefined
  atMs: number
}

export type PromptSights = {
  /**
   * The version, when it is known at once. If not, `found` may be called once, soon or never; it says whether that was in time
   * for the run to be stored under it, and if not the stored run is told. Never throws, and costs no more than a hash.
   */
  see(call: SeenCall, found: (versionId: string) => boolean): string | undefined
}

const lengthMax = 64

/** A registry's slug from any name: lower case, other characters to `-`, cut at 64. Undefined for an empty name. */
export function toSlug(name: string): string | undefined {
  const text = name.trim().toLowerCase()
  if (text === '') return undefined
  return text.replaceAll(/[^a-z0-9._-]/gu, '-').slice(0, lengthMax)
}

/**
 * A version's name from what an emitter sent: a bare integer N becomes `vN` (as our own numbering has it), a valid name
 * stays, other characters become `-`, cut at 64. Undefined for an empty one.
 */
export function toVersion(given: string): string | undefined {
  const text = given.trim()
  if (text === '') return undefined
  if (/^\d{1,19}$/.test(text)) return `v${BigInt(text)}`
  return isVersion(text) ? text : text.replaceAll(/[^A-Za-z0-9._-]/gu, '-').slice(0, lengthMax)
}
