// What a span may not carry out of the house: attributes by key, conversations as a whole, or all but a list. Works on the
// stored bytes, so that everything that stays is what came.

import { bulkFields, type DialectField, dialects } from '../../schemas/dialects.ts'
import type { ExportRow } from './export.ts'
import { type Message, messages } from './messages.ts'
import { WireReader } from './wire-reader.ts'
import { WireWriter } from './wire-writer.ts'

// Keys of one destination that are remembered with their verdict; foreign spans may bring any number of them.
const rememberedMax = 4_096

/** Patterns are attribute keys, in which `*` stands for anything. */
export type Redaction = {
  /** Leaves out every attribute that holds messages, prompts or tool traffic in any dialect. */
  content: boolean
  attributes: readonly string[]
  /** Undefined: every key that is not named above. A list lets out nothing else. */
  allow: readonly string[] | undefined
}

const contentFields: readonly DialectField[] = [
  ...bulkFields,
  'toolArguments',
  'toolResult',
  'promptVariables',
]

/** A function from a stored span to what may leave of it. Envelopes shared by rows are rewritten once and stay shared. */
export function openRedactor(rules: Redaction): (row: ExportRow) => ExportRow {
  const isKept = toVerdict(rules)
  const rewritten = new WeakMap<Uint8Array, Uint8Array>()
  const once = (of: Message, bytes: Uint8Array): Uint8Array => {
    const known = rewritten.get(bytes)
    if (known) return known
    const made = rewrite(of, bytes, isKept)
    rewritten.set(bytes, made)
    return made
  }
  return ({ resource, scope, span }) => ({
    resource: once(messages.resourceSpans, resource),
    scope: once(messages.scopeSpans, scope),
    span: rewrite(messages.span, span, isKept),
  })
}

function toVerdict(rules: Redaction): (key: string) => boolean {
  const content = contentFields.flatMap((field) => [...dialects[field]])
  const dropped = [...(rules.content ? content : []), ...rules.attributes].map(toPattern)
  const allowed = rules.allow?.map(toPattern)
  const judge = (key: string) =>
    !dropped.some((pattern) => pattern.test(key)) &&
    (allowed === undefined || allowed.some((pattern) => pattern.test(key)))
  const remembered = new Map<string, boolean>()
  return (key) => {
    const known = remembered.get(key)
    if (known !== undefined) return known
    if (remembered.size >= rememberedMax) remembered.clear()
    const verdict = judge(key)
    remembered.set(key, verdict)
    return verdict
  }
}

/** A key of the dialects table, or one with `*`: `{n}` is an index, and `@event/key` an attribute of an event. */
function toPattern(key: string): RegExp {
  const bare = key.startsWith('@') ? key.slice(key.indexOf('/') + 1) : key
  const source = bare
    .replaceAll(/[.+?^$()|[\]\\]/g, '\\$&')
    .replaceAll('{n}', '\\d{1,4}')
    .replaceAll('*', '.*')
  return new RegExp(`^${source}$`, 's')
}

/** The message without the attributes that may not leave, wherever in it they stand; every other byte as it was. */
function rewrite(of: Message, bytes: Uint8Array, isKept: (key: string) => boolean): Uint8Array {
  const reader = new WireReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  const writer = new WireWriter(bytes.length + 16)
  const end = bytes.length
  while (reader.at < end) {
    const from = reader.at
    const tag = reader.tag(end)
    const field = (tag & 7) === 2 ? of.byNumber[tag >>> 3] : undefined
    if (field?.json === 'attributes') {
      const last = reader.lengthEnd(end)
      const key = keyOf(reader.bytes.subarray(reader.at, last))
      reader.at = last
      if (isKept(key)) writer.raw(bytes.subarray(from, last))
    } else if (field?.of?.fields.some(({ json }) => json === 'attributes')) {
      const last = reader.lengthEnd(end)
      writer.bytesMember(
        field.number,
        rewrite(field.of, reader.bytes.subarray(reader.at, last), isKept),
      )
      reader.at = last
    } else {
      reader.skip(tag, end)
      writer.raw(bytes.subarray(from, reader.at))
    }
  }
  return writer.finish()
}

/** The key of a KeyValue; of several the last, as protobuf reads it. */
function keyOf(keyValue: Buffer): string {
  const reader = new WireReader(keyValue)
  let key = ''
  while (reader.at < keyValue.length) {
    const tag = reader.tag(keyValue.length)
    if (tag !== 10) {
      reader.skip(tag, keyValue.length)
      continue
    }
    const last = reader.lengthEnd(keyValue.length)
    key = keyValue.toString('utf8', reader.at, last)
    reader.at = last
  }
  return key
}
