// Rows that more than one collector writes, pushed column by column. Every column is pushed, then the row ends.

import type { SignedRecord } from '../../schemas/record.ts'
import type { Batch } from './intake.ts'

/** One signed record, opening or final. Its signature may be shown to anyone only after the write of this batch has settled. */
export function pushRecord(batch: Pick<Batch, 'records'>, signed: SignedRecord): void {
  const { columns } = batch.records
  columns.record_id.pushBytes(signed.recordId)
  columns.phase.pushText(signed.phase)
  columns.workspace.pushText(signed.workspace)
  columns.run_id.pushBytes(signed.runId)
  if (signed.traceId === '') columns.trace_id.pushZeros()
  else columns.trace_id.pushHex(signed.traceId)
  columns.canonical.pushBytes(signed.canonical, 0, signed.canonical.length)
  columns.signature.pushBytes(signed.signature)
  columns.key_id.pushText(signed.keyId)
  columns.context.pushText(signed.context)
  batch.records.endRow()
}
