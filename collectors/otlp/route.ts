// POST of spans, on every path that OTLP clients know: read, decode into the open batch, answer once that is on disk.
// Faults become answers here: google.rpc.Status in the request's encoding. What we do not know is 503, never 500.

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Context } from 'koa'
import type { Caller } from '../../schemas/caller.ts'
import type { Counters } from '../../schemas/counters.ts'
import { Fault, faults } from '../../schemas/faults.ts'
import type { PromptLinks } from '../../schemas/prompt.ts'
import { ByteBudget, type Lease, readBody } from '../body.ts'
import type { Intake } from '../spool/intake.ts'
import { type Encoding, encodingOf, writeOtlpFault, writeOtlpSuccess } from './answer.ts'
import { copyRows, newBatch } from './aside.ts'
import { decodeRequest } from './decode.ts'
import { EnvelopeBook } from './envelopes.ts'
import { transcodeRequest } from './json-request.ts'
import { BadSpan, Tally } from './tally.ts'
import { Undecodable } from './wire-reader.ts'

export { writeOtlpFault }

export type OtlpLimits = {
  compressedBytesMax: number
  /** Contract section 4: beyond it after decompression, 413. */
  bodyBytesMax: number
  /** Of all bodies being read or decoded at once; beyond it, 503 before reading. */
  inFlightBytesMax: number
  bodyDeadlineMs: number
}

const mib = 1024 * 1024
export const otlpLimits: OtlpLimits = {
  compressedBytesMax: 20 * mib,
  bodyBytesMax: 64 * mib,
  inFlightBytesMax: 256 * mib,
  bodyDeadlineMs: 60_000,
}

// A larger body is decoded aside in steps and copied into the batch; a smaller one is quicker done at once.
const atOnceBytesMax = 1 * mib
const stepMs = 10

export type OtlpDeps = {
  intake: Intake
  prompts: PromptLinks
  counters: Counters
  nowMs: () => number
  /** Shared with the other collectors; its own when absent. */
  envelopes?: EnvelopeBook
  limits?: Partial<OtlpLimits>
}

/** The middleware. `ctx.state.caller` has been set, and its scope checked, by those before it. */
export function otlpTraces(deps: OtlpDeps): (ctx: Context) => Promise<void> {
  const limits = { ...otlpLimits, ...deps.limits }
  const budget = new ByteBudget(limits.inFlightBytesMax)
  const envelopes = deps.envelopes ?? new EnvelopeBook(deps.nowMs)
  return async (ctx) => {
    const lease = budget.lease()
    const encoding = encodingOf(ctx.get('content-type'))
    try {
      const tally = await take(ctx, { ...deps, envelopes, limits, lease })
      writeOtlpSuccess(ctx, encoding ?? 'json', {
        rejected: tally.rejected,
        message: tally.message(),
      })
      countTally(deps.counters, tally)
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

type Taking = OtlpDeps & { envelopes: EnvelopeBook; limits: OtlpLimits; lease: Lease }

async function take(ctx: Context, deps: Taking): Promise<Tally> {
  if (ctx.method !== 'POST') throw new Fault('method_not_allowed', { headers: { Allow: 'POST' } })
  const encoding = encodingOf(ctx.get('content-type'))
  if (encoding === undefined)
    throw new Fault('unsupported_media_type', {
      message: 'Content-Type must be application/json or application/x-protobuf.',
    })
  const body = await readBody(ctx.req, {
    limitBytes: deps.limits.bodyBytesMax,
    compressedBytesMax: deps.limits.compressedBytesMax,
    deadlineMs: deps.limits.bodyDeadlineMs,
    encodings: ['gzip'],
    lease: deps.lease,
  })
  if (encoding === 'json' && body.length === 0)
    throw new Fault('invalid_request', { message: 'The body is empty.' })
  const caller: Caller = ctx.state.caller
  const tally = new Tally(isStrict(ctx))
  return store({ body, encoding, workspace: caller.workspace, tally }, deps)
}

type Taken = { body: Buffer; encoding: Encoding; workspace: string; tally: Tally }

async function store(taken: Taken, deps: Taking): Promise<Tally> {
  const { tally, workspace } = taken
  const isLarge = taken.body.length > atOnceBytesMax
  const body = taken.encoding === 'json' ? await fromJson(taken, isLarge) : taken.body
  const notes = deps.envelopes.open(workspace)
  const input = { body, workspace, prompts: deps.prompts, notes, tally, nowMs: deps.nowMs() }
  if (!isLarge) await deps.intake.write((batch) => finish(decodeRequest(input, batch)))
  else {
    const aside = newBatch()
    await inSteps(decodeRequest(input, aside))
    await deps.intake.write((batch) => copyRows(aside, batch))
  }
  notes.keep()
  return tally
}

async function fromJson(taken: Taken, isLarge: boolean): Promise<Buffer> {
  const steps = transcodeRequest(taken.body, taken.tally)
  return isLarge ? inSteps(steps) : finish(steps)
}

/** All of it now. */
function finish<T>(steps: Generator<void, T, void>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** All of it, but the loop gets its turn every few milliseconds. */
async function inSteps<T>(steps: Generator<void, T, void>): Promise<T> {
  let sinceMs = performance.now()
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    if (performance.now() - sinceMs < stepMs) continue
    await nextTurn()
    sinceMs = performance.now()
  }
}

function isStrict(ctx: Context): boolean {
  return new URLSearchParams(ctx.querystring).get('strict') === '1'
}

/** What is wrong with the body is the caller's; what we cannot name is ours, and passes: 503 with Retry-After. */
function toOtlpFault(error: unknown): Fault {
  if (error instanceof Undecodable || error instanceof BadSpan)
    return new Fault('invalid_request', { message: `The body cannot be read: ${error.message}.` })
  if (!(error instanceof Fault)) return new Fault('service_unavailable', {}, { cause: error })
  return faults[error.code].status === 500
    ? new Fault('service_unavailable', {}, { cause: error })
    : error
}

function countTally(counters: Counters, tally: Tally): void {
  counters.count('otlp_spans_total', { outcome: 'accepted' }, tally.spans - tally.rejected)
  for (const [reason, times] of tally.rejections)
    counters.count('otlp_spans_rejected_total', { reason }, times)
  for (const [kind, times] of tally.deviations)
    counters.count('otlp_nonconformant_total', { kind }, times)
}
