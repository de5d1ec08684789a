// OTLP messages as tests and benchmarks send them, and as what we write is compared with: a span, and its two envelopes.
// Field numbers: opentelemetry-proto v1.11, trace.proto, common.proto, resource.proto.

import { WireWriter } from '../collectors/otlp/wire-writer.ts'

/**
 * A value of an attribute. Integral numbers and bigints become `int_value`, other numbers `double_value`; `{ double }`
 * forces a double. A Map becomes a `kvlist_value` in its order; null an AnyValue without a value.
 */
export type AnyValueInput =
  | string
  | boolean
  | number
  | bigint
  | null
  | Uint8Array
  | { readonly double: number }
  | readonly AnyValueInput[]
  | ReadonlyMap<string, AnyValueInput>

export type AttributesInput = readonly (readonly [string, AnyValueInput])[]

export type EventInput = {
  timeUnixNano: bigint
  name: string
  attributes?: AttributesInput
}

export type LinkInput = {
  traceId: string | Uint8Array
  spanId: string | Uint8Array
  traceState?: string
  attributes?: AttributesInput
  flags?: number
}

/** Ids as bytes or as hex. `kind` and `status.code` are the numbers of trace.proto (3: client; 0 unset, 1 ok, 2 error). */
export type SpanInput = {
  traceId: string | Uint8Array
  spanId: string | Uint8Array
  parentSpanId?: string | Uint8Array | undefined
  traceState?: string
  name: string
  kind: number
  startUnixNano: bigint
  endUnixNano: bigint
  attributes: AttributesInput
  /** Those that come after them. */
  moreAttributes?: AttributesInput
  events?: readonly EventInput[]
  links?: readonly LinkInput[]
  status?: { code: number; message?: string }
  flags?: number
}

/**
 * A Span message. Deterministic: equal input, equal bytes; fields in ascending order, defaults left out. With a writer of
 * the caller's, what it held is written over, and the result is a view that is good until its next use.
 */
export function encodeSpanMessage(span: SpanInput, writer: WireWriter = new WireWriter()): Buffer {
  writer.length = 0
  writeId(writer, 1, span.traceId)
  writeId(writer, 2, span.spanId)
  writer.stringField(3, span.traceState ?? '')
  if (span.parentSpanId !== undefined) writeId(writer, 4, span.parentSpanId)
  writer.stringField(5, span.name)
  writer.varintField(6, span.kind)
  writer.fixed64Field(7, span.startUnixNano)
  writer.fixed64Field(8, span.endUnixNano)
  writeAttributes(writer, 9, span.attributes)
  if (span.moreAttributes) writeAttributes(writer, 9, span.moreAttributes)
  for (const event of span.events ?? []) {
    const start = writer.begin(11)
    writer.fixed64Field(1, event.timeUnixNano)
    writer.stringField(2, event.name)
    writeAttributes(writer, 3, event.attributes ?? [])
    writer.end(start)
  }
  for (const link of span.links ?? []) {
    const start = writer.begin(13)
    writeId(writer, 1, link.traceId)
    writeId(writer, 2, link.spanId)
    writer.stringField(3, link.traceState ?? '')
    writeAttributes(writer, 4, link.attributes ?? [])
    writer.fixed32Field(6, link.flags ?? 0)
    writer.end(start)
  }
  if (span.status && (span.status.code !== 0 || span.status.message)) {
    const start = writer.begin(15)
    writer.stringField(2, span.status.message ?? '')
    writer.varintField(3, span.status.code)
    writer.end(start)
  }
  writer.fixed32Field(16, span.flags ?? 0)
  return writer.finish()
}

/** A ResourceSpans message without its children: what `envelopes.raw` holds for a resource. */
export function encodeResourceEnvelope(attributes: AttributesInput): Buffer {
  const writer = new WireWriter()
  const start = writer.begin(1)
  writeAttributes(writer, 1, attributes)
  writer.end(start)
  return writer.finish()
}

/** A ScopeSpans message without its children: what `envelopes.raw` holds for an instrumentation scope. */
export function encodeScopeEnvelope(name: string, version: string): Buffer {
  const writer = new WireWriter()
  const start = writer.begin(1)
  writer.stringField(1, name)
  writer.stringField(2, version)
  writer.end(start)
  return writer.finish()
}

function writeAttributes(writer: WireWriter, field: number, attributes: AttributesInput): void {
  for (const [key, value] of attributes) {
    const start = writer.begin(field)
    writer.stringField(1, key)
    const inner = writer.begin(2)
    writeAnyValue(writer, value)
    writer.end(inner)
    writer.end(start)
  }
}

/** The fields of an AnyValue; a member of a oneof is written also when it is empty, zero or false. */
function writeAnyValue(writer: WireWriter, value: AnyValueInput): void {
  if (value === null) return
  if (typeof value === 'string') writer.textMember(1, value)
  else if (typeof value === 'boolean') writer.varintMember(2, value ? 1 : 0)
  else if (typeof value === 'bigint') writer.bigMember(3, value)
  else if (typeof value === 'number') writeNumber(writer, value)
  else if (value instanceof Uint8Array) writer.bytesMember(7, value)
  else if (value instanceof Map) {
    const start = writer.begin(6)
    writeAttributes(writer, 1, [...value])
    writer.end(start)
  } else if (Array.isArray(value)) {
    const start = writer.begin(5)
    for (const item of value) {
      const inner = writer.begin(1)
      writeAnyValue(writer, item)
      writer.end(inner)
    }
    writer.end(start)
  } else {
    // What is left of the union; neither Array.isArray nor instanceof narrows the readonly forms away.
    writer.doubleMember(4, (value as { double: number }).double)
  }
}

function writeNumber(writer: WireWriter, value: number): void {
  // Most integers are small and need no bigint on their way.
  if (value > 0 && value <= 0xffffffff && Number.isInteger(value)) writer.varintMember(3, value, 0)
  else if (Number.isSafeInteger(value) && !Object.is(value, -0)) writer.bigMember(3, BigInt(value))
  else writer.doubleMember(4, value)
}

function writeId(writer: WireWriter, field: number, id: string | Uint8Array): void {
  if (typeof id === 'string') writer.hexField(field, id)
  else writer.bytesField(field, id)
}
