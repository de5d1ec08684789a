// Deletion: a trace, the data of a user, everything of a workspace. Evidence stays, because it holds no text and no name.

import type Router from '@koa/router'
import type { Context } from 'koa'
import type { Forget } from '../../collectors/spool/spool.ts'
import { Fault } from '../../schemas/faults.ts'
import { toUserId, userIdCharsMax } from '../../schemas/user-id.ts'
import { requireScope } from '../accounts/access.ts'
import type { Wishes } from '../erasing/wishes.ts'
import { readTraceId } from '../http/read-ids.ts'
import { invalid } from '../traces/trace-filters.ts'
import type { Traces } from '../traces/traces.ts'

// How long a caller waits for the end of it; beyond, it is promised and goes on.
const waitMs = 10_000

export function dataRoutes(
  router: Router,
  deps: {
    wishes: Pick<Wishes, 'forget'>
    traces: Pick<Traces, 'has'>
    /** Waits for what was accepted; false when some of it is still on the disk. */
    load: () => Promise<boolean>
  },
): void {
  /** 200: no query sees it any more. 202: written down, and done as soon as ClickHouse lets it; over restarts too. */
  async function answer(ctx: Context, what: Forget, named: Record<string, string>): Promise<void> {
    const isDone = await deps.wishes.forget(what, waitMs)
    ctx.status = isDone ? 200 : 202
    ctx.body = { ...named, status: isDone ? 'deleted' : 'deleting' }
  }

  router.delete('/v1/traces/:traceId', async (ctx) => {
    const { workspace } = requireScope(ctx, 'admin')
    const traceId = readTraceId(ctx)
    // A trace that is accepted and not loaded yet is one all the same: then the wish is written down for whatever comes.
    if ((await deps.load()) && !(await deps.traces.has(workspace, traceId)))
      throw new Fault('not_found', { message: 'There is no such trace here.' })
    await answer(ctx, { workspace, traceId }, { trace_id: traceId })
  })

  router.delete('/v1/data', async (ctx) => {
    const { workspace } = requireScope(ctx, 'admin')
    const query = new URLSearchParams(ctx.querystring)
    for (const name of query.keys())
      if (name !== 'user_id' && name !== 'workspace') throw invalid(name, 'is not known here')
    const userId = query.get('user_id')
    const named = query.get('workspace')
    if ((userId === null) === (named === null))
      throw invalid('user_id', 'or `workspace` must be given, and not both')
    if (userId !== null) {
      if (userId === '' || userId.length > userIdCharsMax)
        throw invalid('user_id', `must have 1 to ${userIdCharsMax} characters`)
      return answer(ctx, { workspace, userId: toUserId(userId) }, { user_id: userId })
    }
    // Said by name, so that a slip of the hand does not empty everything.
    if (named !== workspace)
      throw invalid('workspace', 'must be the id of your own workspace, to delete all of its data')
    return answer(ctx, { workspace }, { workspace })
  })
}
