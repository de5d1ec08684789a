// Protobuf bytes, written forwards. Lengths and varints are always canonical, as every official library writes them.

import { shortCharsMax, writeAscii } from '../short-text.ts'

// Most spans fit without growing; a larger start would be wasted on each of them.
const bufferBytesFirst = 1024
// Below it a loop copies faster than the view that `set` needs is made.
const loopBytesMax = 48

/**
 * Grows as it is written. `…Field` leaves out the default value, as proto3 does; `…Member` writes it, as a oneof needs.
 * `begin` and `end` enclose a message whose length is not known before.
 */
export class WireWriter {
  bytes: Buffer
  length = 0

  constructor(bytesFirst: number = bufferBytesFirst) {
    this.bytes = Buffer.allocUnsafe(bytesFirst)
  }

  /** The bytes written, as a view on the writer's memory. */
  finish(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  reserve(more: number): void {
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(larger, 0, 0, this.length)
    this.bytes = larger
  }

  tag(field: number, wire: number): void {
    this.varint((field << 3) | wire)
  }

  /** An unsigned number below 2^53. */
  varint(value: number): void {
    this.reserve(8)
    // Tags and most lengths are one byte.
    if (value < 0x80) {
      this.bytes[this.length++] = value
      return
    }
    let rest = value
    while (rest >= 0x80) {
      this.bytes[this.length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.bytes[this.length++] = rest
  }

  /** A 64-bit integer as its two unsigned words. */
  varintWords(low: number, high: number): void {
    this.reserve(10)
    let lo = low >>> 0
    let hi = high >>> 0
    while (hi !== 0 || lo >= 0x80) {
      this.bytes[this.length++] = (lo & 0x7f) | 0x80
      lo = ((lo >>> 7) | (hi << 25)) >>> 0
      hi >>>= 7
    }
    this.bytes[this.length++] = lo
  }

  /** An enum or a counter. Negative ones are ten bytes, sign extended, as int32 travels. */
  varintMember(field: number, low: number, high: number = low < 0 ? -1 : 0): void {
    this.tag(field, 0)
    this.varintWords(low, high)
  }

  varintField(field: number, value: number): void {
    if (value !== 0) this.varintMember(field, value)
  }

  bigMember(field: number, value: bigint): void {
    const bits = BigInt.asUintN(64, value)
    this.varintMember(field, Number(bits & 0xffffffffn), Number(bits >> 32n))
  }

  fixed64Field(field: number, value: bigint): void {
    if (value === 0n) return
    this.tag(field, 1)
    this.reserve(8)
    this.length = this.bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.length)
  }

  fixed64Words(field: number, low: number, high: number): void {
    this.tag(field, 1)
    this.reserve(8)
    this.length = this.bytes.writeUInt32LE(low >>> 0, this.length)
    this.length = this.bytes.writeUInt32LE(high >>> 0, this.length)
  }

  fixed32Field(field: number, value: number): void {
    if (value === 0) return
    this.tag(field, 5)
    this.reserve(4)
    this.length = this.bytes.writeUInt32LE(value >>> 0, this.length)
  }

  doubleMember(field: number, value: number): void {
    this.tag(field, 1)
    this.reserve(8)
    this.length = this.bytes.writeDoubleLE(value, this.length)
  }

  bytesMember(field: number, value: Uint8Array): void {
    this.tag(field, 2)
    this.varint(value.length)
    this.raw(value)
  }

  /** The same for a part of other bytes; most texts are short, and a view on them costs more than they do. */
  bytesFrom(field: number, source: Uint8Array, start: number, end: number): void {
    const size = end - start
    this.tag(field, 2)
    this.varint(size)
    this.reserve(size)
    const { bytes, length } = this
    if (size > loopBytesMax) bytes.set(source.subarray(start, end), length)
    else for (let i = 0; i < size; i++) bytes[length + i] = source[start + i]!
    this.length = length + size
  }

  bytesField(field: number, value: Uint8Array): void {
    if (value.length > 0) this.bytesMember(field, value)
  }

  /** Bytes given as hex; the caller has checked the digits. */
  hexField(field: number, text: string): void {
    if (text.length === 0) return
    const size = text.length >> 1
    this.tag(field, 2)
    this.varint(size)
    this.reserve(size)
    this.length += this.bytes.write(text, this.length, size, 'hex')
  }

  /** Lone surrogates become U+FFFD: never invalid UTF-8 on the wire. Returns how many bytes the text is, which are the last. */
  textMember(field: number, text: string): number {
    this.tag(field, 2)
    const { length } = text
    if (length <= shortCharsMax) {
      this.reserve(length + 1)
      if (writeAscii(this.bytes, this.length + 1, text)) {
        this.bytes[this.length] = length
        this.length += length + 1
        return length
      }
    }
    const size = Buffer.byteLength(text)
    this.varint(size)
    this.reserve(size)
    this.length += this.bytes.write(text, this.length, size, 'utf8')
    return size
  }

  stringField(field: number, text: string): void {
    if (text.length > 0) this.textMember(field, text)
  }

  /** Bytes that are already protobuf, or the content of a field whose head is written. */
  raw(value: Uint8Array): void {
    const size = value.length
    this.reserve(size)
    const { bytes, length } = this
    if (size > loopBytesMax) bytes.set(value, length)
    else for (let i = 0; i < size; i++) bytes[length + i] = value[i]!
    this.length = length + size
  }

  /** Opens a length-delimited field; give what it returns to `end`. */
  begin(field: number): number {
    this.tag(field, 2)
    this.reserve(1)
    this.bytes[this.length++] = 0
    return this.length
  }

  /** Writes the length in front of what came since; more than 127 bytes are moved up to make room for it. */
  end(start: number): void {
    const size = this.length - start
    if (size < 0x80) {
      this.bytes[start - 1] = size
      return
    }
    const extra = size < 0x4000 ? 1 : size < 0x200000 ? 2 : size < 0x10000000 ? 3 : 4
    this.reserve(extra)
    this.bytes.copyWithin(start + extra, start, this.length)
    const end = this.length + extra
    this.length = start - 1
    this.varint(size)
    this.length = end
  }

  /** Like `begin`, for what may be very long: room for any length, so that nothing is moved. Not canonical; never kept. */
  beginWide(field: number): number {
    this.tag(field, 2)
    this.reserve(5)
    this.length += 5
    return this.length
  }

  endWide(start: number): void {
    let rest = this.length - start
    for (let at = start - 5; at < start - 1; at++) {
      this.bytes[at] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.bytes[start - 1] = rest
  }
}
