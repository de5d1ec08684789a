// Letting somebody in by a password, no more often than a person would try.

import type { Context } from 'koa'
import { z } from 'zod'
import { Fault } from '../../schemas/faults.ts'
import { openTries, type Tries } from './tries.ts'
import type { User, Users } from './users.ts'

// A person who mistypes, not a program that guesses.
const triesOfAddress = { burst: 5, everyMs: 20_000 }
// Behind one address there may be an office.
const triesOfPeer = { burst: 50, everyMs: 2_000 }
export const passwordCharsMax = 256

export const credentials = z.strictObject({
  email: z.string().max(254),
  password: z.string().max(passwordCharsMax),
})

export type Login = {
  /** Throws `rate_limited`, or `invalid_credentials` in the same words and time whatever was wrong. */
  enter(ctx: Context, wish: z.infer<typeof credentials>): Promise<User>
  /** Counts a try of whoever is at the other end. Throws `rate_limited`. */
  limitPeer(ctx: Context): void
}

export function openLogin(users: Users, tickMs: () => number = () => performance.now()): Login {
  const byAddress = openTries(triesOfAddress.burst, triesOfAddress.everyMs, tickMs)
  const byPeer = openTries(triesOfPeer.burst, triesOfPeer.everyMs, tickMs)
  const limitPeer = (ctx: Context) => {
    // A trusted front end brings everybody from one address.
    if (!isTrusted(ctx)) limit(byPeer, ctx.req.socket.remoteAddress ?? '')
  }
  return {
    limitPeer,
    async enter(ctx, { email, password }) {
      limitPeer(ctx)
      limit(byAddress, email.trim().toLowerCase())
      const user = await users.login(email, password)
      if (!user) throw new Fault('invalid_credentials')
      return user
    },
  }
}

/** The owner of the plane, with an admin key: a front end that answers for its own users. */
export function isTrusted(ctx: Context): boolean {
  const { caller } = ctx.state
  return caller?.isOwner === true && caller.scopes.includes('admin')
}

function limit(tries: Tries, name: string): void {
  const waitS = tries.take(name)
  if (waitS > 0) throw new Fault('rate_limited', { message: 'Too many tries.', retryAfterS: waitS })
}
