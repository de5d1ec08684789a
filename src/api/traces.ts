// GET /v1/traces and below it: the list, one trace, one span.

import type Router from '@koa/router'
import { readSpan } from '../../collectors/otlp/span-view.ts'
import { Fault } from '../../schemas/faults.ts'
import { requireScope } from '../accounts/access.ts'
import { readSpanId, readTraceId } from '../http/read-ids.ts'
import { toSpanDetail } from '../traces/span-detail.ts'
import type { StoredSpans } from '../traces/stored-spans.ts'
import { invalid, readFilters, readLimit } from '../traces/trace-filters.ts'
import { carriedMax, type TraceCursor } from '../traces/trace-search.ts'
import type { Traces } from '../traces/traces.ts'

const pageBounds = { fallback: 20, max: 100 }
// With payloads a trace is a document to download, not a picture; larger ones go out through the export, page by page.
const payloadSpansMax = 2_000

export function traceRoutes(
  router: Router,
  deps: { traces: Traces; storedSpans: StoredSpans; flush: () => Promise<void> },
): void {
  /** What was accepted before the question is part of the answer. */
  async function findFresh<T>(look: () => Promise<T | undefined>): Promise<T> {
    await deps.flush()
    const found = await look()
    if (found === undefined)
      throw new Fault('not_found', { message: 'There is no such trace or span here.' })
    return found
  }

  router.get('/v1/traces', async (ctx) => {
    const caller = requireScope(ctx, 'read')
    const query = new URLSearchParams(ctx.querystring)
    const page = { limit: readLimit(query, pageBounds), after: readCursor(query.get('cursor')) }
    const filters = readFilters(query)
    if (!page.after) await deps.flush()
    const found = await deps.traces.list(caller.workspace, filters, page)
    ctx.body = { items: found.items, next_cursor: found.next ? toCursor(found.next) : null }
  })

  router.get('/v1/traces/:traceId', async (ctx) => {
    const caller = requireScope(ctx, 'read')
    const traceId = readTraceId(ctx)
    const trace = await findFresh(() => deps.traces.find(caller.workspace, traceId))
    if (ctx.query.include === undefined) {
      ctx.body = trace
      return
    }
    if (ctx.query.include !== 'payload') throw invalid('include', 'may only be `payload`')
    if (trace.span_count > payloadSpansMax) {
      throw new Fault('invalid_request', {
        message: `This trace has ${trace.span_count} spans; with payloads at most ${payloadSpansMax} are answered. Use /v1/otlp/export?trace_id=…`,
        param: 'include',
      })
    }
    const stored = await deps.storedSpans.ofWholeTrace(caller.workspace, traceId, payloadSpansMax)
    const details = new Map(
      stored.map((span) => [span.spanId, toSpanDetail(span, readSpan(span.span))]),
    )
    ctx.body = {
      ...trace,
      spans: trace.spans.map((span) => ({ ...span, ...details.get(span.span_id) })),
    }
  })

  router.get('/v1/traces/:traceId/spans/:spanId', async (ctx) => {
    const caller = requireScope(ctx, 'read')
    const traceId = readTraceId(ctx)
    const spanId = readSpanId(ctx)
    const found = await findFresh(() => deps.storedSpans.find(caller.workspace, traceId, spanId))
    ctx.body = {
      trace_id: traceId,
      ...found.skeleton,
      record_id: found.recordId,
      ...toSpanDetail(found.stored, readSpan(found.stored.span)),
    }
  })
}

function toCursor({ startNs, traceId, scanNs = '', carried = [] }: TraceCursor): string {
  return Buffer.from(`${startNs}.${traceId}.${scanNs}.${carried.join('')}`).toString('base64url')
}

const nanosMax = 2n ** 63n - 1n
const cursorPattern = new RegExp(
  `^(\\d{1,19})\\.([0-9a-f]{32})\\.(\\d{1,19})\\.((?:[0-9a-f]{32}){0,${carriedMax}})$`,
)

function readCursor(text: string | null): TraceCursor | undefined {
  if (!text) return undefined
  const match = cursorPattern.exec(Buffer.from(text, 'base64url').toString('latin1'))
  if (!match || match.slice(1, 4).some((part, i) => i !== 1 && BigInt(part) > nanosMax))
    throw invalid('cursor', 'is not one that was given out here')
  const [, startNs = '', traceId = '', scanNs = '', carried = ''] = match
  return { startNs, traceId, scanNs, carried: carried.match(/.{32}/g) ?? [] }
}
