// Native blocks: whatever is pushed, taken back and put together is what a reader finds.

import { expect, test } from 'vitest'
import { LowCardinalityColumn, type Mark, NativeBlock } from '../collectors/spool/native.ts'
import { readNative } from './native-reader.ts'
import { randomOf } from './spool-world.ts'

type Block = NativeBlock<'envelopes'>

/** One row whose workspace is the text, given in one of the ways a collector has. */
function push(block: Block, text: string, way: number): void {
  const { workspace, hash, raw } = block.columns
  const bytes = Buffer.from(`<${text}>`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (text === '') workspace.pushEmpty()
  else if (way < 0.4) workspace.pushText(text)
  else if (way < 0.8) workspace.pushView(view, 1, bytes.length - 1)
  else workspace.push(workspace.indexOf(view, 1, bytes.length - 1))
  hash.pushZeros()
  raw.pushText(text)
  block.endRow()
}

function workspaces(block: Block): unknown[] {
  return readNative(Buffer.concat(block.seal(1n, 1))).map((row) => row.workspace)
}

test.each([
  ['few values', 5],
  ['some hundred values', 300],
  ['more values than two bytes count', 100_000],
])('a dictionary of %s gives back every row, after rewinds and joins too', (_, variety) => {
  const random = randomOf(variety)
  const block: Block = new NativeBlock('envelopes')
  const written: string[] = []
  let mark: Mark | undefined
  let kept = 0
  const rows = variety > 1_000 ? 90_000 : 2_000
  for (let i = 0; i < rows; i++) {
    const value = Math.floor(random() * variety)
    const text = value === 0 ? '' : `${'é'.repeat(value % 90)}${value}`
    push(block, text, random())
    written.push(text)
    const chance = random()
    if (chance < 0.002) {
      mark = block.mark()
      kept = written.length
    } else if (mark && chance < 0.004) {
      block.rewind(mark)
      written.length = kept
    }
  }
  // Once into an empty block, which takes what the other has, and once into one with rows of its own.
  const taken: Block = new NativeBlock('envelopes')
  taken.append(block)
  push(taken, 'last', 0)
  const joined: Block = new NativeBlock('envelopes')
  for (const text of ['before', '', '1']) push(joined, text, 0)
  joined.append(taken)
  push(joined, 'after', 0)
  expect([block.rows, taken.rows]).toEqual([0, 0])
  expect(workspaces(joined)).toEqual(['before', '', '1', ...written, 'last', 'after'])
})

test('values made to meet in the table make no look-up long', () => {
  // The hash of one word is its product with an odd number, so that words for one slot can be counted up. Walking past them all would take minutes.
  const column = new LowCardinalityColumn()
  const bytes = Buffer.alloc(4)
  const view = new DataView(bytes.buffer, bytes.byteOffset, 4)
  for (let i = 0; i < 200_000; i++) {
    bytes.writeUInt32LE((i << 14) >>> 0)
    column.pushView(view, 0, 4)
  }
  expect(column.length).toBe(200_000)
})

test('a block that was emptied remembers no value of before', () => {
  const block: Block = new NativeBlock('envelopes')
  const empty = block.mark()
  for (let i = 0; i < 40; i++) push(block, `secret ${i}`, 0)
  block.rewind(empty)
  for (let i = 0; i < 40; i++) push(block, 'open', 0)
  const bytes = Buffer.concat(block.seal(1n, 1))
  expect(bytes.includes('secret')).toBe(false)
  expect(readNative(bytes)).toHaveLength(40)
})

test('a block of few rows, small and large ones in turn, gives back every row each time it is filled', () => {
  const random = randomOf(7)
  const block: Block = new NativeBlock('envelopes')
  const empty = block.mark()
  for (let time = 0; time < 60; time++) {
    const texts = Array.from({ length: 1 + Math.floor(random() * 31) }, () =>
      `${'é'.repeat(Math.floor(random() ** 8 * 100_000))}${Math.floor(random() * 9)}`.slice(1),
    )
    for (const text of texts) push(block, text, random())
    const rows = readNative(Buffer.concat(block.seal(1n, 1)))
    expect(rows.map((row) => [row.workspace, String(row.raw)])).toEqual(
      texts.map((text) => [text, text]),
    )
    block.rewind(empty)
  }
})
