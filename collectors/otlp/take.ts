// What OTLP over HTTP and over gRPC share: a body becomes rows on disk and a tally, a failure becomes a fault. Neither knows
// how the other travels. What we cannot name is 503, never 500.

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Counters } from '../../schemas/counters.ts'
import { Fault, faults } from '../../schemas/faults.ts'
import type { PromptLinks } from '../../schemas/prompt.ts'
import type { ByteBudget } from '../body.ts'
import type { Intake } from '../spool/intake.ts'
import type { Encoding } from './answer.ts'
import { copyRows, newBatch } from './aside.ts'
import { decodeRequest } from './decode.ts'
import type { EnvelopeBook } from './envelopes.ts'
import { transcodeRequest } from './json-request.ts'
import type { BodyKey, KnownBodies, Outcome } from './known-bodies.ts'
import { BadSpan, Tally } from './tally.ts'
import { Undecodable } from './wire-reader.ts'

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
  /** Of all bodies in flight, over HTTP and gRPC together; its own when absent. */
  budget?: ByteBudget
  /** Which bodies were taken before, over HTTP and gRPC together; its own when absent. */
  bodies?: KnownBodies
  limits?: Partial<OtlpLimits>
  /** This installation, as its own pushes name it; they are not taken in again. */
  via?: string
}

export type Taken = { body: Buffer; encoding: Encoding; workspace: string; strict: boolean }
export type TakeDeps = Pick<OtlpDeps, 'intake' | 'prompts' | 'counters' | 'nowMs'> & {
  envelopes: EnvelopeBook
}

/** Resolves once every row of the body is on disk; nothing of it is when this rejects. */
export async function takeSpans(taken: Taken, deps: TakeDeps): Promise<Tally> {
  const { workspace } = taken
  const tally = new Tally(taken.strict)
  const isLarge = taken.body.length > atOnceBytesMax
  const body = taken.encoding === 'json' ? await fromJson(taken.body, tally) : taken.body
  const notes = deps.envelopes.open(workspace)
  const input = { body, workspace, prompts: deps.prompts, notes, tally, nowMs: deps.nowMs() }
  const also = { workspace }
  if (!isLarge) await deps.intake.write((batch) => finish(decodeRequest(input, batch)), also)
  else {
    const aside = newBatch()
    await inSteps(decodeRequest(input, aside))
    await deps.intake.write((batch) => copyRows(aside, batch), also)
  }
  notes.keep()
  countTally(deps.counters, tally)
  return tally
}

/** `takeSpans`, unless the same bytes were taken before: then what was said of them then. */
export async function takeOnce(
  key: BodyKey,
  deps: Pick<OtlpDeps, 'counters'> & { bodies: KnownBodies },
  take: () => Promise<Tally>,
): Promise<Outcome> {
  const { outcome, isRepeated } = await deps.bodies.once(key, async () => {
    const tally = await take()
    const { spans, rejected } = tally
    return { accepted: spans - rejected, rejected, message: tally.message() }
  })
  if (isRepeated) deps.counters.count('otlp_spans_total', { outcome: 'repeated' }, outcome.accepted)
  return outcome
}

/** What is wrong with the body is the caller's; what we cannot name is ours, and passes: 503 with Retry-After. */
export function toOtlpFault(error: unknown): Fault {
  if (error instanceof Undecodable || error instanceof BadSpan)
    return new Fault('invalid_request', { message: `The body cannot be read: ${error.message}.` })
  if (!(error instanceof Fault)) return new Fault('service_unavailable', {}, { cause: error })
  return faults[error.code].status === 500
    ? new Fault('service_unavailable', {}, { cause: error })
    : error
}

async function fromJson(body: Buffer, tally: Tally): Promise<Buffer> {
  const steps = transcodeRequest(body, tally)
  return body.length > atOnceBytesMax ? inSteps(steps) : finish(steps)
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

function countTally(counters: Counters, tally: Tally): void {
  counters.count('otlp_spans_total', { outcome: 'accepted' }, tally.spans - tally.rejected)
  for (const [reason, times] of tally.rejections)
    counters.count('otlp_spans_rejected_total', { reason }, times)
  for (const [kind, times] of tally.deviations)
    counters.count('otlp_nonconformant_total', { kind }, times)
}
