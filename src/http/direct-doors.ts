// The way of a call about which nothing is unusual: no context, no middleware, no promise before its body is read. Law: all else,
// and whatever is thrown, is the app's to answer, so that nothing here is told in other words than there.

import type { IncomingMessage, RequestListener } from 'node:http'
import type Koa from 'koa'
import type { Inference } from '../../collectors/proxy/route.ts'
import type { Caller, Scope } from '../../schemas/caller.ts'
import type { Histogram, Histograms } from '../../schemas/counters.ts'
import { bearerToken } from '../accounts/access.ts'
import type { Keys } from '../accounts/keys.ts'
import type { Door } from './app.ts'
import { requestIdOf } from './middleware.ts'
import { refuseOdd } from './odd-requests.ts'
import { routeHistogram } from './route-times.ts'

type Refusal = { error: unknown; requestId: string }
type Direct = { infer: Inference; scope: Scope; seconds: Histogram }

const refusals = new WeakMap<IncomingMessage, Refusal>()

/** What a door threw before the app got to see its request. */
export function refusalOf(req: IncomingMessage): Refusal | undefined {
  return refusals.get(req)
}

/** What the app answers, with a shorter way to those of its doors that need nothing of it. */
export function enterDirectly(
  app: Koa,
  deps: { doors: readonly Door[]; keys: Pick<Keys, 'known'>; histograms: Histograms },
): RequestListener {
  const throughApp = app.callback()
  const byUrl = new Map<string, Direct>()
  for (const { infer, paths, scope, method } of deps.doors) {
    for (const path of infer ? paths : [])
      byUrl.set(path, {
        infer: infer!,
        scope,
        seconds: routeHistogram(deps.histograms, method, path),
      })
  }
  return (req, res) => {
    // A query, another method, a key that was not seen lately: all of that is for the app.
    const door = req.method === 'POST' ? byUrl.get(req.url ?? '') : undefined
    const caller = door && plainCaller(deps.keys, req, door.scope)
    if (!caller) {
      void throughApp(req, res)
      return
    }
    const startedAt = performance.now()
    res.on('close', () => {
      door.seconds.observe((performance.now() - startedAt) / 1_000)
      // As Koa does for those that pass through it.
      if (req.socket.errored && !refusals.has(req)) app.emit('error', req.socket.errored)
    })
    const requestId = requestIdOf(req)
    door.infer({ req, res, caller, requestId }).catch((error) => {
      refusals.set(req, { error, requestId })
      void throughApp(req, res)
    })
  }
}

/** The caller of a request that the app would let in at once; undefined when it has something to look up, or to say. */
function plainCaller(
  keys: Pick<Keys, 'known'>,
  req: IncomingMessage,
  scope: Scope,
): Caller | undefined {
  const token = bearerToken(req.headers.authorization ?? '')
  const caller = token === undefined ? undefined : keys.known(token)
  if (!caller?.scopes.includes(scope)) return undefined
  try {
    refuseOdd(req)
    return caller
  } catch {
    return undefined // the app finds it too, and says it
  }
}
