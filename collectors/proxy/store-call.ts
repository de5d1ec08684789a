// What becomes of a call: its final record and its run, stored together, and what it cost.

import type { RecordFacts, SignedRecord } from '../../schemas/record.ts'
import type { Run } from '../../schemas/run.ts'
import { pushAttempt, pushRun, type Step } from '../run/span.ts'
import { pushRecord } from '../spool/rows.ts'
import { type Call, type Outcome, settleMoney } from './call.ts'
import { addPieces, countUse, keptOutput, type Use } from './call-use.ts'
import { startJob } from './jobs/run-of-job.ts'
import { type KeepMedia, withoutMedia } from './media/refs.ts'
import { shownProvider, storedNames } from './shown-names.ts'
import { settleSight } from './sight.ts'
import type { Attempt } from './targets/attempts.ts'

// The service of runs whose caller is known by a key only.
export const serviceName = 'runledger'

/** Is told the record while the disk takes it, which is longer than whatever it prepares; shown to nobody before it is durable. */
export type Meanwhile = (signed: SignedRecord) => void

type Given = { opening: SignedRecord | undefined; meanwhile?: Meanwhile | undefined }
type Counted = Use & Pick<Run, 'prompt' | 'upstream'> & { durationMs: number }

/** The opening record of a stream, signed while the upstream thinks. */
export function signOpening(call: Call): SignedRecord {
  return call.signer.begin(
    factsOf(call, {
      modelId: call.model,
      status: 'open',
      completedAt: undefined,
      output: undefined,
      usage: undefined,
      upstream: { responseId: null, systemFingerprint: null, requestId: null },
    }),
  )
}

/**
 * Signs the final record and stores it with its run in one write; resolves when both are durable. Rejects with
 * `service_unavailable` when nothing was stored; the signature must then be shown to nobody.
 */
export async function storeFinal(call: Call, seen: Outcome, given: Given): Promise<SignedRecord> {
  const outcome = call.isCacheHit ? asHit(seen) : seen
  const use = countUse(call, outcome)
  try {
    if (outcome.completion.job) {
      const of = { opening: given.opening ?? signOpening(call), ...use }
      const started = await startJob(call, outcome, of)
      if (started) return started
    }
    const signed = await store(call, outcome, { ...use, ...given })
    if (outcome.status === 'ok') call.caching?.keep()
    return signed
  } finally {
    // Also when nothing could be stored: what the upstream was paid for is gone from the budget all the same.
    const isCharged = outcome.answered && !outcome.completion.job?.hasFailed
    settleMoney(call, isCharged ? use : undefined)
  }
}

function asHit(outcome: Outcome): Outcome {
  return outcome.status === 'ok'
    ? { ...outcome, status: 'cache_hit', recordStatus: 'cache_hit' }
    : outcome
}

async function store(call: Call, outcome: Outcome, counted: Use & Given): Promise<SignedRecord> {
  const { deps } = call
  const { completion } = outcome
  const { usage, opening, meanwhile } = counted
  const upstream = upstreamOf(call, outcome)
  const durationMs = performance.now() - call.startedTick
  const prompt = settleSight(call, opening !== undefined)
  const signed = call.signer.final(
    factsOf(call, {
      modelId: completion.modelServed ?? call.model,
      status: outcome.recordStatus,
      completedAt: new Date(call.startedAtMs + durationMs),
      // A text that was cut is not the text that was sent, and nothing is claimed of it.
      output: outcome.answered && !completion.cut ? completion.output : undefined,
      usage,
      upstream,
    }),
    opening ?? call.committed,
  )
  const run = toRun(call, outcome, { ...counted, durationMs, prompt, upstream })
  deps.redaction?.run(run)
  const notes = deps.envelopes.open(run.workspace)
  const written = deps.intake.write(
    (batch) => {
      pushRecord(batch, signed)
      pushRun(batch, run, notes)
      for (const attempt of call.attempts ?? [])
        pushAttempt(batch, toStep(call, run, attempt), notes)
    },
    { closes: call.runId },
  )
  try {
    meanwhile?.(signed)
  } finally {
    await written
  }
  notes.keep()
  deps.counters.count('proxy_runs_total', { provider: shownProvider(call), status: run.status })
  deps.meters?.ended(call, { ttftMs: outcome.ttftMs, usage })
  return signed
}

type AnswerFacts = Pick<
  RecordFacts,
  'modelId' | 'status' | 'completedAt' | 'output' | 'usage' | 'upstream'
>

/** Written out member by member: spreading one object into the other took about 10 µs of every call. */
function factsOf(call: Call, answer: AnswerFacts): RecordFacts {
  return {
    recordId: call.recordId,
    runId: call.runId,
    workspace: call.caller.workspace,
    traceId: call.trace.traceId,
    routeId: call.route.id,
    routeLabel: call.route.label,
    routePublic: call.route.public,
    provider: call.provider,
    environment: call.environment,
    promptVersionId: call.prompt?.versionId ?? 'default',
    modelId: answer.modelId,
    status: answer.status,
    startedAt: new Date(call.startedAtMs),
    completedAt: answer.completedAt,
    input: call.operation.committedInput(call.request),
    output: answer.output,
    usage: answer.usage,
    upstream: answer.upstream,
  }
}

function toRun(call: Call, outcome: Outcome, counted: Counted): Run {
  const { capture, operation, trace } = call
  const { completion } = outcome
  const keepsText = capture === 'full'
  const keep = keeperOf(call)
  const { routeId, provider } = storedNames(call)
  if (keepsText) for (const { piece } of call.upload?.files ?? []) piece.keep()
  return {
    runId: call.runId,
    recordId: call.recordId,
    workspace: call.caller.workspace,
    traceId: trace.traceId,
    spanId: call.spanId,
    parentSpanId: trace.parentSpanId,
    traceState: trace.traceState,
    name: `${operation.name} ${call.model}`,
    operation: operation.name,
    service: serviceName,
    startUnixNano: toNanos(call.startedAtMs),
    durationNs: Math.round(counted.durationMs * 1e6),
    ttftNs: outcome.ttftMs === undefined ? undefined : Math.round(outcome.ttftMs * 1e6),
    status: outcome.status,
    error: keepsText ? outcome.error : withoutWords(outcome.error),
    environment: call.environment,
    provider,
    modelRequested: call.model,
    modelServed: completion.modelServed,
    routeId,
    routeLabel: call.route.label,
    prompt: counted.prompt,
    promptVariables: keepsText ? call.promptVariables : undefined,
    sessionId: capture === 'none' ? '' : call.sessionId,
    userId: capture === 'none' ? '' : call.userId,
    origin: call.origin,
    input: keepsText ? withoutMedia(operation.keptInput(call.request), keep) : undefined,
    output:
      keepsText && operation.keepsOutput && outcome.answered
        ? keptOutput(call, completion, keep)
        : undefined,
    finishReasons: completion.finishReasons,
    usage: counted.usage,
    costNanoUsd: counted.cost?.nanoUsd,
    upstream: counted.upstream,
    attributes: attributesOf(call, outcome, counted),
  }
}

/** Where no texts are kept: a code says what went wrong, words may quote the call. */
export function withoutWords(error: Run['error']): Run['error'] {
  return error && { code: error.code, message: '' }
}

function keeperOf({ deps, caller }: Call): KeepMedia {
  return (bytes, mediaType) => deps.media.keep(caller.workspace, bytes, mediaType)
}

/** One attempt of several, as a span below the run's. */
function toStep(call: Call, run: Run, attempt: Attempt): Step {
  const { isHidden, provider } = storedNames(call)
  const startedMs = call.startedAtMs + (attempt.startedTick - call.startedTick)
  return {
    run,
    spanId: attempt.spanId,
    provider: isHidden ? provider : attempt.provider,
    model: isHidden ? call.model : attempt.model,
    startUnixNano: toNanos(startedMs),
    durationNs: Math.round(((attempt.endedTick ?? performance.now()) - attempt.startedTick) * 1e6),
    error: attempt.error,
  }
}

/** Those of the request, which belong to this call alone, with what the answer adds. */
function attributesOf(call: Call, outcome: Outcome, { cost, pieces }: Use): Run['attributes'] {
  const { attributes, request } = call
  attributes['http.response.status_code'] = outcome.httpStatus
  if (cost) attributes['batchin.price.version'] = cost.version
  if (cost?.till !== undefined) attributes['batchin.till'] = cost.till
  addPieces(attributes, pieces)
  if (outcome.completion.cut) attributes['batchin.capture.cut'] = true
  if (call.capture === 'full' && request.tools !== undefined) {
    const tools = withoutMedia(request.tools, keeperOf(call))
    attributes['gen_ai.tool.definitions'] = JSON.stringify(tools)
  }
  const parameters = call.capture === 'full' ? parametersOf(call) : undefined
  if (parameters) attributes['batchin.request.parameters'] = parameters
  return attributes
}

// What has a place of its own in a run, says how the answer travels, or is about the caller.
const notParameters = new Set([
  'model',
  'messages',
  'input',
  'prompt',
  'tools',
  'stream',
  'stream_options',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'metadata',
  'store',
  'n',
])

/** Everything else of the request, as JSON, so that a replay asks exactly what was asked; undefined when there is nothing else. */
function parametersOf(call: Call): string | undefined {
  const { request } = call
  const parameters: Record<string, unknown> = {}
  let isAny = false
  for (const name in request) {
    if (notParameters.has(name)) continue
    parameters[name] = request[name]
    isAny = true
  }
  return isAny ? JSON.stringify(withoutMedia(parameters, keeperOf(call))) : undefined
}

function upstreamOf({ deps }: Call, outcome: Outcome): RecordFacts['upstream'] {
  const upstream = {
    responseId: outcome.completion.responseId,
    systemFingerprint: outcome.completion.systemFingerprint,
    requestId: outcome.upstreamRequestId,
  }
  return deps.redaction ? deps.redaction.upstream(upstream) : upstream
}

/** Nanoseconds since 1970 of a time in milliseconds, of which the fraction counts to a microsecond. */
export function toNanos(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n
}
