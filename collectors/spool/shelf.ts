// What the spool holds, in order: its segments, how much of them is not in ClickHouse yet, and since when.
// Law: `tail` is durable; a place before `cursor` has been drained or quarantined.

import { type Chunk, isBefore, type Position, rowsOf } from './chunk.ts'
import type { Range } from './scan.ts'
import { segmentHeadBytes } from './segment.ts'

// The age of the backlog is known to this grain; one entry per second of backlog is kept.
const arrivalGrainMs = 1_000

export type ShelfSegment = { number: number; mark: Buffer; end: number; sealed: boolean }

export class Shelf {
  cursor: Position
  undrainedBytes = 0
  undrainedChunks = 0
  undrainedRows = 0
  readonly #segments: ShelfSegment[] = []
  readonly #arrivals: { at: Position; ms: number }[] = []
  readonly #held: Chunk[] = []
  readonly #heldBytesMax: number
  #heldBytes = 0

  constructor(cursor: Position, heldBytesMax: number) {
    this.cursor = cursor
    this.#heldBytesMax = heldBytesMax
  }

  get tail(): Position {
    const last = this.#segments.at(-1)
    if (!last) return this.cursor
    const end = { segment: last.number, offset: last.end }
    return isBefore(end, this.cursor) ? this.cursor : end
  }

  get segments(): readonly ShelfSegment[] {
    return this.#segments
  }

  addSegment(segment: ShelfSegment): void {
    this.#segments.push(segment)
  }

  seal(number: number, end: number): void {
    const segment = this.#segments.find((one) => one.number === number)
    if (!segment) return
    segment.sealed = true
    segment.end = end
  }

  /** A chunk that is durable, at the end of the last segment. True when its bytes are kept for the drain: while they fit. */
  append(chunk: Chunk): boolean {
    const last = this.#segments.at(-1)
    if (last) last.end = chunk.at.offset + chunk.bytes
    this.count(chunk)
    if (this.#heldBytes + chunk.bytes > this.#heldBytesMax) return false
    this.#held.push(chunk)
    this.#heldBytes += chunk.bytes
    return true
  }

  /** Counts a chunk as undrained; recovery calls it for what it finds. */
  count(chunk: Chunk): void {
    this.undrainedBytes += chunk.bytes
    this.undrainedChunks += 1
    this.undrainedRows += rowsOf(chunk)
    const last = this.#arrivals.at(-1)
    if (!last || Math.abs(chunk.arrivalMs - last.ms) >= arrivalGrainMs)
      this.#arrivals.push({ at: chunk.at, ms: chunk.arrivalMs })
  }

  /** The chunk at exactly this place, if its bytes are still held. */
  held(at: Position): Chunk | undefined {
    const held = this.#held
    let from = 0
    for (let to = held.length; from < to; ) {
      const middle = (from + to) >> 1
      if (isBefore(held[middle]!.at, at)) from = middle + 1
      else to = middle
    }
    const found = held[from]
    return found && !isBefore(at, found.at) ? found : undefined
  }

  /** Where to read on from `at`: the rest of its segment, or the next segment that has something. Undefined at the tail. */
  rangeFrom(at: Position): Range | undefined {
    for (const { number, mark, end } of this.#segments) {
      if (number < at.segment) continue
      const from = number === at.segment ? Math.max(at.offset, segmentHeadBytes) : segmentHeadBytes
      if (from < end) return { number, mark, from, end }
    }
    return undefined
  }

  /** Moves the cursor over chunks that were drained; those whose bytes were held until now. */
  advance(to: Position, drained: readonly Chunk[]): readonly Chunk[] {
    this.cursor = to
    const stays = this.#held.findIndex(({ at }) => !isBefore(at, to))
    const freed = this.#held.splice(0, stays < 0 ? this.#held.length : stays)
    for (const { bytes } of freed) this.#heldBytes -= bytes
    for (const chunk of drained) {
      this.undrainedBytes -= chunk.bytes
      this.undrainedChunks -= 1
      this.undrainedRows -= rowsOf(chunk)
    }
    while (this.#arrivals[1] && !isBefore(to, this.#arrivals[1].at)) this.#arrivals.shift()
    if (isBefore(to, this.tail)) return freed
    // Chunks that rotted after they were counted never arrive here; at the tail nothing can be left.
    this.undrainedBytes = 0
    this.undrainedChunks = 0
    this.undrainedRows = 0
    this.#arrivals.length = 0
    return freed
  }

  /** Sealed segments that the cursor has left behind; they are off the shelf when this returns. */
  takeDrained(): number[] {
    const drained: number[] = []
    for (let first = this.#segments[0]; first?.sealed; first = this.#segments[0]) {
      if (isBefore(this.cursor, { segment: first.number, offset: first.end })) break
      drained.push(first.number)
      this.#segments.shift()
    }
    return drained
  }

  /** Milliseconds since the oldest undrained chunk arrived, 0 when there is none. */
  oldestMs(nowMs: number): number {
    const first = this.#arrivals[0]
    return first ? Math.max(0, nowMs - first.ms) : 0
  }
}
