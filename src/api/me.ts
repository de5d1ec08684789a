// `/v1/me`: what somebody who came with a password, or with a key, may see and do about their own account.

import type Router from '@koa/router'
import { Fault } from '../../schemas/faults.ts'
import { requireScope } from '../accounts/access.ts'
import { issueKey, revokeKey } from '../accounts/key-book.ts'
import type { Keys, Sql } from '../accounts/keys.ts'
import type { Users } from '../accounts/users.ts'
import { readWish } from '../http/http-json.ts'
import { noSuchKey, ownKey, readKeyId, tooManyKeys } from './keys.ts'

export function meRoutes(router: Router, deps: { sql: Sql; keys: Keys; users: Users }): void {
  const { sql, keys, users } = deps

  router.get('/v1/me', async (ctx) => {
    const user = await users.find(requireScope(ctx, 'read').workspace)
    if (!user) throw new Fault('unauthorized')
    ctx.body = user
  })

  router.post('/v1/me/keys', async (ctx) => {
    const { workspace } = requireScope(ctx, 'admin')
    const wish = await readWish(ctx, ownKey)
    const made = await issueKey(sql, workspace, {
      ...wish,
      scopes: wish.scopes && [...new Set(wish.scopes)],
    })
    if (!made) throw tooManyKeys()
    ctx.status = 201
    ctx.body = made
  })

  router.delete('/v1/me/keys/:id', async (ctx) => {
    const { workspace } = requireScope(ctx, 'admin')
    const keyId = readKeyId(ctx)
    if (!(await revokeKey(sql, workspace, keyId))) throw noSuchKey()
    keys.forget(keyId)
    ctx.status = 204
  })
}
