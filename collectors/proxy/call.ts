// One admitted call: what is known of it before the upstream answers, and what becomes of it: a record and a run, together.

import type { ServerResponse } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import { toInputObject } from '../../schemas/commit.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { Id, SpanId } from '../../schemas/ids.ts'
import type { PromptLinks } from '../../schemas/prompt.ts'
import type {
  RecordFacts,
  RecordStatus,
  SignedRecord,
  Signer,
  SignerOf,
} from '../../schemas/record.ts'
import type { Run, RunStatus, Usage } from '../../schemas/run.ts'
import type { EnvelopeBook } from '../otlp/envelopes.ts'
import { pushRun } from '../run/span.ts'
import type { Intake } from '../spool/intake.ts'
import { pushRecord } from '../spool/rows.ts'
import type { Completion } from './completion.ts'
import type { TraceContext } from './trace-context.ts'
import type { Upstream } from './upstream.ts'
import { estimateUsage } from './usage.ts'

// The service of runs whose caller is known by a key only.
const serviceName = 'runledger'

export type Route = { id: string; label: string; public: boolean }

export type ProxyDeps = {
  upstream: Upstream
  intake: Intake
  envelopes: EnvelopeBook
  signerOf: SignerOf
  prompts: PromptLinks
  counters: Counters
  nowMs: () => number
  /** Of calls that name none. */
  environment: string
  /** False while the spool takes nothing: then a call is refused before the upstream is asked. */
  ready?: () => boolean
  route?: Route
}

/** `usage`: counts without texts. `none`: not even who it was for. */
export type Capture = 'full' | 'usage' | 'none'

export type Call = {
  deps: ProxyDeps
  res: ServerResponse
  route: Route
  caller: Caller
  signer: Signer
  requestId: string
  runId: Id
  recordId: Id
  trace: TraceContext
  spanId: SpanId
  startedAtMs: number
  /** By a clock that only goes forward, in milliseconds. */
  startedTick: number
  environment: string
  prompt: { registryId: string; versionId: string } | undefined
  promptVariables: Record<string, string> | undefined
  sessionId: string
  userId: string
  capture: Capture
  model: string
  stream: boolean
  /** False when we ask the upstream for usage and the client did not. */
  usageWanted: boolean
  request: Record<string, unknown>
  attributes: Run['attributes']
  upstreamBody: Buffer
}

export type Outcome = {
  status: RunStatus
  recordStatus: RecordStatus
  error: { code: string; message: string } | undefined
  httpStatus: number
  completion: Completion
  upstreamRequestId: string | null
  /** True when the upstream gave an answer or a part of one, whatever became of it; false for errors before that. */
  answered: boolean
  /** From the start of the call to the first thing a model made. */
  ttftMs: number | undefined
}

type Counted = { usage: Usage | undefined; durationMs: number }

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
export async function storeFinal(
  call: Call,
  outcome: Outcome,
  opening: SignedRecord | undefined,
): Promise<SignedRecord> {
  const { deps } = call
  const durationMs = performance.now() - call.startedTick
  const usage = usageOf(call, outcome)
  const { completion } = outcome
  const signed = call.signer.final(
    factsOf(call, {
      modelId: completion.modelServed ?? call.model,
      status: outcome.recordStatus,
      completedAt: new Date(call.startedAtMs + durationMs),
      // A text that was cut is not the text that was sent, and nothing is claimed of it.
      output: outcome.answered && !completion.cut ? { choices: completion.choices } : undefined,
      usage,
      upstream: upstreamOf(outcome),
    }),
    opening,
  )
  const run = toRun(call, outcome, { usage, durationMs })
  const notes = deps.envelopes.open(run.workspace)
  await deps.intake.write((batch) => {
    pushRecord(batch, signed)
    pushRun(batch, run, notes)
  })
  notes.keep()
  deps.counters.count('proxy_runs_total', { provider: run.provider, status: run.status })
  return signed
}

/** What the upstream reported; an estimate when that is missing or says nothing was made where something was. */
function usageOf(call: Call, outcome: Outcome): Usage | undefined {
  const { completion } = outcome
  const { usage, choices } = completion
  if (!outcome.answered) return usage
  const isHollow = usage?.outputTokens === 0 && completion.hasContent
  if (usage && !isHollow) return usage
  const reason = isHollow ? 'zero' : outcome.status === 'ok' ? 'missing' : 'unfinished'
  call.deps.counters.count('proxy_usage_estimated_total', { reason })
  return estimateUsage(call.request.messages, choices)
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
    provider: call.deps.upstream.provider,
    environment: call.environment,
    promptVersionId: call.prompt?.versionId ?? 'default',
    modelId: answer.modelId,
    status: answer.status,
    startedAt: new Date(call.startedAtMs),
    completedAt: answer.completedAt,
    input: toInputObject(call.request),
    output: answer.output,
    usage: answer.usage,
    upstream: answer.upstream,
  }
}

function toRun(call: Call, outcome: Outcome, counted: Counted): Run {
  const { deps, capture, trace } = call
  const { completion } = outcome
  const keepsText = capture === 'full'
  return {
    runId: call.runId,
    recordId: call.recordId,
    workspace: call.caller.workspace,
    traceId: trace.traceId,
    spanId: call.spanId,
    parentSpanId: trace.parentSpanId,
    traceState: trace.traceState,
    name: `chat ${call.model}`,
    operation: 'chat',
    service: serviceName,
    startUnixNano: toNanos(call.startedAtMs),
    durationNs: Math.round(counted.durationMs * 1e6),
    ttftNs: outcome.ttftMs === undefined ? undefined : Math.round(outcome.ttftMs * 1e6),
    status: outcome.status,
    error: outcome.error,
    environment: call.environment,
    provider: deps.upstream.provider,
    modelRequested: call.model,
    modelServed: completion.modelServed,
    routeId: call.route.id,
    routeLabel: call.route.label,
    prompt: call.prompt,
    promptVariables: keepsText ? call.promptVariables : undefined,
    sessionId: capture === 'none' ? '' : call.sessionId,
    userId: capture === 'none' ? '' : call.userId,
    origin: '',
    input: keepsText ? call.request.messages : undefined,
    output: keepsText && outcome.answered ? completion.choices : undefined,
    finishReasons: completion.finishReasons,
    usage: counted.usage,
    costNanoUsd: undefined,
    upstream: upstreamOf(outcome),
    attributes: attributesOf(call, outcome),
  }
}

/** Those of the request, which belong to this call alone, with what the answer adds. */
function attributesOf(call: Call, outcome: Outcome): Run['attributes'] {
  const { attributes, request } = call
  attributes['http.response.status_code'] = outcome.httpStatus
  if (outcome.completion.cut) attributes['batchin.capture.cut'] = true
  if (call.capture === 'full' && request.tools !== undefined) {
    attributes['gen_ai.tool.definitions'] = JSON.stringify(request.tools)
  }
  return attributes
}

function upstreamOf(outcome: Outcome): RecordFacts['upstream'] {
  return {
    responseId: outcome.completion.responseId,
    systemFingerprint: outcome.completion.systemFingerprint,
    requestId: outcome.upstreamRequestId,
  }
}

/** Nanoseconds since 1970 of a time in milliseconds, of which the fraction counts to a microsecond. */
function toNanos(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n
}
