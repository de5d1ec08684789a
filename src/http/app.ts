// The Koa app: the middleware in one list, then every route. The two busiest doors are matched before the router looks.

import type Router from '@koa/router'
import Koa, { type Context, type Middleware } from 'koa'
import type { Inference } from '../../collectors/proxy/route.ts'
import type { Scope } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { requireScope } from '../accounts/access.ts'
import type { Keys } from '../accounts/keys.ts'
import type { Metrics } from '../metrics.ts'
import type { InternalCalls } from './internal-calls.ts'
import { answer, authenticate } from './middleware.ts'
import { refuseOddRequests } from './odd-requests.ts'
import { timeRoutes } from './route-times.ts'

// A connection that broke, or bytes that are no HTTP.
const clientGone = /^(ECONNRESET|ECONNABORTED|EPIPE|HPE_\w+|ERR_STREAM_PREMATURE_CLOSE)$/

export type Door = {
  method: 'POST'
  paths: readonly string[]
  scope: Scope
  enter: (ctx: Context) => Promise<void>
  /** The same without Koa, where there is nothing of it that the door needs. */
  infer?: Inference
}

export function createApp(deps: {
  keys: Keys
  metrics: Metrics
  log: (line: string) => void
  doors: Door[]
  router: Router
  /** What looks at every request before it is let in, such as a trace of it. */
  watchers?: Middleware[]
  /** Absent: this process never calls itself. */
  internal?: InternalCalls
}): Koa {
  const app = new Koa()
  // Faults are answered by our own middleware; what still reaches Koa is a client that has gone.
  app.on('error', (error: NodeJS.ErrnoException) => {
    const code = String(error.code ?? '')
    // Strangers can cause these at will: they are counted, and write no log.
    if (clientGone.test(code)) deps.metrics.count('http_connections_broken_total', { code })
    else deps.log(String(error.stack ?? error))
  })
  app.use(answer({ counters: deps.metrics, log: deps.log }))
  app.use(timeRoutes(deps.metrics, new Set(deps.doors.flatMap((door) => door.paths))))
  app.use(refuseOddRequests)
  for (const watcher of deps.watchers ?? []) app.use(watcher)
  app.use(authenticate(deps.keys, deps.internal))
  app.use(throughDoors(deps.doors))
  app.use(deps.router.routes())
  app.use(nothingHere(deps.router, deps.doors))
  return app
}

export type Route = { method: string; path: string }

/** Everything that is answered, as it was declared: `:name` stands for a part of the path, `*name` for its rest. */
export function listRoutes(router: Router, doors: readonly Door[]): Route[] {
  const declared = router.stack.flatMap(({ methods, path }) =>
    methods.map((method) => ({ method, path: String(path) })),
  )
  const entered = doors.flatMap(({ method, paths }) => paths.map((path) => ({ method, path })))
  return [...declared, ...entered]
}

/** `collectors` answer under their own scope; a map finds them faster than forty patterns do. */
function throughDoors(doors: Door[]): Middleware {
  const byPath = new Map(doors.flatMap((door) => door.paths.map((path) => [path, door] as const)))
  return (ctx, next) => {
    const door = byPath.get(ctx.path)
    if (!door || door.method !== ctx.method) return next()
    requireScope(ctx, door.scope)
    return door.enter(ctx)
  }
}

/** 405 with `Allow` where the path exists under another method, else 404. */
function nothingHere(router: Router, doors: Door[]): Middleware {
  return (ctx) => {
    if (ctx.status !== 404 || ctx.body !== undefined || ctx.respond === false) return
    const methods = new Set<string>(
      doors.filter((door) => door.paths.includes(ctx.path)).map((door) => door.method),
    )
    for (const layer of router.match(ctx.path, ctx.method).path) {
      for (const method of layer.methods) methods.add(method)
    }
    if (methods.size === 0)
      throw new Fault('not_found', { message: `There is no ${ctx.path} here.` })
    const allow = [...methods].join(', ')
    if (ctx.method === 'OPTIONS') {
      ctx.set('Allow', allow)
      ctx.status = 204
      return
    }
    throw new Fault('method_not_allowed', {
      message: `${ctx.path} takes ${allow}.`,
      headers: { Allow: allow },
    })
  }
}
