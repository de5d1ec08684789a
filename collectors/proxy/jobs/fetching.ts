// Answers to a GET: held whole when they are small, or passed on as they come.

import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Context } from 'koa'
import { Fault } from '../../../schemas/faults.ts'
import { isEncoded } from '../answer-headers.ts'
import { faultOf } from '../held-answer.ts'
import { OutboundError, type OutboundErrorKind } from '../outbound.ts'
import { answerBytesMax, type UpstreamCall, type UpstreamHandler } from '../upstream.ts'

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

/** Passes an answer of status 200 with `more` headers; any other becomes a fault, thrown while nothing has left. */
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
    if (status !== 200 || isEncoded(headers)) {
      this.#call?.abort()
      this.#res.off('close', this.#onClose)
      this.#done(refusalOf(status))
      return
    }
    const { requestId } = this.#ctx.state
    const length = headers['content-length']
    this.#ctx.respond = false
    this.#res.writeHead(200, [
      'Content-Type',
      headers['content-type'] ?? 'application/octet-stream',
      'X-Content-Type-Options',
      'nosniff',
      'X-Request-Id',
      String(requestId),
      ...this.#more,
      ...(length !== undefined && /^\d{1,15}$/.test(length) ? ['Content-Length', length] : []),
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

function refusalOf(status: number): Fault {
  if (status === 404)
    return new Fault('not_found', { message: 'The upstream does not have it, or not yet.' })
  if (status === 409) return new Fault('conflict', { message: 'It is not there yet.' })
  if (status === 429) return new Fault('rate_limited')
  return new Fault('upstream_error', { message: `The upstream answered with ${status}.` })
}
