// Model calls, each counted once, as SQL: the latest of a span sent twice, and of spans that tell of the same call the deepest.

import { and, inWorkspace, type Where } from '../traces/trace-query.ts'

// Between two spans that report usage there are few others; a chain that is longer, or a ring, ends the climb.
const climbMax = 32
// How long after a call the spans below it may begin and still be seen as its own.
const belowS = 3_600
const quarterS = 900

const zeros16 = '00000000000000000000000000000000'
// Replays are traffic of ours, not of the workspace.
const isCall = `(type IN ('llm', 'embedding') OR usage != 0 OR run_id != unhex('${zeros16}')) AND origin != 'replay'`

type Scope = { calls: Where; around: Where }

/** The calls that begin in a time, in seconds, and the spans among which those below them are. */
export function callsBetween(calls: Where, fromS: number, toS: number): Scope {
  return {
    calls: and(
      calls,
      'start_time >= toDateTime({from:UInt32}) AND start_time < toDateTime({to:UInt32})',
      {
        from: fromS,
        to: toS,
      },
    ),
    around: and(
      workspaceOf(calls),
      'start_time >= toDateTime({from:UInt32}) AND start_time < toDateTime({near:UInt32})',
      { from: fromS, near: toS + belowS },
    ),
  }
}

/** The calls of these quarters of an hour, given by the seconds at which they begin. */
export function callsInQuarters(calls: Where, quarters: readonly number[]): Scope {
  const later = Array.from({ length: belowS / quarterS + 1 }, (_, i) => i * quarterS)
  const around = new Set(quarters.flatMap((quarter) => later.map((s) => quarter + s)))
  const among = (name: string) =>
    `toStartOfFifteenMinutes(start_time) IN (SELECT toDateTime(arrayJoin({${name}:Array(UInt32)})))`
  return {
    calls: and(calls, among('quarters'), { quarters: [...quarters] }),
    around: and(workspaceOf(calls), among('around'), { around: [...around] }),
  }
}

function workspaceOf({ params }: Where): Where {
  return inWorkspace(String(params.workspace))
}

/**
 * A SELECT over calls, with `is_request` (no call lies below it) and `is_usage` (it reports usage, and nothing below it does).
 * The latest of a span that was sent twice counts.
 */
export function callsSql({ calls, around }: Scope): Where {
  // One that names itself as its parent is below nothing, least of all below itself.
  const spans = `SELECT trace_id, groupUniqArray((span_id, parent_span_id, ${isCall}, usage != 0)) AS members
      FROM spans WHERE ${around.sql} AND parent_span_id != span_id GROUP BY trace_id HAVING uniqIf(span_id, ${isCall}) > 1`
  // Each step of the climb reads the tree anew, so it is made in one pass over the spans.
  const sql = `WITH RECURSIVE tree AS (
      SELECT trace_id, one.1 AS span_id, one.2 AS parent_span_id, one.3 AS is_call, one.4 AS reports
      FROM (${spans}) ARRAY JOIN members AS one),
    up AS (
      SELECT trace_id, parent_span_id AS id, reports, toUInt8(1) AS height FROM tree WHERE is_call
      UNION ALL
      SELECT t.trace_id AS trace_id, t.parent_span_id AS id, up.reports AS reports, toUInt8(up.height + 1) AS height
      FROM up INNER JOIN tree AS t ON t.trace_id = up.trace_id AND t.span_id = up.id
      WHERE up.height < ${climbMax} AND NOT (t.is_call AND t.reports >= up.reports))
    SELECT call.*, above.is_above = 0 AS is_request, call.usage != 0 AND above.reports = 0 AS is_usage
    FROM (
      SELECT * EXCEPT (attr_str, attr_num, input_preview, output_preview) FROM spans WHERE ${calls.sql} AND ${isCall}
      ORDER BY ingest_seq DESC LIMIT 1 BY trace_id, span_id) AS call
    LEFT JOIN (SELECT trace_id, id, toUInt8(1) AS is_above, max(reports) AS reports FROM up GROUP BY trace_id, id) AS above
      ON above.trace_id = call.trace_id AND above.id = call.span_id`
  return { sql, params: { ...calls.params, ...around.params } }
}

// A call that its caller left, or that a cache answered, is not a failure of the model.
const failed = "status IN ('error', 'truncated', 'interrupted')"

/** Figures over the rows of `callsSql`, under the names of the columns of `rollups`. */
export const figuresOfCalls = `countIf(is_request) AS requests, countIf(is_request AND ${failed}) AS errors,
  sumIf(toUInt64(input_tokens), is_usage) AS input_tokens, sumIf(toUInt64(output_tokens), is_usage) AS output_tokens,
  sumIf(cost_nano_usd, is_usage) AS cost_nano_usd,
  quantilesBFloat16StateIf(0.5, 0.95, 0.99)(duration_ns, is_request) AS duration,
  quantilesBFloat16StateIf(0.5, 0.95, 0.99)(ttft_ns, is_request AND ttft_ns != 0) AS ttft`
