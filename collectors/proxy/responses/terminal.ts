// Which block ends a Responses stream: the event that closes the response, with all of it inside. The receipt's comment goes
// directly before its `data:` line.

import type { Terminal } from '../operation.ts'
import { type LastBlock, readData } from '../sse-blocks.ts'
import { isObject } from '../usage.ts'
import { isClosing } from './tap.ts'

// The closing event repeats the whole answer; it is held until the final record is durable.
const closingBytesMax = 16 * 1024 * 1024
const lookBytes = 256
const lf = 0x0a
const cr = 0x0d

export const closingTerminal: Terminal = {
  bytesMax: closingBytesMax,
  mayBecome(start: Buffer): boolean {
    return /^\uFEFF?(?:[^\r\n]*[\r\n])*?(?:event: ?|data: ?\{\s*"type"\s*:\s*")response\.(?:completed|failed|incomplete)\b/.test(
      start.toString('utf8', 0, lookBytes),
    )
  },
  read: readClosing,
}

function readClosing(block: Buffer): LastBlock | undefined {
  if (!mentionsClosing(block)) return undefined
  const data = readData(block)
  if (data === undefined || !isClosing(typeOf(data))) return undefined
  const start = startOfData(block)
  const end = endOfLine(block, start)
  const eol = block[end] === cr ? (block[end + 1] === lf ? '\r\n' : '\r') : '\n'
  return { before: block.subarray(0, start), from: block.subarray(start), eol, says: block }
}

/** Bytes first, because every event is asked: one search settles nearly all of them. */
function mentionsClosing(block: Buffer): boolean {
  return (
    block.includes('response.completed') ||
    block.includes('response.failed') ||
    block.includes('response.incomplete')
  )
}

function typeOf(data: string): unknown {
  try {
    const event: unknown = JSON.parse(data)
    return isObject(event) ? event.type : undefined
  } catch {
    return undefined // not ours to judge: it passes
  }
}

/** Where the first line that begins with `data` begins. */
function startOfData(block: Buffer): number {
  for (let at = 0; at < block.length; at = endOfLine(block, at) + 1) {
    if (block.toString('latin1', at, at + 5) === 'data:') return at
  }
  return 0
}

function endOfLine(block: Buffer, from: number): number {
  let at = from
  while (at < block.length && block[at] !== lf && block[at] !== cr) at += 1
  return at
}
