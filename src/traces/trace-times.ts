// Times of a search: nanoseconds in the buckets of the key, and the minutes by which summaries are kept.

import { and, bucketNs, type Where } from './trace-query.ts'
import type { Rows } from './traces.ts'

const nsPerMs = 1_000_000n

/** The summaries of the minutes in which these times lie. */
export function inMinutes(where: Where, fromNs: bigint, toNs: bigint): Where {
  return and(
    where,
    'minute BETWEEN toDateTime({lowMinute:UInt32}) AND toDateTime({highMinute:UInt32})',
    { lowMinute: toMinute(fromNs), highMinute: toMinute(toNs) },
  )
}

// A DateTime of ClickHouse counts seconds in 32 bits.
function toMinute(ns: bigint): number {
  const seconds = Number(min(max(0n, ns) / 1_000_000_000n, 0xffff_ffffn))
  return seconds - (seconds % 60)
}

/** The end of the last of these minutes in which there are spans. */
export async function lastMinute(rows: Rows, { sql, params }: Where): Promise<bigint | undefined> {
  const [last] = await rows.query<{ startS: number }>({
    sql: `SELECT toUnixTimestamp(minute) AS startS FROM traces WHERE ${sql} ORDER BY workspace DESC, minute DESC LIMIT 1`,
    params,
  })
  return last && toNs((last.startS + 60) * 1_000)
}

/** The end of the bucket that a time is in. */
export function bucketEnd(ns: bigint): bigint {
  return ns + ((bucketNs - (ns % bucketNs)) % bucketNs)
}

export function toNs(ms: number): bigint {
  return BigInt(Math.floor(ms)) * nsPerMs
}

export function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

export function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
