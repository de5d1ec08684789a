// Experiments on the wire: the same rows as regressions, with what becomes of the candidate.

import type Router from '@koa/router'
import { toExperiment } from '../experiments/views.ts'
import { cancel, type ExperimentRoutesDeps, getOne, listed } from './regressions.ts'

export function experimentRoutes(router: Router, deps: ExperimentRoutesDeps): void {
  router.get('/v1/experiments', async (ctx) => {
    const { shown, next } = await listed(ctx, deps)
    ctx.body = {
      status: 'ready',
      docs: '/docs/experiments',
      items: shown.map(({ row, decision }) => toExperiment(row, decision)),
      next_cursor: next,
    }
  })
  router.get('/v1/experiments/:id', async (ctx) => {
    const { row, decision } = await getOne(ctx, deps, 'read')
    ctx.body = { ...toExperiment(row, decision), events: await deps.reading.events(row) }
  })
  router.post('/v1/experiments/:id/cancel', (ctx) => cancel(ctx, deps, toExperiment))
}
