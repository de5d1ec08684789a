// Which route a call takes, and the targets it may be answered by. Made from the configuration; what was learned of providers
// (keys that rest, breakers, retry budgets) outlives a reload.

import type { CaptureLevel, Config, RouteRule } from '../../../schemas/config.ts'
import type { Counters } from '../../../schemas/counters.ts'
import { Fault } from '../../../schemas/faults.ts'
import type { Outbound } from '../outbound.ts'
import { sandboxUpstream } from '../sandbox/sandbox.ts'
import { unshown } from '../shown-names.ts'
import { openaiUpstream, type Upstream } from '../upstream.ts'
import { Breaker, type BreakerState } from './breaker.ts'
import { ProviderKeys } from './provider-keys.ts'
import { RetryBudget } from './retry-budget.ts'

export type Target = {
  readonly upstream: Upstream
  /** The model that is asked for there; undefined: the one the caller named. */
  readonly model: string | undefined
  readonly weight: number
  readonly keys: ProviderKeys
  readonly breaker: Breaker
}

export type Route = {
  readonly id: string
  readonly label: string
  readonly public: boolean
  readonly targets: readonly Target[]
  readonly ttftTimeoutMs: number
  readonly answerTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly totalTimeoutMs: number | undefined
  readonly capture: CaptureLevel
  readonly captureRequired: boolean
  readonly cacheS: number | undefined
  readonly budget: RetryBudget
}

export type Routes = {
  /** The first that takes the model, or the one a caller pins by its id or public label. Throws `model_not_found` or `no_route_satisfies_constraints`. */
  get(model: string, pin: string | undefined): Route
  /** A provider by its id, for what it has started; undefined when it is configured no more. */
  provider(id: string): Pick<Target, 'upstream' | 'keys'> | undefined
  /** True when no route goes on without its calls being stored. */
  readonly captureRequired: boolean
}

export type LiveRoutes = Routes & {
  /** Whether some route takes the model. */
  has(model: string): boolean
  /** Calls under way keep the route they have. */
  apply(config: Config): void
  /** Every breaker by provider and model, for metrics and health. */
  breakers(): { provider: string; model: string; state: BreakerState }[]
}

type Matched = { route: Route; matches: (model: string) => boolean }

export function openRoutes(
  config: Config,
  deps: { outbound: Outbound; counters: Counters; nowMs: () => number },
): LiveRoutes {
  const { outbound, counters, nowMs } = deps
  const keysByProvider = new Map<string, ProviderKeys>()
  const breakers = new Map<string, { provider: string; model: string; breaker: Breaker }>()
  const budgets = new Map<string, RetryBudget>()
  let matched: Matched[] = []

  let upstreams = new Map<string, Upstream>()

  /** As strangers may read it: behind routes that are not public nobody is named. */
  function shown(key: string): { provider: string; model: string } {
    const of = breakers.get(key)
    const isPublic = matched.some(
      ({ route }) => route.public && route.targets.some(({ breaker }) => breaker === of?.breaker),
    )
    return of && isPublic
      ? { provider: of.provider, model: of.model }
      : { provider: unshown, model: unshown }
  }

  function apply(next: Config): void {
    upstreams = new Map()
    for (const { id, baseUrl, apiKeys, responses } of next.providers) {
      const upstream = baseUrl
        ? openaiUpstream({ outbound, baseUrl, provider: id, responses })
        : sandboxUpstream()
      upstreams.set(id, upstream)
      if (keysByProvider.get(id)?.texts.join('\n') !== apiKeys.join('\n'))
        keysByProvider.set(id, new ProviderKeys(apiKeys))
    }
    const used = new Set<string>()
    const breakerOf = (provider: string, model: string): Breaker => {
      const key = `${provider}\n${model}`
      used.add(key)
      const known = breakers.get(key)
      if (known) known.breaker.rule = next.breaker
      else {
        const opened = () => counters.count('proxy_breakers_opened_total', shown(key))
        breakers.set(key, { provider, model, breaker: new Breaker(next.breaker, opened) })
      }
      return breakers.get(key)!.breaker
    }
    matched = next.routes.map((rule) => {
      const budget = budgets.get(rule.id) ?? new RetryBudget(next.retryBudget, nowMs())
      budget.rule = next.retryBudget
      budgets.set(rule.id, budget)
      const targets = rule.targets.map(
        ({ provider, model, weight }): Target => ({
          upstream: upstreams.get(provider)!,
          model,
          weight,
          keys: keysByProvider.get(provider)!,
          breaker: breakerOf(provider, model ?? '*'),
        }),
      )
      return { route: toRoute(rule, targets, budget), matches: toMatch(rule.models) }
    })
    for (const key of breakers.keys()) if (!used.has(key)) breakers.delete(key)
    const names = new Set(next.routes.map((rule) => rule.id))
    for (const name of budgets.keys()) if (!names.has(name)) budgets.delete(name)
  }

  apply(config)
  return {
    apply,
    get captureRequired() {
      return matched.every(({ route }) => route.captureRequired)
    },
    provider(id) {
      // By the name that answers show, which the sandbox does not take from the file.
      for (const [name, upstream] of upstreams) {
        if (upstream.provider === id) return { upstream, keys: keysByProvider.get(name)! }
      }
      return undefined
    },
    has: (model) => matched.some(({ matches }) => matches(model)),
    get: (model, pin) =>
      pin === undefined ? find(matched, model) : findPinned(matched, model, pin),
    breakers: () =>
      [...breakers.values()].map(({ provider, model, breaker }) => ({
        provider,
        model,
        state: breaker.state(nowMs()),
      })),
  }
}

function toRoute(rule: RouteRule, targets: readonly Target[], budget: RetryBudget): Route {
  const { id, ttftTimeoutMs, answerTimeoutMs, idleTimeoutMs, totalTimeoutMs } = rule
  const { capture, captureRequired, cacheS } = rule
  return {
    id,
    label: rule.publicLabel,
    public: rule.public,
    targets,
    ttftTimeoutMs,
    answerTimeoutMs,
    idleTimeoutMs,
    totalTimeoutMs,
    capture,
    captureRequired,
    cacheS,
    budget,
  }
}

function find(matched: readonly Matched[], model: string): Route {
  for (const { route, matches } of matched) if (matches(model)) return route
  throw new Fault('model_not_found', {
    message: `There is no model ${model} here.`,
    param: 'model',
  })
}

function findPinned(matched: readonly Matched[], model: string, pin: string): Route {
  const named = matched.filter(({ route }) => route.id === pin || route.label === pin)
  const found = named.find(({ matches }) => matches(model))
  if (found) return found.route
  // Whoever guesses what is not shown is not told that it is there.
  const isShown = named.some(({ route }) => route.public || route.label === pin)
  const message = !isShown
    ? `There is no route ${pin}.`
    : `The route ${pin} does not take ${model}.`
  throw new Fault('no_route_satisfies_constraints', { message, param: 'X-BatchIn-Route' })
}

/** Patterns in which `*` stands for any text. */
function toMatch(patterns: readonly string[]): (model: string) => boolean {
  if (patterns.includes('*')) return () => true
  const exact = new Set(patterns.filter((pattern) => !pattern.includes('*')))
  const parts = patterns
    .filter((pattern) => pattern.includes('*'))
    .map((pattern) => pattern.split('*'))
  return (model) => exact.has(model) || parts.some((part) => fits(model, part))
}

/** Without a regular expression, which could be made to take very long. */
function fits(model: string, parts: readonly string[]): boolean {
  const first = parts[0]!
  const last = parts.at(-1)!
  if (!model.startsWith(first) || !model.endsWith(last)) return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const found = model.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return at + last.length <= model.length
}
