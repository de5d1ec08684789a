// One admitted call: what is known of it before the upstream answers, and what came of it.

import type { ServerResponse } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import type { CaptureLevel } from '../../schemas/config.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { Id, SpanId } from '../../schemas/ids.ts'
import type { PromptLinks, PromptServing, PromptSights } from '../../schemas/prompt.ts'
import type { CommittedInput, RecordStatus, Signer, SignerOf } from '../../schemas/record.ts'
import type { Run, RunStatus } from '../../schemas/run.ts'
import type { EnvelopeBook } from '../otlp/envelopes.ts'
import type { Redaction } from '../redact.ts'
import type { Intake, Openings } from '../spool/intake.ts'
import type { Claim, IdempotentAnswers } from './answers.ts'
import type { Completion } from './completion.ts'
import type { Jobs } from './jobs/job.ts'
import type { LiveAnswers } from './live-answers.ts'
import type { MediaStore } from './media/store.ts'
import type { CallMeters } from './meters.ts'
import type { Grant, Money } from './money.ts'
import type { JsonObject, Operation } from './operation.ts'
import type { PromptLabel } from './prompt-names.ts'
import type { CachingAnswer, ResponseCache } from './response-cache.ts'
import type { Sight } from './sight.ts'
import type { Attempt } from './targets/attempts.ts'
import type { Route, Routes } from './targets/routes.ts'
import type { TraceContext } from './trace-context.ts'
import type { Upload } from './upload.ts'

export type ProxyDeps = {
  routes: Routes
  intake: Intake & Openings
  envelopes: EnvelopeBook
  signerOf: SignerOf
  prompts: PromptLinks
  /** Absent: prompts are only labels. */
  serving?: PromptServing
  /** Absent: a call that names no prompt has none. */
  sights?: PromptSights
  counters: Counters
  media: MediaStore
  jobs: Jobs
  nowMs: () => number
  /** Of calls that name none. */
  environment: string
  /** False while the spool takes nothing: then a call is refused before the upstream is asked. */
  ready?: () => boolean
  /** Between 0 and 1, for the choice between targets; absent: Math.random. */
  random?: () => number
  /** Absent: nothing is limited and nothing has a price. */
  money?: Money
  /** Absent: an Idempotency-Key means nothing here. */
  idempotent?: IdempotentAnswers
  /** Absent: routes that would cache do not. */
  cache?: ResponseCache
  redaction?: Redaction
  live?: LiveAnswers
  meters?: CallMeters
}

export type Call = {
  deps: ProxyDeps
  operation: Operation
  res: ServerResponse
  route: Route
  /** Who answers, as far as is known: the one that was asked last. */
  provider: string
  /** What that one knows the model as. */
  modelAsked: string
  /** The key it was asked with; undefined where it has none. */
  keyAsked: string | undefined
  /** Those that were made, when one was not enough. */
  attempts: Attempt[] | undefined
  /** When the first upstream was asked, when the first byte of the answer came, and when it ended; as `startedTick`. */
  askedTick: number | undefined
  answeredTick: number | undefined
  endedTick: number | undefined
  /** What was reserved for this call; undefined where nothing is counted. */
  grant: Grant | undefined
  isSettled: boolean
  /** Under the caller's Idempotency-Key, where there is one. */
  claim?: Claim | undefined
  /** Where the route caches. */
  caching?: CachingAnswer | undefined
  /** True: the answer was given before, and nothing is charged for it. */
  isCacheHit?: boolean
  /** True when it could not be stored and its route does not require that it is. */
  isDropped: boolean
  caller: Caller
  signer: Signer
  /** What the record says of the request, where that was reckoned while the upstream thought. */
  committed: CommittedInput | undefined
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
  /** What the caller said of it. */
  named: PromptLabel | undefined
  sight: Sight
  promptVariables: Record<string, string> | undefined
  sessionId: string
  userId: string
  /** `usage`: counts without texts. `none`: not even who it was for. */
  capture: CaptureLevel
  model: string
  stream: boolean
  /** False when we ask the upstream for usage and the client did not. */
  usageWanted: boolean
  request: JsonObject
  origin: Run['origin']
  attributes: Run['attributes']
  upstreamBody: Buffer
  contentType: string
  /** The request's body where it is on the disk; `upstreamBody` is empty then. */
  upload: Upload | undefined
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

/** The status of a run by that of its record. */
export const runStatusOf = {
  completed: 'ok',
  client_closed: 'client_closed',
  truncated: 'truncated',
  interrupted: 'interrupted',
  upstream_error: 'error',
} as const

/** Gives back what was reserved beyond what was used, once: whoever comes second changes nothing. */
export function settleMoney(call: Call, used?: Parameters<Grant['settle']>[0]): void {
  if (call.isSettled) return
  call.isSettled = true
  call.grant?.settle(used)
}
