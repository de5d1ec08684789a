// Users on the wire. Making them, letting them in and finding them by address is for a trusted front end with the owner's
// admin key; RUNLEDGER_PUBLIC_SIGNUP opens the first two to everybody.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import { Fault } from '../../schemas/faults.ts'
import { requireOwner, requireScope } from '../accounts/access.ts'
import type { Keys } from '../accounts/keys.ts'
import { credentials, isTrusted, type Login, passwordCharsMax } from '../accounts/login.ts'
import { cookieLine } from '../accounts/sessions.ts'
import type { Users } from '../accounts/users.ts'
import { readWish } from '../http/http-json.ts'

const passwordCharsMin = 8

const email = z.email().max(254)
const newUser = z.strictObject({
  email,
  name: z.string().trim().min(1).max(200),
  password: z.string().min(passwordCharsMin).max(passwordCharsMax),
})
export function userRoutes(
  router: Router,
  deps: { users: Users; keys: Keys; login: Login; isSignupPublic: boolean },
): void {
  const { users } = deps
  const admit = (ctx: Context) => {
    if (!deps.isSignupPublic) requireOwner(ctx)
  }

  router.post('/v1/users', async (ctx) => {
    admit(ctx)
    deps.login.limitPeer(ctx)
    const user = await users.create(await readWish(ctx, newUser))
    if (!user) throw new Fault('conflict', { message: 'Email already exists.', param: 'email' })
    ctx.status = 201
    ctx.body = user
  })

  router.post('/v1/users/login', async (ctx) => {
    admit(ctx)
    const user = await deps.login.enter(ctx, await readWish(ctx, credentials))
    // A browser that came by itself is let in; a front end keeps its own sessions.
    if (!isTrusted(ctx)) {
      const session = await deps.keys.openUserSession(user.id)
      ctx.set('Set-Cookie', cookieLine(session.cookie, session.expiresAt))
    }
    ctx.body = user
  })

  router.get('/v1/users/me', async (ctx) => {
    const user = await users.find(requireScope(ctx, 'read').workspace)
    if (!user) throw new Fault('unauthorized')
    ctx.body = user
  })

  router.get('/v1/users/by-email', async (ctx) => {
    requireOwner(ctx)
    const address = ctx.query.email
    if (typeof address !== 'string' || address === '')
      throw new Fault('invalid_request', { message: 'email is missing.', param: 'email' })
    const user = await users.findByEmail(address)
    if (!user) throw new Fault('not_found', { message: 'There is no user of that address.' })
    ctx.body = user
  })
}
