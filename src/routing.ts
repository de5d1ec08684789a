// Where calls go, as the configuration says it now and as it changes; what is told of it: models, breakers.

import type Router from '@koa/router'
import type { Outbound } from '../collectors/proxy/outbound.ts'
import { type LiveRoutes, openRoutes } from '../collectors/proxy/targets/routes.ts'
import { modelRoutes } from './api/models.ts'
import type { LiveConfig } from './config.ts'
import type { Metrics } from './metrics.ts'
import { openModels } from './models.ts'

export function openRouting(
  router: Router,
  deps: { config: LiveConfig; outbound: Outbound; metrics: Metrics; nowMs: () => number },
): LiveRoutes {
  const { config, outbound, metrics, nowMs } = deps
  const routes = openRoutes(config.current(), { outbound, counters: metrics, nowMs })
  config.onChange(routes.apply)
  metrics.gauge(
    'proxy_breakers_open',
    () => routes.breakers().filter(({ state }) => state !== 'closed').length,
  )
  modelRoutes(router, openModels({ config: config.current, routes, outbound, nowMs }))
  return routes
}
