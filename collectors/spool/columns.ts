// One column of a Native block each: bytes that grow as rows are pushed, in the very form ClickHouse reads.

import type { WireType } from '../../schemas/tables.ts'
import { shortCharsMax, writeAscii } from '../short-text.ts'
import { Growing } from './growing.ts'
import { LowCardinalityColumn } from './low-cardinality.ts'
import { writeVarint } from './varint.ts'

// Beyond it, one call into the runtime copies faster than a loop.
const viewBytesMax = 192

/** Column of `String`: LEB128 length, then the bytes; the same form as a protobuf string field. */
export class StringColumn extends Growing {
  pushBytes(source: Uint8Array, start: number, end: number): void {
    const size = end - start
    this.reserve(size + 5)
    const { bytes } = this
    let at = writeVarint(bytes, this.length, size)
    // Below about fifty bytes a loop is faster than making the view that `set` needs.
    if (size <= 48) for (let i = start; i < end; i++) bytes[at++] = source[i]!
    else {
      bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), at)
      at += size
    }
    this.length = at
  }

  /**
   * The same from a view, for texts that come by the dozen. The bits of all its bytes, four side by side, so that ASCII is known
   * without another pass; all ones when it was too long to look at.
   */
  pushView(source: DataView, start: number, end: number): number {
    const size = end - start
    if (size > viewBytesMax) {
      this.pushBytes(new Uint8Array(source.buffer, source.byteOffset + start, size), 0, size)
      return -1
    }
    this.reserve(size + 5)
    const view = this.view()
    let to = writeVarint(this.bytes, this.length, size)
    let from = start
    let bits = 0
    for (; from + 4 <= end; from += 4, to += 4) {
      const word = source.getUint32(from, true)
      bits |= word
      view.setUint32(to, word, true)
    }
    for (; from < end; from++, to++) {
      const byte = source.getUint8(from)
      bits |= byte
      view.setUint8(to, byte)
    }
    this.length = to
    return bits
  }

  pushText(text: string): void {
    const { length } = text
    if (length <= shortCharsMax) {
      this.reserve(length + 1)
      if (writeAscii(this.bytes, this.length + 1, text)) {
        this.bytes[this.length] = length
        this.length += length + 1
        return
      }
    }
    const size = Buffer.byteLength(text)
    this.reserve(size + 5)
    this.length = writeVarint(this.bytes, this.length, size)
    this.length += this.bytes.write(text, this.length, size, 'utf8')
  }

  pushEmpty(): void {
    this.reserve(1)
    this.bytes[this.length++] = 0
  }
}

/** Column of `FixedString(n)`; a shorter value is filled with zeros. */
export class FixedColumn extends Growing {
  readonly width: number

  constructor(width: number) {
    super()
    this.width = width
  }

  pushBytes(source: Uint8Array, start = 0): void {
    this.reserve(this.width)
    const { bytes, width } = this
    const at = this.length
    const held = Math.min(width, source.length - start)
    for (let i = 0; i < held; i++) bytes[at + i] = source[start + i]!
    for (let i = held; i < width; i++) bytes[at + i] = 0
    this.length = at + width
  }

  /** From a view that holds at least the width from `start` on; the width is a multiple of four. */
  pushView(source: DataView, start: number): void {
    this.reserve(this.width)
    const view = this.view()
    for (let i = 0; i < this.width; i += 4)
      view.setUint32(this.length + i, source.getUint32(start + i, true), true)
    this.length += this.width
  }

  /** Lower or upper case hex of exactly this width; the caller has checked the digits. */
  pushHex(text: string): void {
    this.reserve(this.width)
    this.length += this.bytes.write(text, this.length, this.width, 'hex')
  }

  pushZeros(): void {
    this.reserve(this.width)
    const end = this.length + this.width
    while (this.length < end) this.bytes[this.length++] = 0
  }
}

/** Column of `UInt8`. */
export class U8Column extends Growing {
  push(value: number): void {
    this.reserve(1)
    this.bytes[this.length++] = value
  }
}

/** Column of `UInt32` and `DateTime`; values above the range are held at its end. */
export class U32Column extends Growing {
  push(value: number): void {
    this.reserve(4)
    const held = value > 0xffffffff ? 0xffffffff : value > 0 ? value : 0
    writeWord(this.bytes, this.length, Math.floor(held))
    this.length += 4
  }
}

/** Column of any 64-bit integer. Nanoseconds come as words or bigint, never through a JS number. */
export class I64Column extends Growing {
  /** A safe integer, negative ones as two's complement. */
  push(value: number): void {
    this.pushWords(value >>> 0, Math.floor(value / 2 ** 32) >>> 0)
  }

  pushWords(low: number, high: number): void {
    this.reserve(8)
    writeWord(this.bytes, this.length, low)
    writeWord(this.bytes, this.length + 4, high)
    this.length += 8
  }

  pushBig(value: bigint): void {
    this.reserve(8)
    this.length = this.bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.length)
  }
}

/** Column of `Float64`. */
export class F64Column extends Growing {
  push(value: number): void {
    this.reserve(8)
    this.length = this.bytes.writeDoubleLE(value, this.length)
  }
}

/** Column of `Map(LowCardinality(String), V)`: push key and value any number of times, then close the row. */
export class MapColumn<V extends StringColumn | F64Column> {
  readonly key = new LowCardinalityColumn()
  readonly value: V
  readonly offsets = new I64Column()
  entries = 0

  constructor(value: V) {
    this.value = value
  }

  /** Call once for each key and value pushed. */
  count(): void {
    this.entries += 1
  }

  endRow(): void {
    this.offsets.push(this.entries)
  }

  /** Offsets count entries from the start of the block, so they are shifted by what is there already. */
  append(other: MapColumn<V>): void {
    const { bytes, length } = other.offsets
    for (let at = 0; at < length; at += 8)
      this.offsets.push(this.entries + Number(bytes.readBigUInt64LE(at)))
    this.key.append(other.key)
    this.value.append(other.value)
    this.entries += other.entries
  }
}

/** A text, whichever way it travels. */
export type TextColumn = StringColumn | LowCardinalityColumn

export type AnyColumn =
  | Growing
  | LowCardinalityColumn
  | MapColumn<StringColumn>
  | MapColumn<F64Column>

export type ColumnOf<T extends WireType> = T extends 'String'
  ? StringColumn
  : T extends 'LowCardinality(String)'
    ? LowCardinalityColumn
    : T extends `FixedString(${number})`
      ? FixedColumn
      : T extends 'UInt8'
        ? U8Column
        : T extends 'UInt32' | 'DateTime'
          ? U32Column
          : T extends 'Map(LowCardinality(String), String)'
            ? MapColumn<StringColumn>
            : T extends 'Map(LowCardinality(String), Float64)'
              ? MapColumn<F64Column>
              : I64Column

/** An empty column of that type. */
export function columnFor(type: WireType): AnyColumn {
  switch (type) {
    case 'String':
      return new StringColumn()
    case 'LowCardinality(String)':
      return new LowCardinalityColumn()
    case 'FixedString(8)':
      return new FixedColumn(8)
    case 'FixedString(16)':
      return new FixedColumn(16)
    case 'FixedString(64)':
      return new FixedColumn(64)
    case 'UInt8':
      return new U8Column()
    case 'UInt32':
    case 'DateTime':
      return new U32Column()
    case 'UInt64':
    case 'Int64':
    case "DateTime64(9, 'UTC')":
      return new I64Column()
    case 'Map(LowCardinality(String), String)':
      return new MapColumn(new StringColumn())
    case 'Map(LowCardinality(String), Float64)':
      return new MapColumn(new F64Column())
    default:
      return type satisfies never
  }
}

function writeWord(bytes: Buffer, at: number, word: number): void {
  bytes[at] = word
  bytes[at + 1] = word >>> 8
  bytes[at + 2] = word >>> 16
  bytes[at + 3] = word >>> 24
}
