// May this caller do that. Who the caller is has been settled before, in middleware.ts.

import type { Context } from 'koa'
import type { Caller, Scope } from '../schemas/caller.ts'
import { Fault } from '../schemas/faults.ts'

/** The caller, when it has the scope; else 401 for nobody and 403 for somebody. */
export function requireScope(ctx: Context, scope: Scope): Caller {
  const caller: Caller | undefined = ctx.state.caller
  if (!caller) throw new Fault('unauthorized')
  if (!caller.scopes.includes(scope)) {
    throw new Fault('forbidden', { message: `This key lacks the scope \`${scope}\`.` })
  }
  return caller
}
