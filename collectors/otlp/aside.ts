// Rows gathered aside from the open batch, and copied into it at once: a large body is decoded in steps, but stored whole.

import type { Batch } from '../spool/intake.ts'
import { NativeBlock } from '../spool/native.ts'

export function newBatch(): Batch {
  return {
    spans: new NativeBlock('spans'),
    payloads: new NativeBlock('payloads'),
    envelopes: new NativeBlock('envelopes'),
    records: new NativeBlock('records'),
  }
}

/** Appends the rows of one batch to another. */
export function copyRows(from: Batch, to: Batch): void {
  to.spans.append(from.spans)
  to.payloads.append(from.payloads)
  to.envelopes.append(from.envelopes)
}
