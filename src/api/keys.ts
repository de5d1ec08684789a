// Keys on the wire: made (the secret shown once), listed, changed, revoked.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import { type Caller, scopes } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { parseUuid, toUuid } from '../../schemas/ids.ts'
import { requireScope } from '../accounts/access.ts'
import { changeKey, issueKey, listKeys, revokeKey } from '../accounts/key-book.ts'
import type { Keys, Sql } from '../accounts/keys.ts'
import { readWish } from '../http/http-json.ts'

const requestsPerMinuteMax = 10_000_000
// Nine million dollars: in nano-USD the most that a number holds exactly.
const budgetCentsMax = 900_000_000

const terms = {
  name: z.string().trim().min(1).max(200).optional(),
  rate_limit_rpm: z.number().int().min(1).max(requestsPerMinuteMax).nullish(),
  monthly_budget_cents: z.number().min(0).max(budgetCentsMax).nullish(),
  responses_streaming: z.boolean().optional(),
}
/** A key as somebody wishes it for themselves. */
export const ownKey = z.strictObject({
  ...terms,
  scopes: z.array(z.enum(scopes)).min(1).max(scopes.length).optional(),
})
const newKey = ownKey.extend({ user_id: z.uuid().optional() })
const changedKey = z.strictObject(terms)

type KeyDeps = { sql: Sql; keys: Keys }

export function keyRoutes(router: Router, deps: KeyDeps): void {
  const { sql, keys } = deps

  router.post('/v1/keys', async (ctx) => {
    const caller = requireScope(ctx, 'admin')
    const { user_id, ...wish } = await readWish(ctx, newKey)
    const workspace = workspaceFor(caller, user_id)
    if (workspace !== caller.workspace) await mustExist(sql, workspace)
    const made = await issueKey(sql, workspace, {
      ...wish,
      scopes: wish.scopes && unique(wish.scopes),
    })
    if (!made) throw tooManyKeys()
    ctx.status = 201
    ctx.body = made
  })

  router.get('/v1/keys', async (ctx) => {
    const caller = requireScope(ctx, 'read')
    ctx.body = await listKeys(sql, workspaceAsked(ctx, caller), ctx.query.include === 'revoked')
  })

  router.patch('/v1/keys/:id', async (ctx) => {
    const caller = requireScope(ctx, 'admin')
    const keyId = readKeyId(ctx)
    const wish = await readWish(ctx, changedKey)
    const changed = await changeKey(sql, { workspace: workspaceAsked(ctx, caller), keyId }, wish)
    if (!changed) throw noSuchKey()
    keys.forget(keyId)
    ctx.body = changed
  })

  router.delete('/v1/keys/:id', async (ctx) => {
    const caller = requireScope(ctx, 'admin')
    const keyId = readKeyId(ctx)
    if (!(await revokeKey(sql, workspaceAsked(ctx, caller), keyId))) throw noSuchKey()
    keys.forget(keyId)
    ctx.status = 204
  })
}

/** `?user_id=` names another user's keys, for the owner of the plane alone. */
function workspaceAsked(ctx: Context, caller: Caller): string {
  const given = ctx.query.user_id
  if (given === undefined) return caller.workspace
  const id = typeof given === 'string' ? parseUuid(given) : undefined
  if (!id)
    throw new Fault('invalid_request', { message: 'user_id must be a UUID.', param: 'user_id' })
  return workspaceFor(caller, toUuid(id))
}

function workspaceFor(caller: Caller, userId: string | undefined): string {
  if (userId === undefined || userId === caller.workspace) return caller.workspace
  if (caller.isOwner && caller.scopes.includes('admin')) return userId
  throw new Fault('forbidden', { message: 'Only the owner of this plane may act for other users.' })
}

async function mustExist(sql: Sql, userId: string): Promise<void> {
  const found = await sql.query('SELECT 1 FROM users WHERE id = $1', [userId])
  if (found.length > 0) return
  throw new Fault('not_found', { message: 'There is no such user.', param: 'user_id' })
}

export function readKeyId(ctx: Context): string {
  const id = parseUuid(String(ctx.params.id))
  if (!id) throw new Fault('invalid_request', { message: 'A key’s id is a UUID.', param: 'id' })
  return toUuid(id)
}

export function tooManyKeys(): Fault {
  return new Fault('conflict', { message: 'This user has as many keys as one may have.' })
}

export function noSuchKey(): Fault {
  return new Fault('not_found', { message: 'There is no such key.' })
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)]
}
