// Which prompt a call says it uses, in its headers or its body, and which version that is.

import type { IncomingHttpHeaders } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { isSlug, isVersion, parsePromptVersionId } from '../../schemas/ids.ts'
import { toVersion } from '../../schemas/prompt.ts'
import type { ProxyDeps } from './call.ts'
import type { JsonObject, Operation, Received } from './operation.ts'
import { isObject } from './usage.ts'

const variablesMax = 128

export type PromptLabel = { slug: string; version: string | undefined }

export type PromptOfCall = {
  /** The version the run is linked to; undefined when the call names none. */
  prompt: { registryId: string; versionId: string } | undefined
  named: PromptLabel | undefined
  variables: Record<string, string> | undefined
  /** True when the body's `prompt` is ours alone, and must not reach the upstream. */
  dropsMember: boolean
  /** As they came, or with the rendered version in them. */
  request: JsonObject
  body: Buffer
}

type Asked = {
  caller: Caller
  headers: IncomingHttpHeaders
  received: Received
  /** The conversation or person that keeps its version while shares change. */
  sticky: string
}

type InBody = { label: PromptLabel; given: JsonObject }

/** The one place where a call meets the registry. Throws `invalid_request` or `not_found`. */
export function readPrompt(deps: ProxyDeps, operation: Operation, asked: Asked): PromptOfCall {
  const { request, body } = asked.received
  const inBody = operation.namesPrompt ? readBodyPrompt(operation, request) : undefined
  const named = readHeaderLabel(asked.headers) ?? inBody?.label
  const variables = inBody && toTexts(inBody.given)
  const served = named && serve(deps, operation, { asked, named, inBody })
  if (served) {
    const prompt = { registryId: named.slug, versionId: served.versionId }
    // Written anew: what is sent is the version's text with the caller's, and no longer the bytes of either.
    const rendered = Buffer.from(JSON.stringify(served.request))
    const isSaid = { slug: named.slug, version: served.versionId.slice(named.slug.length + 1) }
    return {
      prompt,
      named: isSaid,
      variables,
      dropsMember: false,
      request: served.request,
      body: rendered,
    }
  }
  const link = (of: PromptLabel) => deps.prompts.link(asked.caller.workspace, of.slug, of.version)
  return {
    prompt: named && { registryId: named.slug, versionId: link(named) },
    named,
    variables,
    dropsMember: inBody !== undefined && operation.passesPrompt !== true,
    request,
    body,
  }
}

/** The request with the version in it that the registry serves under this name; undefined where the name only labels. */
function serve(
  { serving }: ProxyDeps,
  operation: Operation,
  given: { asked: Asked; named: PromptLabel; inBody: InBody | undefined },
): { versionId: string; request: JsonObject } | undefined {
  const { asked, named, inBody } = given
  // A replay brings its messages as they are to be sent, and names the version only to be told apart.
  if (asked.caller.by === 'internal') return undefined
  const { request } = asked.received
  const hasMessages = request.messages !== undefined || request.input !== undefined
  const served =
    operation.withPrompt &&
    serving?.resolve(asked.caller.workspace, {
      ...named,
      variables: inBody?.given ?? {},
      namedIn: inBody ? 'body' : 'header',
      mayPass: operation.passesPrompt === true || inBody === undefined || hasMessages,
      sticky: asked.sticky,
    })
  if (served && operation.withPrompt)
    return { versionId: served.versionId, request: operation.withPrompt(request, served) }
  if (inBody && !hasMessages && operation.passesPrompt !== true) throw noPrompt(inBody.label)
  return undefined
}

function noPrompt({ slug, version }: PromptLabel): Fault {
  const name = version ? `${slug}@${version}` : slug
  return new Fault('not_found', { message: `There is no prompt ${name}.`, param: 'prompt.id' })
}

/** `prompt: {id, version, variables}` in the body. */
function readBodyPrompt(operation: Operation, request: JsonObject): InBody | undefined {
  const { prompt } = request
  if (prompt === undefined || prompt === null) return undefined
  const isOurs = isObject(prompt) && typeof prompt.id === 'string' && isSlug(prompt.id)
  if (operation.passesPrompt && !isOurs) return undefined
  if (!isObject(prompt)) {
    const message = 'prompt must be an object with id, and optionally version and variables.'
    throw new Fault('invalid_request', { message, param: 'prompt' })
  }
  if (typeof prompt.id !== 'string' || !isSlug(prompt.id)) {
    const message = 'prompt.id must be 1 to 64 of a-z, 0-9, dot, dash and underscore.'
    throw new Fault('invalid_request', { message, param: 'prompt.id' })
  }
  const version = readBodyVersion(prompt.version)
  return { label: { slug: prompt.id, version }, given: readVariables(prompt.variables) }
}

function readBodyVersion(given: unknown): string | undefined {
  if (given === undefined || given === null) return undefined
  const text = typeof given === 'number' ? String(given) : given
  const version = typeof text === 'string' ? toVersion(text) : undefined
  if (version && isVersion(version) && typeof text === 'string' && isVersion(text)) return version
  const message = 'prompt.version must be 1 to 64 letters, digits, dots, dashes and underscores.'
  throw new Fault('invalid_request', { message, param: 'prompt.version' })
}

function readVariables(given: unknown): JsonObject {
  if (given === undefined || given === null) return {}
  if (isObject(given) && Object.keys(given).length <= variablesMax) return given
  const message = `prompt.variables must be an object of at most ${variablesMax} variables.`
  throw new Fault('invalid_request', { message, param: 'prompt.variables' })
}

function toTexts(given: JsonObject): Record<string, string> | undefined {
  const entries = Object.entries(given)
  if (entries.length === 0) return undefined
  const texts: Record<string, string> = Object.create(null)
  for (const [name, value] of entries)
    texts[name] = typeof value === 'string' ? value : JSON.stringify(value)
  return texts
}

/** `X-BatchIn-Prompt-Version` (`support@v2`, or a bare version beside the slug), else `X-BatchIn-Prompt`. */
function readHeaderLabel(headers: IncomingHttpHeaders): PromptLabel | undefined {
  const slug = toText(headers['x-batchin-prompt'])
  const version = toText(headers['x-batchin-prompt-version'])
  if (slug !== undefined && !isSlug(slug)) {
    const message = 'X-BatchIn-Prompt must be 1 to 64 of a-z, 0-9, dot, dash and underscore.'
    throw new Fault('invalid_request', { message, param: 'X-BatchIn-Prompt' })
  }
  if (version === undefined || version === 'default')
    return slug ? { slug, version: undefined } : undefined
  const named = parsePromptVersionId(version)
  if (named) return named
  if (slug !== undefined && isVersion(version)) return { slug, version: toVersion(version) }
  const message = 'X-BatchIn-Prompt-Version must be a name and a version, such as support@v2.'
  throw new Fault('invalid_request', { message, param: 'X-BatchIn-Prompt-Version' })
}

function toText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
