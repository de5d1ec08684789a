// Small Native blocks put together on their way into ClickHouse: a block costs it half a millisecond over the three tables of a call,
// however few its rows, and a commit of a quiet moment has one. Law: the rows are the same, in the same order.

import { type TableName, tables, type WireType } from '../../schemas/tables.ts'
import type { Part } from './chunk.ts'
import { Growing } from './growing.ts'
import { plainHeads } from './native.ts'
import { writeVarint } from './varint.ts'

// Of a joined block: larger ones cost ClickHouse no less a row, and hold the loop longer (about half a millisecond a MiB).
const joinedBytesMax = 1 << 20

/** The blocks of one table, those of few rows put together. Made as they are asked for, so that the loop gets its turns between them. */
export function* joined(table: TableName, parts: Iterable<Part>): Generator<Buffer> {
  const joining = new Joining(table)
  for (const { pieces } of parts) {
    const [block] = pieces
    if (block && pieces.length === 1 && joining.add(block)) {
      if (joining.bytes >= joinedBytesMax) yield joining.take()
      continue
    }
    if (joining.bytes > 0) yield joining.take()
    yield* pieces
  }
  if (joining.bytes > 0) yield joining.take()
}

/** `width`: bytes of each of its cells; 0 for texts, which begin with their length. */
type Layout = { head: Buffer; width: number; isMap: boolean }

class Joining {
  bytes = 0
  #rows = 0
  readonly #layouts: readonly Layout[]
  readonly #blocks: Buffer[] = []
  /** Of each block in turn: its rows, then where the data of each column begins and ends; of a map, of its three parts. */
  readonly #cuts: number[] = []

  constructor(table: TableName) {
    this.#layouts = layoutsOf(table)
  }

  /** False: it is in another form, of many rows or of an older version, and goes in as it is. */
  add(block: Buffer): boolean {
    const cuts = this.#cuts
    const before = cuts.length
    const rows = cutUp(block, this.#layouts, cuts)
    if (rows === undefined) {
      cuts.length = before
      return false
    }
    this.#blocks.push(block)
    this.#rows += rows
    this.bytes += block.length
    return true
  }

  take(): Buffer {
    const blocks = this.#blocks
    const whole = blocks.length === 1 ? blocks[0]! : this.#join()
    blocks.length = this.#cuts.length = this.bytes = this.#rows = 0
    return whole
  }

  #join(): Buffer {
    const whole = new Growing()
    whole.reserve(this.bytes + 10)
    const counted = writeVarint(whole.bytes, 0, this.#layouts.length)
    whole.length = writeVarint(whole.bytes, counted, this.#rows)
    let place = 0
    for (const { head, isMap } of this.#layouts) {
      whole.appendBytes(head, 0, head.length)
      if (isMap) this.#appendEnds(whole, place++)
      if (isMap) this.#append(whole, place++)
      this.#append(whole, place++)
    }
    return whole.filled()
  }

  #append(whole: Growing, place: number): void {
    const cuts = this.#cuts
    const stride = cuts.length / this.#blocks.length
    let at = 2 * place
    for (const block of this.#blocks) {
      whole.appendBytes(block, cuts[at]!, cuts[at + 1]!)
      at += stride
    }
  }

  /** Where each row's entries end, counted from the start of the block. */
  #appendEnds(whole: Growing, place: number): void {
    const cuts = this.#cuts
    const stride = cuts.length / this.#blocks.length
    let at = 2 * place
    let entries = 0
    for (const block of this.#blocks) {
      const before = entries
      for (let from = cuts[at]!; from < cuts[at + 1]!; from += 8) {
        entries = before + block.readUInt32LE(from)
        whole.length = whole.bytes.writeBigUInt64LE(BigInt(entries), whole.length)
      }
      at += stride
    }
  }
}

/** The rows of a block, and where its columns are; undefined when it is not of this form to its last byte. */
function cutUp(block: Buffer, layouts: readonly Layout[], cuts: number[]): number | undefined {
  const at = { block, place: 0 }
  if (readVarint(at) !== layouts.length) return undefined
  const rows = readVarint(at)
  for (const { head, width, isMap } of layouts) {
    if (!startsAt(block, at.place, head)) return undefined
    at.place += head.length
    let cells = rows
    if (isMap) {
      pass(at, cuts, { cells, width: 8 })
      if (at.place > block.length) return undefined
      cells = rows === 0 ? 0 : block.readUInt32LE(at.place - 8)
      pass(at, cuts, { cells, width: 0 })
    }
    pass(at, cuts, { cells, width })
  }
  return at.place === block.length ? rows : undefined
}

type Reading = { readonly block: Buffer; place: number }

/** Over the cells of a column, or, at a length that makes no sense, beyond the end. */
function pass(at: Reading, cuts: number[], of: { cells: number; width: number }): void {
  cuts.push(at.place)
  if (of.width > 0) at.place += of.cells * of.width
  else
    for (let cell = 0; cell < of.cells && at.place < at.block.length; cell++) {
      const size = readVarint(at)
      at.place += size
    }
  cuts.push(at.place)
}

function readVarint(at: Reading): number {
  const { block } = at
  let value = 0
  for (let scale = 1; ; scale *= 0x80) {
    const byte = block[at.place++]
    if (byte === undefined) return 0
    value += (byte & 0x7f) * scale
    if (byte < 0x80) return value
  }
}

function startsAt(block: Buffer, at: number, head: Buffer): boolean {
  for (let i = 0; i < head.length; i++) if (block[at + i] !== head[i]) return false
  return true
}

const layouts = new Map<TableName, readonly Layout[]>()

function layoutsOf(table: TableName): readonly Layout[] {
  let known = layouts.get(table)
  if (!known) {
    const heads = plainHeads(table)
    known = Object.values<WireType>(tables[table]).map((type, i) => ({
      head: heads[i]!.filled(),
      width: widthOf(type),
      isMap: type.startsWith('Map('),
    }))
    layouts.set(table, known)
  }
  return known
}

/** Of a cell; of a map, of each of its values. */
function widthOf(type: WireType): number {
  switch (type) {
    case 'String':
    case 'LowCardinality(String)':
    case 'Map(LowCardinality(String), String)':
      return 0
    case 'UInt8':
      return 1
    case 'UInt32':
    case 'DateTime':
      return 4
    case 'FixedString(8)':
    case 'UInt64':
    case 'Int64':
    case "DateTime64(9, 'UTC')":
    case 'Map(LowCardinality(String), Float64)':
      return 8
    case 'FixedString(16)':
      return 16
    case 'FixedString(64)':
      return 64
    default:
      return type satisfies never
  }
}
