// A call whose JSON answer is looked at, and perhaps changed, before anybody else sees it; or asked for once more in other
// words. What needs no change passes as it came.

import type { IncomingHttpHeaders } from 'node:http'
import { isEncoded } from './answer-headers.ts'
import type { OutboundError } from './outbound.ts'
import type { Upstream, UpstreamCall, UpstreamHandler, UpstreamRequest } from './upstream.ts'

export type Change = {
  /** The body in other words, when the upstream refused (400, 422) what it has in these; asked once. */
  again?: (refusal: Buffer) => Buffer | undefined
  /** Of an answer with status 200. */
  changed: (body: Buffer) => Buffer
}

/** Collects the answer; the upstream's own bound on its size holds. */
export class JsonExchange implements UpstreamHandler, UpstreamCall {
  readonly #upstream: Upstream
  readonly #request: UpstreamRequest
  readonly #handler: UpstreamHandler
  readonly #change: Change
  #call: UpstreamCall | undefined
  #chunks: Buffer[] = []
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #isAgain = false

  constructor(
    upstream: Upstream,
    of: { request: UpstreamRequest; handler: UpstreamHandler; change: Change },
  ) {
    this.#upstream = upstream
    this.#request = of.request
    this.#handler = of.handler
    this.#change = of.change
    this.#call = upstream.call(of.request, this)
  }

  pause(): void {
    this.#call?.pause()
  }

  resume(): void {
    this.#call?.resume()
  }

  abort(): void {
    this.#call?.abort()
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
  }

  onData(chunk: Buffer): void {
    this.#chunks.push(chunk)
  }

  onEnd(): void {
    const body = Buffer.concat(this.#chunks)
    const other = this.#otherWords(body)
    if (other) {
      this.#isAgain = true
      this.#chunks = []
      // Also in place of a form.
      const again = { body: other, upload: undefined, contentType: 'application/json' }
      this.#call = this.#upstream.call({ ...this.#request, ...again }, this)
      return
    }
    this.#handler.onHead(this.#status, this.#headers)
    const isWhole = this.#status === 200 && !isEncoded(this.#headers)
    this.#handler.onData(isWhole ? this.#change.changed(body) : body)
    this.#handler.onEnd()
  }

  onError(error: OutboundError): void {
    this.#handler.onError(error)
  }

  #otherWords(body: Buffer): Buffer | undefined {
    const isRefused = this.#status === 400 || this.#status === 422
    return isRefused && !this.#isAgain ? this.#change.again?.(body) : undefined
  }
}
