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
  const payload: JsonObject = { environment: toName(facts.environment) }
  if (more.input.form !== 'jcs') payload.input_form = more.input.form
  payload.input_hash = more.input.hash
  payload.key_id = more.keyId
  payload.model_id = toName(facts.modelId)
  payload.output_hash = null
  payload.phase = 'begin'
  payload.prompt_version_id = toName(facts.promptVersionId)
  payload.public_route_label = toName(facts.routeLabel)
  payload.record_id = toPrefixed('vaas', facts.recordId)
  payload.run_id = toRunId(facts)
  payload.started_at = facts.startedAt.toISOString()
  payload.status = 'open'
  payload.trace_id = facts.traceId === '' ? null : facts.traceId
  payload.type = 'vaas.record/v1'
  return payload
}

/**
 * The record itself, its members in the order of RFC 8785, so that writing it sorts nothing. `beginSha256` ties it to its
 * opening record: hex of the SHA-256 of that one's canonical bytes.
 */
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
  const payload: JsonObject = {
    begin_sha256: more.beginSha256,
    carbon_grams_co2e: energy.carbon_grams_co2e,
    carbon_offset_vs_us_cloud: energy.carbon_offset_vs_us_cloud,
    completed_at: completedAt.toISOString(),
    energy: energy.energy,
    energy_source: energy.energy_source,
    energy_wh: energy.energy_wh,
    environment: toName(facts.environment),
  }
  if (facts.gpuId !== undefined) payload.gpu_id = toName(facts.gpuId)
  if (more.input.form !== 'jcs') payload.input_form = more.input.form
  payload.input_hash = more.input.hash
  payload.key_id = more.keyId
  payload.model_id = toName(facts.modelId)
  if (more.output.form !== 'jcs') payload.output_form = more.output.form
  payload.output_hash = more.output.hash
  payload.phase = 'final'
  payload.prompt_version_id = toName(facts.promptVersionId)
  if (facts.routePublic) payload.provider = toName(facts.provider)
  payload.public_route_label = toName(facts.routeLabel)
  payload.record_id = toPrefixed('vaas', facts.recordId)
  if (facts.routePublic) payload.route_id = toName(facts.routeId)
  payload.run_id = toRunId(facts)
  payload.started_at = facts.startedAt.toISOString()
  payload.status = facts.status
  payload.trace_id = facts.traceId === '' ? null : facts.traceId
  payload.type = 'vaas.record/v1'
  if (facts.routePublic) payload.upstream = toUpstream(facts)
  payload.usage = usage ? toUsageFields(usage) : null
  payload.usage_estimated = usage?.estimated ?? false
  return payload
}

// A run of all zeros is none: a record that was posted alone belongs to no run.
function toRunId(facts: RecordFacts): string | null {
  for (const byte of facts.runId) if (byte !== 0) return toPrefixed('run', facts.runId)
  return null
}

function toUpstream(facts: RecordFacts): JsonObject {
  const { responseId, systemFingerprint, requestId } = facts.upstream
  return {
    request_id: toName(requestId),
    response_id: toName(responseId),
    system_fingerprint: toName(systemFingerprint),
  }
}

function toUsageFields(usage: NonNullable<RecordFacts['usage']>): JsonObject {
  return {
    cached_input_tokens: usage.cachedTokens,
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    reasoning_tokens: usage.reasoningTokens,
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
  // Nearly every name has no surrogate at all; asking so is half the time of replacing nothing.
  return /[\ud800-\udfff]/.test(short) ? short.replace(/[\ud800-\udfff]/gu, '\ufffd') : short
}
