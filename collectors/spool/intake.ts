// What every collector writes into. Rows gather in the open batch; a write settles when its batch is on disk.

import type { Opening } from './journal.ts'
import type { NativeBlock } from './native.ts'

/** The blocks now being filled. Rows of many requests share them; they become durable together. */
export type Batch = {
  readonly spans: NativeBlock<'spans'>
  readonly payloads: NativeBlock<'payloads'>
  readonly envelopes: NativeBlock<'envelopes'>
  readonly records: NativeBlock<'records'>
}

/** What a write is besides its rows; it becomes durable with them. */
export type Also = {
  /** Whose rows these are: with the spool nearly full, those who hold much of it are refused before the others. */
  workspace?: string
  /** A call that begins here. Until a later write closes it, a crash leaves it for `interrupted` to find. */
  opens?: Opening
  /** The id of the call that ends here. */
  closes?: Uint8Array
}

export type Intake = {
  /**
   * Runs `fill` at once and synchronously on the open batch; resolves with its result when those rows survive `kill -9`.
   * What `fill` throws rejects the write and takes back every row it pushed. A full or failing disk rejects with
   * `service_unavailable` (or, where one workspace holds too much of a spool that is nearly full, `rate_limited`), and nothing of the write is
   * stored.
   */
  write<T>(fill: (batch: Batch) => T, also?: Also): Promise<T>
}

/** Of callers whose work outside begins before they have rows to write. */
export type Openings = {
  /**
   * Notes that a call begins, with the next commit, a few milliseconds from now at the latest: it is durable no later than whatever
   * is written after it. Costs no promise and, where other writes come, no sync of its own.
   */
  open(opening: Opening): void
}
