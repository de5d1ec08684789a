// What answers a call: a provider behind one interface, so that the proxy does not know which it has.

import type { IncomingHttpHeaders } from 'node:http'
import { convertingUpstream } from './embeddings-form.ts'
import { videosUpstream } from './jobs/video-form.ts'
import type { Operation } from './operation.ts'
import type { Outbound, OutboundCall, OutboundHandler } from './outbound.ts'
import { responsesUpstream } from './responses/translated.ts'
import type { Upload } from './upload.ts'

// An answer is held whole before it leaves (JSON) or counted as it passes (streams); neither is without end.
export const answerBytesMax = 64 * 1024 * 1024
const streamBytesMax = 1024 * 1024 * 1024
// Nothing is thought of for a GET: what is there is given, or not.
const getTimeoutMs = 30_000

export type UpstreamRequest = {
  operation: Operation
  body: Buffer
  /** The body where it is on the disk; `body` is empty then. */
  upload?: Upload | undefined
  contentType: string
  /** The client's own headers, from which the provider picks the few it passes on. */
  clientHeaders: IncomingHttpHeaders
  /** Of the run's own span, which is the parent of whatever the upstream records. */
  traceparent: string
  traceState: string
  requestId: string
  stream: boolean
  apiKey: string | undefined
  /** To the head of the answer. */
  headTimeoutMs: number
  /** Between two pieces of it. */
  idleTimeoutMs: number
}

/** Of what a call has started, or made. */
export type UpstreamGet = {
  /** Below the provider's base URL, ids encoded. */
  path: string
  accept: string
  clientHeaders: IncomingHttpHeaders
  requestId: string
  apiKey: string | undefined
  /** Names and values in turn, of which bytes are asked for; absent: all of them. */
  range?: readonly string[]
}

export type UpstreamCall = OutboundCall
export type UpstreamHandler = OutboundHandler

export type Upstream = {
  /** As shown in headers, records and pages. */
  readonly provider: string
  call(request: UpstreamRequest, handler: UpstreamHandler): UpstreamCall
  get(request: UpstreamGet, handler: UpstreamHandler): UpstreamCall
}

/** Everything else a client sends stays here: its key for us, cookies, hop-by-hop headers, addresses it names. */
const forwardedHeaders = ['openai-organization', 'openai-project', 'openai-beta'] as const

/** A provider that speaks OpenAI's API at an address the operator gave. */
export function openaiUpstream(options: {
  outbound: Outbound
  /** `https://api.openai.com/v1`; a query string stays at the end of every path. */
  baseUrl: string
  provider: string
  /** Whether it has `/responses`; undefined: the first request finds out. Without it the chat route is translated. */
  responses?: boolean | undefined
}): Upstream {
  const base = new URL(options.baseUrl)
  // Each read of a URL's member makes its text anew.
  const { origin, search } = base
  const prefix = base.pathname.replace(/\/+$/, '')
  const { outbound, provider } = options
  const plain: Upstream = {
    provider,
    call(request, handler) {
      return outbound.dispatch(
        {
          origin,
          path: `${prefix}${request.operation.upstreamPath}${search}`,
          method: 'POST',
          headers: toHeaders(request),
          body: request.upload ? request.upload.open : request.body,
          headTimeoutMs: request.headTimeoutMs,
          idleTimeoutMs: request.idleTimeoutMs,
          bodyBytesMax: request.stream ? streamBytesMax : answerBytesMax,
          trusted: true,
        },
        handler,
      )
    },
    get(request, handler) {
      const [path, query] = request.path.split('?')
      const searched =
        query === undefined ? search : `${search === '' ? '?' : `${search}&`}${query}`
      return outbound.dispatch(
        {
          origin,
          path: `${prefix}${path}${searched}`,
          method: 'GET',
          headers: toGetHeaders(request),
          body: undefined,
          headTimeoutMs: getTimeoutMs,
          idleTimeoutMs: getTimeoutMs,
          bodyBytesMax: streamBytesMax,
          trusted: true,
        },
        handler,
      )
    },
  }
  return videosUpstream(convertingUpstream(responsesUpstream(plain, options.responses)))
}

function toHeaders(request: UpstreamRequest): string[] {
  const whole = request.operation.accept ?? 'application/json'
  const accept = request.stream ? 'text/event-stream' : whole
  const headers = ['accept-encoding', 'identity', 'user-agent', 'runledger', 'accept', accept]
  headers.push('content-type', request.contentType, 'traceparent', request.traceparent)
  if (request.upload) headers.push('content-length', String(request.upload.bytes))
  if (request.apiKey !== undefined) headers.push('authorization', `Bearer ${request.apiKey}`)
  if (request.traceState !== '') headers.push('tracestate', request.traceState)
  headers.push('x-request-id', request.requestId)
  pushForwarded(headers, request.clientHeaders)
  return headers
}

function toGetHeaders(request: UpstreamGet): string[] {
  const headers = ['accept-encoding', 'identity', 'user-agent', 'runledger']
  headers.push('accept', request.accept, 'x-request-id', request.requestId)
  if (request.apiKey !== undefined) headers.push('authorization', `Bearer ${request.apiKey}`)
  if (request.range) headers.push(...request.range)
  pushForwarded(headers, request.clientHeaders)
  return headers
}

function pushForwarded(headers: string[], clientHeaders: IncomingHttpHeaders): void {
  for (const name of forwardedHeaders) {
    const value = clientHeaders[name]
    if (typeof value === 'string') headers.push(name, value)
  }
}
