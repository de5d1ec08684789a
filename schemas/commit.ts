// Salted commitments: what a record says of a text without telling it. Whoever holds text and salt can check; others learn nothing.
//   inner = SHA-256(canonical text)      salt = HKDF-SHA256(workspace key, record id, "vaas/v1/salt/" + role)
//   hash  = SHA-256("vaas/v1/" + role + form + 0x00 + salt + inner)

import { toHex } from './ids.ts'
import { lendJcs, lendLooseJcs, NotCanonical } from './jcs.ts'

export type Role = 'input' | 'output'

/**
 * How the value became bytes: RFC 8785, or, for JSON outside I-JSON (integers beyond 2^53, lone surrogates), the looser
 * spelling of `toLooseJcs`. The payload names the second form, and the tag differs, so neither passes for the other.
 */
export type Form = 'jcs' | 'es-json'

export const saltBytes = 32
export const commitmentPrefix = 'sha256:'

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder()

/** A value as it is committed to. */
type Committed<T> = { form: Form } & T

/**
 * The bytes of a value to be committed to, lent: the next value is written over them. Undefined when it is too deep, or no JSON at
 * all: then the record says null.
 */
export function lendCommitted(value: unknown): Committed<{ bytes: Uint8Array }> | undefined {
  try {
    return { form: 'jcs', bytes: lendJcs(value) }
  } catch (error) {
    if (!(error instanceof NotCanonical)) throw error
  }
  try {
    return { form: 'es-json', bytes: lendLooseJcs(value) }
  } catch (error) {
    if (error instanceof NotCanonical) return undefined
    throw error
  }
}

/** The same as text. */
export function toCommittedText(value: unknown): Committed<{ text: string }> | undefined {
  const read = lendCommitted(value)
  return read && { form: read.form, text: fromUtf8.decode(read.bytes) }
}

/** The `info` of the salt's derivation. */
export function saltInfo(role: Role): string {
  return `vaas/v1/salt/${role}`
}

/** What stands before salt and inner hash. */
export function commitmentTag(role: Role, form: Form): Uint8Array<ArrayBuffer> {
  return utf8.encode(`vaas/v1/${role}${form === 'jcs' ? '' : `-${form}`}\0`)
}

/** A request without its transport keys: what an input commitment covers. Anything but an object is left as it is. */
export function toInputObject(request: unknown): unknown {
  if (!isObject(request)) return request
  // Most requests have neither, and need no copy.
  if (!Object.hasOwn(request, 'stream') && !Object.hasOwn(request, 'stream_options')) return request
  const { stream: _, stream_options: __, ...kept } = request
  return kept
}

/**
 * A chat completion as its choices only, a Response as its items only: the same whether it was streamed or not, and what every
 * SDK shows. Anything else is left as it is. Applied twice it changes nothing.
 */
export function toOutputObject(answer: unknown): unknown {
  if (!isObject(answer)) return answer
  if (answer.object === 'response' && Array.isArray(answer.output)) return { output: answer.output }
  if (!Array.isArray(answer.choices)) return answer
  return { choices: answer.choices.map(toChoice) }
}

/** The commitment of a value in the browser and the command line, by WebCrypto. */
export async function commit(
  value: { role: Role; form: Form; text: string },
  salt: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const inner = await crypto.subtle.digest('SHA-256', utf8.encode(value.text))
  const tag = commitmentTag(value.role, value.form)
  const whole = new Uint8Array(tag.length + salt.length + 32)
  whole.set(tag, 0)
  whole.set(salt, tag.length)
  whole.set(new Uint8Array(inner), tag.length + salt.length)
  return commitmentPrefix + toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', whole)))
}

function toChoice(choice: unknown): unknown {
  if (!isObject(choice) || !isObject(choice.message)) return choice
  const { role, content, refusal, tool_calls } = choice.message
  return {
    index: choice.index ?? 0,
    message: {
      role,
      content: content ?? null,
      ...(refusal == null ? {} : { refusal }),
      ...(tool_calls == null ? {} : { tool_calls }),
    },
    finish_reason: choice.finish_reason ?? null,
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
