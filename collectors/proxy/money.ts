// What the proxy asks of whoever keeps prices, limits and budgets. Implemented in `src`; a call takes before the upstream is
// asked, and settles once its run is durable.

import type { Id } from '../../schemas/ids.ts'
import type { Usage } from '../../schemas/run.ts'

/** Use that is not counted in tokens. */
export type Pieces = {
  images?: number
  audioSeconds?: number
  videoSeconds?: number
  /** Of a text that is to be spoken. */
  characters?: number
}

/** Held no longer than the asking takes. */
export type Ask = {
  workspace: string
  keyId: string
  runId: Id
  model: string
  routeId: string
  /** The most this call can use: input from its bytes, output from what it allows or the model's context. */
  inputTokensMax: number
  /** True when more may be read than the request has: what the upstream keeps, or fetches. */
  inputIsOpen?: boolean
  outputTokensMax: number | undefined
  pieces: Pieces | undefined
  origin: '' | 'replay'
}

/** `version` names the price table it was reckoned with, so that a later price changes no earlier run. */
export type Cost = {
  nanoUsd: bigint
  version: string
  /** In whose books it is reckoned, where it is taken from a budget: stored with the run as `batchin.till`. */
  till?: string
  /** More was reported than the call had reserved; this is what it had. */
  isCut?: boolean
}

/** A key's month, or a workspace's balance (no period). Plain JSON. */
export type PurseRef = { purse: string; period: string }

export type Grant = {
  /** `x-ratelimit-*`, as pairs for writeHead. */
  headers: readonly string[]
  /** What the cost is taken from; absent where nothing is. */
  readonly purses?: readonly PurseRef[]
  /** By the prices pinned when it was taken; undefined for a model without a price. */
  cost(usage: Usage | undefined, pieces: Pieces | undefined, served: string): Cost | undefined
  /**
   * Once, after the run is durable, or with nothing when nothing was used. Never throws. `isBooked`: the cost stands in the books
   * by itself, and only what was held beyond it is free again.
   */
  settle(used?: { cost: Cost | undefined; usage: Usage | undefined; isBooked?: boolean }): void
}

export type Money = {
  /** Throws Fault `rate_limited`, `payment_required` or `invalid_request` (a model without a price on a key with a budget). */
  take(ask: Ask): Grant | Promise<Grant>
}
