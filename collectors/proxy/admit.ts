// From a request to an admitted call: everything the caller can get wrong is refused here, before anything is signed.

import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { isSlug, isVersion, newId, parsePromptVersionId } from '../../schemas/ids.ts'
import { toVersion } from '../../schemas/prompt.ts'
import type { Signer } from '../../schemas/record.ts'
import type { Run } from '../../schemas/run.ts'
import { parseJson } from '../json-body.ts'
import type { Call, Capture, ProxyDeps, Route } from './call.ts'
import { spliceBody } from './json-splice.ts'
import { continueTrace, newSpanId } from './trace-context.ts'
import { isObject } from './usage.ts'

const modelCharsMax = 256
const labelCharsMax = 256
const variablesMax = 128
const defaultRoute: Route = { id: 'default-route', label: 'default', public: true }

export type Arrived = {
  caller: Caller
  requestId: string
  headers: IncomingHttpHeaders
  res: ServerResponse
  body: Buffer
  startedAtMs: number
  startedTick: number
}

type Label = { slug: string; version: string | undefined }

/** The call, or the fault that says what is wrong with the request. Synchronous: nothing of it is awaited. */
export function admit(deps: ProxyDeps, signer: Signer, arrived: Arrived): Call {
  const { headers, caller } = arrived
  const request = parseRequest(arrived.body)
  const model = readModel(request)
  const stream = readStream(request)
  const bodyPrompt = readBodyPrompt(request)
  const label = readHeaderLabel(headers) ?? bodyPrompt?.label
  const options = isObject(request.stream_options) ? request.stream_options : undefined
  const usageWanted = !stream || options?.include_usage === true
  return {
    deps,
    res: arrived.res,
    route: deps.route ?? defaultRoute,
    caller,
    signer,
    requestId: arrived.requestId,
    runId: newId(arrived.startedAtMs),
    recordId: newId(arrived.startedAtMs),
    trace: continueTrace(headers),
    spanId: newSpanId(),
    startedAtMs: arrived.startedAtMs,
    startedTick: arrived.startedTick,
    environment: readEnvironment(headers) ?? deps.environment,
    prompt: label && {
      registryId: label.slug,
      versionId: deps.prompts.link(caller.workspace, label.slug, label.version),
    },
    promptVariables: bodyPrompt?.variables,
    sessionId: readLabel(headers, 'x-batchin-session-id') ?? '',
    userId: readLabel(headers, 'x-batchin-user-id') ?? toText(request.user) ?? '',
    capture: readCapture(headers),
    model,
    stream,
    usageWanted,
    request,
    attributes: attributesOf(arrived, request),
    upstreamBody: spliceBody(arrived.body, {
      addUsage: !usageWanted && (request.stream_options == null || options !== undefined),
      dropPrompt: bodyPrompt !== undefined,
    }),
  }
}

function parseRequest(body: Buffer): Record<string, unknown> {
  const request = parseJson(body)
  if (!isObject(request)) {
    throw new Fault('invalid_request', { message: 'The body must be a JSON object.' })
  }
  return request
}

function readModel(request: Record<string, unknown>): string {
  const { model } = request
  if (typeof model !== 'string' || model === '') {
    throw new Fault('invalid_request', { message: 'model must name a model.', param: 'model' })
  }
  if (model.length > modelCharsMax || !/^[\x21-\x7e]+$/.test(model)) {
    throw new Fault('invalid_request', {
      message: `model must be at most ${modelCharsMax} printable characters without spaces.`,
      param: 'model',
    })
  }
  return model
}

function readStream(request: Record<string, unknown>): boolean {
  const { stream } = request
  if (stream === undefined || stream === null) return false
  if (typeof stream === 'boolean') return stream
  throw new Fault('invalid_request', { message: 'stream must be true or false.', param: 'stream' })
}

/** `prompt: {id, version, variables}` in the body. With messages it labels the run; a template to render is not there yet. */
function readBodyPrompt(
  request: Record<string, unknown>,
): { label: Label; variables: Record<string, string> | undefined } | undefined {
  const { prompt } = request
  if (prompt === undefined || prompt === null) {
    if (request.messages === undefined) {
      throw new Fault('invalid_request', { message: 'messages are missing.', param: 'messages' })
    }
    return undefined
  }
  if (!isObject(prompt)) {
    const message = 'prompt must be an object with id, and optionally version and variables.'
    throw new Fault('invalid_request', { message, param: 'prompt' })
  }
  if (typeof prompt.id !== 'string' || !isSlug(prompt.id)) {
    const message = 'prompt.id must be 1 to 64 of a-z, 0-9, dot, dash and underscore.'
    throw new Fault('invalid_request', { message, param: 'prompt.id' })
  }
  const version = readBodyVersion(prompt.version)
  if (request.messages === undefined) {
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

function readEnvironment(headers: IncomingHttpHeaders): string | undefined {
  const given = toText(headers['x-batchin-environment'])
  if (given === undefined || /^[A-Za-z0-9._-]{1,64}$/.test(given)) return given
  const message =
    'X-BatchIn-Environment must be 1 to 64 letters, digits, dots, dashes and underscores.'
  throw new Fault('invalid_request', { message, param: 'X-BatchIn-Environment' })
}

function readCapture(headers: IncomingHttpHeaders): Capture {
  const given = toText(headers['x-batchin-capture'])
  if (given === undefined) return 'full'
  if (given === 'full' || given === 'usage' || given === 'none') return given
  const message = 'X-BatchIn-Capture must be full, usage or none.'
  throw new Fault('invalid_request', { message, param: 'X-BatchIn-Capture' })
}

function readLabel(headers: IncomingHttpHeaders, name: string): string | undefined {
  return toText(headers[name])?.slice(0, labelCharsMax)
}

/** Sampling parameters by their OTel names, and what ties attempts of one call together. */
function attributesOf(arrived: Arrived, request: Record<string, unknown>): Run['attributes'] {
  const attributes: Run['attributes'] = { 'batchin.request.id': arrived.requestId }
  attributes['batchin.key.id'] = arrived.caller.keyId
  for (const [name, key] of parameterNames) {
    const value = request[name]
    if (typeof value === 'number' || typeof value === 'boolean') attributes[key] = value
    else if (typeof value === 'string') attributes[key] = value.slice(0, labelCharsMax)
  }
  const attempt = Number(arrived.headers['x-stainless-retry-count'])
  if (Number.isSafeInteger(attempt) && attempt > 0)
    attributes['http.request.resend_count'] = attempt
  return attributes
}

const parameterNames: readonly (readonly [string, string])[] = [
  ['temperature', 'gen_ai.request.temperature'],
  ['top_p', 'gen_ai.request.top_p'],
  ['max_tokens', 'gen_ai.request.max_tokens'],
  ['max_completion_tokens', 'gen_ai.request.max_tokens'],
  ['frequency_penalty', 'gen_ai.request.frequency_penalty'],
  ['presence_penalty', 'gen_ai.request.presence_penalty'],
  ['seed', 'gen_ai.request.seed'],
  ['n', 'gen_ai.request.choice.count'],
  ['stream', 'gen_ai.request.stream'],
  ['reasoning_effort', 'openai.request.reasoning_effort'],
  ['service_tier', 'openai.request.service_tier'],
]

function toText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
