// Chunks out of a segment, a window at a time, for recovery and for draining alike.
// Law: every byte of the range asked for is in exactly one chunk or one damage that is handed out.

import {
  bodyCrcOf,
  type Chunk,
  type ChunkHeader,
  headerBytes,
  markBytes,
  type Place,
  type Position,
  readHeader,
  unpackBody,
} from './chunk.ts'
import { type DiskFile, readFull } from './disk.ts'
import { readSegmentHead, type SegmentHead, segmentHeadBytes } from './segment.ts'

/** Bytes that are no intact chunk. `body`: the header held, so the length is known; `header`: up to the next intact header. */
export type Damage = { at: Position; bytes: number; reason: 'header' | 'body' }

/** `journal`: the bytes of `journal.ts`, when a call begins or ends there. */
export type Found = Chunk & { journal: Buffer | undefined }

export type Window = { items: (Found | Damage)[]; next: number }

export type Range = { number: number; mark: Buffer; from: number; end: number }

export function isDamage(item: Found | Damage): item is Damage {
  return 'reason' in item
}

/**
 * The items that begin in `windowBytes` from `range.from`; a chunk larger than the window is read whole. `next` is where to go on,
 * `range.end` when done. Throws on disk errors and on chunks of a newer version.
 */
export async function readWindow(
  file: DiskFile,
  range: Range,
  windowBytes: number,
): Promise<Window> {
  let size = Math.min(Math.max(windowBytes, 2 * headerBytes), range.end - range.from)
  for (;;) {
    const bytes = Buffer.allocUnsafeSlow(size)
    const got = await readFull(file, bytes, range.from)
    // A file shorter than its range was cut by someone else: what is missing reads as zeros, which are damage.
    bytes.fill(0, got)
    const window = new WindowParser(range, bytes)
    const needed = window.parse()
    if (needed === undefined) return { items: window.items, next: range.from + window.at }
    size = needed
  }
}

/** The mark that the chunks of a segment begin with: from its head, or, when that is damaged, from its first chunk. */
export async function readIdentity(
  file: DiskFile,
  number: number,
): Promise<{ head: SegmentHead | undefined; mark: Buffer | undefined }> {
  const bytes = Buffer.alloc(segmentHeadBytes + headerBytes)
  await readFull(file, bytes, 0)
  const head = readSegmentHead(bytes, number)
  if (head) return { head, mark: head.mark }
  const first = bytes.subarray(segmentHeadBytes)
  const mark = Buffer.from(first.subarray(0, markBytes))
  const place = { mark, at: { segment: number, offset: segmentHeadBytes } }
  return { head, mark: readHeader(first, place) ? mark : undefined }
}

/** Parses one window; `at` is how far it came. */
class WindowParser {
  readonly items: (Found | Damage)[] = []
  at = 0
  readonly #range: Range
  readonly #bytes: Buffer
  readonly #isLast: boolean

  constructor(range: Range, bytes: Buffer) {
    this.#range = range
    this.#bytes = bytes
    this.#isLast = range.from + bytes.length >= range.end
  }

  /** Undefined when done; else the window size that the first chunk needs. */
  parse(): number | undefined {
    while (this.at < this.#bytes.length) {
      if (this.#bytes.length - this.at < headerBytes) {
        if (!this.#isLast) return undefined
        this.#damage(this.#bytes.length - this.at, 'header')
        return undefined
      }
      const header = readHeader(this.#bytes.subarray(this.at), this.#place())
      const bytes = header ? headerBytes + header.bodyBytes : 0
      if (!header || this.#range.from + this.at + bytes > this.#range.end) this.#skipToMark()
      else if (this.at + bytes > this.#bytes.length) return this.at === 0 ? bytes : undefined
      else this.#take(header, bytes)
    }
    return undefined
  }

  #take(header: ChunkHeader, bytes: number): void {
    const { at } = this.#place()
    const body = this.#bytes.subarray(this.at + headerBytes, this.at + bytes)
    if (bodyCrcOf([body], at.segment) !== header.bodyCrc) {
      this.#damage(bytes, 'body')
      return
    }
    const unpacked = unpackBody(body)
    if (!unpacked)
      throw new Error(
        `Segment ${at.segment} holds a table that only a newer version of Runledger knows; that version must drain it`,
      )
    const { firstSeq, seqs, arrivalMs, bodyCrc } = header
    const facts = { at, bytes, firstSeq, seqs, arrivalMs, bodyCrc }
    this.items.push({ ...facts, slabs: [], ...unpacked })
    this.at += bytes
  }

  /** Bytes that are no header, up to where the next mark may begin. Later turns check that mark and may go on skipping. */
  #skipToMark(): void {
    const found = this.#bytes.indexOf(this.#range.mark, this.at + 1)
    const rest = this.#bytes.length - (this.#isLast ? 0 : markBytes - 1)
    const to = found >= 0 ? found : Math.max(rest, this.at + 1)
    this.#damage(to - this.at, 'header')
  }

  #damage(bytes: number, reason: Damage['reason']): void {
    const last = this.items.at(-1)
    if (last && isDamage(last) && last.reason === reason && reason === 'header') last.bytes += bytes
    else this.items.push({ at: this.#place().at, bytes, reason })
    this.at += bytes
  }

  #place(): Place {
    return {
      mark: this.#range.mark,
      at: { segment: this.#range.number, offset: this.#range.from + this.at },
    }
  }
}
