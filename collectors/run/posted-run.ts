// What POST /v1/runs takes, read at the door: one shape, one sentence for each thing that is wrong with it.

import { z } from 'zod'
import { isSlug, isVersion, parseSpanId, parseTraceId } from '../../schemas/ids.ts'
import { runStatuses } from '../../schemas/run.ts'

const dayMs = 86_400_000
// Nanoseconds since 1970 fit into 64 bits until then.
const lastYear = 2262
const timePattern = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/

const text = (charsMax: number) => z.string().min(1).max(charsMax)
const count = z.number().int().min(0).max(4_294_967_295)
const label = z.string().regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
const time = z.string().refine(isTime, 'must be an RFC 3339 time, such as 2026-11-20T17:12:00.123Z')

const usage = z.object({
  input_tokens: count.optional(),
  prompt_tokens: count.optional(),
  output_tokens: count.optional(),
  completion_tokens: count.optional(),
  cached_tokens: count.optional(),
  reasoning_tokens: count.optional(),
})

const prompt = z.object({
  id: z.string().refine(isSlug, 'must be 1 to 64 of a-z, 0-9, dot, dash and underscore'),
  version: z
    .union([z.string(), z.number().int().min(0).transform(String)])
    .refine(isVersion, 'must be 1 to 64 letters, digits, dots, dashes and underscores')
    .nullish(),
  variables: z.record(z.string().max(256), z.unknown()).nullish(),
})

export const postedRun = z
  .object({
    model: label.max(256),
    started_at: time,
    ended_at: time,
    input: z.unknown().optional(),
    output: z.unknown().optional(),
    run_id: label.max(128).nullish(),
    trace_id: z
      .string()
      .refine((it) => parseTraceId(it) !== undefined, 'must be 32 hex digits, not all zero')
      .nullish(),
    span_id: z.string().refine(isSpanId, 'must be 16 hex digits, not all zero').nullish(),
    parent_span_id: z.string().refine(isSpanId, 'must be 16 hex digits, not all zero').nullish(),
    name: text(256).nullish(),
    service: text(256).nullish(),
    provider: text(128).nullish(),
    route_id: text(128).nullish(),
    environment: label.max(64).nullish(),
    prompt: prompt.nullish(),
    usage: usage.nullish(),
    ttft_ms: z.number().min(0).max(dayMs).nullish(),
    status: z.enum(runStatuses).nullish(),
    error: z
      .union([z.string(), z.object({ code: z.string().nullish(), message: z.string().nullish() })])
      .nullish(),
    session_id: text(256).nullish(),
    user_id: text(256).nullish(),
    tags: z.array(text(256)).max(64).nullish(),
    metadata: z.record(z.string().max(256), z.unknown()).nullish(),
  })
  .refine((run) => run.input != null || run.output != null, {
    message: 'must be given, or output',
    path: ['input'],
  })
  .refine((run) => isInOrder(run.started_at, run.ended_at), {
    message: 'must not be before started_at',
    path: ['ended_at'],
  })

export type PostedRun = z.infer<typeof postedRun>

/** Nanoseconds since 1970 of an RFC 3339 time, with all of its digits. */
export function toUnixNano(rfc3339: string): bigint {
  const [, fraction = ''] = /\.(\d+)/.exec(rfc3339) ?? []
  const seconds = Date.parse(rfc3339.replace(/\.\d+/, '')) / 1000
  return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'))
}

/** True for a time between 1970 and tomorrow: a clock that is further ahead would keep its runs on top of every list. */
function isTime(given: string): boolean {
  if (!timePattern.test(given)) return false
  const ms = Date.parse(given)
  return ms >= 0 && ms <= Date.now() + dayMs && new Date(ms).getUTCFullYear() < lastYear
}

/** True also when one of them is no time: that has been said already. */
function isInOrder(startedAt: string, endedAt: string): boolean {
  return !isTime(startedAt) || !isTime(endedAt) || toUnixNano(endedAt) >= toUnixNano(startedAt)
}

function isSpanId(given: string): boolean {
  return parseSpanId(given) !== undefined
}
