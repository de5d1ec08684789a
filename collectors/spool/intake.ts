// What every collector writes into. Rows gather in the open batch; a write settles when its batch is on disk.

import type { NativeBlock } from './native.ts'

/** The blocks now being filled. Rows of many requests share them; they become durable together. */
export type Batch = {
  readonly spans: NativeBlock<'spans'>
  readonly payloads: NativeBlock<'payloads'>
  readonly envelopes: NativeBlock<'envelopes'>
  readonly records: NativeBlock<'records'>
}

export type Intake = {
  /**
   * Runs `fill` at once and synchronously on the open batch; resolves with its result when those rows survive `kill -9`.
   * What `fill` throws rejects the write and takes back every row it pushed. A full or failing disk rejects with
   * `service_unavailable`, and nothing of the write is stored.
   */
  write<T>(fill: (batch: Batch) => T): Promise<T>
}
