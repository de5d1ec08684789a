// May this caller do that. Who the caller is has been settled before, in middleware.ts.

import type { Context } from 'koa'
import type { Caller, Scope } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'

/** The key in an `authorization` value, if that is where it is. */
export function bearerToken(authorization: string): string | undefined {
  return /^bearer ([\x21-\x7e]+)$/i.exec(authorization)?.[1]
}

/** The caller, when it has the scope; else 401 for nobody and 403 for somebody. */
export function requireScope(ctx: Context, scope: Scope): Caller {
  return withScope(ctx.state.caller, scope)
}

/** The same where there is no Koa. */
export function withScope(caller: Caller | undefined, scope: Scope): Caller {
  if (!caller) throw new Fault('unauthorized')
  if (!caller.scopes.includes(scope)) {
    throw new Fault('forbidden', { message: `This key lacks the scope \`${scope}\`.` })
  }
  return caller
}

/** Whoever runs this plane, with the scope to change it. */
export function requireOwner(ctx: Context): void {
  if (requireScope(ctx, 'admin').isOwner) return
  throw new Fault('forbidden', { message: 'Only the owner of this plane may do that.' })
}
