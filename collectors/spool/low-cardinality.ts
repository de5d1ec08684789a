// A column of `LowCardinality(String)`: each value once, and for each row which one. What most rows share travels, is checksummed and
// is parsed once a block, and ClickHouse need not look for it again in every row.

import { shortCharsMax, writeAscii } from '../short-text.ts'
import type { Growing } from './growing.ts'
import { writeVarint } from './varint.ts'

const bytesFirst = 256
const rowsFirst = 64
const slotsFirst = 64
// Beyond it values are no longer looked for, only added: a dictionary may hold a value twice. 1 MiB of slots.
const slotsMax = 1 << 18
// A block that met unusual data gives its memory back.
const slotsKeptMax = 4_096
// No choice of values makes a look-up long.
const probesMax = 8
// Below this many rows a dictionary costs the reader more than it saves; such blocks travel as plain `String`.
export const plainRowsMax = 32

// The first version of the form, and: the keys come with the column, numbered from zero (SerializationLowCardinality of ClickHouse).
const versionBytes = wordsOf(1)
const ownKeys = 0x600

let lastGeneration = 0
const scratch = Buffer.alloc(4 * shortCharsMax)
const scratchView = viewOf(scratch)

export class LowCardinalityColumn {
  /** Rows. */
  length = 0
  /** Names the present dictionary: a number from `indexOf` is good for as long as this stays the same. */
  generation = ++lastGeneration
  #rows = new Uint32Array(rowsFirst)
  #values = Buffer.allocUnsafe(bytesFirst)
  #view = viewOf(this.#values)
  #used = 0
  #count = 0
  #starts = new Int32Array(slotsFirst / 2)
  #ends = new Int32Array(slotsFirst / 2)
  #hashes = new Int32Array(slotsFirst / 2)
  /** Number of a value plus one, by its hash. */
  #slots = new Int32Array(slotsFirst)
  #last = 0
  #lastText: string | undefined
  #empty = -1

  /** Bytes it will take, roughly. */
  get size(): number {
    return this.#used + 2 * this.length
  }

  /** Another row of a value whose number is known. */
  push(index: number): void {
    if (this.length === this.#rows.length) this.#rows = grown(this.#rows, 2 * this.length)
    this.#rows[this.length++] = index
  }

  pushView(source: DataView, start: number, end: number): void {
    this.push(this.indexOf(source, start, end))
  }

  pushText(text: string): void {
    if (text !== this.#lastText) {
      const { length } = text
      const isShort = length <= shortCharsMax && writeAscii(scratch, 0, text)
      if (isShort) this.#last = this.indexOf(scratchView, 0, length)
      else {
        const bytes = Buffer.from(text)
        this.#last = this.indexOf(viewOf(bytes), 0, bytes.length)
      }
      this.#lastText = text
    }
    this.push(this.#last)
  }

  pushEmpty(): void {
    if (this.#empty < 0) this.#empty = this.indexOf(scratchView, 0, 0)
    this.push(this.#empty)
  }

  /** The number of a value in this dictionary, which it joins if it is new. */
  indexOf(source: DataView, start: number, end: number): number {
    // Many columns say the same row after row.
    if (this.#count > 0 && this.#isValue(this.#last, source, start, end)) return this.#last
    this.#lastText = undefined
    const hash = hashOf(source, start, end)
    const mask = this.#slots.length - 1
    for (let probe = 0, slot = hash & mask; probe < probesMax; probe++, slot = (slot + 1) & mask) {
      const found = this.#slots[slot]! - 1
      if (found < 0) return this.#add(source, start, end, { hash, slot })
      if (this.#hashes[found] === hash && this.#isValue(found, source, start, end)) {
        this.#last = found
        return found
      }
    }
    return this.#add(source, start, end, { hash, slot: -1 })
  }

  /** Takes rows back. Without any the dictionary starts anew. */
  rewindTo(length: number): void {
    this.length = length
    if (length > 0 || this.#count === 0) return
    if (this.#slots.length > slotsKeptMax) {
      this.#slots = new Int32Array(slotsFirst)
      this.#starts = new Int32Array(slotsFirst / 2)
      this.#ends = new Int32Array(slotsFirst / 2)
      this.#hashes = new Int32Array(slotsFirst / 2)
      this.#values = Buffer.allocUnsafe(bytesFirst)
      this.#view = viewOf(this.#values)
    } else this.#slots.fill(0)
    this.#used = this.#count = this.#last = 0
    this.#empty = -1
    this.#lastText = undefined
    this.generation = ++lastGeneration
  }

  append(other: LowCardinalityColumn): void {
    const numbers = new Uint32Array(other.#count)
    for (let i = 0; i < other.#count; i++)
      numbers[i] = this.indexOf(other.#view, other.#starts[i]!, other.#ends[i]!)
    for (let row = 0; row < other.length; row++) this.push(numbers[other.#rows[row]!]!)
  }

  /** What stands before the data, in a map before its offsets. */
  prefix(): Buffer {
    return versionBytes
  }

  /** The data of a column that has rows. */
  pieces(): Buffer[] {
    const width = this.#count <= 0x100 ? 1 : this.#count <= 0x10000 ? 2 : 4
    const numbers =
      width === 1
        ? new Uint8Array(this.length)
        : width === 2
          ? new Uint16Array(this.length)
          : new Uint32Array(this.length)
    for (let row = 0; row < this.length; row++) numbers[row] = this.#rows[row]!
    return [
      wordsOf(ownKeys | (width >> 1), this.#count),
      this.#values.subarray(0, this.#used),
      wordsOf(this.length),
      Buffer.from(numbers.buffer),
    ]
  }

  /** Writes the same rows as a plain column of `String`. */
  writePlain(to: Growing): void {
    for (let row = 0; row < this.length; row++) {
      const value = this.#rows[row]!
      const start = this.#starts[value]!
      const end = this.#ends[value]!
      to.appendBytes(this.#values, start - headBytes(end - start), end)
    }
  }

  #isValue(index: number, source: DataView, start: number, end: number): boolean {
    let at = this.#starts[index]!
    if (this.#ends[index]! - at !== end - start) return false
    const view = this.#view
    let from = start
    for (; from + 4 <= end; from += 4, at += 4)
      if (view.getUint32(at, true) !== source.getUint32(from, true)) return false
    for (; from < end; from++, at++) if (view.getUint8(at) !== source.getUint8(from)) return false
    return true
  }

  #add(source: DataView, start: number, end: number, at: { hash: number; slot: number }): number {
    const size = end - start
    const needed = this.#used + size + 5
    if (needed > this.#values.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#values.length * 2))
      this.#values.copy(larger, 0, 0, this.#used)
      this.#values = larger
      this.#view = viewOf(larger)
    }
    const index = this.#count++
    if (index === this.#starts.length) {
      this.#starts = grown(this.#starts, 2 * index)
      this.#ends = grown(this.#ends, 2 * index)
      this.#hashes = grown(this.#hashes, 2 * index)
    }
    const to = writeVarint(this.#values, this.#used, size)
    for (let i = 0; i < size; i++) this.#values[to + i] = source.getUint8(start + i)
    this.#starts[index] = to
    this.#ends[index] = this.#used = to + size
    this.#hashes[index] = at.hash
    if (at.slot >= 0) this.#slots[at.slot] = index + 1
    if (2 * this.#count > this.#slots.length && this.#slots.length < slotsMax) this.#spread()
    this.#last = index
    return index
  }

  #spread(): void {
    const slots = new Int32Array(2 * this.#slots.length)
    const mask = slots.length - 1
    for (let index = 0; index < this.#count; index++) {
      let slot = this.#hashes[index]! & mask
      for (let probe = 1; probe < probesMax && slots[slot] !== 0; probe++) slot = (slot + 1) & mask
      if (slots[slot] === 0) slots[slot] = index + 1
    }
    this.#slots = slots
  }
}

/** Words mixed so that every bit of them reaches the lowest ones. */
function hashOf(view: DataView, start: number, end: number): number {
  let hash = end - start
  let at = start
  for (; at + 4 <= end; at += 4)
    hash = Math.imul(((hash << 5) | (hash >>> 27)) ^ view.getUint32(at, true), 0x9e3779b1)
  for (; at < end; at++)
    hash = Math.imul(((hash << 5) | (hash >>> 27)) ^ view.getUint8(at), 0x9e3779b1)
  return hash ^ (hash >>> 15)
}

function headBytes(size: number): number {
  return size < 0x80 ? 1 : size < 0x4000 ? 2 : size < 0x200000 ? 3 : size < 0x10000000 ? 4 : 5
}

function wordsOf(...values: number[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length)
  values.forEach((value, i) => {
    bytes.writeUInt32LE(value, 8 * i)
  })
  return bytes
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function grown<T extends Int32Array | Uint32Array>(array: T, length: number): T {
  const larger = new (array.constructor as new (length: number) => T)(length) // the same kind
  larger.set(array)
  return larger
}
