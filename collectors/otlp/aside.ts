// Rows gathered aside from the open batch, and copied into it at once: a large body is decoded in steps, but stored whole.

import type { Batch } from '../spool/intake.ts'
import { MapColumn, NativeBlock } from '../spool/native.ts'

type Bytes = { bytes: Buffer; length: number; reserve(more: number): void }

export function newBatch(): Batch {
  return {
    spans: new NativeBlock('spans'),
    payloads: new NativeBlock('payloads'),
    envelopes: new NativeBlock('envelopes'),
    records: new NativeBlock('records'),
  }
}

/** Appends the rows of one batch to another of the same form. Synchronous, at the speed of memory. */
export function copyRows(from: Batch, to: Batch): void {
  copyBlock(from.spans, to.spans)
  copyBlock(from.payloads, to.payloads)
  copyBlock(from.envelopes, to.envelopes)
}

function copyBlock(from: Batch[keyof Batch], to: Batch[keyof Batch]): void {
  const target = new Map<string, unknown>(Object.entries(to.columns))
  for (const [name, column] of Object.entries(from.columns)) {
    const other = target.get(name)
    if (column instanceof MapColumn && other instanceof MapColumn) copyMap(column, other)
    else append(column as Bytes, other as Bytes) // every column that is not a map is bytes that grow
  }
  to.rows += from.rows
}

/** Offsets count entries from the start of the block, so they are shifted by what is there already. */
function copyMap(
  from: { key: Bytes; value: Bytes; offsets: Bytes; entries: number },
  to: {
    key: Bytes
    value: Bytes
    offsets: Bytes & { push(value: number): void }
    entries: number
  },
): void {
  for (let at = 0; at < from.offsets.length; at += 8)
    to.offsets.push(to.entries + Number(from.offsets.bytes.readBigUInt64LE(at)))
  append(from.key, to.key)
  append(from.value, to.value)
  to.entries += from.entries
}

function append(from: Bytes, to: Bytes): void {
  to.reserve(from.length)
  from.bytes.copy(to.bytes, to.length, 0, from.length)
  to.length += from.length
}
