// Does a text, with the salt of its disclosure, open the commitment of a record? Every reading of the text is tried, and named.

import { type Finding, no, open, yes } from './check.ts'
import {
  commit,
  type Form,
  type Role,
  saltBytes,
  toCommittedText,
  toInputObject,
  toOutputObject,
} from './commit.ts'
import { parseBase64url } from './encoding.ts'
import type { JsonObject } from './evidence.ts'
import { toLooseJcs } from './jcs.ts'

/** Texts as their holder has them, request and answer as JSON or plain text, and the salts of `GET /v1/vaas/{id}/disclosure`. */
export type Disclosed = {
  input?: string
  output?: string
  input_salt?: string
  output_salt?: string
  /** When the disclosure names its record, it must be this one. */
  record_id?: string
}

/** Compares each text that was given with its commitment. */
export async function checkDisclosed(
  payload: JsonObject,
  disclosed: Disclosed | undefined,
): Promise<Finding> {
  if (!disclosed || (disclosed.input === undefined && disclosed.output === undefined))
    return open('No text was given to compare with the commitments.')
  if (disclosed.record_id !== undefined && disclosed.record_id !== payload.record_id)
    return no(`The salts are those of ${disclosed.record_id}, another record.`)
  const opened: Role[] = []
  for (const role of ['input', 'output'] as const) {
    const text = disclosed[role]
    if (text === undefined) continue
    const failure = await findFailure(payload, role, { text, salt: disclosed[`${role}_salt`] })
    if (failure !== undefined) return no(failure)
    opened.push(role)
  }
  return yes(
    `The ${opened.join(' and the ')} given ${opened.length > 1 ? 'are' : 'is'} what was signed.`,
  )
}

async function findFailure(
  payload: JsonObject,
  role: Role,
  given: { text: string; salt: string | undefined },
): Promise<string | undefined> {
  const hash = payload[`${role}_hash`]
  if (typeof hash !== 'string') return `The record has no commitment to an ${role}.`
  const salt = given.salt === undefined ? undefined : parseBase64url(given.salt)
  if (salt?.length !== saltBytes)
    return `The salt of the ${role} is missing or not 32 bytes of base64url.`
  const form: Form = payload[`${role}_form`] === 'es-json' ? 'es-json' : 'jcs'
  for (const text of readings(role, form, given.text)) {
    if ((await commit({ role, form, text }, salt)) === hash) return undefined
  }
  return `The ${role} given is not the one that was signed.`
}

/** The JSON as given, then without what was never committed to, then the text itself, with and without its last line break. */
function readings(role: Role, form: Form, text: string): Set<string> {
  const values: unknown[] = []
  try {
    const parsed: unknown = JSON.parse(text)
    values.push(parsed, role === 'input' ? toInputObject(parsed) : toOutputObject(parsed))
  } catch {
    // Not JSON: then it is the text itself that was committed to.
  }
  values.push(text, text.replace(/\r?\n$/, ''))
  const texts = values.map((value) =>
    form === 'es-json' ? toLooseOrUndefined(value) : toCommittedText(value),
  )
  return new Set(texts.filter((read) => read?.form === form).map((read) => read!.text))
}

function toLooseOrUndefined(value: unknown): { form: Form; text: string } | undefined {
  const read = toCommittedText(value)
  return read?.form === 'jcs' ? { form: 'es-json', text: toLooseJcs(value) } : read
}
