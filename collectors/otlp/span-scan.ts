// One Span message, looked at in place: where its fields are, what its attributes are, which of them mean something to us.
// Nothing is copied and no string is made; every position counts in the bytes of the reader.

import { mayBeDialectEvent, readDialectEvent } from './dialect-events.ts'
import { equal, fieldNames, type KeyEntry, KeyTable } from './key-table.ts'
import { messages } from './messages.ts'
import { type ReadValue, Values, valueTypes } from './scan-values.ts'
import { checkMessage, fieldOf, isText, spanDepth } from './text-check.ts'
import { toNumber, type WireReader } from './wire-reader.ts'

/** Attributes of a span that are kept for searching; those after it still count for the named fields and the payload. */
export const attributesMax = 512
/** The rank of a field that no attribute has filled. */
export const unfilled = 255

export class SpanScan implements ReadValue {
  reader: WireReader
  readonly table = new KeyTable()

  traceIdAt = 0
  traceIdEnd = 0
  spanIdAt = 0
  spanIdEnd = 0
  parentAt = 0
  parentEnd = 0
  nameAt = 0
  nameEnd = 0
  statusAt = 0
  statusEnd = 0
  statusCode = 0
  kind = 0
  startLow = 0
  startHigh = 0
  endLow = 0
  endHigh = 0
  /** False when some text in the span is not UTF-8. */
  textValid = true
  /** Profile-only string indexes, which OTLP asks a trace receiver to treat as absent. */
  strindexes = 0

  /** Attributes, without the replaced ones. */
  count = 0
  readonly entries: KeyEntry[] = []
  readonly keyAt = new Int32Array(attributesMax)
  readonly keyEnd = new Int32Array(attributesMax)
  readonly values = new Values(attributesMax)

  /** The best attribute of each field so far, by fieldIndex. */
  readonly rank = new Uint8Array(fieldNames.length)
  readonly cut = new Uint8Array(fieldNames.length)
  readonly fields = new Values(fieldNames.length)
  /** How often a field was filled; 0 for most spans that are no model call. */
  claims = 0
  /** The first marker present, as an index into typeMarkers. */
  marker = unfilled

  valueType = 0
  valueAt = 0
  valueEnd = 0
  valueNumber = 0
  #sequence = 0

  constructor(reader: WireReader) {
    this.reader = reader
    this.rank.fill(unfilled)
  }

  /** Starts a new span, or a resource whose attributes are wanted. */
  reset(): void {
    this.traceIdAt = this.traceIdEnd = this.spanIdAt = this.spanIdEnd = 0
    this.parentAt = this.parentEnd = this.nameAt = this.nameEnd = 0
    this.statusAt = this.statusEnd = this.statusCode = this.kind = 0
    this.startLow = this.startHigh = this.endLow = this.endHigh = 0
    this.count = this.strindexes = 0
    this.textValid = true
    if (this.claims > 0) this.rank.fill(unfilled)
    this.claims = 0
    this.marker = unfilled
    this.#sequence += 1
  }

  /** Between requests: makes room in the key table when callers' keys have filled it. */
  tidy(): void {
    if (this.table.tidy()) this.entries.length = 0
  }

  /** Reads the Span from the reader's position to `end`. Repeated singular fields: the last one wins, as in protobuf. */
  readSpan(end: number): void {
    this.reset()
    const reader = this.reader
    while (reader.at < end) {
      const tag = reader.tag(end)
      switch (tag) {
        case 74:
          this.readAttribute(reader.lengthEnd(end))
          break
        case 10:
          this.traceIdEnd = reader.lengthEnd(end)
          this.traceIdAt = reader.at
          reader.at = this.traceIdEnd
          break
        case 18:
          this.spanIdEnd = reader.lengthEnd(end)
          this.spanIdAt = reader.at
          reader.at = this.spanIdEnd
          break
        case 34:
          this.parentEnd = reader.lengthEnd(end)
          this.parentAt = reader.at
          reader.at = this.parentEnd
          break
        case 42:
          this.nameEnd = reader.lengthEnd(end)
          this.nameAt = reader.at
          this.#text(this.nameEnd)
          break
        case 48:
          reader.varint64(end)
          this.kind = reader.low
          break
        case 57:
          reader.fixed64(end)
          this.startLow = reader.low
          this.startHigh = reader.high
          break
        case 65:
          reader.fixed64(end)
          this.endLow = reader.low
          this.endHigh = reader.high
          break
        case 90:
          this.#readEvent(reader.lengthEnd(end))
          break
        case 122:
          this.#readStatus(reader.lengthEnd(end))
          break
        default:
          this.#readOther(tag, end)
      }
    }
  }

  /** Reads one KeyValue and files it: under its key, and under every field that its key means. */
  readAttribute(end: number): void {
    const reader = this.reader
    let keyAt = 0
    let keyEnd = 0
    this.clearValue()
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag === 18) this.readValue(reader.lengthEnd(end))
      else if (tag === 10) {
        keyEnd = reader.lengthEnd(end)
        keyAt = reader.at
        reader.at = keyEnd
      } else {
        if (fieldOf(messages.keyValue, tag, reader)) this.strindexes += 1
        reader.skip(tag, end)
      }
    }
    const guess = this.entries[this.count]
    const entry =
      guess?.interned &&
      guess.bytes.byteLength === keyEnd - keyAt &&
      equal(guess.bytes, reader.view, keyAt)
        ? guess
        : this.table.find(reader.view, keyAt, keyEnd)
    if (!entry.valid && !isText(reader, keyAt, keyEnd)) this.textValid = false
    this.#file(entry, keyAt, keyEnd)
  }

  clearValue(): void {
    this.valueType = this.valueAt = this.valueEnd = this.valueNumber = 0
  }

  /** Reads one AnyValue into value…; several members set: the last one wins. */
  readValue(end: number): void {
    const reader = this.reader
    while (reader.at < end) {
      const tag = reader.tag(end)
      switch (tag) {
        case 10:
          this.#open(valueTypes.string, reader.lengthEnd(end))
          this.#text(this.valueEnd)
          break
        case 16:
        case 24:
          this.#open(tag >>> 3, end)
          reader.varint64(end)
          this.valueNumber = toNumber(reader.low, reader.high)
          break
        case 33:
          this.#open(valueTypes.double, end)
          this.valueNumber = reader.double(end)
          break
        case 42:
        case 50: {
          this.#open(tag >>> 3, reader.lengthEnd(end))
          const of = tag === 42 ? messages.arrayValue : messages.keyValueList
          if (!checkMessage(of, reader, this.valueEnd, spanDepth + 3)) this.textValid = false
          break
        }
        case 58:
          this.#open(valueTypes.bytes, reader.lengthEnd(end))
          reader.at = this.valueEnd
          break
        default:
          if (fieldOf(messages.anyValue, tag, reader)) this.strindexes += 1
          reader.skip(tag, end)
      }
    }
  }

  #open(type: number, end: number): void {
    this.valueType = type
    this.valueAt = this.reader.at
    this.valueEnd = end
  }

  #text(end: number): void {
    if (!isText(this.reader, this.reader.at, end)) this.textValid = false
    this.reader.at = end
  }

  #file(entry: KeyEntry, keyAt: number, keyEnd: number): void {
    const slot = this.#slotOf(entry, keyAt, keyEnd)
    if (slot >= 0) this.values.copy(slot, this)
    if (entry.marker >= 0 && entry.marker < this.marker) this.marker = entry.marker
    for (const { field, rank, cut } of entry.fields) this.claim(field, rank, cut)
  }

  /** Gives the value read last to a field, unless it is empty or a better key has filled the field. */
  claim(field: number, rank: number, cut: boolean): void {
    if (this.valueEnd === this.valueAt || rank > this.rank[field]!) return
    this.claims += 1
    this.rank[field] = rank
    this.cut[field] = cut ? 1 : 0
    this.fields.copy(field, this)
  }

  /** Where this attribute is kept: the place of its earlier duplicate, a new one, or -1 when there is no room. */
  #slotOf(entry: KeyEntry, keyAt: number, keyEnd: number): number {
    if (entry.interned && entry.stamp === this.#sequence) return entry.slot
    // With no room left a foreign key is not even looked for: a span of 600,000 such keys would hold the loop for seconds.
    if (this.count >= attributesMax) return -1
    const known = entry.interned ? -1 : this.#findForeign(keyAt, keyEnd)
    if (known >= 0) return known
    const slot = this.count++
    entry.stamp = this.#sequence
    entry.slot = slot
    this.entries[slot] = entry
    this.keyAt[slot] = keyAt
    this.keyEnd[slot] = keyEnd
    return slot
  }

  #findForeign(keyAt: number, keyEnd: number): number {
    const { view } = this.reader
    const key = new DataView(view.buffer, view.byteOffset + keyAt, keyEnd - keyAt)
    for (let i = 0; i < this.count; i++) {
      const isCandidate =
        !this.entries[i]!.interned && this.keyEnd[i]! - this.keyAt[i]! === key.byteLength
      if (isCandidate && equal(key, view, this.keyAt[i]!)) return i
    }
    return -1
  }

  #readEvent(end: number): void {
    const reader = this.reader
    const from = reader.at
    if (!checkMessage(messages.event, reader, end, spanDepth + 1)) this.textValid = false
    if (mayBeDialectEvent(reader.bytes, from, end)) readDialectEvent(this, from, end)
  }

  #readOther(tag: number, end: number): void {
    const reader = this.reader
    const field = fieldOf(messages.span, tag, reader)
    if (field?.of !== undefined) {
      if (!checkMessage(field.of, reader, reader.lengthEnd(end), spanDepth + 1))
        this.textValid = false
    } else if (field?.kind === 'string') this.#text(reader.lengthEnd(end))
    else reader.skip(tag, end)
  }

  #readStatus(end: number): void {
    const reader = this.reader
    while (reader.at < end) {
      const tag = reader.tag(end)
      const field = fieldOf(messages.status, tag, reader)
      if (field?.number === 2) {
        this.statusEnd = reader.lengthEnd(end)
        this.statusAt = reader.at
        this.#text(this.statusEnd)
      } else if (field?.number === 3) {
        reader.varint64(end)
        this.statusCode = reader.low
      } else reader.skip(tag, end)
    }
  }
}
