// The segment being written and the one ready behind it. Rolls from one to the next; gives one up after an error.
// Law: one segment at a time takes chunks, in the order of their numbers.

import type { Position } from './chunk.ts'
import type { Disk } from './disk.ts'
import type { SpoolLimits } from './limits.ts'
import { type Drained, Segment, segmentName } from './segment.ts'
import type { Shelf } from './shelf.ts'

export type SegmentsDeps = {
  disk: Disk
  dir: string
  node: string
  limits: SpoolLimits
  shelf: Shelf
  onBytes: (bytes: number) => void
  /** Hears of failures in the background; the commit that needs the space meets them again. */
  onTrouble: (error: unknown) => void
  /** A drained segment to write over, if there is one to spare. */
  reuse: () => Drained | undefined
  /** The end of everything written by earlier processes. */
  previous: Position
  nextNumber: number
}

export class Segments {
  readonly #deps: SegmentsDeps
  #previous: Position
  #nextNumber: number
  #active: Segment | undefined
  #next: Promise<Segment> | undefined
  /** What `#next` resolved to. */
  #ready: Segment | undefined
  #ahead: Promise<void> | undefined
  #ending: Promise<void> | undefined

  constructor(deps: SegmentsDeps) {
    this.#deps = deps
    this.#previous = deps.previous
    this.#nextNumber = deps.nextNumber
  }

  /** Bytes of the files that are open for writing, zeros included. */
  get preparedBytes(): number {
    return this.#active?.prepared ?? 0
  }

  /** The segment that takes a chunk of this size. A chunk larger than a segment gets one to itself. */
  async forChunk(bytes: number): Promise<Segment> {
    const active = this.#active
    if (active && (active.isEmpty || active.end + bytes <= this.#deps.limits.segmentBytes))
      return active
    this.#active = undefined
    // Not waited for: cutting a file waits for what the file system commits just then, and everybody would wait with it.
    if (active) void this.#end(active)
    const taken = this.#next ?? this.#create()
    this.#forgetNext()
    const segment = await taken
    this.#active = segment
    return segment
  }

  async append(segment: Segment, pieces: readonly Buffer[]): Promise<void> {
    const wasEmpty = segment.isEmpty
    await segment.append(pieces, this.#previous)
    if (wasEmpty) {
      const { number, mark, end } = segment
      this.#deps.shelf.addSegment({ number, mark, end, sealed: false })
    }
    this.#lookAhead(segment)
  }

  /**
   * Ends the segment being written; where everything written so far ends. Not while a chunk is appended. A segment that is ready
   * behind it may hold bytes of before, and goes.
   */
  async cut(): Promise<Position> {
    const active = this.#active
    if (active && !active.isEmpty) {
      this.#active = undefined
      await this.#end(active)
    }
    const next = await this.#next?.catch(this.#deps.onTrouble)
    if (next?.isReused) await this.#dropNext()
    return this.#deps.shelf.tail
  }

  /** After a failed append: the good part stays, the rest is blanked, and the next chunk starts a new segment. */
  async abandon(): Promise<void> {
    const active = this.#active
    if (!active) return
    this.#active = undefined
    this.#leave(active)
    this.#deps.shelf.seal(active.number, active.end)
    await active.abandon()
    if (active.isEmpty) await this.#remove(active)
  }

  async close(): Promise<void> {
    await this.#ahead
    const active = this.#active
    this.#active = undefined
    if (active) await this.#end(active)
    if (active?.isEmpty) await this.#remove(active)
    await this.#dropNext()
    await this.ended()
  }

  /** Resolves when every segment that was left before is as long as it will stay, and sealed. */
  async ended(): Promise<void> {
    while (this.#ending) await this.#ending
  }

  async #dropNext(): Promise<void> {
    await this.#ahead
    const next = await this.#next?.catch(this.#deps.onTrouble)
    this.#forgetNext()
    if (next) await next.close()
    if (next) await this.#remove(next)
  }

  #forgetNext(): void {
    this.#next = undefined
    this.#ready = undefined
  }

  #end(segment: Segment): Promise<void> {
    this.#leave(segment)
    const ending = this.#finish(segment, this.#ending).finally(() => {
      if (this.#ending === ending) this.#ending = undefined
    })
    this.#ending = ending
    return ending
  }

  /** One behind the other. Sealed last: what retires a segment counts on its length. */
  async #finish(segment: Segment, before: Promise<void> | undefined): Promise<void> {
    await before
    await segment.trim().catch(this.#deps.onTrouble)
    await segment.close()
    this.#deps.shelf.seal(segment.number, segment.end)
  }

  #leave(segment: Segment): void {
    if (!segment.isEmpty) this.#previous = { segment: segment.number, offset: segment.end }
  }

  /** One that cannot be reused is gone, and a new one is made in its place. */
  async #create(): Promise<Segment> {
    const { disk, dir, node, limits, onBytes, onTrouble, reuse } = this.#deps
    const number = this.#nextNumber++
    const plan = { disk, dir, number, node, sliceBytes: limits.sliceBytes, onBytes }
    const drained = reuse()
    const reused = drained && (await Segment.reuse(plan, drained).catch(onTrouble))
    return reused ?? Segment.create(plan)
  }

  async #remove(segment: Segment): Promise<void> {
    const { disk, dir, onTrouble } = this.#deps
    await disk.remove(`${dir}/${segmentName(segment.number)}`).catch(onTrouble)
  }

  /**
   * What stands ready behind grows in step with what is written: a whole segment of zeros in a row held threads and disk for a
   * quarter of a second, and every commit with them.
   */
  #lookAhead(active: Segment): void {
    const { segmentBytes, aheadBytes } = this.#deps.limits
    const wanted = Math.min(active.end + aheadBytes, segmentBytes)
    const wantedBehind = Math.min(2 * active.end - segmentBytes, segmentBytes)
    const isBehindDue = wantedBehind > (this.#ready?.prepared ?? 0)
    if (this.#ahead || (active.prepared >= wanted && !isBehindDue)) return
    this.#ahead = this.#prepare(active, wanted, wantedBehind)
      .catch(this.#deps.onTrouble)
      .finally(() => {
        this.#ahead = undefined
      })
  }

  async #prepare(active: Segment, wanted: number, wantedBehind: number): Promise<void> {
    await active.prepareTo(wanted)
    if (wantedBehind <= 0 || this.#active !== active) return
    this.#next ??= this.#create()
    const next = this.#next
    let segment: Segment
    try {
      segment = await next
    } catch (error) {
      // The commit that needs a segment makes its own and meets the error itself.
      if (this.#next === next) this.#forgetNext()
      throw error
    }
    if (this.#next === next) this.#ready = segment
    await segment.prepareTo(wantedBehind)
  }
}
