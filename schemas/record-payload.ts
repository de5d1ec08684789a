// The payload of a record as its RFC 8785 bytes: what the signature covers. Documented names at the top, nothing that names a person.
// A private route shows its public label only: neither provider, nor route, nor anything the provider would be known by.

import type { Form, Role } from './commit.ts'
import { type EnergyDetail, type Tier, toEnergy } from './energy.ts'
import { toPrefixed } from './ids.ts'
import { isWellFormed, JsonBytes } from './json-bytes.ts'
import type { RecordFacts } from './record.ts'

// Names that came from callers and upstreams end up in public evidence: short, and well-formed.
const nameLengthMax = 256
const countMax = 2 ** 32 - 1
const quote = 0x22
const zero = 0x30
const letterZ = 0x5a

/** The commitment to one text; `hash` null when there was nothing to commit to. */
export type Commitment = { hash: string | null; form: Form }

// One for all payloads: what is signed is copied out before the next is written.
const to = new JsonBytes()

/** What a promise can say: who answers, and how, is not known yet, so neither provider nor route is in it. The bytes are lent. */
export function lendBegin(
  facts: RecordFacts,
  more: { keyId: string; input: Commitment },
): Uint8Array<ArrayBuffer> {
  to.clear()
  name('{"environment":', facts.environment)
  commitment('input', more.input)
  name(',"key_id":', more.keyId)
  name(',"model_id":', facts.modelId)
  to.ascii(',"output_hash":null,"phase":"begin"')
  name(',"prompt_version_id":', facts.promptVersionId)
  name(',"public_route_label":', facts.routeLabel)
  to.ascii(',"record_id":"')
  to.ascii(toPrefixed('vaas', facts.recordId))
  to.ascii('"')
  run(facts)
  time(',"started_at":"', facts.startedAt)
  to.ascii('","status":"open"')
  name(',"trace_id":', facts.traceId)
  to.ascii(',"type":"vaas.record/v1"}')
  return to.filled()
}

/**
 * The record itself. `beginSha256` ties it to its opening record: hex of the SHA-256 of that one's canonical bytes. Written out member
 * by member: a payload has one shape, and making an object or a text of it took a third of what its signature takes. The bytes are lent.
 */
export function lendFinal(
  facts: RecordFacts,
  more: {
    keyId: string
    input: Commitment
    output: Commitment
    beginSha256: string | null
    tier?: Tier | undefined
  },
): Uint8Array<ArrayBuffer> {
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
  to.clear()
  plain('{"begin_sha256":', more.beginSha256)
  amount(',"carbon_grams_co2e":', energy.carbon_grams_co2e)
  amount(',"carbon_offset_vs_us_cloud":', energy.carbon_offset_vs_us_cloud)
  time(',"completed_at":"', completedAt)
  to.ascii('","energy":')
  detail(energy.energy)
  plain(',"energy_source":', energy.energy_source)
  amount(',"energy_wh":', energy.energy_wh)
  name(',"environment":', facts.environment)
  if (facts.gpuId !== undefined) name(',"gpu_id":', facts.gpuId)
  commitment('input', more.input)
  name(',"key_id":', more.keyId)
  name(',"model_id":', facts.modelId)
  commitment('output', more.output)
  name(',"phase":"final","prompt_version_id":', facts.promptVersionId)
  if (routePublic) name(',"provider":', facts.provider)
  name(',"public_route_label":', facts.routeLabel)
  to.ascii(',"record_id":"')
  to.ascii(toPrefixed('vaas', facts.recordId))
  to.ascii('"')
  if (routePublic) name(',"route_id":', facts.routeId)
  run(facts)
  time(',"started_at":"', facts.startedAt)
  to.ascii('","status":"')
  to.ascii(facts.status)
  name('","trace_id":', facts.traceId)
  to.ascii(',"type":"vaas.record/v1"')
  if (routePublic) upstream(facts.upstream)
  counts(usage)
  to.ascii(usage?.estimated ? ',"usage_estimated":true}' : ',"usage_estimated":false}')
  return to.filled()
}

function detail(of: EnergyDetail | null): void {
  if (!of) {
    to.ascii('null')
    return
  }
  amount('{"carbon_ug":', of.carbon_ug)
  amount(',"embodied_ug":', of.embodied_ug)
  amount(',"energy_uwh":', of.energy_uwh)
  amount(',"high_uwh":', of.high_uwh)
  inputs(of.inputs)
  to.ascii(of.is_estimated ? ',"is_estimated":true' : ',"is_estimated":false')
  amount(',"low_uwh":', of.low_uwh)
  plain(',"method":', of.method)
  amount(',"offset_ug":', of.offset_ug)
  plain(',"tier":', of.tier)
  to.ascii('}')
}

function inputs(of: EnergyDetail['inputs']): void {
  if (!of) {
    to.ascii(',"inputs":null')
    return
  }
  amount(',"inputs":{"active_m":[', of.active_m[0])
  amount(',', of.active_m[1])
  amount('],"batch":', of.batch)
  amount(',"ci_mg_per_kwh":', of.ci_mg_per_kwh)
  amount(',"latency_ms":', of.latency_ms)
  amount(',"pue_milli":', of.pue_milli)
  plain(',"size_basis":', of.size_basis)
  amount(',"total_m":[', of.total_m[0])
  amount(',', of.total_m[1])
  to.ascii(']}')
}

function upstream(of: RecordFacts['upstream']): void {
  name(',"upstream":{"request_id":', of.requestId)
  name(',"response_id":', of.responseId)
  name(',"system_fingerprint":', of.systemFingerprint)
  to.ascii('}')
}

function counts(usage: RecordFacts['usage']): void {
  if (!usage) {
    to.ascii(',"usage":null')
    return
  }
  amount(',"usage":{"cached_input_tokens":', usage.cachedTokens)
  amount(',"input_tokens":', usage.inputTokens)
  amount(',"output_tokens":', usage.outputTokens)
  amount(',"reasoning_tokens":', usage.reasoningTokens)
  to.ascii('}')
}

/** Only the looser form is named. */
function commitment(role: Role, of: Commitment): void {
  if (of.form !== 'jcs') {
    to.ascii(role === 'input' ? ',"input_form":"' : ',"output_form":"')
    to.ascii(of.form)
    to.ascii('"')
  }
  plain(role === 'input' ? ',"input_hash":' : ',"output_hash":', of.hash)
}

// A run of all zeros is none: a record that was posted alone belongs to no run.
function run({ runId }: RecordFacts): void {
  let bits = 0
  for (let i = 0; i < runId.length; i++) bits |= runId[i]!
  plain(',"run_id":', bits === 0 ? null : toPrefixed('run', runId))
}

let second = Number.NaN
let secondText = ''

/** RFC 3339 to the millisecond. Both ends of most calls are in one second, and calls come by the hundred in each. */
function time(before: string, at: Date): void {
  const ms = at.getTime()
  const whole = Math.floor(ms / 1000)
  if (whole !== second) {
    secondText = at.toISOString().slice(0, -4)
    second = whole
  }
  to.ascii(before)
  to.ascii(secondText)
  const rest = ms - 1000 * whole
  to.byte(zero + Math.floor(rest / 100))
  to.byte(zero + (Math.floor(rest / 10) % 10))
  to.byte(zero + (rest % 10))
  to.byte(letterZ)
}

/** What is ours to spell, and needs no escape: a hash, an id, the name of a method. */
function plain(before: string, text: string | null): void {
  to.ascii(before)
  if (text === null) to.ascii('null')
  else {
    to.byte(quote)
    to.ascii(text)
    to.byte(quote)
  }
}

function amount(before: string, value: number | null): void {
  to.ascii(before)
  if (value === null) to.ascii('null')
  else to.number(value)
}

/** A name, null for none. Never throws: one that is too long or not well-formed is cut and mended, not refused. */
function name(before: string, text: string | null): void {
  to.ascii(before)
  if (text === null || text === '') {
    to.ascii('null')
    return
  }
  const short = text.length > nameLengthMax ? text.slice(0, nameLengthMax) : text
  to.text(isWellFormed(short) ? short : short.replace(/[\ud800-\udfff]/gu, '\ufffd'))
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
