// The form of an evidence pack: every member known, every member that repeats the signed payload equal to it. So no byte of a
// pack can change without a check that fails.

import { parsePublicKeyText, parseSignatureText } from './encoding.ts'
import type { Evidence, JsonObject } from './evidence.ts'
import { recordStatuses } from './record.ts'

export const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
export const secondsPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/
const hashPattern = /^sha256:[0-9a-f]{64}$/
const recordIdPattern = /^vaas_[0-9A-Z]{26,27}$/

type Test = (value: unknown) => boolean

const packForm: Record<keyof Evidence, Test> = {
  record_id: isText,
  run_id: orNull(isText),
  trace_id: orNull(isText),
  customer_trace_id: orNull(isText),
  route_id: orNull(isText),
  public_route_label: orNull(isText),
  provider: orNull(isText),
  environment: orNull(isText),
  prompt_version_id: orNull(isText),
  verification_method: is('Ed25519Signature2020'),
  signature_input: is('rfc8785(payload)'),
  public_key: (value) => isText(value) && parsePublicKeyText(value) !== undefined,
  signature: isSignature,
  payload: isObject,
  payload_sha256: matches(/^[0-9a-f]{64}$/),
  begin: orNull(has({ payload: isObject, signature: isSignature }, { key: isKey })),
  proof: orNull(
    has({
      type: is('DataIntegrityProof'),
      cryptosuite: is('eddsa-jcs-2022'),
      created: isSeconds,
      verificationMethod: isText,
      proofPurpose: is('assertionMethod'),
      proofValue: matches(/^z[1-9A-HJ-NP-Za-km-z]{1,128}$/),
    }),
  ),
  key: orNull(isKey),
  inclusion: has({
    status: is('pending'),
    origin: orNull(isText),
    promised_by: orNull(isTime),
  }),
}

const payloadForm: Record<string, Test> = {
  type: is('vaas.record/v1'),
  phase: is('final'),
  record_id: matches(recordIdPattern),
  status: (value) => value !== 'open' && recordStatuses.some((status) => status === value),
  key_id: isText,
  input_hash: orNull(matches(hashPattern)),
  output_hash: orNull(matches(hashPattern)),
  started_at: isTime,
  completed_at: isTime,
}

// Members of the pack that say again what the payload says; the signature reaches them through this comparison only.
const repeated: readonly (readonly [keyof Evidence, string])[] = [
  ['record_id', 'record_id'],
  ['run_id', 'run_id'],
  ['trace_id', 'trace_id'],
  ['customer_trace_id', 'trace_id'],
  ['route_id', 'route_id'],
  ['public_route_label', 'public_route_label'],
  ['provider', 'provider'],
  ['environment', 'environment'],
  ['prompt_version_id', 'prompt_version_id'],
]

/** The pack, typed, once its members have their forms; and every mistake in it. No pack: the later checks cannot be made. */
export function readPack(value: unknown): { pack: Evidence | undefined; mistakes: string[] } {
  if (!isObject(value)) return { pack: undefined, mistakes: ['The pack is not a JSON object.'] }
  const broken = findMistakes(value, packForm, '')
  if (broken.length > 0) {
    const readable = broken.every((mistake) => mistake.extra)
    return { pack: readable ? asPack(value) : undefined, mistakes: broken.map((m) => m.says) }
  }
  const pack = asPack(value)
  const mistakes = Object.entries(payloadForm)
    .filter(([name, test]) => !test(pack.payload[name]))
    .map(([name]) => `payload.${name} is missing or not of its form.`)
  for (const [name, source] of repeated) {
    if (pack[name] !== (pack.payload[source] ?? null))
      mistakes.push(`${name} is not what payload.${source} says.`)
  }
  return { pack, mistakes }
}

function asPack(value: object): Evidence {
  return value as Evidence // every member was tested just before
}

function findMistakes(
  value: Record<string, unknown>,
  form: Record<string, Test>,
  path: string,
): { says: string; extra: boolean }[] {
  const mistakes: { says: string; extra: boolean }[] = []
  for (const [name, test] of Object.entries(form)) {
    if (!Object.hasOwn(value, name))
      mistakes.push({ says: `${path}${name} is missing.`, extra: false })
    else if (!test(value[name]))
      mistakes.push({ says: `${path}${name} is not of its form.`, extra: false })
  }
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(form, name))
      mistakes.push({ says: `${path}${name} is unknown, and no signature covers it.`, extra: true })
  }
  return mistakes
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isKey(value: unknown): boolean {
  return has({
    key_id: isText,
    publicKeyMultibase: isText,
    not_before: isTime,
    not_after: isTime,
    status: (status) => status === 'active' || status === 'retired' || status === 'compromised',
    certificate: has({ payload: isObject, signature: isSignature, root: isText }),
  })(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 1024
}

function isTime(value: unknown): boolean {
  return typeof value === 'string' && timePattern.test(value) && !Number.isNaN(Date.parse(value))
}

function isSeconds(value: unknown): boolean {
  return typeof value === 'string' && secondsPattern.test(value) && !Number.isNaN(Date.parse(value))
}

function isSignature(value: unknown): boolean {
  return isText(value) && parseSignatureText(value) !== undefined
}

function is(expected: string): Test {
  return (value) => value === expected
}

function matches(pattern: RegExp): Test {
  return (value) => typeof value === 'string' && pattern.test(value)
}

function orNull(test: Test): Test {
  return (value) => value === null || test(value)
}

function has(form: Record<string, Test>, optional: Record<string, Test> = {}): Test {
  return (value) => {
    if (!isObject(value)) return false
    const given = Object.keys(optional).filter((name) => Object.hasOwn(value, name))
    const whole = { ...form, ...Object.fromEntries(given.map((name) => [name, optional[name]!])) }
    return findMistakes(value, whole, '').length === 0
  }
}
