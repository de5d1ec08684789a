// The door of every inference route. Refusals before admission are thrown, for the server's own door; afterwards every
// answer is written here, with its receipt.

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Context } from 'koa'
import type { Caller } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { ByteBudget, type Lease } from '../body.ts'
import { admit, takeMoney } from './admit.ts'
import type { WholeAnswer } from './answers.ts'
import { type Call, type ProxyDeps, settleMoney } from './call.ts'
import { type Done, HeldAnswer } from './held-answer.ts'
import { claimAnswer, sendKept } from './idempotency.ts'
import type { Operation } from './operation.ts'
import type { OutboundError } from './outbound.ts'
import { PassedAnswer } from './passed-answer.ts'
import { cachingOf, noUpstream } from './response-cache.ts'
import { sight } from './sight.ts'
import { StreamedAnswer } from './streams/streamed-answer.ts'
import { Attempts } from './targets/attempts.ts'
import { uploadsBytesMax } from './upload.ts'
import type { UpstreamHandler } from './upstream.ts'

// Of all requests under way: their bodies are held until they are answered.
const heldBytesMax = 256 * 1024 * 1024

/** A request whose caller may make it. */
export type Entered = {
  req: IncomingMessage
  res: ServerResponse
  caller: Caller
  requestId: string
}

/** Resolves when the answer has left; rejects with what its caller has to answer, if nothing has left yet. */
export type Inference = (entered: Entered) => Promise<void>

/** Makes the door of each operation; all of them share one bound on the bytes they hold. */
export function inference(deps: ProxyDeps): (operation: Operation) => Inference {
  const memory = new ByteBudget(heldBytesMax)
  const room = new ByteBudget(uploadsBytesMax)
  return (operation) => async (entered) => {
    const lease = memory.lease()
    const disk = room.lease()
    try {
      const arrived = await receive(deps, operation, { entered, lease, disk })
      if ('kept' in arrived) sendKept(entered.res, entered.requestId, arrived.kept)
      else await answer(arrived, entered)
    } finally {
      lease.release()
      disk.release()
    }
  }
}

/** The same door for Koa. `ctx.state.caller` and `ctx.state.requestId` are set before it. */
export function throughKoa(infer: Inference): (ctx: Context) => Promise<void> {
  return async (ctx) => {
    const { req, res } = ctx
    ctx.respond = false
    try {
      await infer({ req, res, caller: ctx.state.caller, requestId: ctx.state.requestId })
    } catch (error) {
      ctx.respond = !res.headersSent
      throw error
    }
  }
}

async function receive(
  deps: ProxyDeps,
  operation: Operation,
  arriving: { entered: Entered; lease: Lease; disk: Lease },
): Promise<Call | { kept: WholeAnswer }> {
  const { entered, lease, disk } = arriving
  const { req, res, caller, requestId } = entered
  const startedAtMs = deps.nowMs()
  const startedTick = performance.now()
  // What cannot be recorded is not begun: the upstream would bill for it.
  const isReady = !deps.ready || deps.ready()
  if (!isReady && deps.routes.captureRequired) throw new Fault('service_unavailable')
  const { media } = deps
  const received = await operation.receive(req, {
    lease,
    disk,
    media,
    workspace: caller.workspace,
  })
  try {
    const call = admit(deps, await deps.signerOf(caller.workspace).catch(noSigner), {
      operation,
      caller,
      requestId,
      headers: req.headers,
      res,
      received,
      startedAtMs,
      startedTick,
    })
    if (!isReady && call.route.captureRequired) throw new Fault('service_unavailable')
    const claiming = claimAnswer(call, { req, body: received.body })
    const found = claiming && (await claiming)
    if (found && 'kept' in found) {
      await received.upload?.release()
      return found
    }
    call.claim = found?.claim
    return await begin(call)
  } catch (error) {
    await received.upload?.release()
    throw error
  }
}

/** What only a call that will be made does: it takes what it may cost. */
async function begin(call: Call): Promise<Call> {
  try {
    const grant = takeMoney(call)
    call.grant = grant instanceof Promise ? await grant : grant
    return call
  } catch (error) {
    call.claim?.release()
    throw error
  }
}

async function answer(call: Call, { req }: Entered): Promise<void> {
  try {
    await pass(call, req.headers)
  } finally {
    // A call that was stored has settled by now; this is for those that nobody could store.
    settleMoney(call)
    // So too what was claimed, when nothing came of it that is kept.
    call.claim?.release()
    call.caching?.release()
    await call.upload?.release()
  }
}

function pass(call: Call, headers: IncomingHttpHeaders): Promise<void> {
  const { res } = call
  return new Promise((resolve, reject) => {
    const { live } = call.deps
    const done = (error?: unknown) => {
      if (seat) live?.delete(seat)
      if (error === undefined) resolve()
      else reject(error)
    }
    // Made first, because what is opened names who is asked first.
    const attempts = new Attempts(call, headers)
    const given = answerOf(call, done)
    const seat = live?.add(given)
    // An answer that was kept is found by the version of its prompt too.
    const mayBeKept = call.route.cacheS !== undefined
    if (mayBeKept) sight(call)
    call.caching = cachingOf(call, given)
    const cached = call.caching?.find(call.route.cacheS ?? 0)
    // Whoever left while the call was admitted has no upstream to pay for.
    if (cached || res.destroyed) given.open()
    if (res.destroyed) {
      given.leave()
      return
    }
    res.on('close', () => {
      if (!res.writableFinished) given.leave()
    })
    given.attach(cached ? noUpstream : attempts)
    if (cached) {
      call.caching?.give(cached)
      return
    }
    const guarded = new Guarded(call.caching ?? given, (error) => {
      attempts.abort()
      done(error)
    })
    guarded.run(() => {
      attempts.start(guarded)
      // The upstream thinks from here on, and nothing of it can be heard before this turn is over: the time costs nobody anything.
      if (!mayBeKept) sight(call)
      given.open()
    })
  })
}

/** A defect of ours in an answer ends its call: thrown into whoever reads the socket it would be lost, and the call never end. */
class Guarded implements UpstreamHandler {
  readonly #handler: UpstreamHandler
  readonly #failed: (error: unknown) => void

  constructor(handler: UpstreamHandler, failed: (error: unknown) => void) {
    this.#handler = handler
    this.#failed = failed
  }

  run(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#failed(error)
    }
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    this.run(() => this.#handler.onHead(status, headers))
  }

  onData(chunk: Buffer): void {
    this.run(() => this.#handler.onData(chunk))
  }

  onEnd(): void {
    this.run(() => this.#handler.onEnd())
  }

  onError(error: OutboundError): void {
    this.run(() => this.#handler.onError(error))
  }
}

function answerOf(call: Call, done: Done): HeldAnswer | StreamedAnswer | PassedAnswer {
  const events = call.stream ? call.operation.events?.(call) : undefined
  if (events) return new StreamedAnswer(call, events, done)
  return call.operation.passesBytes ? new PassedAnswer(call, done) : new HeldAnswer(call, done)
}

function noSigner(cause: unknown): never {
  throw new Fault('service_unavailable', {}, { cause })
}
