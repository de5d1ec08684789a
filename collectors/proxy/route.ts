// POST /v1/chat/completions. Refusals before admission are thrown, for the server's own door; afterwards every answer is
// written here, with its receipt.

import type { Context } from 'koa'
import type { Caller } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { ByteBudget, type Lease, readBody } from '../body.ts'
import { admit } from './admit.ts'
import type { Call, ProxyDeps } from './call.ts'
import { HeldAnswer } from './held-answer.ts'
import { StreamedAnswer } from './streamed-answer.ts'
import { toTraceparent } from './trace-context.ts'

// Enough for a request with several images inside; larger ones belong in files.
const bodyBytesMax = 25 * 1024 * 1024
const bodyDeadlineMs = 60_000
// Of all requests under way: their bodies are held until they are answered.
const heldBytesMax = 256 * 1024 * 1024

/** A Koa middleware; `ctx.state.caller` and `ctx.state.requestId` are set before it. Resolves when the answer has left. */
export function chatCompletions(deps: ProxyDeps): (ctx: Context) => Promise<void> {
  const budget = new ByteBudget(heldBytesMax)
  return async (ctx) => {
    const lease = budget.lease()
    try {
      const call = await receive(deps, ctx, lease)
      ctx.respond = false
      await answer(call, ctx)
    } catch (error) {
      // Whoever is outside answers what was not expected here, if nothing has left yet.
      ctx.respond = !ctx.res.headersSent
      throw error
    } finally {
      lease.release()
    }
  }
}

async function receive(deps: ProxyDeps, ctx: Context, lease: Lease): Promise<Call> {
  const startedAtMs = deps.nowMs()
  const startedTick = performance.now()
  refuseOtherTypes(ctx)
  // What cannot be recorded is not begun: the upstream would bill for it.
  if (deps.ready && !deps.ready()) throw new Fault('service_unavailable')
  const body = await readBody(ctx.req, {
    limitBytes: bodyBytesMax,
    deadlineMs: bodyDeadlineMs,
    encodings: ['gzip'],
    lease,
  })
  const caller = ctx.state.caller as Caller // the door has checked its scope
  return admit(deps, await signerOf(deps, caller), {
    caller,
    requestId: String(ctx.state.requestId),
    headers: ctx.req.headers,
    res: ctx.res,
    body,
    startedAtMs,
    startedTick,
  })
}

function answer(call: Call, ctx: Context): Promise<void> {
  const { deps, res, trace } = call
  return new Promise((resolve, reject) => {
    const done = (error?: unknown) => (error === undefined ? resolve() : reject(error))
    const given = call.stream ? new StreamedAnswer(call, done) : new HeldAnswer(call, done)
    res.once('close', () => {
      if (!res.writableFinished) given.leave()
    })
    given.attach(
      deps.upstream.call(
        {
          path: '/chat/completions',
          body: call.upstreamBody,
          clientHeaders: ctx.req.headers,
          traceparent: toTraceparent(trace.traceId, call.spanId, trace.flags),
          traceState: trace.traceState,
          requestId: call.requestId,
          stream: call.stream,
        },
        given,
      ),
    )
  })
}

function refuseOtherTypes(ctx: Context): void {
  const type = ctx.req.headers['content-type']
  if (type === undefined || /^application\/([a-z0-9.-]+\+)?json\s*(;|$)/i.test(type)) return
  throw new Fault('unsupported_media_type', { message: 'Send application/json.' })
}

async function signerOf(deps: ProxyDeps, caller: Caller): ReturnType<ProxyDeps['signerOf']> {
  try {
    return await deps.signerOf(caller.workspace)
  } catch (error) {
    throw new Fault('service_unavailable', {}, { cause: error })
  }
}
