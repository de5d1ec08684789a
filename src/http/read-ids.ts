// Ids of traces and spans in a path.

import type { Context } from 'koa'
import { parseSpanId, parseTraceId, type SpanId, type TraceId } from '../../schemas/ids.ts'
import { invalid } from '../traces/trace-filters.ts'

export function readTraceId(ctx: Context): TraceId {
  const id = parseTraceId(String(ctx.params.traceId))
  if (!id) throw invalid('trace_id', 'must be 32 hex digits, not all zero')
  return id
}

export function readSpanId(ctx: Context): SpanId {
  const id = parseSpanId(String(ctx.params.spanId))
  if (!id) throw invalid('span_id', 'must be 16 hex digits, not all zero')
  return id
}
