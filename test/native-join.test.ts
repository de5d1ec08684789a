// Blocks of few rows that are put together on their way into ClickHouse: the same rows, in fewer blocks.

import { expect, test } from 'vitest'
import type { Part } from '../collectors/spool/chunk.ts'
import { joined } from '../collectors/spool/join.ts'
import {
  F64Column,
  FixedColumn,
  I64Column,
  LowCardinalityColumn,
  MapColumn,
  NativeBlock,
  StringColumn,
  U8Column,
  U32Column,
} from '../collectors/spool/native.ts'
import { type TableName, tables } from '../schemas/tables.ts'
import { readNative, readNativeBlocks } from './native-reader.ts'
import { randomOf } from './spool-world.ts'

type Random = () => number

const names = Object.keys(tables) as TableName[] // its keys are the table names
const lengths = [0, 1, 60, 127, 128, 300, 5_000]

function text(random: Random): string {
  return 'é'.repeat(lengths[Math.floor(random() ** 3 * lengths.length)]! / 2).padEnd(1, 'x')
}

function pushRandom(column: unknown, random: Random): void {
  if (column instanceof StringColumn || column instanceof LowCardinalityColumn)
    column.pushText(random() < 0.3 ? '' : text(random))
  else if (column instanceof FixedColumn) column.pushBytes(Buffer.alloc(64, random() * 256))
  else if (column instanceof MapColumn) {
    for (let i = Math.floor(random() * 4); i > 0; i--) {
      column.key.pushText(`key ${i}`)
      pushRandom(column.value, random)
      column.count()
    }
    column.endRow()
  } else if (
    column instanceof U8Column ||
    column instanceof U32Column ||
    column instanceof I64Column
  )
    column.push(Math.floor(random() * 256))
  else if (column instanceof F64Column) column.push(random())
}

function partOf(table: TableName, rows: number, random: Random): Part {
  const block = new NativeBlock(table)
  const columns = Object.entries(block.columns).filter(([name]) => !name.startsWith('ingest'))
  for (let row = 0; row < rows; row++) {
    for (const [, column] of columns) pushRandom(column, random)
    block.endRow()
  }
  const bytes = Buffer.concat(block.seal(BigInt(Math.floor(random() * 1e9)), 1_800_000_000))
  return { table, rows, bytes: bytes.length, pieces: [bytes] }
}

/** As text, because comparing bytes one by one takes seconds. */
function rowsIn(blocks: readonly Buffer[]): unknown[] {
  return readNativeBlocks(Buffer.concat(blocks)).map((row) =>
    Object.entries(row).map(([name, cell]) => [
      name,
      cell instanceof Buffer ? cell.toString('latin1') : cell,
    ]),
  )
}

function blocksOf(parts: readonly Part[]): Buffer[] {
  return parts.flatMap(({ pieces }) => pieces)
}

test.each(names)(
  '%s: small blocks become one with their rows in order, and large ones stay as they are',
  (table) => {
    const random = randomOf(11)
    const rows = [1, 1, 3, 31, 1, 400, 2, 32, 1, 1]
    const parts = rows.map((count) => partOf(table, count, random))
    const out = [...joined(table, parts)]
    expect(out.map((block) => readNative(block).length)).toEqual([37, 400, 2, 32, 2])
    expect(rowsIn(out)).toEqual(rowsIn(blocksOf(parts)))
    expect(out[1]).toBe(parts[5]!.pieces[0])
    expect(out[2]).toBe(parts[6]!.pieces[0])
  },
)

test('a joined block is as large as a few turns of the loop can bear, and the next one goes on', () => {
  const parts = Array.from({ length: 2000 }, (_, i) => partOf('payloads', 1, randomOf(i)))
  const out = [...joined('payloads', parts)]
  const sizes = out.map((block) => block.length)
  expect(sizes.length).toBeGreaterThan(1)
  expect(Math.max(...sizes)).toBeLessThan((1 << 20) + 50_000)
  expect(rowsIn(out)).toEqual(rowsIn(blocksOf(parts)))
})

test('what is no block of this version, to its last byte, is passed on as it came', () => {
  const random = randomOf(5)
  const [good, other] = [partOf('spans', 2, random), partOf('records', 2, random)]
  const whole = good.pieces[0]!
  const odd = [
    other.pieces[0]!,
    whole.subarray(0, whole.length - 1),
    Buffer.concat([whole, Buffer.from([0])]),
    Buffer.from([0x80]),
    Buffer.alloc(0),
  ]
  for (const bytes of odd) {
    const strange = { ...good, pieces: [bytes] }
    expect([...joined('spans', [good, strange, good])]).toEqual([whole, bytes, whole])
  }
  const torn = { ...good, pieces: [whole.subarray(0, 9), whole.subarray(9)] }
  expect([...joined('spans', [good, torn])]).toEqual([whole, ...torn.pieces])
})
