// The one door outward, and the only importer of undici: bounded connections, deadlines, caps, no redirects.
// A handler gets bytes as they come; what it does not take, it does not get (pause and resume reach the socket).

import type { IncomingHttpHeaders } from 'node:http'
import type { LookupFunction } from 'node:net'
import type { Readable } from 'node:stream'
import { buildConnector, type Dispatcher, errors, Pool } from 'undici'
import { AddressRefused, publicLookup, refuseLiteral } from './addresses.ts'
import { sharedReads } from './shared-reads.ts'

// A call never waits for a socket: above this many at once to one origin it is refused, and the caller may try again.
const connectionsMax = 1024
const connectDeadlineMs = 10_000
const headBytesMax = 32 * 1024
// Origins that came through the API could be many; the idle ones are closed first.
const originsMax = 256

export type OutboundErrorKind =
  | 'address_refused'
  | 'busy'
  | 'connect'
  | 'head_timeout'
  | 'idle_timeout'
  | 'total_timeout'
  | 'too_large'
  | 'broken'
  | 'aborted'

export class OutboundError extends Error {
  readonly kind: OutboundErrorKind

  constructor(kind: OutboundErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'OutboundError'
    this.kind = kind
  }
}

export type OutboundRequest = {
  /** `https://host[:port]`, nothing after it. */
  origin: string
  path: string
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Names and values in turn. */
  headers: string[]
  /** Bytes, or what opens them when the request is about to be sent; `headers` then says how many they are. */
  body: Buffer | (() => Readable) | undefined
  /** From the request's last byte to the answer's head. */
  headTimeoutMs: number
  /** Between two pieces of the answer's body. */
  idleTimeoutMs: number
  bodyBytesMax: number
  /** True for addresses from the environment or a file; others are checked when they are connected to. */
  trusted: boolean
}

/** Called in order: head once, data any number of times, then end or error, once. Nothing after `abort`. */
export type OutboundHandler = {
  onHead(status: number, headers: IncomingHttpHeaders): void
  onData(chunk: Buffer): void
  onEnd(): void
  onError(error: OutboundError): void
}

export type OutboundCall = {
  pause(): void
  resume(): void
  /** Closes the socket of this call; its handler hears nothing more. */
  abort(): void
}

export type Outbound = {
  /** Errors, also those found at once, reach the handler, never before this has returned. */
  dispatch(request: OutboundRequest, handler: OutboundHandler): OutboundCall
  /** Waits for the calls under way, at most `deadlineMs`, then closes their sockets. */
  close(deadlineMs: number): Promise<void>
}

type Origin = { pool: Pool; inFlight: number }

export function createOutbound(): Outbound {
  const origins = new Map<string, Origin>()
  return {
    dispatch(request, handler) {
      const exchange = new Exchange(handler, request.bodyBytesMax)
      try {
        exchange.start(originOf(origins, request), request)
      } catch (error) {
        exchange.fail(toOutboundError(error, false))
      }
      exchange.started = true
      return exchange
    },
    async close(deadlineMs) {
      const pools = [...origins.values()].map(({ pool }) => pool)
      origins.clear()
      const timer = setTimeout(() => {
        for (const pool of pools) void pool.destroy()
      }, deadlineMs)
      await Promise.all(pools.map((pool) => (pool.destroyed ? undefined : pool.close())))
      clearTimeout(timer)
    },
  }
}

/** One call: what undici reports, passed on until it ends or is aborted. */
class Exchange implements Dispatcher.DispatchHandler, OutboundCall {
  /** False while `dispatch` has not returned: its caller does not know this call yet. */
  started = false
  readonly #handler: OutboundHandler
  #bytesLeft: number
  #origin: Origin | undefined
  #controller: Dispatcher.DispatchController | undefined
  #headSeen = false
  #over = false
  #pausedEarly = false

  constructor(handler: OutboundHandler, bodyBytesMax: number) {
    this.#handler = handler
    this.#bytesLeft = bodyBytesMax
  }

  start(origin: Origin, request: OutboundRequest): void {
    if (origin.inFlight >= connectionsMax) {
      throw new OutboundError('busy', 'Too many calls to this upstream are under way.')
    }
    origin.inFlight += 1
    this.#origin = origin
    origin.pool.dispatch(
      {
        path: request.path,
        method: request.method,
        headers: request.headers,
        body: typeof request.body === 'function' ? request.body() : (request.body ?? null),
        headersTimeout: request.headTimeoutMs,
        bodyTimeout: request.idleTimeoutMs,
      },
      this,
    )
  }

  pause(): void {
    if (this.#controller) this.#controller.pause()
    else this.#pausedEarly = true
  }

  resume(): void {
    this.#pausedEarly = false
    this.#controller?.resume()
  }

  abort(): void {
    if (this.#over) return
    this.#settle()
    this.#controller?.abort(new OutboundError('aborted', 'The call was aborted.'))
  }

  fail(error: OutboundError): void {
    if (this.#over) return
    this.#settle()
    if (this.started) this.#handler.onError(error)
    else queueMicrotask(() => this.#handler.onError(error))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#over) controller.abort(new OutboundError('aborted', 'The call was aborted.'))
    else if (this.#pausedEarly) controller.pause()
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (this.#over || status < 200) return
    this.#headSeen = true
    this.#handler.onHead(status, headers)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over) return
    this.#bytesLeft -= chunk.length
    if (this.#bytesLeft < 0) {
      this.fail(new OutboundError('too_large', 'The answer is larger than is allowed.'))
      controller.abort(new OutboundError('aborted', 'The call was aborted.'))
      return
    }
    this.#handler.onData(chunk)
  }

  onResponseEnd(): void {
    if (this.#over) return
    this.#settle()
    try {
      this.#handler.onEnd()
    } catch (error) {
      // Thrown on, it would come back as an error of a call that is over, and nobody be told.
      this.#handler.onError(
        new OutboundError('broken', 'The answer could not be read.', { cause: error }),
      )
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(toOutboundError(error, this.#headSeen))
  }

  #settle(): void {
    this.#over = true
    if (this.#origin) this.#origin.inFlight -= 1
  }
}

function originOf(origins: Map<string, Origin>, request: OutboundRequest): Origin {
  const key = request.trusted ? request.origin : `checked ${request.origin}`
  const known = origins.get(key)
  if (known) return known
  const { hostname, protocol } = new URL(request.origin)
  if (!request.trusted) refuseLiteral(hostname)
  if (origins.size >= originsMax) closeIdle(origins)
  const connect = {
    timeout: connectDeadlineMs,
    ...(request.trusted ? {} : { lookup: publicLookup }),
  }
  const pool = new Pool(request.origin, {
    connections: connectionsMax,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: headBytesMax,
    connect: protocol === 'http:' ? plainly(connect) : connect,
  })
  const origin = { pool, inFlight: 0 }
  origins.set(key, origin)
  return origin
}

function plainly(options: { timeout: number; lookup?: LookupFunction }): buildConnector.connector {
  return (target, opened) => {
    const reads = sharedReads()
    const to = { ...options, port: Number(target.port), onread: reads.onread }
    buildConnector(to)(target, (...outcome) => {
      const [, socket] = outcome
      if (socket) reads.opened(socket)
      opened(...outcome)
    })
  }
}

function closeIdle(origins: Map<string, Origin>): void {
  for (const [key, origin] of origins) {
    if (origin.inFlight > 0) continue
    origins.delete(key)
    void origin.pool.close()
    return
  }
  throw new OutboundError('busy', 'Too many upstreams are in use.')
}

function toOutboundError(error: unknown, headSeen: boolean): OutboundError {
  if (error instanceof OutboundError) return error
  const cause = { cause: error }
  if (error instanceof AddressRefused) {
    return new OutboundError('address_refused', error.message, cause)
  }
  if (error instanceof errors.HeadersTimeoutError) {
    return new OutboundError('head_timeout', 'No answer came in time.', cause)
  }
  if (error instanceof errors.BodyTimeoutError) {
    return new OutboundError('idle_timeout', 'The answer stopped in the middle.', cause)
  }
  if (error instanceof errors.ConnectTimeoutError) {
    return new OutboundError('connect', 'The connection could not be made in time.', cause)
  }
  const code = error instanceof Error && 'code' in error ? error.code : ''
  if (
    !headSeen &&
    typeof code === 'string' &&
    /^(ECONNREFUSED|ENOTFOUND|EAI_|EHOST|ENET|ETIMEDOUT|ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(
      code,
    )
  ) {
    return new OutboundError('connect', 'The connection could not be made.', cause)
  }
  return new OutboundError('broken', 'The connection broke.', cause)
}
