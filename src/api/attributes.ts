// GET /v1/attributes: the keys that a filter may name, and with `key` the values that it has.

import type Router from '@koa/router'
import { requireScope } from '../accounts/access.ts'
import type { AttributeNames } from '../traces/attributes.ts'
import { invalid, readLimit } from '../traces/trace-filters.ts'

const bounds = { fallback: 50, max: 500 }
const textLengthMax = 1_000
const known = new Set(['prefix', 'key', 'limit'])

export function attributeRoutes(
  router: Router,
  deps: { attributes: AttributeNames; flush: () => Promise<void> },
): void {
  router.get('/v1/attributes', async (ctx) => {
    const { workspace } = requireScope(ctx, 'read')
    const query = new URLSearchParams(ctx.querystring)
    for (const [name, value] of query) {
      if (!known.has(name)) throw invalid(name, 'is not known here')
      if (value.length > textLengthMax)
        throw invalid(name, `is longer than ${textLengthMax} characters`)
    }
    const limit = readLimit(query, bounds)
    const prefix = query.get('prefix') ?? ''
    const key = query.get('key')
    await deps.flush()
    const { found, sampled } =
      key === null
        ? await deps.attributes.keys(workspace, prefix, limit)
        : await deps.attributes.values(workspace, { key, prefix, limit })
    // `spans`: among how many of the newest spans it stands; a guide for choosing, not a count of everything.
    ctx.body = { sampled_spans: sampled, items: found, next_cursor: null }
  })
}
