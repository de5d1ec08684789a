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
import { checkSpan, isMetricLike, type Latest, latestStart } from './span-check.ts'
import { pushField, pushPayloadRow, pushSpanRow, type RowContext } from './span-row.ts'
import { SpanScan } from './span-scan.ts'
import { BadSpan, spansMax, type Tally } from './tally.ts'
import { checkMessage, fieldOf, repairText } from './text-check.ts'
import { Undecodable, WireReader } from './wire-reader.ts'

// ResourceSpans had its children here before 2022; ScopeSpans has the same form as what they were.
const legacyChildField = 1000
// One scan serves all requests: it holds the interned keys, and nothing between two spans. A span that is read in steps has one of
// its own meanwhile, of which one is kept.
const noBytes = Buffer.alloc(0)
const scan = newScan()
let spare: SpanScan | undefined
// A larger span is read in steps.
const stepSpanBytes = 1024 * 1024

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
  readonly #latest: Latest
  #looksLikeMetrics = 0

  constructor(input: DecodeInput, batch: Batch) {
    this.#input = input
    this.#batch = batch
    const { attr_str: strings, attr_num: numbers } = batch.spans.columns
    this.#maps = new AttributeMaps(strings, numbers)
    this.#latest = latestStart(input.nowMs)
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
      const last = reader.lengthEnd(end)
      if (last - reader.at > stepSpanBytes) yield* this.#largeSpan(reader, last, [resource, scope])
      else {
        const start = reader.at
        scan.reader = reader
        scan.readSpan(last, this.#maps)
        this.#takeSpan(scan, { start, end: last }, [resource, scope])
      }
      if (tally.spans % spansPerStep === 0) yield
    }
  }

  *#largeSpan(reader: WireReader, end: number, of: [Scope, Scope]): Generator<void, void, void> {
    const own = spare ?? newScan()
    spare = undefined
    own.attributes.tidy()
    const start = reader.at
    own.reader = reader
    yield* own.spanSteps(end, this.#maps)
    if (own.isIrregular && own.textValid) {
      this.#maps.abandon()
      reader.at = start
      yield* own.spanSteps(end)
    }
    this.#takeSpan(own, { start, end }, of)
    spare = own
  }

  /** Rows of the span just read, or the reason why there are none. */
  #takeSpan(
    scan: SpanScan,
    { start, end }: { start: number; end: number },
    [resource, scope]: [Scope, Scope],
  ): void {
    const { tally, notes } = this.#input
    const { reader } = scan
    const raw = { start, end }
    try {
      if (scan.isIrregular || !scan.textValid) {
        this.#maps.abandon()
        if (scan.textValid) reader.at = start
        else {
          tally.deviate('invalid_utf8')
          const repaired = repairText(messages.span, reader.bytes.subarray(start, end))
          scan.reader = new WireReader(repaired)
          raw.start = 0
          raw.end = repaired.length
        }
        scan.readSpan(raw.end)
      }
      if (scan.strindexes > 0) tally.deviate('string_index', scan.strindexes)
      checkSpan(scan, this.#latest)
      resource.hash ??= notes.write(this.#batch, 'r', resource.envelope)
      scope.hash ??= notes.write(this.#batch, 's', scope.envelope)
      pushSpanRow(this.#batch.spans, scan, this.#row)
      pushPayloadRow(this.#batch.payloads, scan, {
        workspaceView: this.#row.workspaceView,
        ...raw,
        resourceHash: resource.hash,
        scopeHash: scope.hash,
      })
    } catch (error) {
      if (!(error instanceof BadSpan)) throw error
      this.#maps.abandon()
      if (isMetricLike(scan)) this.#looksLikeMetrics += 1
      tally.reject(error)
    }
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

function newScan(): SpanScan {
  return new SpanScan(new WireReader(noBytes))
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
