// `runledger.json` as the plane uses it, once it has been read: providers, routes, models with prices, limits, redaction.

import type { DestinationInput } from './destination.ts'

export type CaptureLevel = 'full' | 'usage' | 'none'

export type Provider = {
  id: string
  /** Undefined: the sandbox, which is in this process. */
  baseUrl: string | undefined
  /** In the order they are tried; the text of a key, never its variable's name. */
  apiKeys: readonly string[]
  /** False: `/responses` is served through the chat route by translation. Undefined: the first call finds out. */
  responses: boolean | undefined
}

export type Target = { provider: string; model: string | undefined; weight: number }

export type RouteRule = {
  id: string
  publicLabel: string
  public: boolean
  /** Patterns with `*`, tried in the order of the file. */
  models: readonly string[]
  targets: readonly Target[]
  /** Of a stream, to its first byte. */
  ttftTimeoutMs: number
  /** Of an answer that is not streamed, to its head: it leaves when all of it has been thought of. */
  answerTimeoutMs: number
  /** Between two pieces of an answer. */
  idleTimeoutMs: number
  /** Of the whole call, over all its attempts; undefined: as long as it goes on. */
  totalTimeoutMs: number | undefined
  capture: CaptureLevel
  captureRequired: boolean
  /** Seconds an answer may be given again; undefined: never. */
  cacheS: number | undefined
}

/** USD per million tokens; audio per second and images by piece in USD. Absent: that kind of use has no price. */
export type Pricing = {
  stdInput: number
  stdOutput: number
  cachedInput: number | undefined
  reasoningOutput: number | undefined
  audioSecond: number | undefined
  imagePiece: number | undefined
  videoSecond: number | undefined
  /** Per million characters of a text that is spoken. */
  millionCharacters: number | undefined
}

export type ModelRow = {
  id: string
  contextLength: number | undefined
  license: string | undefined
  status: string
  tier: string | undefined
  qualityFloor: number | undefined
  pricing: Pricing | undefined
}

/** Before anything is written: what matches is replaced in texts, or the attribute is left out. */
export type RedactRule = { pattern: string; replacement: string } | { attribute: string }

export type LimitRule = {
  workspace: string | undefined
  lane: string | undefined
  region: string | undefined
  requestsPerMinute: number | undefined
  tokensPerMinute: number | undefined
}

/** `workspace`: the e-mail address of the user whose spans go there; undefined: the first user's. */
export type ConfiguredDestination = DestinationInput & { workspace: string | undefined }

/** What retries may add to an upstream that is in trouble: so many for each call, and so many a second besides. */
export type RetryBudgetRule = { ratio: number; perSecond: number }

/** When a provider's model is left alone for `openMs`: after so many failures in a row, or that share of the calls of a window. */
export type BreakerRule = {
  failuresInRow: number
  failureRatio: number
  windowMs: number
  /** Fewer calls in a window than this say nothing about a share. */
  callsMin: number
  openMs: number
}

export type Config = {
  retryBudget: RetryBudgetRule
  breaker: BreakerRule
  providers: readonly Provider[]
  routes: readonly RouteRule[]
  models: readonly ModelRow[]
  destinations: readonly ConfiguredDestination[]
  retentionDays: number
  redact: readonly RedactRule[]
  limits: readonly LimitRule[]
}
