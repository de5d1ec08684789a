// How long each route takes to answer, from the request's head to the last byte given to the socket.

import type { Middleware } from 'koa'
import type { Histogram, Histograms } from '../../schemas/counters.ts'

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** The histogram of one route, the same for whoever asks. */
export function routeHistogram(histograms: Histograms, method: string, route: string): Histogram {
  return histograms.histogram('http_request_seconds', { method, route }, seconds)
}

/** `doorPaths`: those answered before the router looks; every other route is named as the router knows it, the rest `none`. */
export function timeRoutes(histograms: Histograms, doorPaths: ReadonlySet<string>): Middleware {
  const known = new Map<string, Histogram>()

  function histogramOf(method: string, route: string): Histogram {
    const key = `${method} ${route}`
    const found = known.get(key) ?? routeHistogram(histograms, method, route)
    known.set(key, found)
    return found
  }

  return (ctx, next) => {
    const startedAt = performance.now()
    ctx.res.once('close', () => {
      const route = doorPaths.has(ctx.path) ? ctx.path : (ctx._matchedRoute ?? 'none')
      // Methods and paths of strangers make no series of their own.
      const method = route === 'none' ? 'any' : ctx.method
      histogramOf(method, String(route)).observe((performance.now() - startedAt) / 1_000)
    })
    return next()
  }
}
