// Rows to ClickHouse Native blocks, column by column, as they arrive. What is appended here is inserted byte for byte.
// Form (without block info, as the HTTP interface reads it): varint columns, varint rows, then name, type and data each.

import { type Columns, type TableName, tables, type WireType } from '../../schemas/tables.ts'
import {
  type AnyColumn,
  type ColumnOf,
  columnFor,
  type I64Column,
  MapColumn,
  StringColumn,
  type U32Column,
} from './columns.ts'
import { Growing } from './growing.ts'
import { LowCardinalityColumn, plainRowsMax } from './low-cardinality.ts'
import { writeVarint } from './varint.ts'

export {
  type ColumnOf,
  F64Column,
  FixedColumn,
  I64Column,
  MapColumn,
  StringColumn,
  type TextColumn,
  U8Column,
  U32Column,
} from './columns.ts'
export { LowCardinalityColumn } from './low-cardinality.ts'

type BlockColumns<T extends TableName> = {
  readonly [C in keyof Columns<T>]: Columns<T>[C] extends WireType ? ColumnOf<Columns<T>[C]> : never
}

// A small block is written out in one piece, whose memory stays with it; the columns of a larger one go out as they are.
const wholeBytesMax = 256 * 1024

/** Where a block stood; `rewind` goes back there, so that half a request is never stored. */
export type Mark = { rows: number; lengths: number[] }

/** The rows of one table on their way: push one value to every column but the two of the seal, then `endRow()`. */
export class NativeBlock<T extends TableName> {
  readonly table: T
  /** Others after `append`. */
  columns: BlockColumns<T>
  rows = 0
  #all: AnyColumn[]
  readonly #sealed = new Growing()

  constructor(table: T) {
    this.table = table
    const entries = Object.entries(tables[table]).map(
      ([name, type]) => [name, columnFor(type)] as const,
    )
    this.#all = entries.map(([, column]) => column)
    this.columns = Object.fromEntries(entries) as BlockColumns<T> // built from the same table the type is
  }

  endRow(): void {
    this.rows += 1
  }

  /** Bytes held, roughly: what the spool bounds. */
  get size(): number {
    let size = 0
    for (const column of this.#all)
      if (column instanceof MapColumn)
        size += column.key.size + column.value.length + column.offsets.length
      else size += column instanceof LowCardinalityColumn ? column.size : column.length
    return size
  }

  /** Where it stands now. With a mark of the caller's, that one is written over: every write of a batch takes four. */
  mark(mark: Mark = { rows: 0, lengths: [] }): Mark {
    const { lengths } = mark
    let at = 0
    for (const column of this.#all) {
      if (column instanceof MapColumn) {
        lengths[at++] = column.key.length
        lengths[at++] = column.value.length
        lengths[at++] = column.offsets.length
        lengths[at++] = column.entries
      } else lengths[at++] = column.length
    }
    mark.rows = this.rows
    return mark
  }

  rewind(mark: Mark): void {
    let at = 0
    for (const column of this.#all) {
      if (column instanceof MapColumn) {
        column.key.rewindTo(mark.lengths[at++]!)
        column.value.length = mark.lengths[at++]!
        column.offsets.length = mark.lengths[at++]!
        column.entries = mark.lengths[at++]!
      } else if (column instanceof LowCardinalityColumn) column.rewindTo(mark.lengths[at++]!)
      else column.length = mark.lengths[at++]!
    }
    this.rows = mark.rows
  }

  /** Takes the rows of another block of the same table, which is not used afterwards. */
  append(other: NativeBlock<T>): void {
    if (this.rows === 0) {
      // Nothing to copy: a large request mostly finds the block empty.
      const { columns } = this
      const all = this.#all
      this.columns = other.columns
      this.#all = other.#all
      other.columns = columns
      other.#all = all
    } else
      this.#all.forEach((column, i) => {
        const from = other.#all[i]! as never // the same column of the same table
        column.append(from)
      })
    this.rows += other.rows
    other.rows = 0
  }

  /**
   * The finished block in pieces, a small one in one piece. Fills `ingest_seq` with firstSeq, firstSeq + 1, … and `ingested_at` with the
   * seconds given. The block must not be used until the pieces have been copied: they are its own memory.
   */
  seal(firstSeq: bigint, ingestedAtS: number): Buffer[] {
    this.#number(firstSeq, ingestedAtS)
    const isPlain = this.rows < plainRowsMax && this.size <= wholeBytesMax
    const heads = headsOf(this.table, isPlain)
    const whole = this.#sealed
    whole.length = 0
    whole.reserve(10)
    whole.length = writeVarint(whole.bytes, writeVarint(whole.bytes, 0, heads.length), this.rows)
    if (isPlain) {
      this.#all.forEach((column, i) => {
        whole.append(heads[i]!)
        writePlain(column, whole)
      })
      return [whole.filled()]
    }
    const pieces = [whole.filled()]
    this.#all.forEach((column, i) => {
      pieces.push(heads[i]!.filled(), ...dataOf(column))
    })
    return pieces.filter((piece) => piece.length > 0)
  }

  #number(firstSeq: bigint, ingestedAtS: number): void {
    const columns = this.columns as unknown as {
      ingest_seq: I64Column
      ingested_at: U32Column
    } // every table ends in these two
    let low = Number(firstSeq & 0xffffffffn)
    let high = Number(firstSeq >> 32n)
    for (let row = 0; row < this.rows; row++) {
      columns.ingest_seq.pushWords(low, high)
      columns.ingested_at.push(ingestedAtS)
      low = (low + 1) >>> 0
      if (low === 0) high += 1
    }
  }
}

/** Blocks of both forms may follow each other in one insert: ClickHouse casts each to the type of the table. */
function plainOf(type: string): string {
  return type.replace('LowCardinality(String)', 'String')
}

function writePlain(column: AnyColumn, to: Growing): void {
  if (column instanceof LowCardinalityColumn) column.writePlain(to)
  else if (column instanceof MapColumn) {
    to.append(column.offsets)
    column.key.writePlain(to)
    to.append(column.value)
  } else to.append(column)
}

function dataOf(column: AnyColumn): Buffer[] {
  if (column instanceof LowCardinalityColumn) return [column.prefix(), ...column.pieces()]
  if (!(column instanceof MapColumn)) return [column.filled()]
  const { key, value, offsets } = column
  // Without entries not even the counts of a dictionary are written.
  const keys = column.entries > 0 ? key.pieces() : []
  return [key.prefix(), offsets.filled(), ...keys, value.filled()]
}

type Heads = readonly StringColumn[]
const headsByTable = new Map<TableName, { plain: Heads; lowCardinality: Heads }>()

/** Name and type of each column, as they stand before its data; written once a table. */
function headsOf(table: TableName, isPlain: boolean): Heads {
  let heads = headsByTable.get(table)
  if (!heads) {
    const columns = Object.entries(tables[table])
    heads = {
      plain: columns.map(([name, type]) => columnHead(name, plainOf(type))),
      lowCardinality: columns.map(([name, type]) => columnHead(name, type)),
    }
    headsByTable.set(table, heads)
  }
  return isPlain ? heads.plain : heads.lowCardinality
}

/** Name and type of each column of a block of few rows. */
export function plainHeads(table: TableName): readonly StringColumn[] {
  return headsOf(table, true)
}

function columnHead(name: string, type: string): StringColumn {
  const head = new StringColumn()
  head.pushText(name)
  head.pushText(type)
  return head
}
