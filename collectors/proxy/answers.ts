// What the proxy asks of whoever keeps answers to give again: by the caller's Idempotency-Key, or because a route caches.
// The first keeps what left for the client, receipt and all; the second what came from the upstream, for a run of its own.

import type { Id } from '../../schemas/ids.ts'

/** What left, or came: a status, header pairs as for writeHead, and the bytes of the body, a stream's events included. */
export type WholeAnswer = { status: number; headers: readonly string[]; body: Buffer }

export type KeepAsk = {
  workspace: string
  keyId: string
  /** The header's value. */
  idempotencyKey: string
  /** Method, path and body: the same key with another of these is a conflict. */
  path: string
  body: Uint8Array
}

/** A call that runs under an Idempotency-Key. One of `keep` and `release` is called, once. */
export type Claim = {
  /** Bytes as they are about to leave. Beyond the cap they are let go, and `keep` remembers only that the call was made. */
  push(bytes: Uint8Array): void
  /** Resolves when the answer survives a crash. Never rejects: an answer that cannot be kept is counted, and still leaves. */
  keep(runId: Id, status: number, headers: readonly string[]): Promise<void>
  /** Nothing that should be given again came of it: the next call with this key runs. Never throws. */
  release(): void
}

export type IdempotentAnswers = {
  /**
   * The answer kept under this key, or a claim to make one. Throws `conflict` for another body, for a call that still runs,
   * and for an answer too large to be kept; `invalid_request` for a key that is empty, or longer than 255 characters.
   */
  claim(ask: KeepAsk): Promise<{ kept: WholeAnswer } | { claim: Claim }>
}

export type CacheAsk = {
  workspace: string
  operation: string
  /** As resolved by the route. */
  model: string
  promptVersionId: string
  routeId: string
  /** The request as it goes upstream: what does not change an answer is left out of the key here. */
  request: Readonly<Record<string, unknown>>
}

export type CachedAnswers = {
  /** Undefined when nothing is cached under this ask, or it is older than `maxAgeS`. Synchronous: it lives in this process. */
  find(ask: CacheAsk, maxAgeS: number): WholeAnswer | undefined
  /** A complete answer of status 200. Too large a one is let go, and counted. */
  keep(ask: CacheAsk, answer: WholeAnswer): void
}
