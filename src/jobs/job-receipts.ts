// Whether a job was closed already, by somebody who was cut off before the row said so: its final record tells.

import type { Job, JobReceipt } from '../../collectors/proxy/jobs/job.ts'
import { fromNote } from '../../collectors/proxy/openings.ts'
import { toSignatureText } from '../../schemas/encoding.ts'
import { Fault } from '../../schemas/faults.ts'
import { readPayload } from '../records/evidence.ts'
import type { Ledger } from '../records/ledger.ts'
import type { Records } from '../records/records.ts'

const flushDeadlineMs = 2_000

/**
 * Whether what a job began with is stored. Until then nobody has heard of it, and its call may be one that was cut off: that is
 * ended as such, and its job forgotten, by the plane that has it in its spool.
 */
export async function hasBegun(records: Records, job: Job): Promise<boolean> {
  return (await records.find(openOf(job).recordId))?.begin !== undefined
}

/** Throws `service_unavailable` while it cannot be told: what this plane accepted is not loaded yet. */
export function jobReceipts(deps: {
  records: Records
  ledger: Pick<Ledger, 'findKey'>
  /** True once everything that was accepted before is in ClickHouse. */
  flush: (deadlineMs: number) => Promise<boolean>
}): (job: Job) => Promise<JobReceipt | undefined> {
  return async (job) => {
    if (!(await deps.flush(flushDeadlineMs))) throw new Fault('service_unavailable')
    const { final } = (await deps.records.find(openOf(job).recordId)) ?? {}
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

function openOf({ runId, note }: Job) {
  return fromNote({ id: Buffer.from(runId, 'hex'), note }).run
}
