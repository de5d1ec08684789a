// What every request passes: an id and its caller. Faults become answers here, and for OTLP in its route.

import type { IncomingMessage } from 'node:http'
import type { Context, Middleware } from 'koa'
import { writeOtlpFault } from '../../collectors/otlp/route.ts'
import { continueTrace, newSpanId, toTraceparent } from '../../collectors/proxy/trace-context.ts'
import type { Counters } from '../../schemas/counters.ts'
import { Fault } from '../../schemas/faults.ts'
import { newId, toPrefixed } from '../../schemas/ids.ts'
import { bearerToken } from '../accounts/access.ts'
import type { Keys } from '../accounts/keys.ts'
import { csrfHeader, readCookie } from '../accounts/sessions.ts'
import { refusalOf } from './direct-doors.ts'
import { toAnswerable } from './failures.ts'
import type { InternalCalls } from './internal-calls.ts'

const requestIdPattern = /^[\x21-\x7e]{1,128}$/
const otlpPaths = new Set(['/v1/otlp/traces', '/v1/otlp/v1/traces', '/v1/traces'])
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

export function isOtlpPost(ctx: Context): boolean {
  return ctx.method === 'POST' && otlpPaths.has(ctx.path)
}

/** Outermost: the request id on every answer, and whatever is thrown below as the right envelope. */
export function answer(deps: { counters: Counters; log: (line: string) => void }): Middleware {
  return async (ctx, next) => {
    const refused = refusalOf(ctx.req)
    ctx.state.requestId = refused?.requestId ?? requestIdOf(ctx.req)
    try {
      if (refused) throw refused.error
      await next()
      stamp(ctx)
    } catch (error) {
      stamp(ctx)
      const fault = toAnswerable(error)
      if (fault.status >= 500 && fault.cause)
        deps.log(`${ctx.state.requestId} ${describe(fault.cause)}`)
      deps.counters.count('http_faults_total', { code: fault.code })
      writeFault(ctx, fault)
    }
  }
}

/** The caller's own, where it is one that may be repeated. */
export function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && requestIdPattern.test(given)
    ? given
    : toPrefixed('req', newId())
}

// Last, not first: one header set before a `writeHead` makes Node take every header of its list out and in again. A door that
// writes its own head has these two in it, and Koa passes over a head that has left.
function stamp(ctx: Context): void {
  ctx.set('X-Request-Id', ctx.state.requestId)
  ctx.set('X-Content-Type-Options', 'nosniff')
}

/** The caller, when the request names one: by key, else by session. A wrong key is refused here, a missing one where it matters. */
export function authenticate(keys: Keys, internal?: InternalCalls): Middleware {
  return async (ctx, next) => {
    const header = ctx.get('authorization')
    if (header !== '') {
      const token = bearerToken(header)
      const caller =
        token && (internal?.find(token, ctx.req.headers) ?? (await lookUp(() => keys.find(token))))
      if (!caller) throw new Fault('unauthorized')
      ctx.state.caller = caller
      return next()
    }
    const cookie = readCookie(ctx.get('cookie'))
    const caller = cookie && (await lookUp(() => keys.findSession(cookie)))
    if (caller) {
      if (!safeMethods.has(ctx.method)) refuseForeign(ctx)
      ctx.state.caller = caller
    }
    return next()
  }
}

/** What a page of another origin had the browser send: it cannot set our header, and cannot hide where it comes from. */
function refuseForeign(ctx: Context): void {
  if (ctx.get(csrfHeader) === '') {
    throw new Fault('forbidden', {
      message: `A session may write only with the header ${csrfHeader}.`,
    })
  }
  const site = ctx.get('sec-fetch-site')
  if (site === 'cross-site' || site === 'same-site')
    throw new Fault('forbidden', { message: 'A session may write only from its own origin.' })
}

/** Everything thrown or not found, in the form its reader expects. */
export function writeFault(ctx: Context, fault: Fault): void {
  if (ctx.res.headersSent) {
    ctx.res.destroy()
    return
  }
  if (fault.status === 401) ctx.set('WWW-Authenticate', 'Bearer')
  if (isOtlpPost(ctx)) {
    writeOtlpFault(ctx, fault)
    return
  }
  ctx.status = fault.status
  for (const [name, value] of Object.entries(fault.detail.headers ?? {})) ctx.set(name, value)
  if (fault.retryAfterS !== undefined) ctx.set('Retry-After', String(fault.retryAfterS))
  if (ctx.path.startsWith('/v1/') && ctx.method === 'POST' && !ctx.res.hasHeader('traceparent')) {
    ctx.set('traceparent', refusedTraceparent(ctx.req))
  }
  ctx.body = fault.toBody()
}

// A refused call is signed by nobody and stored nowhere; its caller can still find it in their own trace.
function refusedTraceparent({ headers }: IncomingMessage): string {
  const { traceId, flags } = continueTrace(headers)
  return toTraceparent(traceId, newSpanId(), flags)
}

async function lookUp<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    throw new Fault('service_unavailable', {}, { cause: error })
  }
}

function describe(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
}
