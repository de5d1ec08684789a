// One small exchange through the outbound door, with a deadline for the whole of it and a cap on its answer: destinations,
// webhooks, the models that an upstream offers.

import type { IncomingHttpHeaders } from 'node:http'
import { type Outbound, OutboundError } from '../collectors/proxy/outbound.ts'

// OTLP bounds a response; nobody else has more to say to us either.
const answerBytesMax = 4 * 1024 * 1024

type Ask = {
  url: URL
  /** Names and values in turn. */
  headers: string[]
  deadlineMs: number
  /** True for addresses of the operator; others are checked when they are connected to. */
  isTrusted: boolean
  signal: AbortSignal
}

export type PostAnswer = { status: number; headers: IncomingHttpHeaders; body: Buffer }

/** Any status is an answer. Rejects with OutboundError when none came, or when `signal` aborts. No redirect is followed. */
export function post(outbound: Outbound, request: Ask & { body: Buffer }): Promise<PostAnswer> {
  return exchange(outbound, { ...request, method: 'POST' })
}

/** As `post`, of what is only read. */
export function get(outbound: Outbound, request: Ask): Promise<PostAnswer> {
  return exchange(outbound, { ...request, method: 'GET', body: undefined })
}

function exchange(
  outbound: Outbound,
  request: Ask & { method: 'GET' | 'POST'; body: Buffer | undefined },
): Promise<PostAnswer> {
  const { url, deadlineMs, signal } = request
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const answer: PostAnswer = { status: 0, headers: {}, body: Buffer.alloc(0) }
    const settle = (give: () => void) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      give()
    }
    const call = outbound.dispatch(
      {
        origin: url.origin,
        path: url.pathname + url.search,
        method: request.method,
        headers: request.headers,
        body: request.body,
        headTimeoutMs: deadlineMs,
        idleTimeoutMs: deadlineMs,
        bodyBytesMax: answerBytesMax,
        trusted: request.isTrusted,
      },
      {
        onHead(status, headers) {
          answer.status = status
          answer.headers = headers
        },
        onData: (chunk) => void chunks.push(chunk),
        onEnd: () => settle(() => resolve({ ...answer, body: Buffer.concat(chunks) })),
        onError: (error) => settle(() => reject(error)),
      },
    )
    const giveUp = (error: OutboundError) => {
      call.abort()
      settle(() => reject(error))
    }
    const onAbort = () => giveUp(new OutboundError('aborted', 'The call was given up.'))
    const timer = setTimeout(
      () => giveUp(new OutboundError('head_timeout', 'No answer came in time.')),
      deadlineMs,
    )
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
  })
}
