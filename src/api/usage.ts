// What was used and what it cost, on the wire. Bare arrays where the source documents have them; reading never answers 402.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { parseUuid, toUuid } from '../../schemas/ids.ts'
import { requireScope } from '../accounts/access.ts'
import type { UsageFilters, UsageLog } from '../money/usage-log.ts'
import { invalid, readLimit, readTime, refuseRepeated } from '../traces/trace-filters.ts'

const pageBounds = { fallback: 50, max: 500 }
// Every page reads all that come before it; whoever wants more asks by time.
const offsetMax = 1_000_000
const daysBounds = { fallback: 30, max: 366 }
const dayMs = 86_400_000
const modelCharsMax = 256

export function usageRoutes(
  router: Router,
  deps: { usage: UsageLog; flush: () => Promise<void>; nowMs: () => number },
): void {
  const { usage } = deps

  const ask = async (ctx: Context) => {
    const { workspace } = requireScope(ctx, 'read')
    const query = new URLSearchParams(ctx.querystring)
    const filters = readFilters(query)
    return { workspace, query, filters }
  }

  router.get('/v1/usage/logs', async (ctx) => {
    const { workspace, query, filters } = await ask(ctx)
    const page = { limit: readLimit(query, pageBounds), offset: readOffset(query) }
    await deps.flush()
    ctx.body = await usage.list(workspace, filters, page)
  })

  router.get('/v1/usage/summary', async (ctx) => {
    const { workspace, filters } = await ask(ctx)
    await deps.flush()
    ctx.body = await usage.totals(workspace, filters)
  })

  router.get('/v1/usage/by-model', async (ctx) => {
    const { workspace, filters } = await ask(ctx)
    await deps.flush()
    ctx.body = await usage.byModel(workspace, filters)
  })

  router.get(['/v1/usage', '/v1/me/usage'], async (ctx) => {
    const { workspace, query, filters } = await ask(ctx)
    const days = readDays(query)
    // Whole days in UTC, today among them.
    const fromMs = Math.floor(deps.nowMs() / dayMs) * dayMs - (days - 1) * dayMs
    const range = { ...filters, fromMs, toMs: undefined }
    await deps.flush()
    const [totals, byDay, byModel] = await Promise.all([
      usage.totals(workspace, range),
      usage.byDay(workspace, range),
      usage.byModel(workspace, range),
    ])
    ctx.body = {
      days,
      from: new Date(fromMs).toISOString(),
      ...totals,
      by_day: byDay,
      by_model: byModel,
    }
  })
}

function readFilters(query: URLSearchParams): UsageFilters {
  refuseRepeated(query, 'key_id', 'model', 'from', 'to', 'offset', 'days')
  const key = query.get('key_id')
  const keyId = key ? parseUuid(key) : undefined
  if (key && !keyId) throw invalid('key_id', 'must be a UUID')
  const model = query.get('model') || undefined
  if (model !== undefined && model.length > modelCharsMax)
    throw invalid('model', `must have at most ${modelCharsMax} characters`)
  const fromMs = readTime(query, 'from')
  const toMs = readTime(query, 'to')
  if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs)
    throw invalid('from', 'must be before `to`')
  return {
    fromMs,
    toMs,
    keyId: keyId && toUuid(keyId),
    model,
  }
}

function readOffset(query: URLSearchParams): number {
  const text = query.get('offset')
  if (text === null || text === '') return 0
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > offsetMax)
    throw invalid('offset', `must be a whole number from 0 to ${offsetMax}`)
  return value
}

function readDays(query: URLSearchParams): number {
  const text = query.get('days')
  if (text === null || text === '') return daysBounds.fallback
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > daysBounds.max)
    throw invalid('days', `must be a whole number from 1 to ${daysBounds.max}`)
  return value
}
