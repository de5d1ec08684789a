// Reads sealed Native blocks back, for judging what a collector stored. Only the types our tables use.

import type { Batch, Intake } from '../collectors/spool/intake.ts'
import { NativeBlock } from '../collectors/spool/native.ts'
import { Fault } from '../schemas/faults.ts'
import type { TableName } from '../schemas/tables.ts'

/** Strings are latin1 text of their bytes unless they are valid UTF-8; fixed strings are hex; 64-bit integers bigint. */
export type Row = Record<string, string | number | bigint | Record<string, string | number>>

export type CollectingIntake = Intake & {
  rows: Record<TableName, Row[]>
  writes: number
  /** While true, every write is refused, as a full disk refuses. */
  refusing: boolean
  /** Set: writes wait for this before they settle. */
  gate: Promise<void> | undefined
}

/** An intake that keeps rows in memory; each write is a batch of its own, settled a turn of the event loop later. */
export function collectingIntake(): CollectingIntake {
  const rows: Record<TableName, Row[]> = { spans: [], payloads: [], envelopes: [], records: [] }
  let seq = 1n
  const intake: CollectingIntake = {
    rows,
    writes: 0,
    refusing: false,
    gate: undefined,
    async write(fill) {
      if (intake.refusing) throw new Fault('service_unavailable')
      const batch: Batch = {
        spans: new NativeBlock('spans'),
        payloads: new NativeBlock('payloads'),
        envelopes: new NativeBlock('envelopes'),
        records: new NativeBlock('records'),
      }
      const result = fill(batch)
      await new Promise(setImmediate)
      await intake.gate
      intake.writes += 1
      for (const block of Object.values(batch)) {
        rows[block.table as TableName].push(
          ...readBlock(Buffer.concat(block.seal(seq, 1_700_000_000))),
        )
        seq += BigInt(block.rows)
      }
      return result
    },
  }
  return intake
}

export function readBlock(bytes: Buffer): Row[] {
  let at = 0
  const varint = () => {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = bytes[at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 128
    }
  }
  const text = () => {
    const size = varint()
    at += size
    return bytes.toString('utf8', at - size, at)
  }
  const fixed = (width: number) => {
    at += width
    return bytes.toString('hex', at - width, at)
  }
  const read = (type: string): Row[string] => {
    if (type === 'String') return text()
    if (type.startsWith('FixedString')) return fixed(Number(type.slice(12, -1)))
    if (type === 'UInt8') return bytes[at++]!
    if (type === 'UInt32' || type === 'DateTime') {
      at += 4
      return bytes.readUInt32LE(at - 4)
    }
    at += 8
    if (type === 'Float64') return bytes.readDoubleLE(at - 8)
    return type === 'UInt64' ? bytes.readBigUInt64LE(at - 8) : bytes.readBigInt64LE(at - 8)
  }
  const columns = varint()
  const count = varint()
  const rows: Row[] = Array.from({ length: count }, () => ({}))
  for (let column = 0; column < columns; column++) {
    const name = text()
    const type = text()
    const valueType = /^Map\(String, (\w+)\)$/.exec(type)?.[1]
    if (!valueType) {
      for (const row of rows) row[name] = read(type)
      continue
    }
    const ends = rows.map(() => Number(read('UInt64')))
    const total = ends.at(-1) ?? 0
    const keys = Array.from({ length: total }, text)
    const values = Array.from({ length: total }, () => read(valueType) as string | number)
    rows.forEach((row, i) => {
      const from = ends[i - 1] ?? 0
      row[name] = Object.fromEntries(
        keys.slice(from, ends[i]).map((key, j) => [key, values[from + j]!]),
      )
    })
  }
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes are left after the block`)
  return rows
}
