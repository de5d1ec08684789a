// An intake that keeps what the proxy stores in memory, as plain rows to compare with.

import type { Batch, Intake, Openings } from '../collectors/spool/intake.ts'
import type { Opening } from '../collectors/spool/journal.ts'
import { NativeBlock } from '../collectors/spool/native.ts'
import { Fault } from '../schemas/faults.ts'
import type { TableName } from '../schemas/tables.ts'
import { type NativeRow, readNative } from './native-reader.ts'

/** Text as text, messages too; fixed strings in hex; 64-bit integers as bigint; maps as objects. */
export type Row = Record<string, string | number | bigint | Record<string, string | number>>

export type CollectingIntake = Intake &
  Openings & {
    /** Calls that have begun and not ended. */
    openings: Opening[]
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
    openings: [],
    open: (opening) => void intake.openings.push(opening),
    refusing: false,
    gate: undefined,
    async write(fill, also) {
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
      if (also?.opens) intake.openings.push(also.opens)
      const { closes } = also ?? {}
      if (closes)
        intake.openings = intake.openings.filter(({ id }) => !Buffer.from(id).equals(closes))
      for (const block of Object.values(batch)) {
        const sealed = Buffer.concat(block.seal(seq, 1_700_000_000))
        rows[block.table as TableName].push(...readNative(sealed).map(toRow))
        seq += BigInt(block.rows)
      }
      return result
    },
  }
  return intake
}

function toRow(row: NativeRow): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, cell]) => {
      if (cell instanceof Map) return [name, Object.fromEntries(cell)]
      return [name, Buffer.isBuffer(cell) ? cell.toString('utf8') : cell]
    }),
  )
}
