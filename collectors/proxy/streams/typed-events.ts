// Streams whose events say in a `type` what they are, and whose last one is known by it: there is no [DONE]. The receipt's
// comment goes directly before the `data:` line of that event.

import type { Fault } from '../../../schemas/faults.ts'
import type { Terminal } from '../operation.ts'
import { isObject } from '../usage.ts'
import { type LastBlock, readData } from './sse-blocks.ts'

// The closing event may hold the whole answer; it is held until the final record is durable.
const closingBytesMax = 16 * 1024 * 1024
const lookBytes = 256
const lf = 0x0a
const cr = 0x0d

export function closedBy(types: ReadonlySet<string>): Terminal {
  const names = [...types]
  const any = names.map((name) => name.replaceAll('.', '\\.')).join('|')
  const beginning = new RegExp(
    `^\\uFEFF?(?:[^\\r\\n]*[\\r\\n])*?(?:event: ?|data: ?\\{\\s*"type"\\s*:\\s*")(?:${any})\\b`,
  )
  return {
    bytesMax: closingBytesMax,
    mayBecome: (start) => beginning.test(start.toString('utf8', 0, lookBytes)),
    read(block) {
      // Bytes first, because every event is asked: one search settles nearly all of them.
      if (!names.some((name) => block.includes(name))) return undefined
      const type = parseEvent(readData(block))?.type
      return typeof type === 'string' && types.has(type) ? part(block) : undefined
    },
  }
}

/** Both forms of an error in one event: the flat one of such streams, and the nested one that every SDK throws on. */
export function breakTyped(fault: Fault, comment: string | undefined): string {
  const { error } = fault.toBody()
  const { code, message, param } = error
  const event = { type: 'error', code, message, param, error }
  const lines = ['event: error', ...(comment === undefined ? [] : [comment])]
  return `${lines.join('\n')}\ndata: ${JSON.stringify(event)}\n\n`
}

/** An event's object; undefined when there is none, or it is no JSON. */
export function parseEvent(data: string | undefined): Record<string, unknown> | undefined {
  if (data === undefined || data === '') return undefined
  try {
    const event: unknown = JSON.parse(data)
    return isObject(event) ? event : undefined
  } catch {
    return undefined // not ours to judge: it passes
  }
}

function part(block: Buffer): LastBlock {
  const start = startOfData(block)
  const end = endOfLine(block, start)
  const eol = block[end] === cr ? (block[end + 1] === lf ? '\r\n' : '\r') : '\n'
  return { before: block.subarray(0, start), from: block.subarray(start), eol, says: block }
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
