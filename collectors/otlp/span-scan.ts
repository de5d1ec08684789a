// One Span message, looked at in place: where its fields are, what its attributes are, which of them mean something to us.
// Nothing is copied but what goes into the row's maps, and no string is made; every position counts in the bytes of the reader.

import type { AttributeMaps } from './attribute-maps.ts'
import { AttributeScan } from './attribute-scan.ts'
import { mayBeDialectEvent, readDialectEvent } from './dialect-events.ts'
import { messages } from './messages.ts'
import { checkMessage, fieldOf, spanDepth } from './text-check.ts'

// Some thousand attributes: a millisecond.
const stepBytes = 256 * 1024

export class SpanScan extends AttributeScan {
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

  override reset(): void {
    super.reset()
    this.traceIdAt = this.traceIdEnd = this.spanIdAt = this.spanIdEnd = 0
    this.parentAt = this.parentEnd = this.nameAt = this.nameEnd = 0
    this.statusAt = this.statusEnd = this.statusCode = this.kind = 0
    this.startLow = this.startHigh = this.endLow = this.endHigh = 0
  }

  /** Reads the Span from the reader's position to `end`. Repeated singular fields: the last one wins, as in protobuf. */
  readSpan(end: number, maps?: AttributeMaps): void {
    this.#begin(maps)
    this.#readFields(end, end)
  }

  /** The same in steps, for a span so large that it would hold the loop. */
  *spanSteps(end: number, maps?: AttributeMaps): Generator<void, void, void> {
    this.#begin(maps)
    while (this.reader.at < end) {
      this.#readFields(end, Math.min(end, this.reader.at + stepBytes))
      yield
    }
  }

  #begin(maps: AttributeMaps | undefined): void {
    this.reset()
    this.maps = maps
    maps?.begin()
  }

  /** At least to `until`. */
  #readFields(end: number, until: number): void {
    const reader = this.reader
    while (reader.at < until) {
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
          this.passText(this.nameEnd)
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
    } else if (field?.kind === 'string') this.passText(reader.lengthEnd(end))
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
        this.passText(this.statusEnd)
      } else if (field?.number === 3) {
        reader.varint64(end)
        this.statusCode = reader.low
      } else reader.skip(tag, end)
    }
  }
}
