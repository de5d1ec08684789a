// A stored Span message as plain values, for the API and the console: ids in hex, times as bigint, attributes in order.

import type { AnyValue } from '../../schemas/dialects.ts'
import { toHex } from '../../schemas/ids.ts'
import { readTree, Tree } from './message-tree.ts'
import { messages } from './messages.ts'

export type Attributes = [string, AnyValue][]

export type EventView = {
  timeUnixNano: bigint
  name: string
  attributes: Attributes
  droppedAttributesCount: number
}

export type LinkView = {
  traceId: string
  spanId: string
  traceState: string
  attributes: Attributes
  droppedAttributesCount: number
  flags: number
}

/** Numbers as trace.proto has them; absent fields have their protobuf default. */
export type SpanView = {
  traceId: string
  spanId: string
  /** Empty for a root. */
  parentSpanId: string
  traceState: string
  name: string
  kind: number
  startUnixNano: bigint
  endUnixNano: bigint
  attributes: Attributes
  droppedAttributesCount: number
  events: EventView[]
  droppedEventsCount: number
  links: LinkView[]
  droppedLinksCount: number
  status: { code: number; message: string }
  flags: number
}

export type ResourceView = {
  attributes: Attributes
  droppedAttributesCount: number
  schemaUrl: string
}
export type ScopeView = ResourceView & { name: string; version: string }

export function readSpan(bytes: Uint8Array): SpanView {
  const span = readTree(messages.span, bytes)
  const status = child(span, 'status')
  return {
    traceId: hex(span, 'traceId'),
    spanId: hex(span, 'spanId'),
    parentSpanId: hex(span, 'parentSpanId'),
    traceState: text(span, 'traceState'),
    name: text(span, 'name'),
    kind: number(span, 'kind'),
    startUnixNano: big(span, 'startTimeUnixNano'),
    endUnixNano: big(span, 'endTimeUnixNano'),
    attributes: attributes(span),
    droppedAttributesCount: number(span, 'droppedAttributesCount'),
    events: children(span, 'events').map(eventView),
    droppedEventsCount: number(span, 'droppedEventsCount'),
    links: children(span, 'links').map(linkView),
    droppedLinksCount: number(span, 'droppedLinksCount'),
    status: { code: number(status, 'code'), message: text(status, 'message') },
    flags: number(span, 'flags'),
  }
}

/** A ResourceSpans envelope. */
export function readResource(envelope: Uint8Array): ResourceView {
  const tree = readTree(messages.resourceSpans, envelope)
  const resource = child(tree, 'resource')
  return {
    attributes: attributes(resource),
    droppedAttributesCount: number(resource, 'droppedAttributesCount'),
    schemaUrl: text(tree, 'schemaUrl'),
  }
}

/** A ScopeSpans envelope. */
export function readScope(envelope: Uint8Array): ScopeView {
  const tree = readTree(messages.scopeSpans, envelope)
  const scope = child(tree, 'scope')
  return {
    name: text(scope, 'name'),
    version: text(scope, 'version'),
    attributes: attributes(scope),
    droppedAttributesCount: number(scope, 'droppedAttributesCount'),
    schemaUrl: text(tree, 'schemaUrl'),
  }
}

/** The content of an ArrayValue or KeyValueList: a list or a map. */
export function readComposite(name: 'arrayValue' | 'keyValueList', bytes: Uint8Array): AnyValue {
  const values = children(readTree(messages[name], bytes), 'values')
  return name === 'arrayValue' ? values.map(anyValue) : new Map(values.map(keyValue))
}

function eventView(event: Tree): EventView {
  return {
    timeUnixNano: big(event, 'timeUnixNano'),
    name: text(event, 'name'),
    attributes: attributes(event),
    droppedAttributesCount: number(event, 'droppedAttributesCount'),
  }
}

function linkView(link: Tree): LinkView {
  return {
    traceId: hex(link, 'traceId'),
    spanId: hex(link, 'spanId'),
    traceState: text(link, 'traceState'),
    attributes: attributes(link),
    droppedAttributesCount: number(link, 'droppedAttributesCount'),
    flags: number(link, 'flags'),
  }
}

/** In the order they came, duplicates and all. */
function attributes(tree: Tree): Attributes {
  return children(tree, 'attributes').map(keyValue)
}

function keyValue(tree: Tree): [string, AnyValue] {
  return [text(tree, 'key'), anyValue(child(tree, 'value'))]
}

/** A Map for a kvlist: whatever a key is called, it never meets the prototype of an object. */
function anyValue(tree: Tree): AnyValue {
  for (const field of tree.of.fields) {
    const value = tree.one(field)
    if (value === undefined || field.json === 'stringValueStrindex') continue
    if (!(value instanceof Tree)) return value
    const items = children(value, 'values')
    return field.json === 'arrayValue' ? items.map(anyValue) : new Map(items.map(keyValue))
  }
  return null
}

function get(tree: Tree, name: string) {
  const field = tree.of.fields.find(({ json }) => json === name)
  if (field === undefined) throw new Error(`${tree.of.name} has no ${name}`)
  return { field, value: tree.one(field) }
}

function child(tree: Tree, name: string): Tree {
  const { field, value } = get(tree, name)
  if (value instanceof Tree) return value
  if (field.of === undefined) throw new Error(`${name} is not a message`)
  return new Tree(field.of)
}

function children(tree: Tree, name: string): Tree[] {
  return tree.many(get(tree, name).field).filter((value) => value instanceof Tree)
}

function text(tree: Tree, name: string): string {
  const { value } = get(tree, name)
  return typeof value === 'string' ? value : ''
}

function number(tree: Tree, name: string): number {
  const { value } = get(tree, name)
  return typeof value === 'number' ? value : 0
}

function big(tree: Tree, name: string): bigint {
  const { value } = get(tree, name)
  return typeof value === 'bigint' ? value : 0n
}

function hex(tree: Tree, name: string): string {
  const { value } = get(tree, name)
  return value instanceof Uint8Array ? toHex(value) : ''
}
