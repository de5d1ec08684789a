// What the proxy asks of whoever keeps answers to give again under a caller's Idempotency-Key: what left for the client,
// receipt and all.

import type { Id } from '../../schemas/ids.ts'

/** What left, or came: a status, header pairs as for writeHead, and the bytes of the body, a stream's events included. */
export type WholeAnswer = { status: number; headers: readonly string[]; body: Buffer }

export type ClaimAsk = {
  workspace: string
  keyId: string
  /** The header's value. */
  idempotencyKey: string
  path: string
  /** The request's bytes; of a form, its fields and the hashes of its files. */
  body: Uint8Array | string
}

/** A call that runs under an Idempotency-Key. What is pushed is what leaves for the client, in its order. */
export type Claim = {
  begin(status: number, headers: readonly string[]): void
  /** Beyond the cap the bytes are let go, and `keep` remembers only that the call was made. */
  push(bytes: Uint8Array): void
  /**
   * Before the last bytes leave: resolves when the answer survives a crash. Never rejects: one that cannot be kept is counted,
   * and leaves all the same.
   */
  keep(runId: Id): Promise<void>
  /** Nothing came of it that should be given again: the next call with this key runs. Nothing after `keep`. Never throws. */
  release(): void
}

export type IdempotentAnswers = {
  /**
   * The answer that is kept under this key, or the claim to make one. Throws `conflict` for another body, for a call that still
   * runs, and for an answer too large to be kept; `invalid_request` for a key that is empty, or longer than 255 characters.
   */
  claim(ask: ClaimAsk): Promise<{ kept: WholeAnswer } | { claim: Claim }>
}
