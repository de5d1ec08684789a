// The payload of a record: what the signature covers. Documented names at the top, nothing that names a person, no text.
// A private route shows its public label only: neither provider, nor route, nor anything the provider would be known by.

import type { Form } from './commit.ts'
import { type EnergyFields, type Tier, toEnergy } from './energy.ts'
import type { JsonObject } from './evidence.ts'
import { toPrefixed } from './ids.ts'
import type { RecordFacts } from './record.ts'

// Names that came from callers and upstreams end up in public evidence: short, and well-formed.
const nameLengthMax = 256
const countMax = 2 ** 32 - 1

/** The commitment to one text; `hash` null when there was nothing to commit to. */
export type Commitment = { hash: string | null; form: Form }

/** What a promise can say: who answers, and how, is not known yet, so neither provider nor route is in it. */
export function toBeginPayload(
  facts: RecordFacts,
  more: { keyId: string; input: Commitment },
): JsonObject {
  return {
    type: 'vaas.record/v1',
    phase: 'begin',
    ...toIdentity(facts),
    status: 'open',
    ...toHashes({ input: more.input, output: nothing }),
    started_at: facts.startedAt.toISOString(),
    key_id: more.keyId,
  }
}

/** The record itself. `beginSha256` ties it to its opening record, hex of the SHA-256 of that one's canonical bytes. */
export function toFinalPayload(
  facts: RecordFacts,
  more: {
    keyId: string
    input: Commitment
    output: Commitment
    beginSha256: string | null
    tier?: Tier | undefined
  },
): JsonObject {
  const completedAt = facts.completedAt ?? facts.startedAt
  const usage = toUsage(facts.usage)
  const energy: EnergyFields = toEnergy({
    modelId: facts.modelId,
    provider: facts.routePublic || facts.provider === 'sandbox' ? facts.provider : '',
    status: facts.status,
    usage,
    latencyMs: completedAt.getTime() - facts.startedAt.getTime(),
    tier: more.tier,
  })
  return {
    type: 'vaas.record/v1',
    phase: 'final',
    ...toIdentity(facts),
    ...(facts.routePublic ? toRoute(facts) : undefined),
    ...(facts.gpuId === undefined ? undefined : { gpu_id: toName(facts.gpuId) }),
    status: facts.status,
    ...toHashes(more),
    started_at: facts.startedAt.toISOString(),
    completed_at: completedAt.toISOString(),
    usage: usage
      ? {
          input_tokens: usage.inputTokens,
          cached_input_tokens: usage.cachedTokens,
          output_tokens: usage.outputTokens,
          reasoning_tokens: usage.reasoningTokens,
        }
      : null,
    usage_estimated: usage?.estimated ?? false,
    ...energy,
    begin_sha256: more.beginSha256,
    key_id: more.keyId,
  }
}

/** What both phases say. A run or trace of all zeros is none: a record that was posted alone belongs to no run. */
function toIdentity(facts: RecordFacts): JsonObject {
  const hasRun = facts.runId.some((byte) => byte !== 0)
  return {
    record_id: toPrefixed('vaas', facts.recordId),
    run_id: hasRun ? toPrefixed('run', facts.runId) : null,
    trace_id: facts.traceId === '' ? null : facts.traceId,
    public_route_label: toName(facts.routeLabel),
    environment: toName(facts.environment),
    prompt_version_id: toName(facts.promptVersionId),
    model_id: toName(facts.modelId),
  }
}

function toRoute(facts: RecordFacts): JsonObject {
  const { responseId, systemFingerprint, requestId } = facts.upstream
  return {
    route_id: toName(facts.routeId),
    provider: toName(facts.provider),
    upstream: {
      response_id: toName(responseId),
      system_fingerprint: toName(systemFingerprint),
      request_id: toName(requestId),
    },
  }
}

const nothing: Commitment = { hash: null, form: 'jcs' }

/** The forms are named only where they are not RFC 8785. */
function toHashes({ input, output }: { input: Commitment; output: Commitment }): JsonObject {
  return {
    input_hash: input.hash,
    output_hash: output.hash,
    ...(input.form === 'jcs' ? undefined : { input_form: input.form }),
    ...(output.form === 'jcs' ? undefined : { output_form: output.form }),
  }
}

function toUsage(usage: RecordFacts['usage']): RecordFacts['usage'] {
  if (!usage) return undefined
  return {
    inputTokens: toCount(usage.inputTokens),
    cachedTokens: toCount(usage.cachedTokens),
    outputTokens: toCount(usage.outputTokens),
    reasoningTokens: toCount(usage.reasoningTokens),
    estimated: usage.estimated,
  }
}

// Counts are what an upstream claims; one that is no count must not keep the call from being signed.
function toCount(value: number): number {
  return value > 0 ? Math.min(Math.floor(value), countMax) : 0
}

/** Null for nothing. Never throws: a name that is too long or not well-formed is cut and mended, not refused. */
function toName(text: string | null): string | null {
  if (text === null || text === '') return null
  const short = text.length > nameLengthMax ? text.slice(0, nameLengthMax) : text
  return short.replace(/[\ud800-\udfff]/gu, '\ufffd')
}
