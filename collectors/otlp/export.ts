// Stored spans back as OTLP: what went in comes out equal. Spans of one resource and scope are gathered again.

import { envelopeMembers, spanToJson } from './span-json.ts'
import { WireWriter } from './wire-writer.ts'

export type ExportForm = 'json' | 'protobuf' | 'jsonl'

/** A span as stored: the ResourceSpans and ScopeSpans messages without their children, and the Span message. */
export type ExportRow = { resource: Uint8Array; scope: Uint8Array; span: Uint8Array }

type ScopeGroup = { scope: Uint8Array; spans: Uint8Array[] }
type ResourceGroup = { resource: Uint8Array; scopes: Map<string, ScopeGroup> }

/**
 * One TracesData message: protobuf, JSON, or JSON lines (the OTLP file format: one TracesData a line, here one a resource).
 * Groups stand in the order of their first span, spans in the order given.
 */
export function assemble(rows: readonly ExportRow[], form: ExportForm): Buffer {
  const groups = group(rows)
  if (form === 'protobuf') return toProtobuf(groups)
  const texts = groups.map(resourceText)
  if (form === 'json') return Buffer.from(`{"resourceSpans":[${texts.join(',')}]}`)
  return Buffer.from(texts.map((text) => `{"resourceSpans":[${text}]}\n`).join(''))
}

function group(rows: readonly ExportRow[]): ResourceGroup[] {
  const groups = new Map<string, ResourceGroup>()
  const keyOf = keyCache()
  for (const { resource, scope, span } of rows) {
    const resourceKey = keyOf(resource)
    const into = groups.get(resourceKey) ?? { resource, scopes: new Map() }
    groups.set(resourceKey, into)
    const scopeKey = keyOf(scope)
    const spans = into.scopes.get(scopeKey)
    if (spans) spans.spans.push(span)
    else into.scopes.set(scopeKey, { scope, spans: [span] })
  }
  return [...groups.values()]
}

/** The bytes as a map key. Rows mostly share their envelopes' very buffers, which then are read once. */
function keyCache(): (bytes: Uint8Array) => string {
  const keys = new WeakMap<Uint8Array, string>()
  return (bytes) => {
    let key = keys.get(bytes)
    if (key === undefined) {
      key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
      keys.set(bytes, key)
    }
    return key
  }
}

function toProtobuf(groups: ResourceGroup[]): Buffer {
  const writer = new WireWriter()
  for (const { resource, scopes } of groups) {
    const scopeSizes = [...scopes.values()].map(({ scope, spans }) =>
      spans.reduce((size, span) => size + fieldBytes(span.length), scope.length),
    )
    const size = scopeSizes.reduce((sum, bytes) => sum + fieldBytes(bytes), resource.length)
    writer.tag(1, 2)
    writer.varint(size)
    writer.raw(resource)
    for (const [i, { scope, spans }] of [...scopes.values()].entries()) {
      writer.tag(2, 2)
      writer.varint(scopeSizes[i]!)
      writer.raw(scope)
      for (const span of spans) writer.bytesMember(2, span)
    }
  }
  return writer.finish()
}

/** A length-delimited field with a one-byte tag: tag, length, content. */
function fieldBytes(size: number): number {
  let lengthBytes = 1
  for (let rest = size; rest >= 0x80; rest = Math.floor(rest / 0x80)) lengthBytes++
  return 1 + lengthBytes + size
}

function resourceText({ resource, scopes }: ResourceGroup): string {
  const texts = [...scopes.values()].map(({ scope, spans }) => {
    const children = `"spans":[${spans.map(spanToJson).join(',')}]`
    return `{${withChildren(envelopeMembers('scopeSpans', scope), children)}}`
  })
  const children = `"scopeSpans":[${texts.join(',')}]`
  return `{${withChildren(envelopeMembers('resourceSpans', resource), children)}}`
}

function withChildren(own: string, children: string): string {
  return own === '' ? children : `${own},${children}`
}
