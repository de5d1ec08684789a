// GET /v1/prompts: what traffic has named so far.

import type Router from '@koa/router'
import { requireScope } from '../access.ts'
import type { Prompts } from '../prompts.ts'

export function promptRoutes(
  router: Router,
  deps: { prompts: Prompts; flush: () => Promise<void> },
): void {
  router.get('/v1/prompts', async (ctx) => {
    const caller = requireScope(ctx, 'read')
    await deps.flush()
    ctx.body = {
      status: 'ready',
      docs: '/docs/prompts',
      items: await deps.prompts.list(caller.workspace),
    }
  })
}
