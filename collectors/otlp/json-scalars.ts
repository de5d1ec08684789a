// One JSON value into one protobuf field, by the OTLP/JSON mapping: hex ids, integer enums, 64-bit integers without loss.
// What OTLP forbids and many senders do is taken and counted; what has no meaning rejects the span it is in.

import type { JsonCursor } from './json-cursor.ts'
import type { Field } from './messages.ts'
import { BadSpan, type Rejection, type Tally } from './tally.ts'
import type { WireWriter } from './wire-writer.ts'

const quote = 0x22
// Beyond a few dozen digits no number is a 64-bit integer, and BigInt takes its time.
const digitsMax = 40
// Up to here every number is a positive 32-bit integer.
const shortDigitsMax = 9

// The value of each hex digit by its character code; 16 for every other byte.
const nibbles = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16)
  return Number.isNaN(value) ? 16 : value
})

export type JsonIo = { cursor: JsonCursor; writer: WireWriter; tally: Tally }

/** Reads the value at the cursor and writes the field. Null has been dealt with. */
export function transcodeScalar(io: JsonIo, field: Field): void {
  const { cursor } = io
  const first = cursor.peek()
  if (first === 0x7b && field.kind === 'fixed64') {
    writeLongObject(io, field)
    return
  }
  if (first === 0x7b || first === 0x5b)
    cursor.fail(`${field.json} must not be an ${first === 0x7b ? 'object' : 'array'}`)
  switch (field.kind) {
    case 'string':
      writeString(io, field)
      return
    case 'id':
      writeId(io, field)
      return
    case 'bytes':
      writeBytes(io, field)
      return
    case 'bool':
      writeBool(io, field)
      return
    case 'double':
      writeDouble(io, field)
      return
    case 'enum':
      writeEnum(io, field)
      return
    case 'int64':
    case 'int32':
    case 'uint32':
    case 'fixed32':
    case 'fixed64':
      if (!writeShort(io, field)) writeInteger(io, field, readInteger(readToken(cursor), field))
      return
    case 'message':
      throw new Error(`${field.json} is not a scalar`)
    default:
      field.kind satisfies never
  }
}

function writeString({ cursor, writer, tally }: JsonIo, field: Field): void {
  if (cursor.peek() === quote) {
    cursor.string()
    if (cursor.end > cursor.start || field.oneof || field.repeated)
      cursor.writeTo(writer, field.number)
    return
  }
  tally.deviate('number_for_string')
  writer.textMember(field.number, readToken(cursor))
}

function writeId({ cursor, writer }: JsonIo, field: Field): void {
  const from = cursor.at
  if (cursor.peek() === quote) {
    cursor.string()
    if (!cursor.escaped && writeHex(writer, field, cursor)) return
    cursor.at = from
  }
  const text = readToken(cursor)
  if (text === '') return
  if (text.length % 2 === 0 && /^[0-9a-fA-F]+$/.test(text)) {
    writer.bytesMember(field.number, Buffer.from(text, 'hex'))
    return
  }
  const isBase64 = /^[A-Za-z0-9+/_-]{11}=?$|^[A-Za-z0-9+/_-]{22}(==)?$/.test(text)
  const hint = isBase64 ? '; it looks like base64' : ''
  const digits = field.json === 'traceId' ? 32 : 16
  throw new BadSpan(idRejection(field.json), `${field.json} is not ${digits} hex digits${hint}`)
}

/** The string read last, if it is hex digits in pairs, without making a string of it. */
function writeHex(writer: WireWriter, field: Field, { bytes, start, end }: JsonCursor): boolean {
  const size = (end - start) >> 1
  // Every id is shorter; what is not is told in words further on.
  if (size === 0 || size > 16 || (end - start) % 2 !== 0) return false
  const before = writer.length
  writer.tag(field.number, 2)
  writer.varint(size)
  writer.reserve(size)
  let valid = 0
  for (let i = 0; i < size; i++) {
    const high = nibbles[bytes[start + 2 * i]!]!
    const low = nibbles[bytes[start + 2 * i + 1]!]!
    valid |= high | low
    writer.bytes[writer.length + i] = (high << 4) | low
  }
  writer.length += size
  if (valid < 16) return true
  writer.length = before
  return false
}

function idRejection(name: string): Rejection {
  if (name === 'traceId') return 'invalid_trace_id'
  return name === 'spanId' ? 'invalid_span_id' : 'invalid_parent_span_id'
}

/** Either base64 alphabet, padded or not. What is neither loses its value and nothing else. */
function writeBytes({ cursor, writer, tally }: JsonIo, field: Field): void {
  const text = readToken(cursor)
  const digits = text.replace(/={1,2}$/, '')
  if (/^[A-Za-z0-9+/_-]*$/.test(digits) && digits.length % 4 !== 1)
    writer.bytesMember(field.number, Buffer.from(digits, 'base64'))
  else tally.deviate('bad_base64')
}

function writeBool({ cursor, writer, tally }: JsonIo, field: Field): void {
  const isText = cursor.peek() === quote
  const word = readToken(cursor)
  if (word !== 'true' && word !== 'false')
    throw new BadSpan('invalid_value', `${field.json} is not a boolean`)
  if (isText) tally.deviate('string_for_bool')
  if (word === 'true' || field.oneof) writer.varintMember(field.number, word === 'true' ? 1 : 0)
}

function writeDouble({ cursor, writer }: JsonIo, field: Field): void {
  const text = readToken(cursor)
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^-?Infinity$|^NaN$/i.test(text)
  if (!isNumber) throw new BadSpan('invalid_value', `${field.json} is not a number`)
  const value = Number(text)
  if (value !== 0 || Object.is(value, -0) || field.oneof) writer.doubleMember(field.number, value)
}

/** An integer; a name or a string of digits is tolerated. Unknown numbers stay as they are. */
function writeEnum({ cursor, writer, tally }: JsonIo, field: Field): void {
  const isText = cursor.peek() === quote
  const text = readToken(cursor)
  const named = isText ? field.names?.get(text) : undefined
  if (named !== undefined) tally.deviate('enum_name')
  else if (isText && /^-?\d+$/.test(text)) tally.deviate('enum_string')
  const value = named ?? Number(text === '' ? Number.NaN : text)
  if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 31)
    throw new BadSpan('invalid_enum', `${field.json} is not a known name or a 32-bit integer`)
  writer.varintField(field.number, value)
}

/** An unsigned integer of a few digits, with quotes or without: most are, and need no BigInt. False, and nothing is read, for others. */
function writeShort({ cursor, writer }: JsonIo, field: Field): boolean {
  const { bytes } = cursor
  const isQuoted = cursor.peek() === quote
  const start = cursor.at + (isQuoted ? 1 : 0)
  let value = 0
  let at = start
  for (; at < start + shortDigitsMax; at++) {
    const digit = bytes[at]! - 0x30
    if (!(digit >= 0 && digit <= 9)) break
    value = value * 10 + digit
  }
  if (at === start || (bytes[start] === 0x30 && at > start + 1)) return false
  const next = bytes[at]
  const isEnd = isQuoted ? next === quote : next === 0x2c || next === 0x7d || next === 0x5d
  if (!isEnd) return false
  cursor.at = isQuoted ? at + 1 : at
  if (field.kind === 'fixed64') {
    if (value !== 0) writer.fixed64Words(field.number, value, 0)
  } else if (field.kind === 'fixed32') writer.fixed32Field(field.number, value)
  else if (value !== 0 || field.oneof) writer.varintMember(field.number, value, 0)
  return true
}

function readInteger(text: string, field: Field): bigint {
  if (/^-?\d+$/.test(text) && text.length <= digitsMax) return inRange(BigInt(text), field)
  const value = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isInteger(value)) throw notAnInteger(field)
  return inRange(BigInt(value), field)
}

const ranges: Partial<Record<Field['kind'], [bigint, bigint]>> = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  fixed64: [0n, 2n ** 64n - 1n],
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  fixed32: [0n, 2n ** 32n - 1n],
}

function inRange(value: bigint, field: Field): bigint {
  const [least, most] = ranges[field.kind]!
  if (value < least || value > most) throw notAnInteger(field)
  return value
}

function notAnInteger(field: Field): BadSpan {
  return new BadSpan(
    field.kind === 'fixed64' ? 'invalid_time' : 'invalid_value',
    `${field.json} is not a valid ${field.kind}`,
  )
}

function writeInteger({ writer }: JsonIo, field: Field, value: bigint): void {
  if (field.kind === 'fixed64') writer.fixed64Field(field.number, value)
  else if (field.kind === 'fixed32') writer.fixed32Field(field.number, Number(value))
  else if (value !== 0n || field.oneof) writer.bigMember(field.number, value)
}

/** `{"low":…,"high":…}`: how old JavaScript exporters wrote 64-bit numbers, both words signed. */
function writeLongObject({ cursor, writer, tally }: JsonIo, field: Field): void {
  tally.deviate('fixed64_object')
  let low = 0
  let high = 0
  cursor.expect(0x7b)
  if (!cursor.take(0x7d)) {
    do {
      cursor.string()
      const key = cursor.text()
      cursor.expect(0x3a)
      if (key === 'low') low = Number(cursor.number())
      else if (key === 'high') high = Number(cursor.number())
      else cursor.skip()
    } while (cursor.take(0x2c))
    cursor.expect(0x7d)
  }
  if (!Number.isInteger(low) || !Number.isInteger(high)) throw notAnInteger(field)
  writer.fixed64Words(field.number, low, high)
}

/** The text of a string, a number or a boolean. */
function readToken(cursor: JsonCursor): string {
  if (cursor.peek() === quote) {
    cursor.string()
    return cursor.text()
  }
  if (cursor.literal('true')) return 'true'
  if (cursor.literal('false')) return 'false'
  return cursor.number()
}
