// The signed evidence of a run: what is in its payload, which bytes are signed. Both phases, one form.
// Source of the design: RFC 8785 for the bytes, RFC 8032 pure Ed25519 for the signature.

import type { Id } from './ids.ts'

export type RecordPhase = 'begin' | 'final'
export const recordStatuses = [
  'open',
  'completed',
  'client_closed',
  'upstream_error',
  'truncated',
  'interrupted',
  'cache_hit',
] as const
export type RecordStatus = (typeof recordStatuses)[number]

/** The facts of one call, gathered by whoever saw it. Text goes in as `input` and `output` and leaves as commitments. */
export type RecordFacts = {
  recordId: Id
  runId: Id
  workspace: string
  traceId: string
  /** Private routes show their public label only. */
  routeId: string
  routeLabel: string
  routePublic: boolean
  provider: string
  /** The execution environment a caller names, already masked (`gpu_id` of `POST /v1/vaas`). */
  gpuId?: string
  environment: string
  promptVersionId: string
  modelId: string
  status: RecordStatus
  startedAt: Date
  completedAt: Date | undefined
  /** JSON values as received: the request minus `stream` and `stream_options`; the answer's choices. Undefined: nothing to commit to. */
  input: unknown
  output: unknown
  usage:
    | {
        inputTokens: number
        cachedTokens: number
        outputTokens: number
        reasoningTokens: number
        estimated: boolean
      }
    | undefined
  upstream: {
    responseId: string | null
    systemFingerprint: string | null
    requestId: string | null
  }
}

/** A record that is signed and not yet stored. Its signature may be shown to anyone only after the spool has it. */
export type SignedRecord = {
  recordId: Id
  runId: Id
  workspace: string
  traceId: string
  phase: RecordPhase
  /** UTF-8 RFC 8785 bytes of the payload: what is signed, stored, and never serialised again. */
  canonical: Uint8Array
  /** 64 bytes, pure Ed25519. */
  signature: Uint8Array
  keyId: string
  /** `sha256:…` commitments, as in the payload. */
  inputHash: string | null
  outputHash: string | null
  /** Set when the input was outside I-JSON and committed to in the looser form (schemas/commit.ts). */
  inputForm?: 'es-json'
  /** JSON text of what evidence shows beside the payload. */
  context: string
}

/** What a record says of its input. */
export type CommittedInput = Pick<SignedRecord, 'inputHash' | 'inputForm'>

/** What a final record takes over from its opening one. */
export type Begun = CommittedInput & Pick<SignedRecord, 'canonical'>

/** What the proxy and the run collector sign with. Synchronous: 33 µs each, and no await between facts and bytes. */
export type Signer = {
  begin(facts: RecordFacts): SignedRecord
  /** The commitment to an input alone, for whoever has time before the rest is known; `final` takes it in place of the input. */
  commitInput(recordId: Id, input: unknown): CommittedInput
  /** `before`: the opening record of the same call, tied in by its hash, when one was signed; else what was committed to, if anything. */
  final(facts: RecordFacts, before?: Begun | CommittedInput): SignedRecord
  /** `ed25519:pk_…` of the active record key. */
  readonly publicKey: string
  readonly keyId: string
}

/** The signer of one workspace; its salts follow from that workspace's own key. Cached by the one who gives it. */
export type SignerOf = (workspace: string) => Promise<Signer>
