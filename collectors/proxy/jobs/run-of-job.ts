// A job's run: opened with the answer that names the job, closed when its end is seen, by whoever sees it first.

import type { Counters } from '../../../schemas/counters.ts'
import type { SignedRecord, SignerOf } from '../../../schemas/record.ts'
import type { Run } from '../../../schemas/run.ts'
import type { EnvelopeBook } from '../../otlp/envelopes.ts'
import type { Redaction } from '../../redact.ts'
import { pushRun } from '../../run/span.ts'
import type { Intake } from '../../spool/intake.ts'
import { pushRecord } from '../../spool/rows.ts'
import { type Call, type Outcome, settleMoney } from '../call.ts'
import { readError } from '../completion.ts'
import type { Cost } from '../money.ts'
import { fromNote, openingOf } from '../openings.ts'
import type { JsonObject } from '../operation.ts'
import { asText } from '../plain.ts'
import { toSignatureText } from '../receipt.ts'
import { unshown } from '../shown-names.ts'
import { toNanos, withoutWords } from '../store-call.ts'
import { toKeyTag } from '../targets/provider-keys.ts'
import { isObject } from '../usage.ts'
import { type Job, type JobReceipt, type Jobs, toJobCost } from './job.ts'
import { secondsOf, stateOf, toKeptVideo } from './videos.ts'

export type JobDeps = {
  jobs: Jobs
  intake: Intake
  envelopes: EnvelopeBook
  signerOf: SignerOf
  counters: Counters
  nowMs: () => number
  redaction?: Redaction
}

/**
 * Keeps the job, and the opening record; the record that stands for it when this resolves. The job is durable first: a crash
 * between the two ends the call as any that was cut off, and nobody has heard of the job. Undefined where the upstream named a job
 * that an earlier call has: that one's end is not this one's, so this call is over with its answer.
 */
export async function startJob(
  call: Call,
  outcome: Outcome,
  of: { opening: SignedRecord; cost: Cost | undefined },
): Promise<SignedRecord | undefined> {
  const { deps, capture } = call
  const { opening, cost } = of
  const { job: started, output } = outcome.completion
  const answer = isObject(output) ? output : {}
  const job: Job = {
    id: started?.id ?? '',
    workspace: call.caller.workspace,
    provider: call.provider,
    keyTag: call.keyAsked === undefined ? undefined : toKeyTag(call.keyAsked),
    fileId: started?.fileId ?? null,
    runId: Buffer.from(call.runId).toString('hex'),
    note: openingOf(call, opening).note,
    traceFlags: call.trace.flags,
    input: capture === 'full' ? inputOf(call) : null,
    cost: toJobCost(cost),
    charge: started?.hasFailed ? undefined : chargeOf(call, cost),
    seconds: secondsOf(answer) ?? secondsOf(call.request) ?? null,
    receipt: toReceipt(opening, call.signer.publicKey, 'open'),
  }
  if (!(await deps.jobs.open(job))) return undefined
  // With the row: whoever closes the job must be able to give it back, and this process may be gone by then.
  if (job.charge) settleMoney(call, { cost, usage: undefined, isBooked: true })
  await deps.intake.write((batch) => pushRecord(batch, opening), { closes: call.runId })
  if (!started?.isOver) return opening
  let signed = opening
  await deps.jobs.closeOnce(job, async () => {
    const closed = await closeJob(deps, job, answer)
    signed = closed.signed
    return closed.receipt
  })
  return signed
}

/** As the run will have it: the job lies in the store until then. */
function inputOf({ deps, operation, request }: Call): unknown {
  const input = operation.keptInput(request)
  return deps.redaction ? (deps.redaction.input(input) ?? '') : input
}

function chargeOf({ grant }: Call, cost: Cost | undefined): Job['charge'] {
  const purses = grant?.purses ?? []
  return cost && purses.length > 0 ? { purses, nanoUsd: String(cost.nanoUsd) } : undefined
}

/** Writes the final record and the run. Only as `closeOnce` calls it. */
export async function closeJob(
  deps: JobDeps,
  job: Job,
  answer: JsonObject,
): Promise<{ signed: SignedRecord; receipt: JobReceipt }> {
  const restored = fromNote({ id: Buffer.from(job.runId, 'hex'), note: job.note })
  const signer = await deps.signerOf(job.workspace)
  const { hasFailed } = stateOf(answer)
  const recordStatus = hasFailed ? 'upstream_error' : 'completed'
  // Within the time that we have seen go by: a record of another would be outside the life of the key that signs it.
  const nowMs = deps.nowMs()
  const startedMs = restored.facts.startedAt.getTime()
  const endMs = Math.max(startedMs, Math.min(endOf(answer) ?? nowMs, nowMs))
  const named = { ...restored.facts.upstream, responseId: job.id }
  const upstream = deps.redaction ? deps.redaction.upstream(named) : named
  const signed = signer.final(
    {
      ...restored.facts,
      status: recordStatus,
      completedAt: new Date(endMs),
      output: answer,
      upstream,
    },
    restored.begun,
  )
  const run = toRun(restored.run, job, { answer, hasFailed, endMs })
  run.upstream = upstream
  deps.redaction?.run(run)
  const notes = deps.envelopes.open(run.workspace)
  await deps.intake.write((batch) => {
    pushRecord(batch, signed)
    pushRun(batch, run, notes)
  })
  notes.keep()
  const provider = restored.facts.routePublic ? run.provider : unshown
  deps.counters.count('proxy_runs_total', { provider, status: run.status })
  const receipt = toReceipt(signed, signer.publicKey, recordStatus)
  await deps.jobs.close(job, receipt)
  return { signed, receipt }
}

function toRun(
  open: Run,
  job: Job,
  seen: { answer: JsonObject; hasFailed: boolean; endMs: number },
): Run {
  const { answer, hasFailed, endMs } = seen
  const attributes: Run['attributes'] = { ...open.attributes, 'http.response.status_code': 200 }
  delete attributes['batchin.price.version']
  delete attributes['batchin.till']
  // What failed is not charged.
  const cost = hasFailed ? null : job.cost
  if (cost) attributes['batchin.price.version'] = cost.version
  if (job.seconds !== null) attributes['batchin.usage.video_seconds'] = job.seconds
  const told = isObject(answer.error) ? readError(answer.error) : { code: 'failed', message: '' }
  const failure = job.input === null ? withoutWords(told) : told
  return {
    ...open,
    status: hasFailed ? 'error' : 'ok',
    error: hasFailed ? failure : undefined,
    durationNs: Math.max(0, Number(toNanos(endMs) - open.startUnixNano)),
    input: job.input ?? undefined,
    output: job.input === null ? undefined : toKeptVideo(answer),
    finishReasons: [asText(answer.status)],
    costNanoUsd: cost ? BigInt(cost.nanoUsd) : undefined,
    attributes,
  }
}

/** When the upstream says it was over, in milliseconds; it says so in seconds. */
function endOf({ completed_at: seconds }: JsonObject): number | undefined {
  return typeof seconds === 'number' && seconds > 1e9 && seconds < 1e11 ? seconds * 1000 : undefined
}

function toReceipt(signed: SignedRecord, publicKey: string, recordStatus: string): JobReceipt {
  const { phase, keyId } = signed
  return { phase, signature: toSignatureText(signed), publicKey, keyId, recordStatus }
}
