// A run becomes a span like any other: one row to search, one row with its Span message, and its two envelopes.

import type { Id } from '../../schemas/ids.ts'
import type { Run } from '../../schemas/run.ts'
import { usageBits } from '../../schemas/tables.ts'
import { type EnvelopeNotes, envelopeHash } from '../otlp/envelopes.ts'
import {
  encodeResourceEnvelope,
  encodeScopeEnvelope,
  encodeSpanMessage,
} from '../otlp/protobuf-writer.ts'
import { WireWriter } from '../otlp/wire-writer.ts'
import type { Batch } from '../spool/intake.ts'
import { type Attribute, attributesOf, type RunAttributes } from './attributes.ts'
import { previewOf } from './messages.ts'

// What the search columns hold of a text; the span message keeps all of it.
const previewBytesMax = 256
const attributeBytesMax = 1024
const attributesMax = 128
const servicesHeld = 1000
const writerBytesMax = 1024 * 1024

const spanKindClient = 3
const statusError = 2
const scopeName = 'runledger'
const attemptOperation = 'attempt'
// What a row holds where there is no run.
const noId = new Uint8Array(16) as Id // of the length and kind of an id, and of none

// One for all runs, because its bytes are copied into the batch at once; a very large run does not keep its memory.
let writer = new WireWriter()

type SpanBatch = Pick<Batch, 'spans' | 'payloads' | 'envelopes'>

/** Pushes the rows of one run. `notes` are those of this write; call their `keep` once it is durable. */
export function pushRun(batch: SpanBatch, run: Run, notes: EnvelopeNotes): void {
  pushSpan(batch, { run, described: attributesOf(run) }, notes)
}

/** An attempt to answer a run that was not the only one: a span below the run's, which is no run itself and counts nothing. */
export type Step = Pick<Run, 'spanId' | 'provider' | 'startUnixNano' | 'durationNs'> & {
  run: Run
  model: string
  /** Undefined: it answered. */
  error: string | undefined
}

export function pushAttempt(batch: SpanBatch, step: Step, notes: EnvelopeNotes): void {
  const { run, spanId, provider, model, startUnixNano, durationNs, error } = step
  const searched: Attribute[] = [
    ['gen_ai.provider.name', provider],
    ['gen_ai.request.model', model],
  ]
  if (error !== undefined) searched.push(['error.type', error])
  const asRun: Run = {
    ...run,
    ...{ runId: noId, recordId: noId, spanId, parentSpanId: run.spanId, provider },
    ...{
      name: `attempt ${provider}`.trimEnd(),
      operation: attemptOperation,
      modelRequested: model,
    },
    ...{ modelServed: undefined, startUnixNano, durationNs, ttftNs: undefined, prompt: undefined },
    status: error === undefined ? 'ok' : 'error',
    error: error === undefined ? undefined : { code: error, message: '' },
    usage: undefined,
    costNanoUsd: undefined,
  }
  pushSpan(batch, { run: asRun, described: { searched, texts: [], input: [], output: [] } }, notes)
}

type Described = { run: Run; described: RunAttributes }

function pushSpan(batch: SpanBatch, { run, described }: Described, notes: EnvelopeNotes): void {
  const message = {
    traceId: run.traceId,
    spanId: run.spanId,
    parentSpanId: run.parentSpanId,
    traceState: run.traceState,
    name: run.name,
    kind: spanKindClient,
    startUnixNano: run.startUnixNano,
    endUnixNano: run.startUnixNano + BigInt(run.durationNs),
    attributes: described.searched,
    moreAttributes: described.texts,
    ...(hasFailed(run) ? { status: { code: statusError, message: run.error?.message ?? '' } } : {}),
  }
  if (writer.bytes.length > writerBytesMax) writer = new WireWriter()
  const raw = encodeSpanMessage(message, writer)
  const resource = resourceOf(run.service)
  const { columns } = batch.payloads
  columns.workspace.pushText(run.workspace)
  columns.trace_id.pushHex(run.traceId)
  columns.span_id.pushHex(run.spanId)
  columns.resource_hash.pushBytes(notes.writeHashed(batch, resource.raw, resource.hash))
  columns.scope_hash.pushBytes(notes.writeHashed(batch, scope.raw, scope.hash))
  columns.raw.pushBytes(raw, 0, raw.length)
  batch.payloads.endRow()
  pushSearched(batch, run, {
    attributes: described.searched,
    input: previewOf(described.input, 'input'),
    output: previewOf(described.output, 'output'),
  })
}

type Searched = { attributes: Attribute[]; input: string; output: string }

function pushSearched(batch: SpanBatch, run: Run, searched: Searched): void {
  const { columns } = batch.spans
  columns.workspace.pushText(run.workspace)
  columns.trace_id.pushHex(run.traceId)
  columns.span_id.pushHex(run.spanId)
  if (run.parentSpanId) columns.parent_span_id.pushHex(run.parentSpanId)
  else columns.parent_span_id.pushZeros()
  columns.start_time.pushBig(run.startUnixNano)
  columns.duration_ns.push(run.durationNs)
  columns.name.pushText(run.name)
  columns.service.pushText(run.service)
  columns.type.pushText(typesByOperation.get(run.operation) ?? 'llm')
  columns.kind.push(spanKindClient)
  columns.status.pushText(run.status)
  columns.status_message.pushText(run.error?.message ?? '')
  columns.source.pushText('native')
  columns.origin.pushText(run.origin)
  columns.environment.pushText(run.environment)
  columns.provider.pushText(run.provider)
  columns.model.pushText(run.modelServed ?? run.modelRequested)
  columns.route_id.pushText(run.routeId)
  columns.route_label.pushText(run.routeLabel)
  columns.prompt_registry.pushText(run.prompt?.registryId ?? '')
  columns.prompt_version_id.pushText(run.prompt?.versionId ?? '')
  columns.session_id.pushText(run.sessionId)
  columns.user_id.pushText(run.userId)
  columns.run_id.pushBytes(run.runId)
  columns.record_id.pushBytes(run.recordId)
  pushCounts(batch, run)
  pushAttributes(batch, searched.attributes)
  pushPrefix(columns.input_preview, searched.input, previewBytesMax)
  pushPrefix(columns.output_preview, searched.output, previewBytesMax)
  batch.spans.endRow()
}

function pushCounts(batch: SpanBatch, run: Run): void {
  const { columns } = batch.spans
  const { usage, costNanoUsd } = run
  let bits = 0
  if (usage) bits |= usageBits.tokens
  if (usage?.estimated) bits |= usageBits.estimated
  if (costNanoUsd !== undefined) bits |= usageBits.cost
  columns.usage.push(bits)
  columns.input_tokens.push(usage?.inputTokens ?? 0)
  columns.output_tokens.push(usage?.outputTokens ?? 0)
  columns.cached_tokens.push(usage?.cachedTokens ?? 0)
  columns.reasoning_tokens.push(usage?.reasoningTokens ?? 0)
  columns.cost_nano_usd.pushBig(costNanoUsd ?? 0n)
  columns.ttft_ns.push(run.ttftNs ?? 0)
}

function pushAttributes(batch: SpanBatch, attributes: Attribute[]): void {
  const { attr_str: texts, attr_num: numbers } = batch.spans.columns
  let room = attributesMax
  for (const [name, value] of attributes) {
    if (room === 0) break
    const number = toNumber(value)
    if (typeof value === 'string') {
      texts.key.pushText(name)
      pushPrefix(texts.value, value, attributeBytesMax)
      texts.count()
    } else if (number !== undefined) {
      numbers.key.pushText(name)
      numbers.value.push(number)
      numbers.count()
    } else continue
    room -= 1
  }
  texts.endRow()
  numbers.endRow()
}

function toNumber(value: Attribute[1]): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return value ? 1 : 0
  return typeof value === 'object' && value !== null && 'double' in value ? value.double : undefined
}

/** At most so many bytes of a text, cut between characters. */
function pushPrefix(
  column: {
    pushText(text: string): void
    pushBytes(source: Uint8Array, from: number, to: number): void
  },
  text: string,
  bytesMax: number,
): void {
  // A character is at most three bytes of UTF-8 a UTF-16 unit, so a short text needs no measuring.
  if (text.length * 3 <= bytesMax) {
    column.pushText(text)
    return
  }
  const bytes = Buffer.from(text.slice(0, bytesMax + 1))
  let end = Math.min(bytes.length, bytesMax)
  while (end > 0 && end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end -= 1
  column.pushBytes(bytes, 0, end)
}

function hasFailed(run: Run): boolean {
  return run.status === 'error' || run.status === 'truncated' || run.status === 'interrupted'
}

const typesByOperation = new Map([
  [attemptOperation, 'span'],
  ['embeddings', 'embedding'],
  ['execute_tool', 'tool'],
  ['invoke_agent', 'agent'],
])

type Envelope = { raw: Buffer; hash: Buffer }

const scope = hashed('s', encodeScopeEnvelope(scopeName, ''))
const resources = new Map<string, Envelope>()

function resourceOf(service: string): Envelope {
  const known = resources.get(service)
  if (known) return known
  if (resources.size >= servicesHeld) resources.clear()
  const attributes: Attribute[] = service === '' ? [] : [['service.name', service]]
  const made = hashed('r', encodeResourceEnvelope(attributes))
  resources.set(service, made)
  return made
}

function hashed(kind: 'r' | 's', raw: Buffer): Envelope {
  return { raw, hash: envelopeHash(kind, raw) }
}
