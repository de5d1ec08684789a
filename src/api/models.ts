// What may be named as `model`: public, as in OpenAI's API.

import type Router from '@koa/router'
import { Fault } from '../../schemas/faults.ts'
import type { Models } from '../models.ts'

export function modelRoutes(router: Router, models: Models): void {
  router.get('/v1/models', async (ctx) => {
    ctx.body = { object: 'list', data: await models.list() }
  })

  // Ids may hold slashes, encoded or not.
  router.get('/v1/models/*id', async (ctx) => {
    const id = String(ctx.params.id)
    const model = await models.find(id)
    if (!model) {
      throw new Fault('model_not_found', { message: `There is no model ${id} here.`, param: 'id' })
    }
    ctx.body = model
  })
}
