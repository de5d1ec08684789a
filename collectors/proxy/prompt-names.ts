// Which prompt a call says it uses, in its headers or its body, and which version that is.

import type { IncomingHttpHeaders } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { isSlug, isVersion, parsePromptVersionId } from '../../schemas/ids.ts'
import { toVersion } from '../../schemas/prompt.ts'
import type { ProxyDeps } from './call.ts'
import type { JsonObject, Operation } from './operation.ts'
import { isObject } from './usage.ts'

const variablesMax = 128

export type PromptOfCall = {
  /** The version the run is linked to; undefined when the call names none. */
  prompt: { registryId: string; versionId: string } | undefined
  variables: Record<string, string> | undefined
  /** True when the body's `prompt` is ours alone, and must not reach the upstream. */
  dropsMember: boolean
}

type Asked = { caller: Caller; headers: IncomingHttpHeaders; request: JsonObject }

type Label = { slug: string; version: string | undefined }

/** The one place where a call meets the registry. Throws `invalid_request` or `not_found`. */
export function readPrompt(deps: ProxyDeps, operation: Operation, asked: Asked): PromptOfCall {
  const inBody = operation.namesPrompt ? readBodyPrompt(operation, asked.request) : undefined
  const label = readHeaderLabel(asked.headers) ?? inBody?.label
  const link = (of: Label) => deps.prompts.link(asked.caller.workspace, of.slug, of.version)
  return {
    prompt: label && { registryId: label.slug, versionId: link(label) },
    variables: inBody?.variables,
    dropsMember: inBody !== undefined && operation.passesPrompt !== true,
  }
}

/** `prompt: {id, version, variables}` in the body. With messages it labels the run; a template to render is not there yet. */
function readBodyPrompt(
  operation: Operation,
  request: JsonObject,
): { label: Label; variables: Record<string, string> | undefined } | undefined {
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
  if (request.messages === undefined && operation.passesPrompt !== true) {
    const name = version ? `${prompt.id}@${version}` : prompt.id
    throw new Fault('not_found', { message: `There is no prompt ${name}.`, param: 'prompt.id' })
  }
  return { label: { slug: prompt.id, version }, variables: readVariables(prompt.variables) }
}

function readBodyVersion(given: unknown): string | undefined {
  if (given === undefined || given === null) return undefined
  const text = typeof given === 'number' ? String(given) : given
  const version = typeof text === 'string' ? toVersion(text) : undefined
  if (version && isVersion(version) && typeof text === 'string' && isVersion(text)) return version
  const message = 'prompt.version must be 1 to 64 letters, digits, dots, dashes and underscores.'
  throw new Fault('invalid_request', { message, param: 'prompt.version' })
}

function readVariables(given: unknown): Record<string, string> | undefined {
  if (given === undefined || given === null) return undefined
  const entries = isObject(given) ? Object.entries(given) : undefined
  if (!entries || entries.length > variablesMax) {
    const message = `prompt.variables must be an object of at most ${variablesMax} variables.`
    throw new Fault('invalid_request', { message, param: 'prompt.variables' })
  }
  const variables: Record<string, string> = Object.create(null)
  for (const [name, value] of entries) {
    variables[name] = typeof value === 'string' ? value : JSON.stringify(value)
  }
  return variables
}

/** `X-BatchIn-Prompt-Version` (`support@v2`, or a bare version beside the slug), else `X-BatchIn-Prompt`. */
function readHeaderLabel(headers: IncomingHttpHeaders): Label | undefined {
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
