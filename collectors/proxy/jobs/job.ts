// Work that goes on after its answer, such as a video: what is known of it until it is over, and who keeps that.

import type { Cost, PurseRef } from '../money.ts'

/** Everything that ends the run when nobody holds the call any more. Plain JSON. */
export type Job = {
  /** The upstream's own name for it. */
  id: string
  workspace: string
  /** Who does it; asked about it by the same name. */
  provider: string
  /** Of the provider's keys, the one it was asked with (provider-keys.ts); absent where it has none. */
  keyTag?: string | undefined
  /** The file that holds what was made, where the upstream names one. */
  fileId: string | null
  /** Of the run, in hex. */
  runId: string
  /** As for a call that a crash cuts off (openings.ts): the opening record is in it. */
  note: string
  /** Of the caller's trace, as it came. */
  traceFlags: number
  /** What the run keeps as its input; null where texts are not kept. */
  input: unknown
  cost: { nanoUsd: string; version: string } | null
  /** What was taken when it was opened, and is given back when it fails. */
  charge?: { purses: readonly PurseRef[]; nanoUsd: string } | undefined
  /** Of the video that was asked for. */
  seconds: number | null
  receipt: JobReceipt
}

/** The record that stands for the job now: the opening one, or the final one. */
export type JobReceipt = {
  phase: 'begin' | 'final'
  signature: string
  publicKey: string
  keyId: string
  recordStatus: string
}

export type Jobs = {
  /**
   * Durable when it resolves, and its charge is taken. False where the workspace has a job of that name already: then nothing has
   * changed. Rejects with `service_unavailable`.
   */
  open(job: Job): Promise<boolean>
  find(workspace: string, id: string): Promise<Job | undefined>
  /** The job that made this file. */
  findByFile(workspace: string, fileId: string): Promise<Job | undefined>
  /**
   * The receipt that stands after it. `close` is called for one caller at a time, and again only after one that rejected or died;
   * a close that was cut off after its record is finished here.
   */
  closeOnce(job: Job, close: () => Promise<JobReceipt>): Promise<JobReceipt>
  /** The charge of one that did not complete goes back. Again it changes nothing. */
  close(job: Job, receipt: JobReceipt): Promise<void>
}

export function toJobCost(cost: Cost | undefined): Job['cost'] {
  return cost ? { nanoUsd: String(cost.nanoUsd), version: cost.version } : null
}
