// How long calls take, as histograms by route and model: the gateway's own time, the time to a first token, tokens a second.

import type { Histogram, Histograms } from '../../schemas/counters.ts'
import type { Usage } from '../../schemas/run.ts'
import type { Call } from './call.ts'
import { shownModel, shownRoute } from './shown-names.ts'

// Models are named by callers; beyond so many pairs with a route they are counted together.
const pairsMax = 200
const gatewaySeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5]
const firstTokenSeconds = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30, 60]
const tokensPerSecond = [1, 5, 10, 20, 40, 80, 160, 320, 640, 1280]

type Meters = Record<'gateway' | 'firstToken' | 'tokens', Histogram>

export type CallMeters = {
  /** What of the time to the head was ours, in milliseconds. */
  headLeft(call: Call, gatewayMs: number): void
  ended(call: Call, answer: { ttftMs: number | undefined; usage: Usage | undefined }): void
}

export function callMeters(histograms: Histograms): CallMeters {
  const pairs = new Map<string, Meters>()

  function metersOf(call: Call): Meters {
    const route = shownRoute(call)
    const model = shownModel(call)
    const key = `${route}\n${model}`
    const known = pairs.get(key)
    if (known) return known
    const isRoom = pairs.size < pairsMax
    if (!isRoom && pairs.has('other')) return pairs.get('other')!
    const labels = isRoom ? { route, model } : { route: 'other', model: 'other' }
    const made: Meters = {
      gateway: histograms.histogram('proxy_gateway_seconds', labels, gatewaySeconds),
      firstToken: histograms.histogram('proxy_first_token_seconds', labels, firstTokenSeconds),
      tokens: histograms.histogram('proxy_tokens_per_second', labels, tokensPerSecond),
    }
    pairs.set(isRoom ? key : 'other', made)
    return made
  }

  return {
    headLeft: (call, gatewayMs) => metersOf(call).gateway.observe(gatewayMs / 1000),
    ended(call, { ttftMs, usage }) {
      const meters = metersOf(call)
      if (ttftMs !== undefined) meters.firstToken.observe(ttftMs / 1000)
      const { askedTick, endedTick = performance.now() } = call
      if (!usage || usage.estimated || usage.outputTokens === 0 || askedTick === undefined) return
      // A stream's rate is that of its tokens after the first one.
      const fromTick = ttftMs === undefined ? askedTick : call.startedTick + ttftMs
      const seconds = (endedTick - fromTick) / 1000
      if (seconds > 0) meters.tokens.observe(usage.outputTokens / seconds)
    },
  }
}
