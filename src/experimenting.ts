// Everything about experiments, opened together: the engine, its way into our own /v1, and its routes.

import type Router from '@koa/router'
import { experimentRoutes } from './api/experiments.ts'
import { regressionRoutes } from './api/regressions.ts'
import { type Engine, type EngineDeps, openEngine } from './experiments/engine.ts'
import { openReading } from './experiments/reading.ts'
import { type InternalCalls, openInternalCalls } from './http/internal-calls.ts'

export type Experimenting = { engine: Engine; internal: InternalCalls }

export async function openExperimenting(
  router: Router,
  deps: Omit<EngineDeps, 'internalToken'>,
): Promise<Experimenting> {
  const internal = openInternalCalls()
  const engine = await openEngine({ ...deps, internalToken: internal.token })
  const routes = { engine, reading: openReading(deps.postgres), registry: deps.registry }
  regressionRoutes(router, routes)
  experimentRoutes(router, routes)
  return { engine, internal }
}
