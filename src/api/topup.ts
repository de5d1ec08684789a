// Money paid in, on the wire: what a workspace has paid, and the word of whoever runs this plane that somebody has. Payments
// themselves are taken elsewhere, by a front end that tells each of them here by its name: once is as good as often.

import type Router from '@koa/router'
import { z } from 'zod'
import { Fault } from '../../schemas/faults.ts'
import { parseUuid, toUuid } from '../../schemas/ids.ts'
import { requireOwner, requireScope } from '../accounts/access.ts'
import type { Users } from '../accounts/users.ts'
import { readWish } from '../http/http-json.ts'
import { centsToNano } from '../money/amounts.ts'
import { addCredit, listCredits } from '../money/credit.ts'
import type { Postgres } from '../stores/postgres.ts'

// Nine million dollars: in nano-USD the most that a number holds exactly.
const amountCentsMax = 900_000_000

const payment = z.strictObject({
  amount_cents: z.number().positive().max(amountCentsMax),
  source: z
    .string()
    .regex(/^[a-z0-9_-]{1,32}$/, 'must be 1 to 32 small letters, digits, dashes and underscores')
    .default('manual'),
  reference_id: z.string().regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 printable characters'),
})

export function topupRoutes(router: Router, deps: { sql: Postgres; users: Users }): void {
  const { sql, users } = deps

  router.get('/v1/topup/history', async (ctx) => {
    ctx.body = await listCredits(sql, requireScope(ctx, 'read').workspace)
  })

  router.post('/v1/users/:id/credits', async (ctx) => {
    requireOwner(ctx)
    const id = parseUuid(String(ctx.params.id))
    const user = id && (await users.find(toUuid(id)))
    if (!user) throw new Fault('not_found', { message: 'There is no such user.' })
    const wish = await readWish(ctx, payment)
    const amountNanoUsd = centsToNano(wish.amount_cents)
    if (amountNanoUsd === 0n)
      throw new Fault('invalid_request', {
        message: 'amount_cents is less than a millionth of a cent.',
        param: 'amount_cents',
      })
    const { source: kind, reference_id: reference } = wish
    const added = await addCredit(sql, { workspace: user.id, amountNanoUsd, kind, reference })
    if (!added) {
      const message = 'This reference_id is that of another payment.'
      throw new Fault('conflict', { message, param: 'reference_id' })
    }
    const now = await users.find(user.id)
    ctx.status = added.again ? 200 : 201
    ctx.body = { ...added.entry, credit_balance_cents: now?.credit_balance_cents ?? null }
  })
}
