// What a call costs, and the most it can cost, exactly: prices are whole numbers of 10^-18 USD, and only the sum of a call is
// rounded, to the nearest millionth of a cent, the finest amount that is shown: so the calls that are listed add up to their total.

import { createHash } from 'node:crypto'
import type { Pieces } from '../../collectors/proxy/money.ts'
import type { Config, ModelRow, Pricing } from '../../schemas/config.ts'
import type { Run, Usage } from '../../schemas/run.ts'

const nanoPerShown = 10n
const attoPerShown = nanoPerShown * 1_000_000_000n
// Decimals that are kept of a price: more than any price list has, and all that a number holds exactly.
const decimals = 12
const versionDigits = 16
// A call that says no bound for its answer, to a model that has none in the file. Above what models of today give.
const unboundedTokens = 131_072n

/** One model's price, as it was when it was looked up. */
export type Price = {
  model: string
  /** Of the row: another price is another version. */
  version: string
  /** Nano-USD; undefined when this kind of use has no price. */
  cost(usage: Usage | undefined, pieces: Pieces | undefined): bigint | undefined
  /** The most that a call within these bounds costs. */
  most(bounds: Bounds): bigint | undefined
}

export type Bounds = {
  inputTokensMax: number
  /** True: the model may read more than that, as much as it can. */
  inputIsOpen?: boolean
  outputTokensMax: number | undefined
  pieces: Pieces | undefined
}

export type Prices = {
  /**
   * What a call may be priced by: the row of the model that was asked for, since that is what the caller was told; where it
   * has none, those of the route's targets.
   */
  of(model: string, routeId: string): readonly Price[]
}

/** The file's prices; made once for a file. */
export function openPrices(config: () => Config): Prices {
  let of = config()
  let table = tableOf(of)
  return {
    of(model, routeId) {
      if (config() !== of) {
        of = config()
        table = tableOf(of)
      }
      const asked = table.prices.get(model)
      return asked ? [asked] : (table.targets.get(routeId) ?? none)
    },
  }
}

/** What a run cost that was posted with its tokens: by the model that answered, else by the one that was asked for. */
export function runPrices(
  config: () => Config,
): (run: Run) => { nanoUsd: bigint; version: string } | undefined {
  const prices = openPrices(config)
  return ({ modelServed, modelRequested, usage }) => {
    if (!usage) return undefined
    const price =
      prices.of(modelServed ?? modelRequested, '')[0] ?? prices.of(modelRequested, '')[0]
    const nanoUsd = price?.cost(usage, undefined)
    return price && nanoUsd !== undefined ? { nanoUsd, version: price.version } : undefined
  }
}

/** The price a call is reckoned by: that of the model that answered if it is among them, else the dearest. */
export function priceOf(prices: readonly Price[], served: string): Price | undefined {
  if (prices.length < 2) return prices[0]
  const exact = prices.find((price) => price.model === served)
  // Upstreams answer with a dated name of what was asked for.
  return exact ?? prices.find((price) => served.startsWith(`${price.model}-`)) ?? prices[0]
}

/** The most that a call costs whichever of the prices it is reckoned by; undefined when one of them cannot say. */
export function mostOf(prices: readonly Price[], bounds: Bounds): bigint | undefined {
  let most: bigint | undefined
  for (const price of prices) {
    const one = price.most(bounds)
    if (one === undefined) return undefined
    if (most === undefined || one > most) most = one
  }
  return most
}

const none: readonly Price[] = []

function tableOf({ models, routes }: Config) {
  const prices = new Map<string, Price>()
  for (const row of models) {
    if (row.pricing) prices.set(row.id, toPrice(row, row.pricing))
  }
  const targets = new Map<string, Price[]>()
  for (const route of routes) {
    const found = new Set(route.targets.flatMap(({ model }) => prices.get(model ?? '') ?? []))
    targets.set(route.id, [...found].sort(byDearness))
  }
  // Runs on routes that are not public know them by their labels.
  for (const { id, publicLabel } of routes) {
    if (!targets.has(publicLabel)) targets.set(publicLabel, targets.get(id) ?? [])
  }
  return { prices, targets }
}

function byDearness(a: Price, b: Price): number {
  const bounds = { inputTokensMax: 1000, outputTokensMax: 1000, pieces: undefined }
  return Number((b.most(bounds) ?? 0n) - (a.most(bounds) ?? 0n))
}

function toPrice({ id, contextLength }: ModelRow, pricing: Pricing): Price {
  const input = attoPerToken(pricing.stdInput)
  const output = attoPerToken(pricing.stdOutput)
  const cached = attoPerToken(pricing.cachedInput ?? pricing.stdInput)
  const reasoning = attoPerToken(pricing.reasoningOutput ?? pricing.stdOutput)
  const dearInput = cached > input ? cached : input
  const dearOutput = reasoning > output ? reasoning : output
  const piecePrices = [
    ['images', pricing.imagePiece],
    ['audioSeconds', pricing.audioSecond],
    ['videoSeconds', pricing.videoSecond],
  ] as const
  const perPiece = [
    ...piecePrices.map(
      ([kind, usd]) => [kind, usd === undefined ? undefined : attoPerPiece(usd)] as const,
    ),
    ['characters', millionth(pricing.millionCharacters)] as const,
  ]
  /** Undefined for a kind without a price, unless the tokens of the same use have been priced. */
  const costOfPieces = (pieces: Pieces | undefined, hasTokens: boolean): bigint | undefined => {
    let sum = 0n
    for (const [kind, price] of perPiece) {
      const amount = pieces?.[kind]
      if (amount === undefined || amount <= 0) continue
      if (price === undefined && !hasTokens) return undefined
      sum += ((price ?? 0n) * scaled(amount, 6)) / 1_000_000n
    }
    return sum
  }
  return {
    model: id,
    version: versionOf(id, pricing),
    cost(usage, pieces) {
      if (!usage && !pieces) return undefined
      const ofPieces = costOfPieces(pieces, usage !== undefined)
      if (ofPieces === undefined) return undefined
      return toNano(
        ofPieces + (usage ? costOfTokens(usage, { input, cached, output, reasoning }) : 0n),
      )
    },
    most({ inputTokensMax, inputIsOpen, outputTokensMax, pieces }) {
      const context = contextLength === undefined ? undefined : BigInt(contextLength)
      const said = BigInt(inputTokensMax)
      const open = context ?? unboundedTokens
      const asked = inputIsOpen && open > said ? open : said
      // Bytes bound tokens from above, and so does what the model can read.
      const tokensIn = context !== undefined && context < asked ? context : asked
      const tokensOut =
        outputTokensMax === undefined
          ? (context ?? unboundedTokens)
          : BigInt(Math.ceil(outputTokensMax))
      const ofPieces = costOfPieces(pieces, input > 0n || output > 0n)
      if (ofPieces === undefined) return undefined
      return toNano(ofPieces + tokensIn * dearInput + tokensOut * dearOutput)
    },
  }
}

type Rates = Record<'input' | 'cached' | 'output' | 'reasoning', bigint>

/** Cached and reasoning tokens are parts of their totals, and priced apart from the rest of them. */
function costOfTokens(usage: Usage, rates: Rates): bigint {
  const cached = Math.min(usage.cachedTokens, usage.inputTokens)
  const reasoning = Math.min(usage.reasoningTokens, usage.outputTokens)
  return (
    BigInt(usage.inputTokens - cached) * rates.input +
    BigInt(cached) * rates.cached +
    BigInt(usage.outputTokens - reasoning) * rates.output +
    BigInt(reasoning) * rates.reasoning
  )
}

function versionOf(id: string, pricing: Pricing): string {
  const entries = Object.entries(pricing)
    .filter(([, price]) => price !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  const digest = createHash('sha256')
    .update(JSON.stringify([id, entries]))
    .digest('hex')
  return digest.slice(0, versionDigits)
}

/** USD for a million tokens is 10^-6 USD for one, so its 12 decimals are the 18 of an atto-USD. */
function attoPerToken(usdPerMillion: number): bigint {
  return scaled(usdPerMillion, decimals)
}

function millionth(usd: number | undefined): bigint | undefined {
  return usd === undefined ? undefined : attoPerToken(usd)
}

function attoPerPiece(usd: number): bigint {
  return scaled(usd, decimals) * 1_000_000n
}

/** The number times ten to so many digits. `toFixed` is exact where multiplying would not be. */
function scaled(value: number, digits: number): bigint {
  return BigInt(value.toFixed(digits).replace('.', ''))
}

function toNano(atto: bigint): bigint {
  return ((atto + attoPerShown / 2n) / attoPerShown) * nanoPerShown
}
