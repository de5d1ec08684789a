// A provider that has no /responses, as one that has: requests go to its chat route, answers come back as Responses. What
// cannot be translated is answered 400 here, as an upstream would answer it.

import type { IncomingHttpHeaders } from 'node:http'
import { Fault } from '../../../schemas/faults.ts'
import { isEncoded, isEventStream } from '../answer-headers.ts'
import { parseObject } from '../completion.ts'
import { chat } from '../operations.ts'
import { OutboundError } from '../outbound.ts'
import type { Upstream, UpstreamCall, UpstreamHandler, UpstreamRequest } from '../upstream.ts'
import { isObject } from '../usage.ts'
import { toResponseOf } from './from-chat.ts'
import { responsesPath } from './operation.ts'
import { ChatStream } from './stream-from-chat.ts'
import { toChatRequest } from './to-chat.ts'

type Fields = Record<string, unknown>

/** By `performance.now()`. */
type Known = { lacksRouteUntil: number }

// That a provider has no such route may have been a misunderstanding, or change: it is asked again after this long.
const believedMs = 10 * 60_000
// An error body; what comes after it is read by nobody.
const refusalBytesMax = 64 * 1024

/**
 * `has`: whether the provider has the route. Undefined: it is asked, and translated for a while when it says there is no such
 * route.
 */
export function responsesUpstream(upstream: Upstream, has: boolean | undefined): Upstream {
  if (has) return upstream
  const known = { lacksRouteUntil: has === false ? Number.POSITIVE_INFINITY : 0 }
  return {
    ...upstream,
    call(request, handler) {
      if (request.operation.upstreamPath !== responsesPath) return upstream.call(request, handler)
      if (performance.now() < known.lacksRouteUntil)
        return callTranslated(upstream, request, handler)
      return new AskedCall(upstream, { request, handler, known })
    },
  }
}

/** One call of a Responses request through the chat route. */
function callTranslated(
  upstream: Upstream,
  request: UpstreamRequest,
  handler: UpstreamHandler,
): UpstreamCall {
  const asked: unknown = JSON.parse(request.body.toString()) // the proxy has parsed the same bytes before
  if (!isObject(asked)) return answerLater(handler, new Fault('invalid_request'))
  let body: Buffer
  try {
    body = Buffer.from(JSON.stringify(toChatRequest(asked)))
  } catch (error) {
    if (error instanceof Fault) return answerLater(handler, error)
    throw error
  }
  const translated = new TranslatedAnswer(asked, request.requestId, handler)
  const call = upstream.call({ ...request, operation: chat, body }, translated)
  translated.call = call
  return call
}

/** A call to a provider of which nobody knows yet whether it has the route. */
class AskedCall implements UpstreamHandler, UpstreamCall {
  readonly #upstream: Upstream
  readonly #request: UpstreamRequest
  readonly #handler: UpstreamHandler
  readonly #known: Known
  #call: UpstreamCall
  #isPaused = false
  /** Set while the answer may be that there is no such route: it is held until its body has told. */
  #refusal: { status: number; headers: IncomingHttpHeaders; chunks: Buffer[] } | undefined

  constructor(
    upstream: Upstream,
    of: { request: UpstreamRequest; handler: UpstreamHandler; known: Known },
  ) {
    this.#upstream = upstream
    this.#request = of.request
    this.#handler = of.handler
    this.#known = of.known
    this.#call = upstream.call(of.request, this)
  }

  pause(): void {
    this.#isPaused = true
    this.#call.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#call.resume()
  }

  abort(): void {
    this.#call.abort()
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    if (status === 404 || status === 405 || status === 501) {
      this.#refusal = { status, headers, chunks: [] }
    } else this.#handler.onHead(status, headers)
  }

  onData(chunk: Buffer): void {
    if (!this.#refusal) this.#handler.onData(chunk)
    else if (this.#refusal.chunks.reduce((sum, it) => sum + it.length, 0) < refusalBytesMax) {
      this.#refusal.chunks.push(chunk)
    }
  }

  onEnd(): void {
    if (!this.#refusal) {
      this.#handler.onEnd()
      return
    }
    const { status, headers, chunks } = this.#refusal
    const body = Buffer.concat(chunks)
    if (isOfRoute(body)) {
      this.#known.lacksRouteUntil = performance.now() + believedMs
      this.#call = callTranslated(this.#upstream, this.#request, this.#handler)
      if (this.#isPaused) this.#call.pause()
      return
    }
    this.#handler.onHead(status, headers)
    this.#handler.onData(body)
    this.#handler.onEnd()
  }

  onError(error: OutboundError): void {
    this.#handler.onError(error)
  }
}

/** True when nothing in the body says what was missing: an unknown model, or an unknown response, has a code or a parameter. */
function isOfRoute(body: Buffer): boolean {
  const answer = parseObject(body)
  const error = isObject(answer?.error) ? answer.error : (answer ?? {})
  return error.code == null && error.param == null
}

/** Stands between the chat route and whoever wants a Response. */
class TranslatedAnswer implements UpstreamHandler {
  call: UpstreamCall | undefined
  readonly #asked: Fields
  readonly #requestId: string
  readonly #handler: UpstreamHandler
  readonly #chunks: Buffer[] = []
  #mode: 'as it is' | 'whole' | ChatStream = 'as it is'
  #over = false

  constructor(asked: Fields, requestId: string, handler: UpstreamHandler) {
    this.#asked = asked
    this.#requestId = requestId
    this.#handler = handler
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    // Errors are the same in both forms, and what cannot be read is for the proxy to refuse.
    if (status === 200 && !isEncoded(headers)) {
      this.#mode = isEventStream(headers) ? new ChatStream(this.#asked, this.#requestId) : 'whole'
    }
    this.#handler.onHead(status, headers)
  }

  onData(chunk: Buffer): void {
    if (this.#over) return
    if (this.#mode === 'as it is') this.#handler.onData(chunk)
    else if (this.#mode === 'whole') this.#chunks.push(chunk)
    else {
      this.#pass(this.#mode.push(chunk))
      if (this.#mode.overflow) this.#giveUp()
    }
  }

  onEnd(): void {
    if (this.#over) return
    if (this.#mode === 'whole') this.#pass(this.#toResponse(Buffer.concat(this.#chunks)))
    else if (this.#mode !== 'as it is') this.#pass(this.#mode.end())
    this.#handler.onEnd()
  }

  onError(error: OutboundError): void {
    if (!this.#over) this.#handler.onError(error)
  }

  #pass(bytes: Buffer): void {
    if (bytes.length > 0) this.#handler.onData(bytes)
  }

  #giveUp(): void {
    this.#over = true
    this.call?.abort()
    this.#handler.onError(new OutboundError('too_large', 'The answer is larger than is allowed.'))
  }

  /** What is no chat completion passes as it is: the proxy says what it thinks of it. */
  #toResponse(body: Buffer): Buffer {
    const response = toResponseOf(this.#asked, parseObject(body), this.#requestId)
    return response ? Buffer.from(JSON.stringify(response)) : body
  }
}

/** An answer of our own, never before `call` has returned. */
function answerLater(handler: UpstreamHandler, fault: Fault): UpstreamCall {
  const turn = setImmediate(() => {
    handler.onHead(fault.status, { 'content-type': 'application/json' })
    handler.onData(Buffer.from(JSON.stringify(fault.toBody())))
    handler.onEnd()
  })
  return { pause() {}, resume() {}, abort: () => clearImmediate(turn) }
}
