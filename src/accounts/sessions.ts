// The console's way in: an API key, or email and password, for an HttpOnly cookie. Reads need the cookie alone; writes the CSRF
// header too.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { Fault } from '../../schemas/faults.ts'
import { readJson } from '../http/http-json.ts'
import type { Keys, Session } from './keys.ts'
import { credentials, type Login } from './login.ts'

export const sessionCookie = 'runledger_session'
export const csrfHeader = 'x-runledger-csrf'

/** `GET|POST|DELETE /console/session`: who am I, log in with a key, log out. */
export function sessionRoutes(
  router: Router,
  deps: { keys: Keys; login: Login; environment: string; version: string },
): void {
  router.get('/console/session', (ctx) => {
    const caller = ctx.state.caller
    if (!caller) throw new Fault('unauthorized', { message: 'No one is logged in.' })
    ctx.body = {
      workspace: caller.workspace,
      scopes: caller.scopes,
      environment: deps.environment,
      version: deps.version,
    }
  })

  router.post('/console/session', async (ctx) => {
    const session = await openSession(ctx, deps)
    ctx.set('Set-Cookie', cookieLine(session.cookie, session.expiresAt))
    ctx.status = 204
  })

  router.delete('/console/session', async (ctx) => {
    const cookie = readCookie(ctx.get('cookie'))
    if (cookie) await deps.keys.closeSession(cookie)
    ctx.set('Set-Cookie', cookieLine('', new Date(0)))
    ctx.status = 204
  })
}

/** By `{"key"}`, or by `{"email", "password"}`. */
async function openSession(
  ctx: Context,
  { keys, login }: { keys: Keys; login: Login },
): Promise<Session> {
  const body = await readJson(ctx)
  const byPassword = credentials.safeParse(body)
  if (byPassword.success) {
    const user = await login.enter(ctx, byPassword.data)
    return keys.openUserSession(user.id)
  }
  const key = typeof body === 'object' && body !== null && 'key' in body ? body.key : undefined
  if (typeof key !== 'string') {
    throw new Fault('invalid_request', {
      message: 'Send {"key": "batchin_api_…"}, or {"email": "…", "password": "…"}.',
      param: 'key',
    })
  }
  const session = await keys.openSession(key.trim())
  if (!session) throw new Fault('invalid_credentials', { message: 'This API key is not valid.' })
  return session
}

/** The session cookie's value in a `Cookie` header. */
export function readCookie(header: string): string | undefined {
  for (const part of header.split(';')) {
    const [name, value] = part.trim().split('=', 2)
    if (name === sessionCookie && value) return value
  }
  return undefined
}

export function cookieLine(value: string, expiresAt: Date): string {
  return `${sessionCookie}=${value}; Path=/; HttpOnly; SameSite=Strict; Expires=${expiresAt.toUTCString()}`
}
