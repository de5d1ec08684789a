// Is a message well formed all the way down, and is all of its text UTF-8? And if not the latter, a copy that is.
// proto3 strings must be UTF-8; peers drop whole batches over one bad byte, so we never pass such a byte on.

import { isUtf8 } from 'node:buffer'
import { type Field, type Message, wireOf } from './messages.ts'
import { Undecodable, WireReader } from './wire-reader.ts'
import { WireWriter } from './wire-writer.ts'

/** Messages within messages, the request being the first: the limit of the official decoders. 31 levels of kvlist. */
export const messageDepthMax = 100
/** Where a Span stands in its request. */
export const spanDepth = 4

// Below this a loop is faster than a call into the runtime with a view on the bytes.
const loopBytesMax = 256

/** Walks the message from the reader's position to `end`. False when some text is not UTF-8; throws Undecodable. */
export function checkMessage(of: Message, reader: WireReader, end: number, depth: number): boolean {
  if (depth > messageDepthMax)
    throw new Undecodable(`nesting exceeds ${messageDepthMax} messages`, reader.at)
  let valid = true
  while (reader.at < end) {
    const tag = reader.tag(end)
    const field = fieldOf(of, tag, reader)
    if (field === undefined) reader.skip(tag, end)
    else if (field.of !== undefined) {
      const inner = reader.lengthEnd(end)
      if (!checkMessage(field.of, reader, inner, depth + 1)) valid = false
    } else if (field.kind === 'string') {
      const inner = reader.lengthEnd(end)
      if (!isText(reader, reader.at, inner)) valid = false
      reader.at = inner
    } else reader.skip(tag, end)
  }
  return valid
}

/** The field of a tag, undefined when its number is unknown; a known number with another wire type is undecodable. */
export function fieldOf(of: Message, tag: number, reader: WireReader): Field | undefined {
  const number = tag >>> 3
  const field = number < of.byNumber.length ? of.byNumber[number] : undefined
  if (field !== undefined && wireOf[field.kind] !== (tag & 7))
    throw new Undecodable(
      `${of.name}.${field.json} has wire type ${tag & 7}, not ${wireOf[field.kind]}`,
      reader.at,
    )
  return field
}

/** Whether the bytes are UTF-8: most are ASCII, which shows in one pass by fours. */
export function isText(reader: WireReader, start: number, end: number): boolean {
  const { bytes, view } = reader
  if (end - start > loopBytesMax) return isUtf8(bytes.subarray(start, end))
  let high = 0
  let at = start
  for (; at + 4 <= end; at += 4) high |= view.getUint32(at, true)
  for (; at < end; at++) high |= view.getUint8(at)
  return (high & 0x80808080) === 0 || isUtf8(bytes.subarray(start, end))
}

/** The same message with U+FFFD in place of what is not UTF-8. The caller has checked that it is well formed. */
export function repairText(of: Message, bytes: Buffer): Buffer {
  const writer = new WireWriter(bytes.length + 64)
  repairInto(writer, of, new WireReader(bytes), bytes.length)
  return writer.finish()
}

function repairInto(writer: WireWriter, of: Message, reader: WireReader, end: number): void {
  while (reader.at < end) {
    const from = reader.at
    const tag = reader.tag(end)
    const field = fieldOf(of, tag, reader)
    if (field?.of !== undefined) {
      const inner = reader.lengthEnd(end)
      const start = writer.begin(field.number)
      repairInto(writer, field.of, reader, inner)
      writer.end(start)
    } else if (field?.kind === 'string') {
      const inner = reader.lengthEnd(end)
      writer.textMember(field.number, reader.bytes.toString('utf8', reader.at, inner))
      reader.at = inner
    } else {
      reader.skip(tag, end)
      writer.raw(reader.bytes.subarray(from, reader.at))
    }
  }
}
