// An OTLP/JSON request becomes the protobuf bytes of the same request, so that one decoder serves both encodings.
// A span with a value that cannot be is left out and counted; its neighbours pass.

import { isUtf8 } from 'node:buffer'
import { Fault } from '../../schemas/faults.ts'
import { JsonCursor } from './json-cursor.ts'
import { findField, findLenient } from './json-keys.ts'
import { type JsonIo, transcodeScalar } from './json-scalars.ts'
import { type Field, type Message, messages } from './messages.ts'
import { BadSpan, spansMax, type Tally } from './tally.ts'
import { messageDepthMax } from './text-check.ts'
import { Undecodable, WireReader } from './wire-reader.ts'
import { WireWriter } from './wire-writer.ts'

// Dropping an earlier duplicate rereads its message; honest senders have none.
const duplicatesMax = 1_000
const spansPerStep = 500
const itemsPerStep = 2_000
// Fields whose children are walked step by step; given twice, their elements add up, so that no span is lost.
const outer = new Set<Message>([messages.resourceSpans, messages.scopeSpans, messages.span])
const otherSignals = /^resource_?(logs|metrics|profiles)$/i

/** Throws Undecodable for what is not JSON or not of this form. Yields now and then. */
export function* transcodeRequest(body: Buffer, tally: Tally): Generator<void, Buffer, void> {
  if (!isUtf8(body)) throw new Undecodable('the body is not UTF-8', 0)
  const hasMark = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf
  if (hasMark) tally.deviate('byte_order_mark')
  const cursor = new JsonCursor(body, hasMark ? 3 : 0)
  if (cursor.peek() !== 0x7b) cursor.fail('the body is not a JSON object')
  const transcoder = new Transcoder({ cursor, writer: new WireWriter(body.length + 64), tally })
  yield* transcoder.outerObject(messages.request)
  if (cursor.peek() !== -1) cursor.fail('something follows the JSON object')
  return transcoder.io.writer.finish()
}

class Transcoder {
  readonly io: JsonIo
  #spans = 0
  #duplicates = 0

  constructor(io: JsonIo) {
    this.io = io
  }

  /** The request, a ResourceSpans or a ScopeSpans: known by its children, which may be many. */
  *outerObject(of: Message): Generator<void, void, void> {
    const { cursor, writer } = this.io
    const start = writer.length
    let seen = 0
    if (cursor.peek() !== 0x7b) cursor.fail(`each of ${of.name} must be an object`)
    cursor.at += 1
    if (cursor.take(0x7d)) return
    do {
      const field = this.#key(of)
      if (field?.of !== undefined && field.repeated && outer.has(field.of))
        yield* this.#outerArray(field)
      else if (field === undefined) yield* cursor.skipSteps()
      else seen = this.#member(field, { start, seen, depth: 3 })
    } while (cursor.take(0x2c))
    cursor.expect(0x7d)
  }

  *#outerArray(field: Field): Generator<void, void, void> {
    const { cursor, writer } = this.io
    if (cursor.literal('null')) return
    if (!cursor.take(0x5b)) cursor.fail(`${field.json} must be an array`)
    if (cursor.take(0x5d)) return
    do {
      if (field.of === messages.span) {
        yield* this.#span(field)
        if (this.#spans % spansPerStep === 0) yield
      } else {
        const start = writer.beginWide(field.number)
        yield* this.outerObject(field.of!)
        writer.endWide(start)
      }
    } while (cursor.take(0x2c))
    cursor.expect(0x5d)
  }

  *#span(field: Field): Generator<void, void, void> {
    const { cursor, writer, tally } = this.io
    this.#spans += 1
    if (this.#spans > spansMax)
      throw new Fault('payload_too_large', { message: `At most ${spansMax} spans a request.` })
    cursor.peek()
    const from = cursor.at
    const before = writer.length
    try {
      yield* this.#spanMessage(field)
    } catch (error) {
      if (!(error instanceof BadSpan)) throw error
      writer.length = before
      cursor.at = from
      yield* cursor.skipSteps()
      tally.spans += 1
      tally.reject(error)
    }
  }

  /** A span as `#message` reads one, but its lists may be of any length. */
  *#spanMessage(field: Field): Generator<void, void, void> {
    const { cursor, writer } = this.io
    if (cursor.peek() !== 0x7b) cursor.fail(`${field.json} must be an object`)
    cursor.at += 1
    const start = writer.begin(field.number)
    let seen = 0
    if (!cursor.take(0x7d)) {
      do {
        const key = this.#key(messages.span)
        if (key === undefined) yield* cursor.skipSteps()
        else if (key.repeated && !(seen & (1 << key.number)) && cursor.peek() === 0x5b) {
          yield* this.#longArray(key)
          seen |= 1 << key.number
        } else seen = this.#member(key, { start, seen, depth: 5 })
      } while (cursor.take(0x2c))
      cursor.expect(0x7d)
    }
    writer.end(start)
  }

  *#longArray(field: Field): Generator<void, void, void> {
    const { cursor } = this.io
    cursor.at += 1
    if (cursor.take(0x5d)) return
    let items = 0
    do {
      this.#item(field, 5)
      items += 1
      if (items % itemsPerStep === 0) yield
    } while (cursor.take(0x2c))
    cursor.expect(0x5d)
  }

  /** One object as one length-delimited field. */
  #message(field: Field, depth: number): void {
    const { cursor, writer } = this.io
    if (depth > messageDepthMax) cursor.fail(`nesting exceeds ${messageDepthMax} messages`)
    if (cursor.peek() !== 0x7b) cursor.fail(`${field.json} must be an object`)
    cursor.at += 1
    const start = writer.begin(field.number)
    let seen = 0
    if (!cursor.take(0x7d)) {
      do seen = this.#member(this.#key(field.of!), { start, seen, depth: depth + 1 })
      while (cursor.take(0x2c))
      cursor.expect(0x7d)
    }
    writer.end(start)
  }

  /** Reads a key and its colon; undefined for an unknown one, which OTLP asks to ignore. */
  #key(of: Message): Field | undefined {
    const { cursor, tally } = this.io
    cursor.string()
    const exact = cursor.escaped
      ? undefined
      : findField(of, cursor.bytes, [cursor.start, cursor.end])
    let field = exact
    if (field === undefined) {
      const name = cursor.text()
      const lenient = findLenient(of, name)
      // An escaped key is spelled as it should be; it is only written in another way.
      if (lenient && lenient.field.json !== name) tally.deviate(lenient.deviation)
      field = lenient?.field
      if (of === messages.request && otherSignals.test(name))
        throw new Undecodable(`${name} is not taken here, only traces`, cursor.start)
    }
    cursor.expect(0x3a)
    return field
  }

  /** One member of an object. Returns the fields seen so far; an earlier one of the same name is dropped. */
  #member(field: Field | undefined, at: { start: number; seen: number; depth: number }): number {
    const { cursor } = this.io
    if (field === undefined) {
      cursor.skip()
      return at.seen
    }
    const bit = 1 << field.number
    if (at.seen & bit) this.#forget(at.start, field.number)
    if (cursor.literal('null')) return at.seen | bit
    if (field.repeated) this.#array(field, at.depth)
    else if (field.of !== undefined) this.#message(field, at.depth)
    else transcodeScalar(this.io, field)
    return at.seen | bit
  }

  #array(field: Field, depth: number): void {
    const { cursor } = this.io
    if (!cursor.take(0x5b)) {
      const hint = field.json === 'attributes' ? ' of {"key", "value"} objects' : ''
      cursor.fail(`${field.json} must be an array${hint}`)
    }
    if (cursor.take(0x5d)) return
    do this.#item(field, depth)
    while (cursor.take(0x2c))
    cursor.expect(0x5d)
  }

  #item(field: Field, depth: number): void {
    const { cursor, writer } = this.io
    if (field.of === undefined) transcodeScalar(this.io, field)
    else if (cursor.literal('null')) writer.end(writer.begin(field.number))
    else this.#message(field, depth)
  }

  /** Takes back what was written of this field since `start`: of duplicate keys the last one counts. */
  #forget(start: number, number: number): void {
    const { writer, tally, cursor } = this.io
    tally.deviate('duplicate_key')
    this.#duplicates += 1
    if (this.#duplicates > duplicatesMax) cursor.fail('too many duplicate keys')
    const reader = new WireReader(writer.bytes)
    reader.at = start
    let to = start
    const end = writer.length
    while (reader.at < end) {
      const from = reader.at
      const tag = reader.tag(end)
      reader.skip(tag, end)
      if (tag >>> 3 === number) continue
      writer.bytes.copyWithin(to, from, reader.at)
      to += reader.at - from
    }
    writer.length = to
  }
}
