// Answers to a GET: held whole when they are small, or passed on as they come.

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Context } from 'koa'
import { Fault } from '../../../schemas/faults.ts'
import { isEncoded } from '../answer-headers.ts'
import { OutboundError, type OutboundErrorKind } from '../outbound.ts'
import { answerBytesMax, type UpstreamCall, type UpstreamHandler } from '../upstream.ts'
import { faultOf } from '../upstream-faults.ts'

export type Fetched = { status: number; headers: IncomingHttpHeaders; body: Buffer }

/** Rejects with an OutboundError, also when the signal aborts. */
export function fetchWhole(
  ask: (handler: UpstreamHandler) => UpstreamCall,
  signal?: AbortSignal,
): Promise<Fetched> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    let status = 0
    let headers: IncomingHttpHeaders = {}
    const call = ask({
      onHead(given, of) {
        status = given
        headers = of
      },
      onData(chunk) {
        bytes += chunk.length
        if (bytes > answerBytesMax) end('too_large', 'The answer is larger than is allowed.')
        else chunks.push(chunk)
      },
      onEnd: () => resolve({ status, headers, body: Buffer.concat(chunks) }),
      onError: reject,
    })
    // Of a call that was aborted nothing more is heard.
    const end = (kind: OutboundErrorKind, message: string) => {
      call.abort()
      reject(new OutboundError(kind, message))
    }
    const giveUp = () => end('aborted', 'The call was aborted.')
    if (signal?.aborted) giveUp()
    else signal?.addEventListener('abort', giveUp, { once: true })
  })
}

/** Which bytes a player asks for, to be asked of the upstream; empty for all of them, and for what is no range of bytes. */
export function rangeOf({ headers }: IncomingMessage): string[] {
  const { range, 'if-range': ifRange } = headers
  if (range === undefined || !/^bytes=[\d, -]{1,256}$/.test(range)) return []
  return typeof ifRange === 'string' ? ['range', range, 'if-range', ifRange] : ['range', range]
}

/**
 * Passes an answer of status 200, or 206 to whoever asked for a range, with `more` headers; any other becomes a fault, thrown
 * while nothing has left.
 */
export function passBytes(
  ctx: Context,
  ask: (handler: UpstreamHandler) => UpstreamCall,
  more: string[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const pass = new BytePass(ctx, more, (fault) => (fault ? reject(fault) : resolve()))
    pass.start(ask)
  })
}

class BytePass implements UpstreamHandler {
  #call: UpstreamCall | undefined
  readonly #ctx: Context
  readonly #res: ServerResponse
  readonly #more: string[]
  readonly #done: (fault?: Fault) => void
  readonly #onDrain = () => this.#call?.resume()
  readonly #onClose = () => {
    if (this.#res.writableFinished) return
    this.#call?.abort()
    this.#done()
  }

  constructor(ctx: Context, more: string[], done: (fault?: Fault) => void) {
    this.#ctx = ctx
    this.#res = ctx.res
    this.#more = more
    this.#done = done
  }

  /** From here on whoever leaves stops the upstream: also before its head, when nothing would be written that could fail. */
  start(ask: (handler: UpstreamHandler) => UpstreamCall): void {
    if (this.#res.destroyed) {
      this.#done()
      return
    }
    this.#res.once('close', this.#onClose)
    this.#call = ask(this)
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    const isPart = status === 206 && rangeOf(this.#ctx.req).length > 0
    if ((status !== 200 && !isPart) || isEncoded(headers)) {
      this.#call?.abort()
      this.#res.off('close', this.#onClose)
      this.#done(refusalOf(status, headers))
      return
    }
    const { requestId } = this.#ctx.state
    this.#ctx.respond = false
    this.#res.writeHead(status, [
      'Content-Type',
      headers['content-type'] ?? 'application/octet-stream',
      'X-Content-Type-Options',
      'nosniff',
      'X-Request-Id',
      String(requestId),
      ...this.#more,
      ...passedOf(headers),
    ])
  }

  onData(chunk: Buffer): void {
    if (this.#res.write(chunk)) return
    this.#call?.pause()
    this.#res.once('drain', this.#onDrain)
  }

  onEnd(): void {
    this.#res.end()
    this.#done()
  }

  onError(error: OutboundError): void {
    this.#res.off('close', this.#onClose)
    if (!this.#res.headersSent) {
      this.#done(faultOf(error))
      return
    }
    // Only a broken connection tells that these bytes are not all.
    this.#res.destroy()
    this.#done()
  }
}

// What says which bytes these are, in the only forms that they have (RFC 9110, 8.6, 8.8 and 14).
const passed: readonly (readonly [string, RegExp])[] = [
  ['content-length', /^\d{1,15}$/],
  ['content-range', /^bytes (\d{1,15}-\d{1,15}|\*)\/(\d{1,15}|\*)$/],
  ['accept-ranges', /^(bytes|none)$/],
  ['etag', /^(W\/)?"[\x21\x23-\x7e]{0,256}"$/],
  ['last-modified', /^[A-Za-z0-9:, ]{1,64}$/],
]

function passedOf(headers: IncomingHttpHeaders): string[] {
  return passed.flatMap(([name, form]) => {
    const value = headers[name]
    return typeof value === 'string' && form.test(value) ? [name, value] : []
  })
}

function refusalOf(status: number, headers: IncomingHttpHeaders): Fault {
  if (status === 416) {
    const size = /^bytes \*\/\d{1,15}$/.exec(headers['content-range'] ?? '')?.[0]
    return new Fault('range_not_satisfiable', size ? { headers: { 'Content-Range': size } } : {})
  }
  if (status === 404)
    return new Fault('not_found', { message: 'The upstream does not have it, or not yet.' })
  if (status === 409) return new Fault('conflict', { message: 'It is not there yet.' })
  if (status === 429) return new Fault('rate_limited')
  return new Fault('upstream_error', { message: `The upstream answered with ${status}.` })
}
