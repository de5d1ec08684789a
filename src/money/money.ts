// What a call may use, and what it cost: limits a minute, budgets and balances behind one question. A key without any of them
// costs a look into two tables of this process.

import type { Ask, Cost, Grant, Money, Pieces, PurseRef } from '../../collectors/proxy/money.ts'
import type { Config, LimitRule } from '../../schemas/config.ts'
import type { Counters } from '../../schemas/counters.ts'
import { Fault } from '../../schemas/faults.ts'
import type { Usage } from '../../schemas/run.ts'
import type { Keys, KeyTerms } from '../accounts/keys.ts'
import { type Need, takeAll } from './pot.ts'
import { mostOf, openPrices, type Price, priceOf } from './prices.ts'
import type { Purse } from './purse.ts'
import type { Bucket, Rates } from './rates.ts'
import type { Till } from './till.ts'

export type MoneyDeps = {
  keys: Pick<Keys, 'terms'>
  config: () => Config
  till: Till
  rates: Rates
  counters: Counters
  /** True: what a workspace has credited is enforced too. */
  isPrepaid: boolean
  /** Where this process serves: rules of other regions do not hold here. */
  region: string | undefined
}

export function openMoney(deps: MoneyDeps): Money {
  const prices = openPrices(deps.config)
  let limits: readonly LimitRule[] = []
  let rules: readonly NamedRule[] = []

  function currentRules(): readonly NamedRule[] {
    const { limits: now } = deps.config()
    if (now !== limits) {
      limits = now
      rules = nameRules(now, deps.region)
    }
    return rules
  }

  function takeWith(ask: Ask, terms: KeyTerms): Grant | Promise<Grant> {
    const found = prices.of(ask.model, ask.routeId)
    const rules = currentRules()
    const hasPurse = deps.isPrepaid || terms.monthlyBudgetNanoUsd !== undefined
    if (!hasPurse && terms.requestsPerMinute === undefined && rules.length === 0)
      return new OpenGrant(found)
    const buckets = bucketsOf(ask, terms, rules)
    const purses = hasPurse ? pursesOf(ask, terms) : []
    const tokens = ask.inputTokensMax + (ask.outputTokensMax ?? 0)
    const most = purses.length > 0 ? mostOf(found, ask) : 0n
    if (most === undefined) throw unpriced(ask)
    const bucketNeeds = buckets.map((bucket) => ({
      pot: bucket,
      amount: bucket.needOf(bucket.kind === 'requests' ? 1 : tokens),
    }))
    // Limits first: who calls too often is told that, not what is left of a budget.
    const needs: Need[] = [...bucketNeeds, ...purses.map((pot) => ({ pot, amount: most }))]
    const granted = () =>
      new TakenGrant(
        found,
        { buckets: bucketNeeds, purses, most, till: tillOf(purses) },
        deps.counters,
      )
    const waiting = takeAll(needs)
    return waiting ? waiting.then(granted) : granted()
  }

  function bucketsOf(ask: Ask, terms: KeyTerms, rules: readonly NamedRule[]): Bucket[] {
    const { rates } = deps
    const buckets: Bucket[] = []
    if (terms.requestsPerMinute !== undefined)
      buckets.push(rates.bucket(`key/${ask.keyId}`, 'requests', terms.requestsPerMinute))
    for (const { name, rule } of rules) {
      if (rule.workspace !== undefined && rule.workspace !== ask.workspace) continue
      if (rule.lane !== undefined && rule.lane !== ask.routeId) continue
      if (rule.requestsPerMinute !== undefined)
        buckets.push(rates.bucket(`${name}/requests`, 'requests', rule.requestsPerMinute))
      if (rule.tokensPerMinute !== undefined)
        buckets.push(rates.bucket(`${name}/tokens`, 'tokens', rule.tokensPerMinute))
    }
    return buckets
  }

  function pursesOf({ keyId, workspace }: Ask, terms: KeyTerms): Purse[] {
    const purses: Purse[] = []
    if (terms.monthlyBudgetNanoUsd !== undefined)
      purses.push(deps.till.purse({ purse: keyId, period: deps.till.month(), workspace }))
    if (deps.isPrepaid) purses.push(deps.till.purse({ purse: workspace, period: '', workspace }))
    return purses
  }

  /** Stored with the run, so that what a crash leaves unwritten is found again: the till, and the month it took from. */
  const tillOf = ([first]: readonly Purse[]) => first && `${deps.till.id}/${first.name.period}`

  return {
    take(ask) {
      // Our own replays are paid for by whoever runs this plane.
      if (ask.origin === 'replay') return new OpenGrant(prices.of(ask.model, ask.routeId))
      const terms = deps.keys.terms(ask.keyId)
      return terms instanceof Promise
        ? terms.then((found) => takeWith(ask, found))
        : takeWith(ask, terms)
    },
  }
}

/** Nothing was taken; the call still has its cost. */
class OpenGrant implements Grant {
  readonly headers: readonly string[] = noHeaders
  readonly #prices: readonly Price[]

  constructor(prices: readonly Price[]) {
    this.#prices = prices
  }

  cost(usage: Usage | undefined, pieces: Pieces | undefined, served: string): Cost | undefined {
    const price = priceOf(this.#prices, served)
    const nanoUsd = price?.cost(usage, pieces)
    return price && nanoUsd !== undefined ? { nanoUsd, version: price.version } : undefined
  }

  settle(): void {}
}

type Taken = {
  buckets: readonly { pot: Bucket; amount: bigint }[]
  purses: readonly Purse[]
  most: bigint
  till: string | undefined
}

class TakenGrant extends OpenGrant {
  override readonly headers: readonly string[]
  readonly #taken: Taken
  readonly #counters: Counters
  #isSettled = false

  constructor(prices: readonly Price[], taken: Taken, counters: Counters) {
    super(prices)
    this.#taken = taken
    this.#counters = counters
    this.headers = headersOf(taken.buckets.map(({ pot }) => pot))
  }

  get purses(): readonly PurseRef[] {
    return this.#taken.purses.map(({ name: { purse, period } }) => ({ purse, period }))
  }

  override cost(
    usage: Usage | undefined,
    pieces: Pieces | undefined,
    served: string,
  ): Cost | undefined {
    const cost = super.cost(usage, pieces, served)
    const { till, most } = this.#taken
    if (!cost || till === undefined) return cost
    // What an upstream reports beyond what the call could use is between it and the owner, not taken from a budget.
    return cost.nanoUsd > most ? { ...cost, nanoUsd: most, till, isCut: true } : { ...cost, till }
  }

  override settle(used?: Parameters<Grant['settle']>[0]): void {
    if (this.#isSettled) return
    this.#isSettled = true
    const { buckets, purses, most } = this.#taken
    const spent = used?.cost?.nanoUsd ?? 0n
    const tokens = used?.usage ? used.usage.inputTokens + used.usage.outputTokens : 0
    if (used?.cost?.isCut) this.#counters.count('money_over_reserved_total', {})
    for (const purse of purses) purse.settle(most, spent, used?.isBooked)
    for (const { pot, amount } of buckets) {
      const unused = amount - pot.needOf(tokens)
      if (pot.kind === 'tokens' && unused > 0n) pot.giveBack(unused)
    }
  }
}

const noHeaders: readonly string[] = []

/** Of each kind the limit that is nearest. */
function headersOf(buckets: readonly Bucket[]): readonly string[] {
  const nearest = new Map<string, Bucket>()
  for (const bucket of buckets) {
    const other = nearest.get(bucket.kind)
    if (!other || bucket.remaining() < other.remaining()) nearest.set(bucket.kind, bucket)
  }
  return [...nearest.values()].flatMap((bucket) => bucket.headers())
}

type NamedRule = { name: string; rule: LimitRule }

/** Named by what it holds for: the same rule is the same bucket in every process, wherever it stands in the file. */
function nameRules(limits: readonly LimitRule[], here: string | undefined): NamedRule[] {
  const times = new Map<string, number>()
  const named = limits.map((rule) => {
    const of = JSON.stringify([rule.workspace, rule.lane, rule.region])
    const nth = (times.get(of) ?? 0) + 1
    times.set(of, nth)
    return { name: `rule/${of}/${nth}`, rule }
  })
  return named.filter(({ rule }) => rule.region === undefined || rule.region === here)
}

function unpriced({ model }: Ask): Fault {
  return new Fault('invalid_request', {
    message: `The model ${model} has no price here, and this key has a budget: a call whose cost is not known cannot be counted.`,
    param: 'model',
  })
}
