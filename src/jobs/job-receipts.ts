// Whether a job was closed already, by somebody who was cut off before the row said so: its final record tells.

import type { Job, JobReceipt } from '../../collectors/proxy/jobs/job.ts'
import { fromNote } from '../../collectors/proxy/openings.ts'
import { toSignatureText } from '../../schemas/encoding.ts'
import { Fault } from '../../schemas/faults.ts'
import { readPayload } from '../records/evidence.ts'
import type { Ledger } from '../records/ledger.ts'
import type { Records } from '../records/records.ts'

const flushDeadlineMs = 2_000

/** Throws `service_unavailable` while it cannot be told: what this plane accepted is not loaded yet. */
export function jobReceipts(deps: {
  records: Records
  ledger: Pick<Ledger, 'findKey'>
  /** True once everything that was accepted before is in ClickHouse. */
  flush: (deadlineMs: number) => Promise<boolean>
}): (job: Job) => Promise<JobReceipt | undefined> {
  return async (job) => {
    if (!(await deps.flush(flushDeadlineMs))) throw new Fault('service_unavailable')
    const { run } = fromNote({ id: Buffer.from(job.runId, 'hex'), note: job.note })
    const { final } = (await deps.records.find(run.recordId)) ?? {}
    if (!final) return undefined
    const key = await deps.ledger.findKey(final.keyId)
    return {
      phase: 'final',
      signature: toSignatureText(final.signature),
      publicKey: key?.public_key ?? job.receipt.publicKey,
      keyId: final.keyId,
      recordStatus: String(readPayload(final).status),
    }
  }
}
