// GET on work that goes on after its answer, and on what it made.

import type Router from '@koa/router'
import type { JobAnswers } from '../../collectors/proxy/jobs/job-answers.ts'
import { requireScope } from '../accounts/access.ts'

export function jobRoutes(router: Router, answers: JobAnswers): void {
  router.get('/v1/videos/:id', async (ctx) => {
    requireScope(ctx, 'proxy')
    await answers.video(ctx, String(ctx.params.id))
  })
  router.get('/v1/videos/:id/content', async (ctx) => {
    requireScope(ctx, 'proxy')
    await answers.videoContent(ctx, String(ctx.params.id))
  })
  router.get('/v1/files/:id/content', async (ctx) => {
    requireScope(ctx, 'proxy')
    await answers.fileContent(ctx, String(ctx.params.id))
  })
}
