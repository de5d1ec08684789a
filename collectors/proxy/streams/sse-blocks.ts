// Cuts a stream of server-sent events into whole blocks, byte for byte, whatever way it arrives. A client can do nothing
// with half an event, so the end of one is waited for; an event that grows large passes in pieces.

import type { Terminal } from '../operation.ts'

// Above this an unfinished block no longer waits: a client that reads slowly should not hold it here.
const waitingBytesMax = 64 * 1024
// Above this an event is no event of any model; the stream is given up.
const blockBytesMax = 16 * 1024 * 1024
const carryBytesFirst = 512
const doneBlockBytesMax = 1024

const lf = 0x0a
const cr = 0x0d
const tab = 0x09
const space = 0x20
const dataField = [0x64, 0x61, 0x74, 0x61, 0x3a] // data:
const [openBracket, closeBracket, openBrace] = [0x5b, 0x5d, 0x7b]

/** The block that ends a stream, parted where its receipt goes: before the line that says so. */
export type LastBlock = {
  /** Lines of the same block before that line. */
  before: Buffer
  /** From that line to the end of what has come. */
  from: Buffer
  /** The line ending the upstream uses. */
  eol: string
  /** The whole block, when it says more than that the stream is over. */
  says?: Buffer
}

/** One stream. After `push`, `passing` and `blocks` are valid until the next one. */
export class SseBlocks {
  /** Bytes that may leave now, in order. */
  passing: Buffer[] = []
  /** The blocks that became whole, to be looked at after the bytes have left. */
  blocks: Buffer[] = []
  /** Set once the last block has come; what is pushed afterwards passes as it is. */
  done: LastBlock | undefined
  /** True when one event was larger than any model sends; nothing more is taken. */
  overflow = false
  /** True when the unfinished block has already left in part. */
  midBlock = false

  readonly #terminal: Terminal
  readonly #dropUsageBlock: boolean
  #carry: Buffer | undefined
  #carryLength = 0
  // Positions within the unfinished block: where to go on, where its present line began, what has left.
  #scanned = 0
  #lineStart = 0
  #passed = 0
  #skipLf = false

  /** `dropUsageBlock`: leave out the chunk that has usage and no choices, because we asked for it and the client did not. */
  constructor(terminal: Terminal, dropUsageBlock: boolean) {
    this.#terminal = terminal
    this.#dropUsageBlock = dropUsageBlock
  }

  push(chunk: Buffer): void {
    this.#clear()
    if (this.done) {
      this.passing.push(chunk)
      return
    }
    const bytes = this.#carry ? this.#append(chunk) : chunk
    const rest = this.#cut(bytes)
    if (this.done) return
    this.#keep(bytes, rest)
  }

  /** Ends the stream: an unfinished block that would be the last counts, as both official SDKs count it. */
  end(): void {
    this.#clear()
    if (!this.done && this.#carry) {
      const block = this.#carry.subarray(0, this.#carryLength)
      this.done = this.#passed > 0 ? undefined : this.#terminal.read(block)
      if (!this.done) this.midBlock = this.#passed > 0
    }
  }

  /** Walks the lines from where the last push stopped; the position where the unfinished block begins. */
  #cut(bytes: Buffer): number {
    let start = 0
    let sentTo = this.#passed
    let line = this.#lineStart
    let at = this.#scanned
    if (this.#skipLf && bytes[at] === lf) {
      // The second half of a CRLF whose first half ended the last push.
      at += 1
      line = at
      if (at === 1) start = 1
    }
    this.#skipLf = false
    // Where no CR comes, as from nearly every upstream, a line's end is one search.
    const hasCr = bytes.includes(cr, at)
    const eolFrom = hasCr ? nextEol : nextLf
    for (at = eolFrom(bytes, at); at < bytes.length; at = eolFrom(bytes, at)) {
      const isBlank = at === line
      if (bytes[at] === cr) {
        if (bytes[at + 1] === lf) at += 1
        else if (at + 1 === bytes.length) this.#skipLf = true
      }
      at += 1
      line = at
      if (!isBlank) continue
      const block = part(bytes, start, at)
      // A block that has left in part cannot be parted any more.
      const mayEnd = block.length <= this.#terminal.bytesMax && sentTo <= start
      const done = mayEnd ? this.#terminal.read(block) : undefined
      if (done) {
        this.#pass(bytes, sentTo, start)
        this.done = { ...done, from: bytes.subarray(start + done.before.length) }
        return bytes.length
      }
      if (this.#dropUsageBlock && sentTo <= start && isUsageBlock(block)) {
        this.#pass(bytes, sentTo, start)
        sentTo = at
      }
      this.blocks.push(block)
      start = at
    }
    this.#pass(bytes, sentTo, start)
    this.#passed = Math.max(sentTo, start) - start
    this.#lineStart = line - start
    this.#scanned = bytes.length - start
    return start
  }

  /** New ones: to set a length of 0 costs a microsecond each. */
  #clear(): void {
    this.passing = []
    this.blocks = []
  }

  #pass(bytes: Buffer, from: number, to: number): void {
    if (to > from) this.passing.push(part(bytes, from, to))
  }

  /** Holds the unfinished block. What has been handed out is never written over: a new block takes new memory. */
  #keep(bytes: Buffer, start: number): void {
    const length = bytes.length - start
    if (start > 0 || !this.#carry) {
      this.#carry = undefined
      this.#carryLength = 0
      if (length > 0) this.#append(bytes.subarray(start))
    }
    if (length > blockBytesMax) {
      this.overflow = true
      return
    }
    if (length > waitingBytesMax && this.#passed < length && !this.#isHeld(length)) {
      // Copied, because the carry grows in place while these bytes are still on their way.
      this.passing.push(Buffer.from(this.#carry!.subarray(this.#passed, length)))
      this.#passed = length
    }
    this.midBlock = this.#passed > 0
  }

  /** The last block waits for the receipt that goes into it, however large it is. */
  #isHeld(length: number): boolean {
    return this.#passed === 0 && this.#terminal.mayBecome(this.#carry!.subarray(0, length))
  }

  #append(more: Buffer): Buffer {
    const needed = this.#carryLength + more.length
    if (!this.#carry || needed > this.#carry.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#carryLength, carryBytesFirst))
      this.#carry?.copy(larger, 0, 0, this.#carryLength)
      this.#carry = larger
    }
    more.copy(this.#carry, this.#carryLength)
    this.#carryLength = needed
    return this.#carry.subarray(0, needed)
  }
}

/** The text of an event: its `data` lines joined by LF; undefined when it has none (comments, `retry:`). */
export function readData(block: Buffer): string | undefined {
  // What nearly every upstream sends: one line, `data: …`.
  if (block.length > 6 && block.toString('latin1', 0, 5) === 'data:') {
    const end = nextEol(block, 5)
    if (isBlankFrom(block, end)) return block.toString('utf8', block[5] === 0x20 ? 6 : 5, end)
  }
  let data: string | undefined
  for (const line of block
    .toString()
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)) {
    const value = valueOfData(line)
    if (value !== undefined) data = data === undefined ? value : `${data}\n${value}`
  }
  return data
}

/** `data: [DONE]`, of which the SDKs want exactly that. */
export const doneTerminal: Terminal = {
  bytesMax: doneBlockBytesMax,
  mayBecome: () => false,
  read: readDone,
}

function readDone(block: Buffer): LastBlock | undefined {
  if (isObjectLine(block)) return undefined
  const marker = block.indexOf('[DONE]')
  if (marker < 0 || readData(block) !== '[DONE]') return undefined
  let start = marker
  while (start > 0 && block[start - 1] !== lf && block[start - 1] !== cr) start -= 1
  const end = nextEol(block, marker)
  const eol = block[end] === cr ? (block[end + 1] === lf ? '\r\n' : '\r') : '\n'
  return { before: block.subarray(0, start), from: block.subarray(start), eol }
}

/** A chunk with `"choices": []` and a usage: the one that `include_usage` adds. Bytes first, because every event is asked. */
function isUsageBlock(block: Buffer): boolean {
  if (!hasEmptyList(block)) return false
  const at = block.lastIndexOf('"choices"')
  if (at < 0 || !/^"choices"\s*:\s*\[\s*\]/.test(block.toString('latin1', at, at + 32)))
    return false
  const data = readData(block)
  if (data === undefined) return false
  try {
    const chunk = JSON.parse(data)
    return Array.isArray(chunk?.choices) && chunk.choices.length === 0 && chunk.usage != null
  } catch {
    return false // not ours to judge: it passes
  }
}

/** True of `data: {…`, as nearly every event begins: told by its first bytes, because every event is asked. */
function isObjectLine(block: Buffer): boolean {
  for (let at = 0; at < dataField.length; at++) if (block[at] !== dataField[at]) return false
  return block[block[dataField.length] === space ? 6 : 5] === openBrace
}

function hasEmptyList(block: Buffer): boolean {
  for (let at = block.indexOf(openBracket); at >= 0; at = block.indexOf(openBracket, at + 1)) {
    let next = at + 1
    while (isBlank(block[next])) next += 1
    if (block[next] === closeBracket) return true
  }
  return false
}

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === tab || byte === lf || byte === cr
}

function valueOfData(line: string): string | undefined {
  if (line === 'data') return ''
  if (!line.startsWith('data:')) return undefined
  return line.slice(line[5] === ' ' ? 6 : 5)
}

/** True when nothing but line endings follows. */
function isBlankFrom(block: Buffer, from: number): boolean {
  for (let at = from; at < block.length; at++) {
    if (block[at] !== lf && block[at] !== cr) return false
  }
  return true
}

/** A view costs as much as a search through an event, and most pieces of a stream are one whole event. */
function part(bytes: Buffer, from: number, to: number): Buffer {
  return from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to)
}

function nextLf(bytes: Buffer, from: number): number {
  const at = bytes.indexOf(lf, from)
  return at < 0 ? bytes.length : at
}

function nextEol(bytes: Buffer, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at] !== lf && bytes[at] !== cr) at += 1
  return at
}
