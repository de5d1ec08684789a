// From a request to an admitted call: everything the caller can get wrong is refused here, before anything is signed.

import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import type { CaptureLevel } from '../../schemas/config.ts'
import { Fault } from '../../schemas/faults.ts'
import { type Id, newId } from '../../schemas/ids.ts'
import { namedAttribute } from '../../schemas/prompt.ts'
import type { Signer } from '../../schemas/record.ts'
import type { Run } from '../../schemas/run.ts'
import { toUserId } from '../../schemas/user-id.ts'
import type { Call, ProxyDeps } from './call.ts'
import { type InputBound, inputBound, uploadBound } from './input-bound.ts'
import { spliceBody } from './json-splice.ts'
import type { Ask, Grant, Pieces } from './money.ts'
import type { JsonObject, Operation, Received } from './operation.ts'
import { readPrompt } from './prompt-names.ts'
import { checkSampling } from './sampling.ts'
import { continueTrace, newSpanId } from './trace-context.ts'
import { isObject } from './usage.ts'

const modelCharsMax = 256
const labelCharsMax = 256
// From the most that is kept to the least.
const captureLevels: readonly CaptureLevel[] = ['full', 'usage', 'none']

export type Arrived = {
  operation: Operation
  caller: Caller
  requestId: string
  headers: IncomingHttpHeaders
  res: ServerResponse
  received: Received
  startedAtMs: number
  startedTick: number
}

/** The call, or the fault that says what is wrong with the request. Synchronous: nothing of it is awaited. */
export function admit(deps: ProxyDeps, signer: Signer, arrived: Arrived): Call {
  const { headers, caller, operation } = arrived
  const trace = continueTrace(headers)
  const sessionId = readLabel(headers, 'x-batchin-session-id') ?? ''
  const userId = readUserId(headers, arrived.received.request)
  const { prompt, named, variables, dropsMember, request, body } = readPrompt(deps, operation, {
    caller,
    headers,
    received: arrived.received,
    sticky: sessionId || userId || trace.traceId,
  })
  const model = readModel(request)
  const stream =
    operation.events !== undefined && (operation.wantsStream?.(request) ?? readStream(request))
  operation.check(request, caller)
  checkSampling(request, arrived.received.upload !== undefined)
  const route = deps.routes.get(model, toText(headers['x-batchin-route']))
  const options = isObject(request.stream_options) ? request.stream_options : undefined
  const usageWanted = !stream || !operation.usageOnDemand || options?.include_usage === true
  const addUsage = !usageWanted && (request.stream_options == null || options !== undefined)
  // Here and not only where the run is written: what is noted when a call opens is written first.
  const { redaction } = deps
  const attributes = attributesOf(arrived, request)
  if (named) attributes[namedAttribute] = named.version === undefined ? 'name' : 'version'
  redaction?.attributes(attributes)
  return {
    deps,
    operation,
    res: arrived.res,
    route,
    provider: '',
    modelAsked: model,
    keyAsked: undefined,
    attempts: undefined,
    askedTick: undefined,
    answeredTick: undefined,
    endedTick: undefined,
    grant: undefined,
    isSettled: false,
    isDropped: false,
    caller,
    signer,
    committed: undefined,
    requestId: arrived.requestId,
    runId: newId(arrived.startedAtMs),
    recordId: newId(arrived.startedAtMs),
    trace,
    spanId: newSpanId(),
    startedAtMs: arrived.startedAtMs,
    startedTick: arrived.startedTick,
    environment: readEnvironment(headers) ?? deps.environment,
    prompt,
    named,
    sight: { prompt: undefined, isOver: false },
    promptVariables: variables,
    sessionId: redaction ? redaction.text('session.id', sessionId) : sessionId,
    userId: redaction ? redaction.text('user.id', userId) : userId,
    capture: lessOf(route.capture, readCapture(headers)),
    model,
    stream,
    usageWanted,
    request,
    origin: readOrigin(arrived),
    attributes,
    contentType: arrived.received.contentType,
    upload: arrived.received.upload,
    upstreamBody: spliceBody(body, { addUsage, dropPrompt: dropsMember }),
  }
}

/** Asks for what the call may use at most. Throws `rate_limited`, `payment_required` or `invalid_request`; nothing is signed then. */
export function takeMoney(call: Call): Grant | Promise<Grant> | undefined {
  return call.deps.money?.take(new CallAsk(call))
}

/** What a call may use is reckoned when somebody asks: where nothing is limited nobody does. */
class CallAsk implements Ask {
  readonly workspace: string
  readonly keyId: string
  readonly runId: Id
  readonly model: string
  readonly routeId: string
  readonly origin: Ask['origin']
  readonly #call: Call
  #input: InputBound | undefined

  constructor(call: Call) {
    this.workspace = call.caller.workspace
    this.keyId = call.caller.keyId
    this.runId = call.runId
    this.model = call.model
    this.routeId = call.route.id
    this.origin = call.origin
    this.#call = call
  }

  get inputTokensMax(): number {
    return this.#inputBound().tokens
  }

  get inputIsOpen(): boolean {
    return this.#inputBound().isOpen
  }

  get outputTokensMax(): number | undefined {
    const { operation, request } = this.#call
    return operation.outputTokensMax(request)
  }

  get pieces(): Pieces | undefined {
    return this.#call.operation.pieces?.(this.#call, undefined)
  }

  #inputBound(): InputBound {
    const { upload, upstreamBody, request, operation } = this.#call
    this.#input ??= upload
      ? uploadBound(upload, operation)
      : inputBound(upstreamBody, request, operation)
    return this.#input
  }
}

function readModel(request: JsonObject): string {
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

function readStream(request: JsonObject): boolean {
  const { stream } = request
  if (stream === undefined || stream === null) return false
  if (typeof stream === 'boolean') return stream
  throw new Fault('invalid_request', { message: 'stream must be true or false.', param: 'stream' })
}

/** Anybody may claim to be a replay; it counts from this process alone. */
function readOrigin({ caller, headers }: Arrived): Run['origin'] {
  return caller.by === 'internal' && headers['x-batchin-origin'] === 'replay' ? 'replay' : ''
}

function readEnvironment(headers: IncomingHttpHeaders): string | undefined {
  const given = toText(headers['x-batchin-environment'])
  if (given === undefined || /^[A-Za-z0-9._-]{1,64}$/.test(given)) return given
  const message =
    'X-BatchIn-Environment must be 1 to 64 letters, digits, dots, dashes and underscores.'
  throw new Fault('invalid_request', { message, param: 'X-BatchIn-Environment' })
}

/** A caller may ask for less to be kept than the route keeps, never for more. */
function lessOf(a: CaptureLevel, b: CaptureLevel): CaptureLevel {
  return captureLevels.indexOf(a) > captureLevels.indexOf(b) ? a : b
}

function readCapture(headers: IncomingHttpHeaders): CaptureLevel {
  const given = toText(headers['x-batchin-capture'])
  if (given === undefined) return 'full'
  if (given === 'full' || given === 'usage' || given === 'none') return given
  const message = 'X-BatchIn-Capture must be full, usage or none.'
  throw new Fault('invalid_request', { message, param: 'X-BatchIn-Capture' })
}

function readLabel(headers: IncomingHttpHeaders, name: string): string | undefined {
  return toText(headers[name])?.slice(0, labelCharsMax)
}

function readUserId(headers: IncomingHttpHeaders, { user }: JsonObject): string {
  return toUserId(toText(headers['x-batchin-user-id']) ?? toText(user) ?? '')
}

/** Sampling parameters by their OTel names, and what ties attempts of one call together. */
function attributesOf(arrived: Arrived, request: JsonObject): Run['attributes'] {
  const attributes: Run['attributes'] = { 'batchin.request.id': arrived.requestId }
  attributes['batchin.key.id'] = arrived.caller.keyId
  for (const [name, key] of parameterNames) {
    const value = request[name]
    if (typeof value === 'number' || typeof value === 'boolean') attributes[key] = value
    else if (typeof value === 'string') attributes[key] = value.slice(0, labelCharsMax)
  }
  // Whoever may not be replayed says so in the request's metadata, as OpenAI's API has it.
  const metadata = isObject(request.metadata) ? request.metadata : undefined
  const noReplay = metadata?.no_replay
  if (noReplay === true || noReplay === 'true') attributes['batchin.no_replay'] = true
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
