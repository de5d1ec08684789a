// A call that begins leaves a note in the spool, and one whose process ended first is ended from its note: a run and a final
// record `interrupted`, once. Law: what the note says is all that is known; nothing is claimed of an answer nobody saw.

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Counters } from '../../schemas/counters.ts'
import { Fault } from '../../schemas/faults.ts'
import type { Id } from '../../schemas/ids.ts'
import type { Begun, RecordFacts, SignedRecord, SignerOf } from '../../schemas/record.ts'
import type { Run, Usage } from '../../schemas/run.ts'
import type { EnvelopeBook } from '../otlp/envelopes.ts'
import { pushRun } from '../run/span.ts'
import type { Intake } from '../spool/intake.ts'
import type { Opening } from '../spool/journal.ts'
import { pushRecord } from '../spool/rows.ts'
import type { Call } from './call.ts'
import { storedNames, unshown } from './shown-names.ts'
import { serviceName, toNanos } from './store-call.ts'
import { estimateTokensOf } from './usage.ts'

// At a restart: many share a sync, and none of them holds the loop.
const endedAtOnce = 256

/** All that recovery knows of a call. Short, for every call writes one; its text is not in it. */
type Note = Pick<Run, 'workspace' | 'traceId' | 'spanId' | 'traceState' | 'operation'> &
  Pick<Run, 'environment' | 'provider' | 'routeId' | 'routeLabel' | 'sessionId' | 'userId'> &
  Pick<Run, 'attributes'> & {
    /** Hex; the run's own id is the name of the note. */
    recordId: string
    parentSpanId?: Run['parentSpanId']
    routePublic: boolean
    model: string
    prompt?: Run['prompt']
    /** Absent: traffic of the caller's own. */
    origin?: Run['origin']
    startedAtMs: number
    requestBytes: number
    /** Of `usageOf`, by the prices of the moment: what the caller is charged if nobody sees the end. */
    cost?: { nanoUsd: string; version: string; till?: string | undefined }
    begun?: { canonical: string; inputHash: string | null; inputForm?: 'es-json' | undefined }
  }

/** The note is made when it is written: a call that is over by then costs next to nothing. */
export function openingOf(call: Call, begun?: SignedRecord): Opening {
  return new CallOpening(call, begun)
}

// A class, for its getter belongs to all of them: written into an object it makes a shape of each, which is never young, and through which
// every call with all that it holds outlived two collections.
class CallOpening implements Opening {
  readonly id: Uint8Array
  readonly #call: Call
  readonly #begun: SignedRecord | undefined

  constructor(call: Call, begun: SignedRecord | undefined) {
    this.id = call.runId
    this.#call = call
    this.#begun = begun
  }

  get note(): string {
    return JSON.stringify(noteOf(this.#call, this.#begun))
  }
}

function noteOf(call: Call, begun: SignedRecord | undefined): Note {
  const { route, trace, capture } = call
  const { redaction } = call.deps
  const { routeId, provider } = storedNames(call)
  const note: Note = {
    recordId: Buffer.from(call.recordId).toString('hex'),
    workspace: call.caller.workspace,
    traceId: trace.traceId,
    spanId: call.spanId,
    parentSpanId: trace.parentSpanId,
    traceState: redaction ? redaction.traceState(trace.traceState) : trace.traceState,
    operation: call.operation.name,
    environment: call.environment,
    provider,
    routeId,
    routeLabel: route.label,
    routePublic: route.public,
    model: call.model,
    prompt: call.prompt,
    sessionId: capture === 'none' ? '' : call.sessionId,
    userId: capture === 'none' ? '' : call.userId,
    attributes: call.attributes,
    origin: call.origin,
    startedAtMs: call.startedAtMs,
    requestBytes: call.upstreamBody.length,
  }
  const cost = call.grant?.cost(usageOf(note), undefined, call.model)
  if (cost) {
    const { nanoUsd, version, till } = cost
    note.cost = { nanoUsd: String(nanoUsd), version, till }
  }
  if (begun) {
    const canonical = Buffer.from(begun.canonical).toString()
    note.begun = { canonical, inputHash: begun.inputHash, inputForm: begun.inputForm }
  }
  return note
}

export type EndingDeps = {
  intake: Intake
  envelopes: EnvelopeBook
  signerOf: SignerOf
  counters: Counters
  log: (line: string) => void
}

/**
 * Ends calls that an earlier process left open. One that cannot be ended now, because the spool is full or the keys are away, is
 * counted, and found again at the next start.
 */
export async function endInterrupted(left: readonly Opening[], deps: EndingDeps): Promise<void> {
  let ended = 0
  const endOne = async (opening: Opening) => {
    try {
      await end(opening, deps)
      ended += 1
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      deps.counters.count('proxy_records_lost_total', { code: error.code })
    }
  }
  for (let from = 0; from < left.length; from += endedAtOnce) {
    await Promise.all(left.slice(from, from + endedAtOnce).map(endOne))
    await nextTurn()
  }
  if (left.length > 0)
    deps.log(`calls: ${ended} of ${left.length} that were cut off are recorded as interrupted`)
}

/** A call that nobody holds any more, as the record and the run it would have as `interrupted`. */
export function fromNote(opening: Opening): {
  facts: RecordFacts
  run: Run
  begun: Begun | undefined
} {
  const note = JSON.parse(opening.note) as Note // we wrote it, and it was kept whole
  const ids = {
    runId: opening.id as Id, // we gave it its name
    recordId: Buffer.from(note.recordId, 'hex') as Uint8Array as Id, // so too
  }
  return { facts: toFacts(note, ids), run: toRun(note, ids), begun: toBegun(note) }
}

async function end(opening: Opening, deps: EndingDeps): Promise<void> {
  const { facts, run, begun } = fromNote(opening)
  const signer = await deps.signerOf(run.workspace).catch((error) => {
    // The workspace was deleted: there is nobody left to sign for.
    if (error instanceof Fault && error.code === 'not_found') return undefined
    throw error
  })
  const closes = { closes: opening.id }
  if (!signer) return deps.intake.write(() => {}, closes)
  const signed = signer.final(facts, begun)
  const notes = deps.envelopes.open(run.workspace)
  await deps.intake.write((batch) => {
    pushRecord(batch, signed)
    pushRun(batch, run, notes)
  }, closes)
  notes.keep()
  const provider = facts.routePublic ? run.provider : unshown
  deps.counters.count('proxy_runs_total', { provider, status: run.status })
}

type Ids = { runId: Id; recordId: Id }

const nothing = { responseId: null, systemFingerprint: null, requestId: null }

function toFacts(note: Note, ids: Ids): RecordFacts {
  return {
    ...ids,
    workspace: note.workspace,
    traceId: note.traceId,
    routeId: note.routeId,
    routeLabel: note.routeLabel,
    routePublic: note.routePublic,
    provider: note.provider,
    environment: note.environment,
    promptVersionId: note.prompt?.versionId ?? 'default',
    modelId: note.model,
    status: 'interrupted',
    startedAt: new Date(note.startedAtMs),
    // When it was cut off nobody saw.
    completedAt: undefined,
    input: undefined,
    output: undefined,
    usage: usageOf(note),
    upstream: nothing,
  }
}

function toBegun({ begun }: Note): Begun | undefined {
  if (!begun) return undefined
  const { canonical, inputHash, inputForm } = begun
  return {
    canonical: Buffer.from(canonical),
    inputHash,
    ...(inputForm === undefined ? {} : { inputForm }),
  }
}

function toRun(note: Note, ids: Ids): Run {
  return {
    ...ids,
    workspace: note.workspace,
    traceId: note.traceId,
    spanId: note.spanId,
    parentSpanId: note.parentSpanId,
    traceState: note.traceState,
    name: `${note.operation} ${note.model}`,
    operation: note.operation,
    service: serviceName,
    startUnixNano: toNanos(note.startedAtMs),
    durationNs: 0,
    ttftNs: undefined,
    status: 'interrupted',
    error: { code: 'interrupted', message: 'The process that served this call ended before it.' },
    environment: note.environment,
    provider: note.provider,
    modelRequested: note.model,
    modelServed: undefined,
    routeId: note.routeId,
    routeLabel: note.routeLabel,
    prompt: note.prompt,
    promptVariables: undefined,
    sessionId: note.sessionId,
    userId: note.userId,
    origin: note.origin ?? '',
    input: undefined,
    output: undefined,
    finishReasons: [],
    usage: usageOf(note),
    costNanoUsd: note.cost && BigInt(note.cost.nanoUsd),
    upstream: nothing,
    attributes: attributesOf(note),
  }
}

function attributesOf({ attributes, cost }: Note): Run['attributes'] {
  if (cost) attributes['batchin.price.version'] = cost.version
  if (cost?.till !== undefined) attributes['batchin.till'] = cost.till
  return attributes
}

/** The upstream has read the request, and may bill for it; what it made was not seen. */
function usageOf({ requestBytes }: Note): Usage {
  return {
    inputTokens: estimateTokensOf(requestBytes),
    cachedTokens: 0,
    outputTokens: 0,
    reasoningTokens: 0,
    estimated: true,
  }
}
