// POST of spans, on every path that OTLP clients know: read, take, answer once that is on disk.
// Faults become answers here: google.rpc.Status in the request's encoding.

import type { Context } from 'koa'
import type { Caller } from '../../schemas/caller.ts'
import { viaHeader } from '../../schemas/destination.ts'
import { Fault } from '../../schemas/faults.ts'
import { type BodyLimits, ByteBudget, type Lease, receiveBody, unpackBody } from '../body.ts'
import { encodingOf, writeOtlpFault, writeOtlpSuccess } from './answer.ts'
import { EnvelopeBook } from './envelopes.ts'
import { KnownBodies, type Outcome } from './known-bodies.ts'
import {
  type OtlpDeps,
  type OtlpLimits,
  otlpLimits,
  takeOnce,
  takeSpans,
  toOtlpFault,
} from './take.ts'

export { writeOtlpFault }

/** The middleware. `ctx.state.caller` has been set, and its scope checked, by those before it. */
export function otlpTraces(deps: OtlpDeps): (ctx: Context) => Promise<void> {
  const limits = { ...otlpLimits, ...deps.limits }
  const budget = deps.budget ?? new ByteBudget(limits.inFlightBytesMax)
  const envelopes = deps.envelopes ?? new EnvelopeBook(deps.nowMs)
  const bodies = deps.bodies ?? new KnownBodies(deps.nowMs)
  return async (ctx) => {
    const lease = budget.lease()
    const encoding = encodingOf(ctx.get('content-type'))
    try {
      const outcome = await take(ctx, { ...deps, envelopes, bodies, limits, lease })
      writeOtlpSuccess(ctx, encoding ?? 'json', outcome)
    } catch (error) {
      const fault = toOtlpFault(error)
      if (fault.code === 'service_unavailable' && fault.cause !== undefined)
        ctx.app.emit('error', fault.cause, ctx)
      writeOtlpFault(ctx, fault)
    } finally {
      lease.release()
    }
    deps.counters.count('otlp_requests_total', {
      encoding: encoding ?? 'unknown',
      status: String(ctx.status),
    })
  }
}

type Taking = OtlpDeps & {
  envelopes: EnvelopeBook
  bodies: KnownBodies
  limits: OtlpLimits
  lease: Lease
}

async function take(ctx: Context, deps: Taking): Promise<Outcome> {
  if (ctx.method !== 'POST') throw new Fault('method_not_allowed', { headers: { Allow: 'POST' } })
  refuseOwn(ctx, deps)
  const encoding = encodingOf(ctx.get('content-type'))
  if (encoding === undefined)
    throw new Fault('unsupported_media_type', {
      message: 'Content-Type must be application/json or application/x-protobuf.',
    })
  const limits: BodyLimits = {
    limitBytes: deps.limits.bodyBytesMax,
    compressedBytesMax: deps.limits.compressedBytesMax,
    deadlineMs: deps.limits.bodyDeadlineMs,
    encodings: ['gzip'],
    lease: deps.lease,
  }
  const received = await receiveBody(ctx.req, limits)
  const { workspace }: Caller = ctx.state.caller
  const strict = isStrict(ctx)
  const form = `${encoding} ${received.isGzip} ${strict}`
  return takeOnce({ workspace, form, bytes: received.bytes }, deps, async () => {
    const body = await unpackBody(received, limits)
    if (encoding === 'json' && body.length === 0)
      throw new Fault('invalid_request', { message: 'The body is empty.' })
    return takeSpans({ body, encoding, workspace, strict }, deps)
  })
}

/** 403: whoever pushes here holds its spans back until a person has mended it, and loses none. */
function refuseOwn(ctx: Context, { via, counters }: OtlpDeps): void {
  if (via === undefined || ctx.get(viaHeader) !== via) return
  counters.count('otlp_loops_total', {})
  throw new Fault('forbidden', {
    message:
      'These spans were pushed by this very installation: one of its destinations leads back to it.',
  })
}

function isStrict(ctx: Context): boolean {
  return new URLSearchParams(ctx.querystring).get('strict') === '1'
}
