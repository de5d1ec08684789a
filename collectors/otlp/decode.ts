// An ExportTraceServiceRequest becomes rows. The whole body is walked: what cannot be read is thrown as Undecodable, and the
// write it happens in takes every row back; a span that can be read but not taken is rejected alone.

import { Fault } from '../../schemas/faults.ts'
import type { PromptLinks } from '../../schemas/prompt.ts'
import type { Batch } from '../spool/intake.ts'
import { StringColumn } from '../spool/native.ts'
import { AttributeMaps } from './attribute-maps.ts'
import type { EnvelopeNotes } from './envelopes.ts'
import { fieldIndex, viewOf } from './key-table.ts'
import { messages } from './messages.ts'
import { pushField, pushPayloadRow, pushSpanRow, type RowContext } from './span-row.ts'
import { SpanScan } from './span-scan.ts'
import { BadSpan, spansMax, type Tally } from './tally.ts'
import { checkMessage, fieldOf, repairText } from './text-check.ts'
import { Undecodable, WireReader } from './wire-reader.ts'

// Clocks run ahead; a day of it is believed.
const futureNsMax = 86_400_000_000_000n
// Seconds, milliseconds and microseconds in place of nanoseconds all land within three weeks of 1970.
const startHighMin = Math.floor((365 * 86_400 * 1e9) / 2 ** 32)
// ResourceSpans had its children here before 2022; ScopeSpans has the same form as what they were.
const legacyChildField = 1000
// One scan serves all requests: it holds the interned keys, and nothing between two spans.
const noBytes = Buffer.alloc(0)
const scan = new SpanScan(new WireReader(noBytes))

export type DecodeInput = {
  body: Buffer
  workspace: string
  prompts: PromptLinks
  notes: EnvelopeNotes
  tally: Tally
  nowMs: number
}

/** Rows go to `batch` as they are read. Yields now and then, so that a large body need not hold the loop. */
export function* decodeRequest(input: DecodeInput, batch: Batch): Generator<void, void, void> {
  refuseOtherForms(input.body)
  const walk = new Walk(input, batch)
  scan.attributes.tidy()
  const reader = new WireReader(input.body)
  while (reader.at < input.body.length) {
    const tag = reader.tag(input.body.length)
    if (fieldOf(messages.request, tag, reader) === undefined) reader.skip(tag, input.body.length)
    else yield* walk.resourceSpans(reader, reader.lengthEnd(input.body.length))
  }
  walk.refuseMetrics()
}

// Between two looks at the clock; a thousand small spans take about three milliseconds.
const spansPerStep = 1_000

type Scope = { envelope: Buffer; hash: Buffer | undefined }

class Walk {
  readonly #input: DecodeInput
  readonly #batch: Batch
  readonly #row: RowContext
  readonly #maps: AttributeMaps
  readonly #latestHigh: number
  readonly #latestLow: number
  #looksLikeMetrics = 0

  constructor(input: DecodeInput, batch: Batch) {
    this.#input = input
    this.#batch = batch
    const { attr_str: strings, attr_num: numbers } = batch.spans.columns
    this.#maps = new AttributeMaps(strings, numbers)
    const latest = BigInt(input.nowMs) * 1_000_000n + futureNsMax
    this.#latestHigh = Number(latest >> 32n)
    this.#latestLow = Number(latest & 0xffffffffn)
    this.#row = {
      workspace: input.workspace,
      workspaceView: viewOf(Buffer.from(input.workspace)),
      prompts: input.prompts,
      service: viewOf(noBytes),
      environment: viewOf(noBytes),
    }
  }

  *resourceSpans(reader: WireReader, end: number): Generator<void, void, void> {
    const start = reader.at
    const resource: Scope = {
      envelope: this.#envelope('resourceSpans', reader, end),
      hash: undefined,
    }
    this.#readFacts(resource.envelope)
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (!isChild(tag)) reader.skip(tag, end)
      else {
        if (tag >>> 3 === legacyChildField) this.#input.tally.deviate('legacy_field')
        yield* this.#scopeSpans(reader, reader.lengthEnd(end), resource)
      }
    }
  }

  *#scopeSpans(reader: WireReader, end: number, resource: Scope): Generator<void, void, void> {
    const { tally } = this.#input
    const start = reader.at
    const scope: Scope = { envelope: this.#envelope('scopeSpans', reader, end), hash: undefined }
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag !== 18) {
        reader.skip(tag, end)
        continue
      }
      tally.spans += 1
      if (tally.spans > spansMax)
        throw new Fault('payload_too_large', { message: `At most ${spansMax} spans a request.` })
      this.#span(reader, reader.lengthEnd(end), [resource, scope])
      if (tally.spans % spansPerStep === 0) yield
    }
  }

  #span(reader: WireReader, end: number, [resource, scope]: [Scope, Scope]): void {
    const { tally, notes } = this.#input
    let start = reader.at
    let last = end
    scan.reader = reader
    scan.readSpan(end, this.#maps)
    try {
      if (scan.isIrregular || !scan.textValid) {
        this.#maps.abandon()
        if (!scan.textValid) {
          tally.deviate('invalid_utf8')
          const repaired = repairText(messages.span, reader.bytes.subarray(start, end))
          scan.reader = new WireReader(repaired)
          start = 0
          last = repaired.length
        } else reader.at = start
        scan.readSpan(last)
      }
      if (scan.strindexes > 0) tally.deviate('string_index', scan.strindexes)
      this.#validate()
      resource.hash ??= notes.write(this.#batch, 'r', resource.envelope)
      scope.hash ??= notes.write(this.#batch, 's', scope.envelope)
      pushSpanRow(this.#batch.spans, scan, this.#row)
      pushPayloadRow(this.#batch.payloads, scan, {
        workspaceView: this.#row.workspaceView,
        start,
        end: last,
        resourceHash: resource.hash,
        scopeHash: scope.hash,
      })
    } catch (error) {
      if (!(error instanceof BadSpan)) throw error
      this.#maps.abandon()
      if (isMetricLike()) this.#looksLikeMetrics += 1
      tally.reject(error)
    }
  }

  /** Ids and times of the scanned span, as trace.proto and contract section 4 ask. */
  #validate(): void {
    const { bytes } = scan.reader
    requireId(bytes, { name: 'trace_id', at: scan.traceIdAt, end: scan.traceIdEnd, size: 16 })
    requireId(bytes, { name: 'span_id', at: scan.spanIdAt, end: scan.spanIdEnd, size: 8 })
    const parentBytes = scan.parentEnd - scan.parentAt
    if (parentBytes !== 0 && parentBytes !== 8)
      throw new BadSpan('invalid_parent_span_id', `parent_span_id has ${parentBytes} bytes, not 8`)
    if (scan.startLow === 0 && scan.startHigh === 0)
      throw new BadSpan('invalid_time', 'start_time_unix_nano is missing')
    if (scan.startHigh < startHighMin)
      throw new BadSpan(
        'invalid_time',
        'start_time_unix_nano is before 1971; is it in nanoseconds?',
      )
    const ahead = scan.startHigh - this.#latestHigh || scan.startLow - this.#latestLow
    if (ahead > 0)
      throw new BadSpan('invalid_time', 'start_time_unix_nano is more than a day in the future')
    if (scan.endHigh >= 0x80000000)
      throw new BadSpan('invalid_time', 'end_time_unix_nano is beyond the year 2262')
  }

  /** The message without its children, checked, and repaired where its text is not UTF-8. Its own memory. */
  #envelope(name: 'resourceSpans' | 'scopeSpans', reader: WireReader, end: number): Buffer {
    const pieces: Buffer[] = []
    const isScope = name === 'scopeSpans'
    let from = reader.at
    while (reader.at < end) {
      const at = reader.at
      const tag = reader.tag(end)
      reader.skip(tag, end)
      if (isScope ? tag !== 18 : !isChild(tag)) continue
      if (at > from) pieces.push(reader.bytes.subarray(from, at))
      from = reader.at
    }
    if (end > from) pieces.push(reader.bytes.subarray(from, end))
    const envelope = Buffer.concat(pieces)
    if (checkMessage(messages[name], new WireReader(envelope), envelope.length, isScope ? 3 : 2))
      return envelope
    this.#input.tally.deviate('invalid_utf8')
    return repairText(messages[name], envelope)
  }

  /** The attributes of the resource that its spans' rows repeat. */
  #readFacts(envelope: Buffer): void {
    const reader = new WireReader(envelope)
    scan.reader = reader
    scan.reset()
    while (reader.at < envelope.length) {
      const tag = reader.tag(envelope.length)
      if (tag !== 10) {
        reader.skip(tag, envelope.length)
        continue
      }
      const end = reader.lengthEnd(envelope.length)
      while (reader.at < end) {
        const inner = reader.tag(end)
        if (inner === 10) scan.readAttribute(reader.lengthEnd(end))
        else reader.skip(inner, end)
      }
    }
    this.#row.service = resourceLabel(fieldIndex.service)
    this.#row.environment = resourceLabel(fieldIndex.environment)
  }

  /** A metric's name, description and unit read as ids and trace state; no span has all three and no times. */
  refuseMetrics(): void {
    if (this.#looksLikeMetrics === 0 || this.#looksLikeMetrics < this.#input.tally.spans) return
    throw new Undecodable('this looks like metrics; only traces are taken here', 0)
  }
}

/** Bodies that are no protobuf, and easily told what they are. */
function refuseOtherForms(body: Buffer): void {
  const [first, second] = body
  if (first === 0x7b) throw new Undecodable('this looks like JSON sent as protobuf,', 0)
  if (first === 0x1f && second === 0x8b)
    throw new Undecodable('this looks like gzip without Content-Encoding,', 0)
  if (first === 0 && body.length >= 5 && body.readUInt32BE(1) === body.length - 5)
    throw new Undecodable('this looks like a gRPC frame; send it without its prefix,', 0)
}

function isChild(tag: number): boolean {
  return tag === 18 || tag === ((legacyChildField << 3) | 2)
}

/** The field of the resource just scanned, as its spans' rows show it. */
function resourceLabel(field: number): DataView {
  const column = new StringColumn()
  pushField(column, scan, field)
  // The column's own form has the length first: one byte below 128, two up to the 1 KiB of a label.
  const head = column.length > 128 ? 2 : 1
  return viewOf(column.filled().subarray(head))
}

function requireId(
  bytes: Buffer,
  id: { name: 'trace_id' | 'span_id'; at: number; end: number; size: number },
): void {
  const found = id.end - id.at
  if (found !== id.size) {
    const hint = found === 2 * id.size ? '; is it hex text in place of bytes?' : ''
    throw new BadSpan(`invalid_${id.name}`, `${id.name} has ${found} bytes, not ${id.size}${hint}`)
  }
  let some = 0
  for (let i = id.at; i < id.end; i++) some |= bytes[i]!
  if (some === 0) throw new BadSpan(`invalid_${id.name}`, `${id.name} is all zero`)
}

function isMetricLike(): boolean {
  const { bytes } = scan.reader
  const size = scan.traceIdEnd - scan.traceIdAt
  if (size < 1 || size === 16 || size === 32) return false
  for (let i = scan.traceIdAt; i < scan.traceIdEnd; i++)
    if (bytes[i]! < 0x20 || bytes[i]! > 0x7e) return false
  return scan.startHigh === 0 && scan.startLow === 0 && scan.endHigh === 0 && scan.endLow === 0
}
