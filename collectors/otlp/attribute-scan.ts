// The attributes of a span or a resource, looked at in place: where each value is, what its key means to us.

import type { AttributeMaps } from './attribute-maps.ts'
import { fieldNames, type KeyEntry } from './key-table.ts'
import { messages } from './messages.ts'
import { ScanAttributes } from './scan-attributes.ts'
import { type ReadValue, Values, valueTypes } from './scan-values.ts'
import { checkMessage, fieldOf, isText, spanDepth } from './text-check.ts'
import { toNumber, type WireReader } from './wire-reader.ts'

/** The rank of a field that no attribute has filled. */
export const unfilled = 255

export class AttributeScan implements ReadValue {
  reader: WireReader

  /** False when some text in the span is not UTF-8. */
  textValid = true
  /** Profile-only string indexes, which OTLP asks a trace receiver to treat as absent. */
  strindexes = 0

  readonly attributes = new ScanAttributes()
  /** Where attributes go as they are read; undefined when they are only kept in `attributes`. */
  maps: AttributeMaps | undefined
  /** The maps could not be filled in passing: a key came twice or is unknown. The span is to be read again without them. */
  isIrregular = false

  /** The best attribute of each field so far, by fieldIndex. */
  readonly rank = new Uint8Array(fieldNames.length)
  readonly fields = new Values(fieldNames.length)
  /** How often a field was filled; 0 for most spans that are no model call. */
  claims = 0
  /** The first marker present, as an index into typeMarkers. */
  marker = unfilled

  valueType = 0
  valueAt = 0
  valueEnd = 0
  valueNumber = 0

  constructor(reader: WireReader) {
    this.reader = reader
    this.rank.fill(unfilled)
  }

  /** Starts a new span, or a resource whose attributes are wanted. */
  reset(): void {
    this.strindexes = 0
    this.textValid = true
    this.isIrregular = false
    this.maps = undefined
    if (this.claims > 0) this.rank.fill(unfilled)
    this.claims = 0
    this.marker = unfilled
    this.attributes.reset()
  }

  /** Reads one KeyValue and files it: under its key, and under every field that its key means. */
  readAttribute(end: number): void {
    if (this.#readPlain(end)) return
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
    this.#file(keyAt, keyEnd)
  }

  /** The form that exporters write: a key, then a value of one member, and no more. False, with nothing done, for any other. */
  #readPlain(end: number): boolean {
    const reader = this.reader
    const { bytes, at: start } = reader
    const keyAt = start + 2
    if (end - keyAt < 4 || bytes[start] !== 10) return false
    const keyEnd = keyAt + bytes[start + 1]!
    // A size of 128 and more has its highest bit set; then, as here, the message is not plain or does not reach so far.
    if (bytes[start + 1]! >= 0x80 || end - keyEnd < 4 || bytes[keyEnd] !== 18) return false
    let at = keyEnd + 2
    let size = bytes[keyEnd + 1]!
    if (size >= 0x80) size = (size & 0x7f) | (bytes[at++]! << 7)
    if (size < 2 || at + size !== end) return false
    const tag = bytes[at++]!
    if (tag === 10) {
      let length = bytes[at++]!
      if (length >= 0x80) length = (length & 0x7f) | (bytes[at++]! << 7)
      if (at + length !== end) return false
      this.valueType = valueTypes.string
      this.valueAt = at
      reader.at = end
    } else if (tag === 16 || tag === 24) {
      reader.at = this.valueAt = at
      this.valueType = tag >>> 3
      reader.varint64(end)
      this.valueNumber = toNumber(reader.low, reader.high)
    } else if (tag === 33 && end - at === 8) {
      reader.at = this.valueAt = at
      this.valueType = valueTypes.double
      this.valueNumber = reader.double(end)
    }
    if (reader.at !== end) {
      reader.at = start
      return false
    }
    this.valueEnd = end
    if (tag === 10 && this.maps === undefined && !isText(reader, at, end)) this.textValid = false
    this.#file(keyAt, keyEnd)
    return true
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
          this.passText(this.valueEnd)
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

  /** Checks the text from the reader's position to `end`, and goes there. */
  protected passText(end: number): void {
    if (!isText(this.reader, this.reader.at, end)) this.textValid = false
    this.reader.at = end
  }

  #file(keyAt: number, keyEnd: number): void {
    const entry = this.attributes.entryOf(this.reader, keyAt, keyEnd)
    if (!entry.valid && !isText(this.reader, keyAt, keyEnd)) this.textValid = false
    if (this.maps) this.#pass(this.maps, entry)
    else this.attributes.file(entry, this.reader, { key: keyAt, keyEnd, value: this })
    if (entry.marker >= 0 && entry.marker < this.marker) this.marker = entry.marker
    for (const { field, rank } of entry.fields) this.claim(field, rank)
  }

  /** Straight into the row's maps. */
  #pass(maps: AttributeMaps, entry: KeyEntry): void {
    const type = this.valueType
    const isString = type === valueTypes.string
    const noted = this.attributes.note(entry)
    if (noted === 'again') this.isIrregular = true
    const isKept = noted === 'new' && !entry.bulk && maps.left > 0
    if (isString) {
      const { reader, valueAt, valueEnd } = this
      const valid = isKept
        ? maps.string(entry, reader, valueAt, valueEnd)
        : isText(reader, valueAt, valueEnd)
      if (!valid) this.textValid = false
    } else if (isKept && type >= valueTypes.bool && type <= valueTypes.double)
      maps.number(entry, this.valueNumber)
  }

  /** Gives the value read last to a field, unless it is empty or a better key has filled the field. */
  claim(field: number, rank: number): void {
    if (this.valueEnd === this.valueAt || rank > this.rank[field]!) return
    this.claims += 1
    this.rank[field] = rank
    this.fields.copy(field, this)
  }
}
