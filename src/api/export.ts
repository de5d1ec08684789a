// GET /v1/otlp/export: spans back out, as they came in, page after page in ingest order.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { assemble, type ExportForm } from '../../collectors/otlp/export.ts'
import { requireScope } from '../accounts/access.ts'
import type { StoredSpans } from '../traces/stored-spans.ts'
import { invalid, readFilters, readLimit } from '../traces/trace-filters.ts'

const pageBounds = { fallback: 1_000, max: 10_000 }

const contentTypes: Record<ExportForm, string> = {
  json: 'application/json',
  protobuf: 'application/x-protobuf',
  jsonl: 'application/jsonl',
}

export function exportRoutes(
  router: Router,
  deps: { storedSpans: StoredSpans; flush: () => Promise<void>; loadedBefore: () => bigint },
): void {
  router.get('/v1/otlp/export', async (ctx) => {
    const caller = requireScope(ctx, 'read')
    const query = new URLSearchParams(ctx.querystring)
    const form = readForm(ctx, query)
    const range = {
      after: readCursor(query.get('cursor')),
      limit: readLimit(query, pageBounds),
    }
    const asked = new URLSearchParams(query)
    asked.delete('format')
    const filters = readFilters(asked)
    // What was accepted before this request is part of its answer; the watermark is read before the rows are.
    await deps.flush()
    const { spans, reached } = await deps.storedSpans.inOrder(caller.workspace, filters, {
      ...range,
      before: deps.loadedBefore(),
    })
    query.set('cursor', toCursor(reached))
    ctx.set('Link', `</v1/otlp/export?${query}>; rel="next"`)
    ctx.set('X-Next-Cursor', query.get('cursor') ?? '')
    ctx.set('Content-Type', contentTypes[form])
    // The cursor stands behind a retry as behind any span; only its first sending is given out, on whatever page.
    ctx.body = assemble(
      spans.filter((span) => span.isFirst),
      form,
    )
  })
}

function readForm(ctx: Context, query: URLSearchParams): ExportForm {
  const asked = query.get('format')
  if (asked === 'json' || asked === 'protobuf' || asked === 'jsonl') return asked
  if (asked) throw invalid('format', 'must be json, protobuf or jsonl')
  const accepted = ctx.accepts([
    ...Object.values(contentTypes),
    'application/protobuf',
    'application/x-ndjson',
  ])
  if (accepted === contentTypes.protobuf || accepted === 'application/protobuf') return 'protobuf'
  return accepted === contentTypes.jsonl || accepted === 'application/x-ndjson' ? 'jsonl' : 'json'
}

function toCursor(seq: bigint): string {
  return Buffer.from(`e1.${seq}`).toString('base64url')
}

function readCursor(text: string | null): bigint {
  if (!text) return 0n
  const match = /^e1\.(\d{1,20})$/.exec(Buffer.from(text, 'base64url').toString('latin1'))
  if (!match) throw invalid('cursor', 'is not one that was given out here')
  return BigInt(match[1]!)
}
