// One model call: what the proxy saw, or what a client posted. It becomes one span and one record.

import type { Id, SpanId, TraceId } from './ids.ts'

export const runStatuses = [
  'ok',
  'error',
  'client_closed',
  'truncated',
  'interrupted',
  'cache_hit',
] as const
export type RunStatus = (typeof runStatuses)[number]

export type Usage = {
  /** Inclusive of cached tokens, as OpenAI and OTel report them. */
  inputTokens: number
  cachedTokens: number
  /** Inclusive of reasoning tokens. */
  outputTokens: number
  reasoningTokens: number
  estimated: boolean
}

export type Run = {
  runId: Id
  recordId: Id
  workspace: string
  traceId: TraceId
  spanId: SpanId
  parentSpanId: SpanId | undefined
  /** W3C tracestate of the caller, kept as it came. */
  traceState: string
  name: string
  /** `chat`, `text_completion`, `embeddings`, …: the values of `gen_ai.operation.name`. */
  operation: string
  service: string
  startUnixNano: bigint
  durationNs: number
  ttftNs: number | undefined
  status: RunStatus
  error: { code: string; message: string } | undefined
  environment: string
  provider: string
  /** The model that was asked for and, once known, the one that answered. */
  modelRequested: string
  modelServed: string | undefined
  routeId: string
  routeLabel: string
  prompt: { registryId: string; versionId: string } | undefined
  promptVariables: Record<string, string> | undefined
  sessionId: string
  userId: string
  /** `replay` for our own replays; they stay out of discovery, dashboards and billing. */
  origin: '' | 'replay'
  /** The request's messages and the answer's, in OpenAI's form; undefined when capture is off. */
  input: unknown
  output: unknown
  finishReasons: string[]
  usage: Usage | undefined
  costNanoUsd: bigint | undefined
  upstream: {
    responseId: string | null
    systemFingerprint: string | null
    requestId: string | null
  }
  /** Further attributes: tags, metadata, sampling parameters. */
  attributes: Record<string, string | number | boolean>
}
