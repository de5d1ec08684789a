// Span events that carry a conversation (older GenAI conventions): their attributes fill the same fields as span attributes.

import { eventKeys } from './key-table.ts'
import type { SpanScan } from './span-scan.ts'

const head = Buffer.from('gen_ai.')
// The name comes first or after a timestamp of nine bytes; every writer we know keeps field order.
const nameWithinBytes = 16

/** Whether the event's name may be one of ours; cheap, because most events are exceptions and logs. */
export function mayBeDialectEvent(bytes: Buffer, start: number, end: number): boolean {
  const last = Math.min(start + nameWithinBytes, end - head.length)
  for (let at = start; at <= last; at++) {
    let same = 0
    while (same < head.length && bytes[at + same] === head[same]) same++
    if (same === head.length) return true
  }
  return false
}

/** Reads the event between `start` and `end`, which has been checked, and leaves the reader at its end. */
export function readDialectEvent(scan: SpanScan, start: number, end: number): void {
  const { reader } = scan
  const name = readName(scan, start, end)
  const keys = eventKeys.get(name)
  reader.at = start
  while (keys !== undefined && reader.at < end) {
    const tag = reader.tag(end)
    if (tag !== 26) {
      reader.skip(tag, end)
      continue
    }
    const inner = reader.lengthEnd(end)
    const key = readKeyValue(scan, inner)
    const claim = keys.get(key)
    if (claim) scan.claim(claim.field, claim.rank)
  }
  reader.at = end
}

function readName(scan: SpanScan, start: number, end: number): string {
  const { reader } = scan
  reader.at = start
  while (reader.at < end) {
    const tag = reader.tag(end)
    if (tag === 18) {
      const nameEnd = reader.lengthEnd(end)
      return reader.bytes.toString('latin1', reader.at, nameEnd)
    }
    reader.skip(tag, end)
  }
  return ''
}

function readKeyValue(scan: SpanScan, end: number): string {
  const { reader } = scan
  let key = ''
  scan.clearValue()
  while (reader.at < end) {
    const tag = reader.tag(end)
    if (tag === 10) {
      const keyEnd = reader.lengthEnd(end)
      key = reader.bytes.toString('latin1', reader.at, keyEnd)
      reader.at = keyEnd
    } else if (tag === 18) scan.readValue(reader.lengthEnd(end))
    else reader.skip(tag, end)
  }
  return key
}
