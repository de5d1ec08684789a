// Rows with a name to follow through the spool, and a ClickHouse in memory that deduplicates by token as the real one does.

import type { Insert } from '../collectors/spool/deliver.ts'
import type { Batch } from '../collectors/spool/intake.ts'
import {
  F64Column,
  FixedColumn,
  I64Column,
  LowCardinalityColumn,
  MapColumn,
  type NativeBlock,
  StringColumn,
  U8Column,
  U32Column,
} from '../collectors/spool/native.ts'
import type { Counters } from '../schemas/counters.ts'
import { type TableName, tables } from '../schemas/tables.ts'
import { readNativeBlocks } from './native-reader.ts'

/** The column of each table that carries the row's name. */
const named = {
  spans: 'name',
  payloads: 'raw',
  envelopes: 'raw',
  records: 'canonical',
} as const satisfies Record<TableName, string>

/** One row in the table given; its name is found again by `MemoryClickHouse`. */
export function pushRow(batch: Batch, table: TableName, name: string): void {
  const block = batch[table] as NativeBlock<TableName> // any table's block has these columns and ends a row
  const columns = block.columns as Record<string, unknown>
  for (const column of Object.keys(tables[table])) {
    if (column === 'ingest_seq' || column === 'ingested_at') continue
    pushDefault(columns[column], column === named[table] ? name : '')
  }
  block.endRow()
}

/** A span and its payload, as one OTLP span makes them. */
export function pushSpan(batch: Batch, name: string): void {
  pushRow(batch, 'spans', name)
  pushRow(batch, 'payloads', name)
}

function pushDefault(column: unknown, text: string): void {
  if (column instanceof StringColumn || column instanceof LowCardinalityColumn)
    column.pushText(text)
  else if (column instanceof FixedColumn) column.pushZeros()
  else if (column instanceof MapColumn) column.endRow()
  else if (column instanceof U8Column || column instanceof U32Column) column.push(0)
  else if (column instanceof I64Column || column instanceof F64Column) column.push(0)
  else throw new Error('a column of an unknown kind')
}

export type StoredRow = { table: TableName; name: string; seq: bigint; ingestedAt: number }
export type Attempt = { table: TableName; token: string; rows: number; bytes: Buffer }

export class MemoryClickHouse {
  readonly rows: StoredRow[] = []
  /** Every insert that arrived, stored or not. */
  readonly attempts: Attempt[] = []
  /** What happens to an attempt: an error before storing, after storing, or nothing. */
  before: (attempt: Attempt) => unknown = () => undefined
  after: (attempt: Attempt) => unknown = () => undefined
  readonly #tokens = new Set<string>()

  readonly insert: Insert = async (table, body, { token, rows }) => {
    const bytes = Buffer.concat([...body])
    const attempt = { table, token, rows, bytes }
    this.attempts.push(attempt)
    const refused = await this.before(attempt)
    if (refused) throw refused
    const key = `${table} ${token}`
    if (!this.#tokens.has(key)) {
      const read = readNativeBlocks(bytes)
      if (read.length !== rows) throw new Error(`${rows} rows announced, ${read.length} came`)
      for (const row of read) this.rows.push({ table, ...nameOf(table, row) })
      this.#tokens.add(key)
    }
    const lost = await this.after(attempt)
    if (lost) throw lost
  }

  names(table: TableName): string[] {
    return this.rows.filter((row) => row.table === table).map((row) => row.name)
  }
}

export function poison(message = 'this row can never be stored'): Error {
  return Object.assign(new Error(message), { transient: false })
}

/** Counters by name and label values, for reading. */
export class CountedCounters implements Counters {
  readonly totals: Record<string, number> = {}

  count(name: string, labels: Record<string, string>, by = 1): void {
    const key = [name, ...Object.values(labels)].join(' ')
    this.totals[key] = (this.totals[key] ?? 0) + by
  }
}

export function contains(attempt: Attempt, name: string): boolean {
  return namesIn(attempt.table, attempt.bytes).includes(name)
}

export function namesIn(table: TableName, bytes: Buffer): string[] {
  return readNativeBlocks(bytes).map((row) => nameOf(table, row).name)
}

function nameOf(table: TableName, row: Record<string, unknown>): Omit<StoredRow, 'table'> {
  return {
    name: String(row[named[table]]),
    seq: BigInt(String(row.ingest_seq)),
    ingestedAt: Number(row.ingested_at),
  }
}
