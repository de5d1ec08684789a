// How it goes: for balancers, for people, for Prometheus.

import type Router from '@koa/router'
import type { Metrics } from '../metrics.ts'

export type Vitals = {
  isReady(): boolean
  /** Engines, spool and whatever else is worth a look, as JSON. */
  describe(): Promise<Record<string, unknown>>
}

export function healthRoutes(
  router: Router,
  deps: { vitals: Vitals; metrics: Metrics; version: string },
): void {
  router.get('/health', (ctx) => {
    const isReady = deps.vitals.isReady()
    ctx.status = isReady ? 200 : 503
    ctx.body = { status: isReady ? 'ok' : 'starting' }
  })

  // Ready stays 200 while ClickHouse is away: the spool takes the writes, and a balancer must not cut them off.
  router.get('/readyz', (ctx) => {
    const isReady = deps.vitals.isReady()
    ctx.status = isReady ? 200 : 503
    ctx.body = { status: isReady ? 'ready' : 'starting' }
  })

  router.get('/healthz', async (ctx) => {
    ctx.status = deps.vitals.isReady() ? 200 : 503
    ctx.body = { version: deps.version, ...(await deps.vitals.describe()) }
  })

  router.get('/metrics', (ctx) => {
    ctx.set('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
    ctx.body = deps.metrics.toText()
  })
}
