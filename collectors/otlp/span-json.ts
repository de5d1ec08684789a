// Stored messages as OTLP/JSON: hex ids, integer enums, 64-bit integers as strings, bytes as base64, defaults left out.
// Doubles are exact (the shortest decimal that reads back equal); what JSON has no number for is a string, as protobuf says.

import { type Leaf, readTree, Tree, type Value } from './message-tree.ts'
import { type Field, type Message, messages } from './messages.ts'

/** A Span message as a JSON object. */
export function spanToJson(span: Uint8Array): string {
  return toJson(readTree(messages.span, span))
}

/** The members of a ResourceSpans or ScopeSpans envelope, without braces, to be followed by its children. */
export function envelopeMembers(
  name: 'resourceSpans' | 'scopeSpans',
  envelope: Uint8Array,
): string {
  return members(readTree(messages[name], envelope)).join(',')
}

function toJson(tree: Tree): string {
  return `{${members(tree).join(',')}}`
}

function members(tree: Tree): string[] {
  const parts: string[] = []
  for (const field of tree.of.fields) {
    const text = field.repeated ? arrayText(tree, field) : singleText(tree.one(field), field)
    if (text !== undefined) parts.push(`"${field.json}":${text}`)
  }
  return parts
}

function arrayText(tree: Tree, field: Field): string | undefined {
  const values = tree.many(field)
  if (values.length > 0) return `[${values.map((value) => valueText(value, field)).join(',')}]`
  // An empty list is a value of its own in a oneof, and told apart from no value by its message, not by this field.
  return isList(tree.of) ? '[]' : undefined
}

function singleText(value: Value | undefined, field: Field): string | undefined {
  if (value === undefined) return undefined
  return !field.oneof && isDefault(value) ? undefined : valueText(value, field)
}

function isList(of: Message): boolean {
  return of === messages.arrayValue || of === messages.keyValueList
}

function isDefault(value: Value): boolean {
  if (value instanceof Uint8Array || typeof value === 'string') return value.length === 0
  return value === 0 || value === 0n || value === false
}

function valueText(value: Value, field: Field): string {
  return value instanceof Tree ? toJson(value) : leafText(value, field)
}

function leafText(value: Leaf, field: Field): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'bigint') return `"${value}"`
  if (typeof value === 'boolean') return String(value)
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
    return `"${bytes.toString(field.kind === 'id' ? 'hex' : 'base64')}"`
  }
  if (Object.is(value, -0)) return '-0.0'
  return Number.isFinite(value) ? String(value) : `"${value}"`
}
