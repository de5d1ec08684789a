// The payload of a record as its RFC 8785 text: what the signature covers. Documented names at the top, nothing that names a person.
// A private route shows its public label only: neither provider, nor route, nor anything the provider would be known by.

import type { Form, Role } from './commit.ts'
import { type EnergyDetail, type Tier, toEnergy } from './energy.ts'
import { toPrefixed } from './ids.ts'
import { toJcs } from './jcs.ts'
import type { RecordFacts } from './record.ts'

// Names that came from callers and upstreams end up in public evidence: short, and well-formed.
const nameLengthMax = 256
const countMax = 2 ** 32 - 1

/** The commitment to one text; `hash` null when there was nothing to commit to. */
export type Commitment = { hash: string | null; form: Form }

/** What a promise can say: who answers, and how, is not known yet, so neither provider nor route is in it. */
export function toBeginText(
  facts: RecordFacts,
  more: { keyId: string; input: Commitment },
): string {
  return (
    `{"environment":${nameOf(facts.environment)},${formOf('input', more.input)}` +
    `"input_hash":${plain(more.input.hash)},"key_id":${toJcs(more.keyId)},"model_id":${nameOf(facts.modelId)},"output_hash":null,` +
    `"phase":"begin","prompt_version_id":${nameOf(facts.promptVersionId)},"public_route_label":${nameOf(facts.routeLabel)},` +
    `"record_id":"${toPrefixed('vaas', facts.recordId)}","run_id":${plain(toRunId(facts))},` +
    `"started_at":"${facts.startedAt.toISOString()}","status":"open","trace_id":${traceOf(facts)},"type":"vaas.record/v1"}`
  )
}

/**
 * The record itself. `beginSha256` ties it to its opening record: hex of the SHA-256 of that one's canonical bytes. Written out member
 * by member: a payload has one shape, and making an object of it, to sort and walk, took a fifth of what its signature takes.
 */
export function toFinalText(
  facts: RecordFacts,
  more: {
    keyId: string
    input: Commitment
    output: Commitment
    beginSha256: string | null
    tier?: Tier | undefined
  },
): string {
  const completedAt = facts.completedAt ?? facts.startedAt
  const usage = toUsage(facts.usage)
  const { routePublic } = facts
  const energy = toEnergy({
    modelId: facts.modelId,
    provider: routePublic || facts.provider === 'sandbox' ? facts.provider : '',
    status: facts.status,
    usage,
    latencyMs: completedAt.getTime() - facts.startedAt.getTime(),
    tier: more.tier,
  })
  return (
    `{"begin_sha256":${plain(more.beginSha256)},"carbon_grams_co2e":${toJcs(energy.carbon_grams_co2e)},` +
    `"carbon_offset_vs_us_cloud":${toJcs(energy.carbon_offset_vs_us_cloud)},"completed_at":"${completedAt.toISOString()}",` +
    `"energy":${energyText(energy.energy)},"energy_source":${plain(energy.energy_source)},"energy_wh":${toJcs(energy.energy_wh)},` +
    `"environment":${nameOf(facts.environment)},${facts.gpuId === undefined ? '' : `"gpu_id":${nameOf(facts.gpuId)},`}` +
    `${formOf('input', more.input)}"input_hash":${plain(more.input.hash)},"key_id":${toJcs(more.keyId)},` +
    `"model_id":${nameOf(facts.modelId)},${formOf('output', more.output)}"output_hash":${plain(more.output.hash)},"phase":"final",` +
    `"prompt_version_id":${nameOf(facts.promptVersionId)},${routePublic ? `"provider":${nameOf(facts.provider)},` : ''}` +
    `"public_route_label":${nameOf(facts.routeLabel)},"record_id":"${toPrefixed('vaas', facts.recordId)}",` +
    `${routePublic ? `"route_id":${nameOf(facts.routeId)},` : ''}"run_id":${plain(toRunId(facts))},` +
    `"started_at":"${facts.startedAt.toISOString()}","status":"${facts.status}","trace_id":${traceOf(facts)},` +
    `"type":"vaas.record/v1",${routePublic ? `"upstream":${upstreamText(facts)},` : ''}"usage":${usageText(usage)},` +
    `"usage_estimated":${usage?.estimated ?? false}}`
  )
}

function energyText(detail: EnergyDetail | null): string {
  if (!detail) return 'null'
  return (
    `{"carbon_ug":${toJcs(detail.carbon_ug)},"embodied_ug":${toJcs(detail.embodied_ug)},"energy_uwh":${toJcs(detail.energy_uwh)},` +
    `"high_uwh":${toJcs(detail.high_uwh)},"inputs":${inputsText(detail.inputs)},"is_estimated":${detail.is_estimated},` +
    `"low_uwh":${toJcs(detail.low_uwh)},"method":"${detail.method}","offset_ug":${toJcs(detail.offset_ug)},"tier":"${detail.tier}"}`
  )
}

function inputsText(inputs: EnergyDetail['inputs']): string {
  if (!inputs) return 'null'
  const { active_m: active, total_m: total } = inputs
  return (
    `{"active_m":[${toJcs(active[0])},${toJcs(active[1])}],"batch":${toJcs(inputs.batch)},"ci_mg_per_kwh":${toJcs(inputs.ci_mg_per_kwh)},` +
    `"latency_ms":${toJcs(inputs.latency_ms)},"pue_milli":${toJcs(inputs.pue_milli)},"size_basis":"${inputs.size_basis}",` +
    `"total_m":[${toJcs(total[0])},${toJcs(total[1])}]}`
  )
}

/** What is ours to spell, and needs no escape: a hash, an id, the name of a method. */
function plain(text: string | null): string {
  return text === null ? 'null' : `"${text}"`
}

function nameOf(text: string | null): string {
  return toJcs(toName(text))
}

/** Only the looser form is named. */
function formOf(role: Role, { form }: Commitment): string {
  return form === 'jcs' ? '' : `"${role}_form":"${form}",`
}

function traceOf({ traceId }: RecordFacts): string {
  return traceId === '' ? 'null' : toJcs(traceId)
}

// A run of all zeros is none: a record that was posted alone belongs to no run.
function toRunId(facts: RecordFacts): string | null {
  for (const byte of facts.runId) if (byte !== 0) return toPrefixed('run', facts.runId)
  return null
}

function upstreamText({ upstream }: RecordFacts): string {
  const { responseId, systemFingerprint, requestId } = upstream
  return `{"request_id":${nameOf(requestId)},"response_id":${nameOf(responseId)},"system_fingerprint":${nameOf(systemFingerprint)}}`
}

function usageText(usage: RecordFacts['usage']): string {
  if (!usage) return 'null'
  return (
    `{"cached_input_tokens":${toJcs(usage.cachedTokens)},"input_tokens":${toJcs(usage.inputTokens)},` +
    `"output_tokens":${toJcs(usage.outputTokens)},"reasoning_tokens":${toJcs(usage.reasoningTokens)}}`
  )
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
