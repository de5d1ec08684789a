// What the API sends, read once at the door. A field of the wrong type becomes null here and surprises no page later.

export type Json = Record<string, unknown>

// SpanKind of OTLP, by number.
const kinds = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']

export type TraceItem = {
  traceId: string
  name: string
  service: string
  model: string | null
  provider: string | null
  environment: string | null
  routeId: string | null
  promptVersionId: string
  runId: string | null
  recordId: string | null
  status: string
  startedAt: string
  latencyMs: number | null
  ttftMs: number | null
  inputTokens: number | null
  outputTokens: number | null
  costUsd: number | null
  spanCount: number
  runCount: number
  errorCount: number
  sessionId: string | null
  userId: string | null
}

export type Skeleton = {
  spanId: string
  parentSpanId: string | null
  name: string
  kind: string
  type: string
  service: string
  status: string
  startedAt: string
  /** Decimal digits: nanoseconds do not fit a JS number. */
  startUnixNano: string
  durationMs: number
  model: string | null
  promptVersionId: string | null
  inputTokens: number | null
  outputTokens: number | null
  costUsd: number | null
  runId: string | null
}

export type Trace = TraceItem & { spans: Skeleton[] }
export type Attribute = { key: string; value: unknown }
export type ToolCall = { id: string | null; name: string; arguments: unknown }
export type Part = { type: string; text: string | null; value: unknown }
export type Message = {
  role: string
  name: string | null
  toolCallId: string | null
  parts: Part[]
  toolCalls: ToolCall[]
}
export type SpanEvent = { name: string; timeUnixNano: string; attributes: Attribute[] }

export type Span = Skeleton & {
  attributes: Attribute[]
  resourceAttributes: Attribute[]
  scope: unknown
  events: SpanEvent[]
  links: unknown[]
  statusMessage: string
  input: Message[] | null
  output: Message[] | null
  tools: unknown
  recordId: string | null
  traceState: string
  flags: number | null
}

export type Session = { workspace: string; scopes: string[]; environment: string; version: string }

export function readSession(body: unknown): Session {
  const from = object(body)
  return {
    workspace: text(from.workspace),
    scopes: list(from.scopes).map(text),
    environment: text(from.environment),
    version: text(from.version),
  }
}

export function readTraces(body: unknown): { items: TraceItem[]; next: string | null } {
  const from = object(body)
  return {
    items: list(from.items).map((item) => readItem(object(item))),
    next: textOr(from.next_cursor),
  }
}

export function readTrace(body: unknown): Trace {
  const from = object(body)
  return { ...readItem(from), spans: list(from.spans).map((span) => readSkeleton(object(span))) }
}

export function readSpan(body: unknown): Span {
  const from = object(body)
  return {
    ...readSkeleton(from),
    attributes: readAttributes(from.attributes),
    resourceAttributes: readAttributes(from.resource_attributes),
    scope: from.scope ?? null,
    events: list(from.events)
      .map(object)
      .map((event) => ({
        name: text(event.name),
        timeUnixNano: text(event.time_unix_nano),
        attributes: readAttributes(event.attributes),
      })),
    links: list(from.links),
    statusMessage: text(from.status_message),
    input: readMessages(from.input),
    output: readMessages(from.output),
    tools: Array.isArray(from.tools) && from.tools.length === 0 ? null : (from.tools ?? null),
    recordId: textOr(from.record_id),
    traceState: text(from.trace_state),
    flags: number(from.flags),
  }
}

function readItem(from: Json): TraceItem {
  return {
    traceId: text(from.trace_id),
    name: text(from.name),
    service: text(from.service),
    model: textOr(from.model_id),
    provider: textOr(from.provider),
    environment: textOr(from.environment),
    routeId: textOr(from.route_id) ?? textOr(from.public_route_label),
    promptVersionId: text(from.prompt_version_id),
    runId: textOr(from.run_id),
    recordId: textOr(from.record_id),
    status: text(from.status),
    startedAt: text(from.started_at),
    latencyMs: number(from.latency_ms),
    ttftMs: number(from.ttft_ms),
    inputTokens: number(from.input_tokens),
    outputTokens: number(from.output_tokens),
    costUsd: number(from.cost_usd),
    spanCount: number(from.span_count) ?? 0,
    runCount: number(from.run_count) ?? 0,
    errorCount: number(from.error_count) ?? 0,
    sessionId: textOr(from.session_id),
    userId: textOr(from.user_id),
  }
}

function readSkeleton(from: Json): Skeleton {
  return {
    spanId: text(from.span_id),
    parentSpanId: textOr(from.parent_span_id),
    name: text(from.name),
    kind: typeof from.kind === 'number' ? (kinds[from.kind] ?? String(from.kind)) : text(from.kind),
    type: text(from.type),
    service: text(from.service),
    status: text(from.status),
    startedAt: text(from.started_at),
    startUnixNano: text(from.start_unix_nano),
    durationMs: Math.max(0, number(from.duration_ms) ?? 0),
    model: textOr(from.model_id),
    promptVersionId: textOr(from.prompt_version_id),
    inputTokens: number(from.input_tokens),
    outputTokens: number(from.output_tokens),
    costUsd: number(from.cost_usd),
    runId: textOr(from.run_id),
  }
}

function readAttributes(value: unknown): Attribute[] {
  return list(value)
    .map(object)
    .map((from) => ({ key: text(from.key), value: from.value ?? null }))
}

function readMessages(value: unknown): Message[] | null {
  return Array.isArray(value) ? value.map((message) => readMessage(object(message))) : null
}

function readMessage(from: Json): Message {
  const content = from.content ?? null
  const parts = Array.isArray(content)
    ? content.map(readPart)
    : content === null
      ? []
      : [readPart(content)]
  return {
    role: text(from.role) || 'unknown',
    name: textOr(from.name),
    toolCallId: textOr(from.tool_call_id),
    parts,
    toolCalls: list(from.tool_calls).map((call) => readToolCall(object(call))),
  }
}

function readPart(value: unknown): Part {
  if (typeof value === 'string') return { type: 'text', text: value, value }
  const from = object(value)
  return { type: text(from.type) || 'part', text: textOr(from.text), value }
}

/** OpenAI nests the call under `function` and sends its arguments as JSON text; other dialects send a plain object. */
function readToolCall(from: Json): ToolCall {
  const inner = typeof from.function === 'object' ? object(from.function) : from
  return { id: textOr(from.id), name: text(inner.name), arguments: inner.arguments ?? null }
}

export function object(value: unknown): Json {
  // Checked to be a non-null object on this line; its fields stay unknown.
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

export function text(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' ? String(value) : ''
}

export function textOr(value: unknown): string | null {
  const found = text(value)
  return found === '' ? null : found
}

export function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}
