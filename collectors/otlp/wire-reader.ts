// Protobuf bytes, read in place: tags, varints of 64 bits as two words, bounded skipping. What cannot be read is thrown.

// Nested groups are unknown fields of foreign messages; official decoders stop at 100 levels of anything.
const groupDepthMax = 64

/** A body that is not what it claims to be: no retry will help. `offset` counts bytes, never shows them. */
export class Undecodable extends Error {
  readonly offset: number

  constructor(what: string, offset: number) {
    super(`${what} at byte ${offset}`)
    this.name = 'Undecodable'
    this.offset = offset
  }
}

/** A cursor over one body. `low` and `high` are the words of the last 64-bit number read. */
export class WireReader {
  readonly bytes: Buffer
  /** The same bytes: copied, compared and checked four at a time. */
  readonly view: DataView
  at = 0
  low = 0
  high = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /** A tag: field number above, wire type in the lowest three bits. */
  tag(end: number): number {
    const at = this.at
    if (at >= end) throw new Undecodable('truncated message', at)
    let tag = this.bytes[at]!
    if (tag < 0x80) this.at = at + 1
    else {
      this.varint64(end)
      if (this.high !== 0) throw new Undecodable('field number out of range', at)
      tag = this.low
    }
    if (tag >>> 3 === 0) throw new Undecodable('field number 0', at)
    return tag
  }

  /** The end of a length-delimited field, whose content then starts at `at`; never beyond `end`. */
  lengthEnd(end: number): number {
    const at = this.at
    if (at >= end) throw new Undecodable('truncated message', at)
    let size = this.bytes[at]!
    if (size < 0x80) this.at = at + 1
    else {
      this.varint64(end)
      if (this.high !== 0) throw new Undecodable('length out of range', at)
      size = this.low
    }
    if (size > end - this.at) throw new Undecodable('length past the end of its message', at)
    return this.at + size
  }

  /** A varint of up to ten bytes into `low` and `high`. */
  varint64(end: number): void {
    const bytes = this.bytes
    const from = this.at
    let at = from
    let low = 0
    let high = 0
    let shift = 0
    for (;;) {
      if (at >= end) throw new Undecodable('truncated varint', from)
      const byte = bytes[at++]!
      const bits = byte & 0x7f
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) {
        if (shift === 63 && byte > 1) throw new Undecodable('varint longer than 64 bits', from)
        break
      }
      shift += 7
      if (shift > 63) throw new Undecodable('varint longer than ten bytes', from)
    }
    this.at = at
    this.low = low >>> 0
    this.high = high >>> 0
  }

  fixed64(end: number): void {
    if (end - this.at < 8) throw new Undecodable('truncated fixed64', this.at)
    this.low = this.view.getUint32(this.at, true)
    this.high = this.view.getUint32(this.at + 4, true)
    this.at += 8
  }

  fixed32(end: number): number {
    if (end - this.at < 4) throw new Undecodable('truncated fixed32', this.at)
    const value = this.bytes.readUInt32LE(this.at)
    this.at += 4
    return value
  }

  double(end: number): number {
    if (end - this.at < 8) throw new Undecodable('truncated double', this.at)
    const value = this.bytes.readDoubleLE(this.at)
    this.at += 8
    return value
  }

  /** Passes over the field whose tag was just read. */
  skip(tag: number, end: number): void {
    const wire = tag & 7
    if (wire === 3) this.#skipGroup(tag >>> 3, end)
    else if (wire === 2) this.at = this.lengthEnd(end)
    else this.#skipScalar(wire, end)
  }

  #skipScalar(wire: number, end: number): void {
    if (wire === 0) {
      this.varint64(end)
      return
    }
    if (wire !== 1 && wire !== 5) throw new Undecodable(`wire type ${wire}`, this.at)
    const size = wire === 1 ? 8 : 4
    if (end - this.at < size) throw new Undecodable('truncated field', this.at)
    this.at += size
  }

  #skipGroup(field: number, end: number): void {
    const open = [field]
    while (open.length > 0) {
      const tag = this.tag(end)
      const wire = tag & 7
      if (wire === 3) {
        if (open.length >= groupDepthMax) throw new Undecodable('groups nested too deep', this.at)
        open.push(tag >>> 3)
      } else if (wire === 4) {
        if (open.pop() !== tag >>> 3) throw new Undecodable('group ends another', this.at)
      } else this.skip(tag, end)
    }
  }
}

/** The signed value of two words as a JS number: exact below 2^53, the nearest double above. */
export function toNumber(low: number, high: number): number {
  return (high | 0) * 4_294_967_296 + low
}

export function toBigInt(low: number, high: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low)
}
