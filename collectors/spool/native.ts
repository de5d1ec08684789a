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
  writeVarint,
} from './columns.ts'

export {
  type ColumnOf,
  F64Column,
  FixedColumn,
  I64Column,
  MapColumn,
  StringColumn,
  U8Column,
  U32Column,
  writeVarint,
} from './columns.ts'

type BlockColumns<T extends TableName> = {
  readonly [C in keyof Columns<T>]: Columns<T>[C] extends WireType ? ColumnOf<Columns<T>[C]> : never
}

/** Where a block stood; `rewind` goes back there, so that half a request is never stored. */
export type Mark = { rows: number; lengths: number[] }

/** The rows of one table on their way: push one value to every column but the two of the seal, then `endRow()`. */
export class NativeBlock<T extends TableName> {
  readonly table: T
  readonly columns: BlockColumns<T>
  rows = 0
  readonly #all: AnyColumn[]

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
      size +=
        column instanceof MapColumn
          ? column.key.length + column.value.length + column.offsets.length
          : column.length
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
        column.key.length = mark.lengths[at++]!
        column.value.length = mark.lengths[at++]!
        column.offsets.length = mark.lengths[at++]!
        column.entries = mark.lengths[at++]!
      } else column.length = mark.lengths[at++]!
    }
    this.rows = mark.rows
  }

  /**
   * The finished block in pieces. Fills `ingest_seq` with firstSeq, firstSeq + 1, … and `ingested_at` with the seconds
   * given. The block must not be used afterwards: the pieces are its own memory.
   */
  seal(firstSeq: bigint, ingestedAtS: number): Buffer[] {
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
    const names = Object.entries(tables[this.table])
    const head = Buffer.allocUnsafe(10)
    const pieces: Buffer[] = [
      head.subarray(0, writeVarint(head, writeVarint(head, 0, names.length), this.rows)),
    ]
    names.forEach(([name, type], i) => {
      pieces.push(columnHead(name, type))
      const column = this.#all[i]!
      if (column instanceof MapColumn)
        pieces.push(column.offsets.filled(), column.key.filled(), column.value.filled())
      else pieces.push(column.filled())
    })
    return pieces.filter((piece) => piece.length > 0)
  }
}

const heads = new Map<string, Buffer>()

function columnHead(name: string, type: string): Buffer {
  const key = `${name}\n${type}`
  let head = heads.get(key)
  if (!head) {
    const column = new StringColumn()
    column.pushText(name)
    column.pushText(type)
    head = Buffer.from(column.filled())
    heads.set(key, head)
  }
  return head
}
