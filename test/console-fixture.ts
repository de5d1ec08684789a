// A plane of paper for the console: the same routes and the plane's own policy, with data made for looking at and for attacking.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Router from '@koa/router'
import Koa, { type Context } from 'koa'
import { consoleRoutes } from '../src/http/console-files.ts'
import {
  agentTrace,
  brokenTrace,
  hostileTrace,
  hugeTrace,
  item,
  makeEvidence,
  manyTraces,
  prompts,
  type TraceBody,
  wholeSpan,
} from './console-data.ts'

export const fixtureKey = 'batchin_api_for_the_console_only_0123456789'
const dist = join(fileURLToPath(new URL('..', import.meta.url)), 'dist/console')

export type Fixture = {
  url: string
  /** Every query string that `GET /v1/traces` was asked with. */
  asked: URLSearchParams[]
  /** Methods of the writes that carried the CSRF header. */
  writes: string[]
  /** What the list holds; a test may empty it or let it fail. */
  state: { traces: TraceBody[]; prompts: unknown; fails: boolean; tampered: boolean }
  /** The root key that certified the record key. */
  root: string
  stop(): Promise<void>
}

export async function startFixture(): Promise<Fixture> {
  const now = Date.now()
  const { pack, root } = await makeEvidence(now)
  const special = [agentTrace(now), hostileTrace(now), hugeTrace(now), brokenTrace(now)]
  const fixture = {
    asked: [] as URLSearchParams[],
    writes: [] as string[],
    root,
    state: {
      traces: [...special, ...manyTraces(460, now)],
      prompts: prompts(now),
      fails: false,
      tampered: false,
    },
  }
  const router = new Router()
  sessionRoutes(router, fixture.writes)
  traceRoutes(router, fixture)
  promptRoutes(router, fixture.state)
  router.get('/v1/vaas/:id/evidence', (ctx) => {
    if (ctx.params.id !== pack.record_id) return refuse(ctx, 404, 'There is no record of this id.')
    const payload = fixture.state.tampered ? { ...pack.payload, model_id: 'gpt-4o' } : pack.payload
    ctx.body = { ...pack, payload }
  })
  await consoleRoutes(router, dist)
  const app = new Koa()
  app.silent = true
  app.use(router.routes())
  const server = createServer(app.callback())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // listening on TCP: an address object, never a pipe name
  return { ...fixture, url: `http://127.0.0.1:${port}`, stop: () => stop(server) }
}

function sessionRoutes(router: Router, writes: string[]): void {
  router.get(
    '/console/session',
    guarded((ctx) => {
      ctx.body = {
        workspace: '0190a7c2-5b1e-7d31-9a44-6f1f0c2b7e55',
        scopes: ['read'],
        environment: 'production',
        version: '0.1.0',
      }
    }),
  )
  router.post('/console/session', async (ctx) => {
    let text = ''
    for await (const chunk of ctx.req) text += String(chunk)
    if (ctx.get('x-runledger-csrf') === '1') writes.push('POST')
    if (JSON.parse(text).key !== fixtureKey) return refuse(ctx, 401, 'This API key is not valid.')
    ctx.set('Set-Cookie', 'runledger_session=1; HttpOnly; SameSite=Strict; Path=/')
    ctx.status = 204
  })
  router.delete('/console/session', (ctx) => {
    if (ctx.get('x-runledger-csrf') === '1') writes.push('DELETE')
    ctx.set('Set-Cookie', 'runledger_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0')
    ctx.status = 204
  })
}

function promptRoutes(router: Router, state: Fixture['state']): void {
  const listed = (): Record<string, unknown>[] => Object(state.prompts).items
  router.get(
    '/v1/prompts',
    guarded((ctx) => {
      ctx.body = state.prompts
    }),
  )
  router.get(
    '/v1/prompts/:id',
    guarded((ctx) => {
      const found = listed().find((registry) => registry.registry_id === ctx.params.id)
      if (found) ctx.body = found
      else refuse(ctx, 404, 'There is no such prompt.')
    }),
  )
  router.get(
    '/v1/prompts/:id/diff',
    guarded((ctx) => {
      const lines = [{ kind: 'added', text: 'Never say <b>maybe</b>.' }]
      ctx.body = { parts: { text: { same: false, lines }, tools: { same: true, lines: [] } } }
    }),
  )
  router.get(
    '/v1/prompts/:id/history',
    guarded((ctx) => {
      ctx.body = { items: [], next_cursor: null }
    }),
  )
}

function traceRoutes(router: Router, fixture: Pick<Fixture, 'asked' | 'state'>): void {
  const { asked, state } = fixture
  router.get(
    '/v1/traces',
    guarded((ctx) => {
      const search = new URLSearchParams(ctx.querystring)
      asked.push(search)
      if (state.fails) return refuse(ctx, 503, 'The store is restarting.')
      const found = state.traces.filter((trace) => matches(trace, search))
      const at = Number(search.get('cursor') ?? 0)
      const end = at + Number(search.get('limit') ?? 20)
      const items = found.slice(at, end).map(({ spans: _, ...rest }) => rest)
      ctx.body = { items, next_cursor: end < found.length ? String(end) : null }
    }),
  )
  router.get(
    '/v1/traces/:id',
    guarded((ctx) => {
      const trace = find(state.traces, ctx.params.id)
      if (trace) ctx.body = trace
      else refuse(ctx, 404, 'There is no such trace.')
    }),
  )
  router.get(
    '/v1/traces/:id/spans/:span',
    guarded((ctx) => {
      const trace = find(state.traces, ctx.params.id)
      const span = trace && wholeSpan(trace, ctx.params.span ?? '')
      if (span) ctx.body = span
      else refuse(ctx, 404, 'There is no such span.')
    }),
  )
}

/** A trace by id; one that has no spans of its own yet gets the single one its item speaks of. */
function find(traces: TraceBody[], id: string | undefined): TraceBody | undefined {
  const trace = traces.find((one) => one.trace_id === id)
  if (!trace || trace.spans.length > 0) return trace
  const started = Date.parse(String(trace.started_at))
  const only = {
    ...item('', started),
    span_id: '1'.padStart(16, '0'),
    parent_span_id: null,
    kind: 2,
    type: 'llm',
    name: trace.name,
    status: trace.status,
    start_unix_nano: `${started}000000`,
    duration_ms: Number(trace.latency_ms),
  }
  return { ...trace, spans: [only] }
}

function matches(trace: TraceBody, search: URLSearchParams): boolean {
  const has = (key: string, field: string) => !search.has(key) || trace[field] === search.get(key)
  return (
    has('service', 'service') &&
    has('model', 'model_id') &&
    has('status', 'status') &&
    has('prompt_version_id', 'prompt_version_id') &&
    has('session_id', 'session_id') &&
    Number(trace.latency_ms) >= Number(search.get('min_latency_ms') ?? 0) &&
    String(trace.started_at) >= (search.get('from') ?? '') &&
    (!search.has('to') || String(trace.started_at) <= search.get('to')!) &&
    trace.name.toLowerCase().includes((search.get('q') ?? '').toLowerCase())
  )
}

function guarded(answer: (ctx: Context) => void): (ctx: Context) => void {
  return (ctx) => {
    if (ctx.cookies.get('runledger_session') === '1') answer(ctx)
    else refuse(ctx, 401, 'No one is logged in.')
  }
}

function refuse(ctx: Context, status: number, message: string): void {
  ctx.status = status
  ctx.set('X-Request-Id', 'req_01KADV7Q4ZJ8N5W2R6T9X3C1BF')
  ctx.body = { error: { message, type: 'invalid_request_error', param: null, code: 'x' } }
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}
