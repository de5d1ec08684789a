// The caller's Idempotency-Key: the same call again gets the same answer, run and record included, and no upstream is asked.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Claim, WholeAnswer } from './answers.ts'
import type { Call } from './call.ts'

// What was said about the first call's own moment, and is not true of this one.
const ofTheMoment = /^(x-request-id|server-timing|x-ratelimit-.*)$/i
// A failure that may pass: whoever tries again wants another answer, not the same one.
const mayPass = new Set([408, 409, 425, 429])

/** The kept answer of the call, or the claim that it now holds; undefined without the header. Rejects as `claim` does. */
export function claimAnswer(
  call: Call,
  arrived: { req: IncomingMessage; body: Buffer },
): Promise<{ kept: WholeAnswer } | { claim: Claim }> | undefined {
  const { caller, deps, operation } = call
  const idempotencyKey = arrived.req.headers['idempotency-key']
  if (!deps.idempotent || typeof idempotencyKey !== 'string') return undefined
  return deps.idempotent.claim({
    workspace: caller.workspace,
    keyId: caller.keyId,
    idempotencyKey,
    path: operation.paths[0] ?? '',
    body: call.upload ? JSON.stringify(call.request) : arrived.body,
  })
}

/** Before the last bytes of a complete answer leave. */
export async function keepLast({ claim, runId }: Call, last: Buffer | undefined): Promise<void> {
  if (!claim) return
  if (last) claim.push(last)
  await claim.keep(runId)
}

/** An answer that leaves whole: kept before it does, unless trying again may bring a better one. */
export async function keepWhole(call: Call, answer: WholeAnswer): Promise<void> {
  const { claim } = call
  if (!claim || answer.status >= 500 || mayPass.has(answer.status)) return
  claim.begin(answer.status, answer.headers)
  claim.push(answer.body)
  await claim.keep(call.runId)
}

export function sendKept(res: ServerResponse, requestId: string, kept: WholeAnswer): void {
  const headers: string[] = []
  for (let at = 0; at < kept.headers.length; at += 2) {
    const name = kept.headers[at]!
    if (!ofTheMoment.test(name)) headers.push(name, kept.headers[at + 1]!)
  }
  headers.push('X-Request-Id', requestId, 'Idempotent-Replayed', 'true')
  if (!headers.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'content-length'))
    headers.push('Content-Length', String(kept.body.length))
  res.writeHead(kept.status, headers)
  res.end(kept.body)
}
