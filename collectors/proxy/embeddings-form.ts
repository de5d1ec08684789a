// Embeddings in the form that was asked for: base64 of little-endian float32, or lists of numbers. An upstream that knows
// only one of them is asked again for that one, and its answer is converted; an answer in the right form passes as it came.

import type { IncomingHttpHeaders } from 'node:http'
import { isEncoded } from './answer-headers.ts'
import type { OutboundError } from './outbound.ts'
import type { Upstream, UpstreamCall, UpstreamHandler, UpstreamRequest } from './upstream.ts'
import { isObject } from './usage.ts'

type Form = 'base64' | 'float'

const path = '/embeddings'
const floatBytes = 4
const lookBytes = 4096

export function convertingUpstream(upstream: Upstream): Upstream {
  return {
    ...upstream,
    call(request, handler) {
      if (request.operation.upstreamPath !== path) return upstream.call(request, handler)
      const call = new EmbeddingsCall(upstream, request, handler)
      call.start(request)
      return call
    },
  }
}

class EmbeddingsCall implements UpstreamHandler, UpstreamCall {
  readonly #upstream: Upstream
  readonly #request: UpstreamRequest
  readonly #handler: UpstreamHandler
  readonly #asked: Record<string, unknown>
  readonly #wanted: Form
  #call: UpstreamCall | undefined
  #chunks: Buffer[] = []
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #retried = false

  constructor(upstream: Upstream, request: UpstreamRequest, handler: UpstreamHandler) {
    this.#upstream = upstream
    this.#request = request
    this.#handler = handler
    const asked: unknown = JSON.parse(request.body.toString()) // the proxy has parsed the same bytes before
    this.#asked = isObject(asked) ? asked : {}
    this.#wanted = this.#asked.encoding_format === 'base64' ? 'base64' : 'float'
  }

  start(request: UpstreamRequest): void {
    this.#chunks = []
    this.#call = this.#upstream.call(request, this)
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
    if (this.#isRefusedForm(body)) {
      this.#retried = true
      const plain = { ...this.#asked, encoding_format: 'float' }
      this.start({ ...this.#request, body: Buffer.from(JSON.stringify(plain)) })
      return
    }
    this.#handler.onHead(this.#status, this.#headers)
    const isWhole = this.#status === 200 && !isEncoded(this.#headers)
    this.#handler.onData(isWhole ? inForm(body, this.#wanted) : body)
    this.#handler.onEnd()
  }

  onError(error: OutboundError): void {
    this.#handler.onError(error)
  }

  /** Both official SDKs ask for base64 when their users asked for nothing. */
  #isRefusedForm(body: Buffer): boolean {
    const isRefused = this.#status === 400 || this.#status === 422
    return (
      isRefused &&
      !this.#retried &&
      this.#wanted === 'base64' &&
      /encoding_format|base64/.test(body.toString('latin1', 0, 4096))
    )
  }
}

/** The same bytes when every vector is in that form already, or when the body is no list of embeddings. */
export function inForm(body: Buffer, form: Form): Buffer {
  // The first vector shows the form of all of them, without parsing millions of digits.
  const [, opening] = /"embedding"\s*:\s*(["[])/.exec(body.toString('latin1', 0, lookBytes)) ?? []
  if (opening === (form === 'base64' ? '"' : '[')) return body
  let answer: unknown
  try {
    answer = JSON.parse(body.toString())
  } catch {
    return body // the proxy says what it thinks of it
  }
  if (!isObject(answer) || !Array.isArray(answer.data)) return body
  let changed = false
  for (const item of answer.data) {
    if (!isObject(item)) continue
    const { embedding } = item
    if (form === 'base64' && Array.isArray(embedding)) item.embedding = toBase64(embedding)
    else if (form === 'float' && typeof embedding === 'string') item.embedding = toFloats(embedding)
    changed ||= item.embedding !== embedding
  }
  return changed ? Buffer.from(JSON.stringify(answer)) : body
}

function toBase64(vector: unknown[]): string {
  const bytes = Buffer.allocUnsafe(vector.length * floatBytes)
  vector.forEach((value, i) => {
    bytes.writeFloatLE(Number(value), i * floatBytes)
  })
  return bytes.toString('base64')
}

function toFloats(text: string): number[] {
  const bytes = Buffer.from(text, 'base64')
  const vector: number[] = []
  for (let at = 0; at + floatBytes <= bytes.length; at += floatBytes)
    vector.push(bytes.readFloatLE(at))
  return vector
}
