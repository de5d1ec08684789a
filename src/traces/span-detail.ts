// A stored span as the API shows it: attributes as plain JSON, messages in one form whatever dialect they came in.

import {
  type Attributes,
  readResource,
  readScope,
  type SpanView,
} from '../../collectors/otlp/span-view.ts'
import { describe } from '../../schemas/describe.ts'
import type { AnyValue } from '../../schemas/dialects.ts'
import type { StoredSpan } from './stored-spans.ts'

export type PlainValue =
  | string
  | number
  | boolean
  | null
  | PlainValue[]
  | { [key: string]: PlainValue }
export type PlainAttribute = { key: string; value: PlainValue }

/** What a span page shows beside the skeleton. 64-bit integers beyond 2^53 and bytes come as strings. */
export function toSpanDetail(stored: StoredSpan, span: SpanView) {
  const resource = readResource(stored.resource)
  const scope = readScope(stored.scope)
  const described = describe(span.attributes, span.events)
  return {
    status_message: span.status.message,
    trace_state: span.traceState,
    flags: span.flags,
    input: described.input,
    output: described.output,
    tools: described.tools,
    attributes: toPlainAttributes(span.attributes),
    resource_attributes: toPlainAttributes(resource.attributes),
    scope: {
      name: scope.name,
      version: scope.version,
      attributes: toPlainAttributes(scope.attributes),
      schema_url: scope.schemaUrl,
    },
    events: span.events.map((event) => ({
      name: event.name,
      time_unix_nano: event.timeUnixNano.toString(),
      attributes: toPlainAttributes(event.attributes),
    })),
    links: span.links.map((link) => ({
      trace_id: link.traceId,
      span_id: link.spanId,
      trace_state: link.traceState,
      attributes: toPlainAttributes(link.attributes),
    })),
    dropped_attributes_count: span.droppedAttributesCount,
    dropped_events_count: span.droppedEventsCount,
    dropped_links_count: span.droppedLinksCount,
  }
}

function toPlainAttributes(attributes: Attributes): PlainAttribute[] {
  return attributes.map(([key, value]) => ({ key, value: toPlain(value) }))
}

function toPlain(value: AnyValue): PlainValue {
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value.toString()
  }
  // JSON has no word for these; OTLP JSON spells them so too.
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.map(toPlain)
  if (value instanceof Map) {
    // Keys come from strangers: an object without a prototype has nothing to be overwritten.
    const plain: { [key: string]: PlainValue } = Object.create(null)
    for (const [key, inner] of value) plain[key] = toPlain(inner)
    return plain
  }
  return value
}
