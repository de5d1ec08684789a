// A run becomes a span like any other: one row to search, one row with its Span message, and its two envelopes.

import type { Id } from '../../schemas/ids.ts'
import type { Run } from '../../schemas/run.ts'
import { usageBits } from '../../schemas/tables.ts'
import { type EnvelopeNotes, envelopeHash } from '../otlp/envelopes.ts'
import { WireWriter } from '../otlp/wire-writer.ts'
import type { Batch } from '../spool/intake.ts'
import type { StringColumn } from '../spool/native.ts'
import { describeRun } from './attributes.ts'
import { SpanAttributes } from './span-attributes.ts'

// What a list shows of a text; the span message keeps all of it.
const previewBytesMax = 256
const servicesHeld = 1000

const spanKindClient = 3
const statusError = 2
const scopeName = 'runledger'
const attemptOperation = 'attempt'
// What a row holds where there is no run.
const noId = new Uint8Array(16) as Id // of the length and kind of an id, and of none

// One for all runs, because what it holds is copied into the batch at once.
const attributes = new SpanAttributes()

type SpanBatch = Pick<Batch, 'spans' | 'payloads' | 'envelopes'>

/** Pushes the rows of one run. `notes` are those of this write; call their `keep` once it is durable. */
export function pushRun(batch: SpanBatch, run: Run, notes: EnvelopeNotes): void {
  pushSpan(batch, { run, describe: describeRun }, notes)
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
  const describe = (to: SpanAttributes) => {
    to.text('gen_ai.provider.name', provider)
    to.text('gen_ai.request.model', model)
    if (error !== undefined) to.text('error.type', error)
  }
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
  pushSpan(batch, { run: asRun, describe }, notes)
}

type Described = { run: Run; describe: (to: SpanAttributes, run: Run) => void }

/** Fields of the message in ascending order, defaults left out: opentelemetry-proto v1.11, trace.proto. */
function pushSpan(batch: SpanBatch, { run, describe }: Described, notes: EnvelopeNotes): void {
  const writer = attributes.begin(batch)
  writer.hexField(1, run.traceId)
  writer.hexField(2, run.spanId)
  writer.stringField(3, run.traceState)
  if (run.parentSpanId !== undefined) writer.hexField(4, run.parentSpanId)
  writer.stringField(5, run.name)
  writer.varintField(6, spanKindClient)
  writer.fixed64Field(7, run.startUnixNano)
  writer.fixed64Field(8, run.startUnixNano + BigInt(run.durationNs))
  describe(attributes, run)
  attributes.end()
  if (hasFailed(run)) {
    const status = writer.begin(15)
    writer.stringField(2, run.error?.message ?? '')
    writer.varintField(3, statusError)
    writer.end(status)
  }
  const resource = resourceOf(run.service)
  const { columns } = batch.payloads
  columns.workspace.pushText(run.workspace)
  columns.trace_id.pushHex(run.traceId)
  columns.span_id.pushHex(run.spanId)
  columns.resource_hash.pushBytes(notes.writeHashed(batch, resource.raw, resource.hash))
  columns.scope_hash.pushBytes(notes.writeHashed(batch, scope.raw, scope.hash))
  columns.raw.pushBytes(writer.bytes, 0, writer.length)
  batch.payloads.endRow()
  pushSearched(batch, run)
}

function pushSearched(batch: SpanBatch, run: Run): void {
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
  pushPreview(columns.input_preview, attributes.input)
  pushPreview(columns.output_preview, attributes.output)
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

const preview = Buffer.alloc(previewBytesMax)

/** The first bytes of a text, cut between characters, as Node's encoder does when its room ends. */
function pushPreview(column: StringColumn, text: string): void {
  const end = preview.write(text, 0, previewBytesMax)
  column.pushBytes(preview, 0, end)
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

// A ScopeSpans message without its spans.
const scope = hashed('s', (writer) => writer.stringField(1, scopeName))
const resources = new Map<string, Envelope>()

/** A ResourceSpans message without its spans: the name of the service. */
function resourceOf(service: string): Envelope {
  const known = resources.get(service)
  if (known) return known
  if (resources.size >= servicesHeld) resources.clear()
  const made = hashed('r', (writer) => {
    if (service === '') return
    const attribute = writer.begin(1)
    writer.stringField(1, 'service.name')
    const value = writer.begin(2)
    writer.textMember(1, service)
    writer.end(value)
    writer.end(attribute)
  })
  resources.set(service, made)
  return made
}

function hashed(kind: 'r' | 's', write: (writer: WireWriter) => void): Envelope {
  const writer = new WireWriter()
  const start = writer.begin(1)
  write(writer)
  writer.end(start)
  const raw = writer.finish()
  return { raw, hash: envelopeHash(kind, raw) }
}
