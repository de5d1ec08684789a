// The OTLP trace messages as data: what each field number is, and what it is called in JSON. Everything that walks a whole
// message follows this table: the JSON reader, the JSON writer, the check and the repair of text.
// Source: opentelemetry-proto v1.11, common.proto, resource.proto, trace.proto, trace_service.proto.

export type FieldKind =
  | 'string'
  | 'bytes'
  | 'id'
  | 'enum'
  | 'bool'
  | 'int64'
  | 'int32'
  | 'uint32'
  | 'fixed32'
  | 'fixed64'
  | 'double'
  | 'message'

export type Field = {
  number: number
  json: string
  kind: FieldKind
  repeated: boolean
  /** Member of the message's only oneof: written also when empty, and the last one given wins. */
  oneof: boolean
  /** The message it holds; only and always for kind `message`. */
  of: Message | undefined
  /** Enum names, which OTLP/JSON forbids and many send. */
  names: ReadonlyMap<string, number> | undefined
}

export type Message = {
  name: string
  fields: Field[]
  /** By field number; OTLP keeps below 32 but for one legacy field, which has its alias in the decoder. */
  byNumber: (Field | undefined)[]
}

/** Wire type of a kind. */
export const wireOf: Record<FieldKind, number> = {
  string: 2,
  bytes: 2,
  id: 2,
  enum: 0,
  bool: 0,
  int64: 0,
  int32: 0,
  uint32: 0,
  fixed32: 5,
  fixed64: 1,
  double: 1,
  message: 2,
}

const spanKinds = new Map([
  ['SPAN_KIND_UNSPECIFIED', 0],
  ['SPAN_KIND_INTERNAL', 1],
  ['SPAN_KIND_SERVER', 2],
  ['SPAN_KIND_CLIENT', 3],
  ['SPAN_KIND_PRODUCER', 4],
  ['SPAN_KIND_CONSUMER', 5],
])

const statusCodes = new Map([
  ['STATUS_CODE_UNSET', 0],
  ['STATUS_CODE_OK', 1],
  ['STATUS_CODE_ERROR', 2],
])

const anyValue = empty('AnyValue')
const keyValue = empty('KeyValue')
const arrayValue = message('ArrayValue', [many(1, 'values', anyValue)])
const keyValueList = message('KeyValueList', [many(1, 'values', keyValue)])

fill(anyValue, [
  { ...scalar(1, 'stringValue', 'string'), oneof: true },
  { ...scalar(2, 'boolValue', 'bool'), oneof: true },
  { ...scalar(3, 'intValue', 'int64'), oneof: true },
  { ...scalar(4, 'doubleValue', 'double'), oneof: true },
  { ...one(5, 'arrayValue', arrayValue), oneof: true },
  { ...one(6, 'kvlistValue', keyValueList), oneof: true },
  { ...scalar(7, 'bytesValue', 'bytes'), oneof: true },
  { ...scalar(8, 'stringValueStrindex', 'int32'), oneof: true },
])
fill(keyValue, [
  scalar(1, 'key', 'string'),
  one(2, 'value', anyValue),
  scalar(3, 'keyStrindex', 'int32'),
])

const entityRef = message('EntityRef', [
  scalar(1, 'schemaUrl', 'string'),
  scalar(2, 'type', 'string'),
  { ...scalar(3, 'idKeys', 'string'), repeated: true },
  { ...scalar(4, 'descriptionKeys', 'string'), repeated: true },
])

const resource = message('Resource', [
  many(1, 'attributes', keyValue),
  scalar(2, 'droppedAttributesCount', 'uint32'),
  many(3, 'entityRefs', entityRef),
])

const scope = message('InstrumentationScope', [
  scalar(1, 'name', 'string'),
  scalar(2, 'version', 'string'),
  many(3, 'attributes', keyValue),
  scalar(4, 'droppedAttributesCount', 'uint32'),
])

const event = message('Event', [
  scalar(1, 'timeUnixNano', 'fixed64'),
  scalar(2, 'name', 'string'),
  many(3, 'attributes', keyValue),
  scalar(4, 'droppedAttributesCount', 'uint32'),
])

const link = message('Link', [
  scalar(1, 'traceId', 'id'),
  scalar(2, 'spanId', 'id'),
  scalar(3, 'traceState', 'string'),
  many(4, 'attributes', keyValue),
  scalar(5, 'droppedAttributesCount', 'uint32'),
  scalar(6, 'flags', 'fixed32'),
])

const status = message('Status', [
  scalar(2, 'message', 'string'),
  { ...scalar(3, 'code', 'enum'), names: statusCodes },
])

const span = message('Span', [
  scalar(1, 'traceId', 'id'),
  scalar(2, 'spanId', 'id'),
  scalar(3, 'traceState', 'string'),
  scalar(4, 'parentSpanId', 'id'),
  scalar(5, 'name', 'string'),
  { ...scalar(6, 'kind', 'enum'), names: spanKinds },
  scalar(7, 'startTimeUnixNano', 'fixed64'),
  scalar(8, 'endTimeUnixNano', 'fixed64'),
  many(9, 'attributes', keyValue),
  scalar(10, 'droppedAttributesCount', 'uint32'),
  many(11, 'events', event),
  scalar(12, 'droppedEventsCount', 'uint32'),
  many(13, 'links', link),
  scalar(14, 'droppedLinksCount', 'uint32'),
  one(15, 'status', status),
  scalar(16, 'flags', 'fixed32'),
])

const scopeSpans = message('ScopeSpans', [
  one(1, 'scope', scope),
  many(2, 'spans', span),
  scalar(3, 'schemaUrl', 'string'),
])

const resourceSpans = message('ResourceSpans', [
  one(1, 'resource', resource),
  many(2, 'scopeSpans', scopeSpans),
  scalar(3, 'schemaUrl', 'string'),
])

const request = message('ExportTraceServiceRequest', [many(1, 'resourceSpans', resourceSpans)])

export const messages = {
  anyValue,
  keyValue,
  arrayValue,
  keyValueList,
  resource,
  scope,
  event,
  link,
  status,
  span,
  scopeSpans,
  resourceSpans,
  request,
}

function empty(name: string): Message {
  return { name, fields: [], byNumber: [] }
}

function fill(target: Message, fields: Field[]): Message {
  for (const field of fields) {
    target.fields.push(field)
    target.byNumber[field.number] = field
  }
  return target
}

function message(name: string, fields: Field[]): Message {
  return fill(empty(name), fields)
}

function scalar(number: number, json: string, kind: FieldKind): Field {
  return { number, json, kind, repeated: false, oneof: false, of: undefined, names: undefined }
}

function one(number: number, json: string, of: Message): Field {
  return { ...scalar(number, json, 'message'), of }
}

function many(number: number, json: string, of: Message): Field {
  return { ...one(number, json, of), repeated: true }
}
