// Whether a scanned span can be one: its ids and its times.

import type { SpanScan } from './span-scan.ts'
import { BadSpan } from './tally.ts'

// Clocks run ahead; a day of it is believed.
const futureNsMax = 86_400_000_000_000n
// Seconds, milliseconds and microseconds in place of nanoseconds all land within three weeks of 1970.
const startHighMin = Math.floor((365 * 86_400 * 1e9) / 2 ** 32)

/** The latest start that is believed, in nanoseconds, as words. */
export type Latest = { high: number; low: number }

export function latestStart(nowMs: number): Latest {
  const latest = BigInt(nowMs) * 1_000_000n + futureNsMax
  return { high: Number(latest >> 32n), low: Number(latest & 0xffffffffn) }
}

/** Throws BadSpan unless ids and times are as trace.proto and contract section 4 ask. */
export function checkSpan(scan: SpanScan, latest: Latest): void {
  const { bytes } = scan.reader
  requireId(bytes, { name: 'trace_id', at: scan.traceIdAt, end: scan.traceIdEnd, size: 16 })
  requireId(bytes, { name: 'span_id', at: scan.spanIdAt, end: scan.spanIdEnd, size: 8 })
  const parentBytes = scan.parentEnd - scan.parentAt
  if (parentBytes !== 0 && parentBytes !== 8)
    throw new BadSpan('invalid_parent_span_id', `parent_span_id has ${parentBytes} bytes, not 8`)
  if (scan.startLow === 0 && scan.startHigh === 0)
    throw new BadSpan('invalid_time', 'start_time_unix_nano is missing')
  if (scan.startHigh < startHighMin)
    throw new BadSpan('invalid_time', 'start_time_unix_nano is before 1971; is it in nanoseconds?')
  const ahead = scan.startHigh - latest.high || scan.startLow - latest.low
  if (ahead > 0)
    throw new BadSpan('invalid_time', 'start_time_unix_nano is more than a day in the future')
  if (scan.endHigh >= 0x80000000)
    throw new BadSpan('invalid_time', 'end_time_unix_nano is beyond the year 2262')
}

function requireId(
  bytes: Buffer,
  id: { name: 'trace_id' | 'span_id'; at: number; end: number; size: number },
): void {
  const found = id.end - id.at
  if (found !== id.size) {
    const hint = found === 2 * id.size ? '; is it hex text in place of bytes?' : ''
    throw new BadSpan(`invalid_${id.name}`, `${id.name} has ${found} bytes, not ${id.size}${hint}`)
  }
  let some = 0
  for (let i = id.at; i < id.end; i++) some |= bytes[i]!
  if (some === 0) throw new BadSpan(`invalid_${id.name}`, `${id.name} is all zero`)
}

/** A metric's name, description and unit read as ids and trace state, and it has no times. */
export function isMetricLike(scan: SpanScan): boolean {
  const { bytes } = scan.reader
  const size = scan.traceIdEnd - scan.traceIdAt
  if (size < 1 || size === 16 || size === 32) return false
  for (let i = scan.traceIdAt; i < scan.traceIdEnd; i++)
    if (bytes[i]! < 0x20 || bytes[i]! > 0x7e) return false
  return scan.startHigh === 0 && scan.startLow === 0 && scan.endHigh === 0 && scan.endLow === 0
}
