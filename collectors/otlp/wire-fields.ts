// A small protobuf message as its fields by number: for answers of a few members, where a table would be longer than the message.

import { toNumber, WireReader } from './wire-reader.ts'

export type WireFields = Map<number, number | Buffer>

/** Varints as numbers (exact below 2^53) and length-delimited fields as bytes; of several the last. Throws Undecodable. */
export function readMessage(bytes: Buffer): WireFields {
  const reader = new WireReader(bytes)
  const fields: WireFields = new Map()
  while (reader.at < bytes.length) {
    const tag = reader.tag(bytes.length)
    if ((tag & 7) === 0) {
      reader.varint64(bytes.length)
      fields.set(tag >>> 3, toNumber(reader.low, reader.high))
    } else if ((tag & 7) === 2) {
      const last = reader.lengthEnd(bytes.length)
      fields.set(tag >>> 3, bytes.subarray(reader.at, last))
      reader.at = last
    } else reader.skip(tag, bytes.length)
  }
  return fields
}

export function readBytes(fields: WireFields, number: number): Buffer | undefined {
  const value = fields.get(number)
  return Buffer.isBuffer(value) ? value : undefined
}
