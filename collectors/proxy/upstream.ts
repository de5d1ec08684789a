// What answers a call: a provider behind one interface, so that the proxy does not know which it has.

import type { IncomingHttpHeaders } from 'node:http'
import { convertingUpstream } from './embeddings-form.ts'
import type { Operation } from './operation.ts'
import type { Outbound, OutboundCall, OutboundHandler } from './outbound.ts'
import { responsesUpstream } from './responses/translated.ts'

// An answer is held whole before it leaves (JSON) or counted as it passes (streams); neither is without end.
export const answerBytesMax = 64 * 1024 * 1024
const streamBytesMax = 1024 * 1024 * 1024

export type UpstreamRequest = {
  operation: Operation
  body: Buffer
  contentType: string
  /** The client's own headers, from which the provider picks the few it passes on. */
  clientHeaders: IncomingHttpHeaders
  /** Of the run's own span, which is the parent of whatever the upstream records. */
  traceparent: string
  traceState: string
  requestId: string
  stream: boolean
}

export type UpstreamCall = OutboundCall
export type UpstreamHandler = OutboundHandler

export type Upstream = {
  /** As shown in headers, records and pages. */
  readonly provider: string
  call(request: UpstreamRequest, handler: UpstreamHandler): UpstreamCall
}

/** Everything else a client sends stays here: its key for us, cookies, hop-by-hop headers, addresses it names. */
const forwardedHeaders = ['openai-organization', 'openai-project', 'openai-beta'] as const

/** A provider that speaks OpenAI's API at an address the operator gave. */
export function openaiUpstream(options: {
  outbound: Outbound
  /** `https://api.openai.com/v1`; a query string stays at the end of every path. */
  baseUrl: string
  apiKey: string | undefined
  provider?: string
  /** Of a stream to its head; then between two pieces of it. */
  ttftTimeoutMs?: number
  /** Of an answer that is no stream to its head, which leaves when all of it has been thought of: what the SDKs wait. */
  wholeTimeoutMs?: number
  idleTimeoutMs?: number
  /** Whether it has `/responses`; undefined: the first request finds out. Without it the chat route is translated. */
  responses?: boolean
}): Upstream {
  const base = new URL(options.baseUrl)
  // Each read of a URL's member makes its text anew.
  const { origin, search } = base
  const prefix = base.pathname.replace(/\/+$/, '')
  const fixed = ['accept-encoding', 'identity', 'user-agent', 'runledger']
  if (options.apiKey) fixed.push('authorization', `Bearer ${options.apiKey}`)
  const { outbound, ttftTimeoutMs = 30_000, idleTimeoutMs = 60_000 } = options
  const { wholeTimeoutMs = 600_000 } = options
  const plain: Upstream = {
    provider: options.provider ?? 'openai',
    call(request, handler) {
      return outbound.dispatch(
        {
          origin,
          path: `${prefix}${request.operation.upstreamPath}${search}`,
          method: 'POST',
          headers: toHeaders(fixed, request),
          body: request.body,
          headTimeoutMs: request.stream ? ttftTimeoutMs : wholeTimeoutMs,
          idleTimeoutMs,
          bodyBytesMax: request.stream ? streamBytesMax : answerBytesMax,
          trusted: true,
        },
        handler,
      )
    },
  }
  return convertingUpstream(responsesUpstream(plain, options.responses))
}

function toHeaders(fixed: string[], request: UpstreamRequest): string[] {
  const headers = [...fixed, 'accept', request.stream ? 'text/event-stream' : 'application/json']
  headers.push('content-type', request.contentType, 'traceparent', request.traceparent)
  if (request.traceState !== '') headers.push('tracestate', request.traceState)
  headers.push('x-request-id', request.requestId)
  for (const name of forwardedHeaders) {
    const value = request.clientHeaders[name]
    if (typeof value === 'string') headers.push(name, value)
  }
  return headers
}
