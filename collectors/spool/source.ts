// Batches of whole chunks for the drain: from memory while they are held there, else from the segments.
// Law: what is damaged is copied to the quarantine and counted before it is passed over.

import type { Counters } from '../../schemas/counters.ts'
import { type Chunk, isBefore, type Position } from './chunk.ts'
import { type Disk, type DiskFile, readFull } from './disk.ts'
import type { SpoolLimits, SpoolLog } from './limits.ts'
import type { Quarantine } from './quarantine.ts'
import { type Damage, isDamage, readWindow } from './scan.ts'
import { segmentName } from './segment.ts'
import type { Shelf } from './shelf.ts'

export type Gathered = { chunks: Chunk[]; to: Position }

export type SourceDeps = {
  disk: Disk
  dir: string
  limits: SpoolLimits
  shelf: Shelf
  quarantine: Quarantine
  counters: Counters
  log: SpoolLog
}

export class Source {
  readonly #deps: SourceDeps
  #open: { number: number; file: DiskFile } | undefined

  constructor(deps: SourceDeps) {
    this.#deps = deps
  }

  get tail(): Position {
    return this.#deps.shelf.tail
  }

  /** There is enough for a full batch, so waiting for more makes no sense. */
  get isLarge(): boolean {
    const { shelf, limits } = this.#deps
    return shelf.undrainedRows >= limits.drainRows || shelf.undrainedBytes >= limits.drainBytes
  }

  /** Chunks from `from` to exactly `to`, or, without it, up to one full batch and at least one chunk. */
  async gather(from: Position, to?: Position): Promise<Gathered> {
    const { shelf } = this.#deps
    const batch = new Gathering(from, to, this.#deps.limits)
    while (!batch.isFull && !(to && !isBefore(batch.at, to))) {
      const held = shelf.held(batch.at)
      if (held) {
        batch.offer(held)
        continue
      }
      const range = shelf.rangeFrom(batch.at)
      if (!range) break
      if (range.number !== batch.at.segment) {
        // Nothing is left in that segment; a chunk of the next one may be held.
        batch.at = { segment: range.number, offset: range.from }
        continue
      }
      const file = await this.#fileOf(range.number)
      const window = await readWindow(file, range, this.#deps.limits.windowBytes)
      for (const item of window.items) {
        if (isDamage(item)) await this.#passOver(file, item, batch)
        else batch.offer(item)
        if (batch.isFull) break
      }
      if (window.items.length === 0) batch.at = { segment: range.number, offset: window.next }
    }
    return { chunks: batch.chunks, to: batch.at }
  }

  async close(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    await open?.file.close()
  }

  async #fileOf(number: number): Promise<DiskFile> {
    if (this.#open?.number === number) return this.#open.file
    await this.close()
    const { disk, dir } = this.#deps
    const file = await disk.open(`${dir}/${segmentName(number)}`, 'read')
    this.#open = { number, file }
    return file
  }

  async #passOver(file: DiskFile, damage: Damage, batch: Gathering): Promise<void> {
    if (isBefore(damage.at, batch.at)) return
    const { segment, offset } = damage.at
    const bytes = Buffer.alloc(damage.bytes)
    await readFull(file, bytes, offset)
    const facts = { segment, offset, bytes: damage.bytes, reason: `damaged ${damage.reason}` }
    const { quarantine, counters, log } = this.#deps
    if (await quarantine.save(`${segment}-${offset}.damaged`, [bytes], facts)) {
      counters.count('spool_damaged_bytes_total', { where: damage.reason }, damage.bytes)
      log('error', 'A part of the spool cannot be read; it is kept in quarantine', facts)
    }
    batch.at = { segment, offset: offset + damage.bytes }
  }
}

class Gathering {
  readonly chunks: Chunk[] = []
  at: Position
  isFull = false
  #rows = 0
  #bytes = 0
  readonly #to: Position | undefined
  readonly #limits: SpoolLimits

  constructor(from: Position, to: Position | undefined, limits: SpoolLimits) {
    this.at = from
    this.#to = to
    this.#limits = limits
  }

  offer(chunk: Chunk): void {
    const isPast = this.#to ? !isBefore(chunk.at, this.#to) : this.#isTooMuch(chunk)
    if (isPast) {
      this.isFull = true
      return
    }
    this.chunks.push(chunk)
    this.#rows += chunk.seqs
    this.#bytes += chunk.bytes
    this.at = { segment: chunk.at.segment, offset: chunk.at.offset + chunk.bytes }
  }

  #isTooMuch(chunk: Chunk): boolean {
    if (this.chunks.length === 0) return false
    // One partition an insert: tables are parted by the month of `ingested_at`, and an insert that fails must have stored nothing.
    if (monthOf(chunk) !== monthOf(this.chunks[0]!)) return true
    const { drainRows, drainBytes } = this.#limits
    return this.#rows + chunk.seqs > drainRows || this.#bytes + chunk.bytes > drainBytes
  }
}

function monthOf({ arrivalMs }: Chunk): string {
  return new Date(arrivalMs).toISOString().slice(0, 7)
}
