// One segment: a file of zeros, or one whose chunks are drained, that chunks are written into, each synced before the next.
// Law: `end` only ever counts bytes that a sync has confirmed.

import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { headerBytes, markBytes, type Place, type Position } from './chunk.ts'
import { type Disk, type DiskFile, writeAll } from './disk.ts'

export const segmentHeadBytes = 64
const magic = Buffer.from('RLSPOOL1')
const segmentFormat = 1
// Behind its chunks stand those of an earlier segment in place of zeros; a version that takes them for torn ones refuses it.
const reusedFormat = 2

/** What a segment says of itself and of the one before it, whose end it fixes for ever. */
export type SegmentHead = { mark: Buffer; previous: Position; node: string; isReused: boolean }

export function segmentName(number: number): string {
  return `${String(number).padStart(12, '0')}.seg`
}

/** The number in a segment's file name; undefined for any other file. */
export function parseSegmentName(name: string): number | undefined {
  return /^\d{12}\.seg$/.test(name) ? Number(name.slice(0, 12)) : undefined
}

export function writeSegmentHead(head: SegmentHead, number: number): Buffer {
  const bytes = Buffer.alloc(segmentHeadBytes)
  magic.copy(bytes, 0)
  bytes.writeUInt32LE(head.isReused ? reusedFormat : segmentFormat, 8)
  bytes.writeBigUInt64LE(BigInt(number), 16)
  head.mark.copy(bytes, 24)
  bytes.writeBigUInt64LE(BigInt(head.previous.segment), 32)
  bytes.writeBigUInt64LE(BigInt(head.previous.offset), 40)
  bytes.write(head.node, 48, 16, 'hex')
  bytes.writeUInt32LE(headCrc(bytes, number), 12)
  return bytes
}

/** Undefined: these are not the first bytes of that segment, or they are damaged. */
export function readSegmentHead(bytes: Buffer, number: number): SegmentHead | undefined {
  if (bytes.length < segmentHeadBytes || !bytes.subarray(0, 8).equals(magic)) return undefined
  if (bytes.readUInt32LE(12) !== headCrc(bytes, number)) return undefined
  if (bytes.readUInt32LE(8) > reusedFormat)
    throw new Error(
      `Segment ${number} was written by a newer version of Runledger; that version must drain it`,
    )
  return {
    mark: Buffer.from(bytes.subarray(24, 24 + markBytes)),
    previous: {
      segment: Number(bytes.readBigUInt64LE(32)),
      offset: Number(bytes.readBigUInt64LE(40)),
    },
    node: bytes.toString('hex', 48, 64),
    isReused: bytes.readUInt32LE(8) === reusedFormat,
  }
}

export type SegmentPlan = {
  disk: Disk
  dir: string
  number: number
  node: string
  /** Zeros are written and synced in slices of this many bytes. */
  sliceBytes: number
  /** Hears of every slice, so that free space is known between two looks at the disk. */
  onBytes: (bytes: number) => void
}

/** A segment whose every chunk is drained, on the same disk. */
export type Drained = { path: string; bytes: number }

// Stands in a reused segment until its first chunk comes; no segment has this number.
const nowhere: Position = { segment: 0, offset: 0 }

export class Segment {
  readonly number: number
  readonly mark = randomBytes(markBytes)
  readonly isReused: boolean
  /** Synced bytes. */
  end = segmentHeadBytes
  /** The file's blocks are on disk up to here. */
  prepared = 0
  readonly #plan: SegmentPlan
  readonly #file: DiskFile
  // Zeros go through a descriptor of their own: the kernel tells each descriptor of a lost page, but only once.
  readonly #zeros: DiskFile
  #slice: Promise<void> | undefined
  #isEnding = false
  #headWritten = false

  private constructor(
    plan: SegmentPlan,
    files: { file: DiskFile; zeros: DiskFile; isReused: boolean },
  ) {
    this.#plan = plan
    this.isReused = files.isReused
    this.number = plan.number
    this.#file = files.file
    this.#zeros = files.zeros
  }

  /** A new file with its first slice of zeros; its name is durable when this resolves. Leaves nothing behind on error. */
  static async create(plan: SegmentPlan): Promise<Segment> {
    const path = `${plan.dir}/${segmentName(plan.number)}`
    const opened: DiskFile[] = []
    try {
      const file = await plan.disk.open(path, 'commit')
      opened.push(file)
      const zeros = await plan.disk.open(path, 'write')
      opened.push(zeros)
      const segment = new Segment(plan, { file, zeros, isReused: false })
      await segment.prepareTo(segmentHeadBytes)
      await plan.disk.syncDir(plan.dir)
      return segment
    } catch (error) {
      for (const file of opened) await file.close().catch(ignore)
      await plan.disk.remove(path).catch(ignore)
      throw error
    }
  }

  /**
   * The file of a drained segment, to be written over: its blocks and its pages are there already, which halves what the disk writes
   * and spares a microsecond and a half a span. A head that names it makes it a segment without chunks before it takes its new name.
   */
  static async reuse(plan: SegmentPlan, drained: Drained): Promise<Segment> {
    const path = `${plan.dir}/${segmentName(plan.number)}`
    const opened: DiskFile[] = []
    try {
      const file = await plan.disk.open(drained.path, 'recommit')
      opened.push(file)
      const zeros = await plan.disk.open(drained.path, 'write')
      opened.push(zeros)
      const segment = new Segment(plan, { file, zeros, isReused: true })
      segment.prepared = drained.bytes
      await segment.prepareTo(segmentHeadBytes)
      await file.writeDurably([segment.#head(nowhere)], 0)
      await plan.disk.rename(drained.path, path)
      await plan.disk.syncDir(plan.dir)
      return segment
    } catch (error) {
      for (const file of opened) await file.close().catch(ignore)
      for (const name of [drained.path, path]) await plan.disk.remove(name).catch(ignore)
      throw error
    }
  }

  place(): Place {
    return { mark: this.mark, at: { segment: this.number, offset: this.end } }
  }

  get isEmpty(): boolean {
    return this.end === segmentHeadBytes
  }

  /** Resolves when zeros reach `bytes`, or when the segment ends. One slice at a time, whoever asks. */
  async prepareTo(bytes: number): Promise<void> {
    while (this.prepared < bytes && !this.#isEnding) {
      this.#slice ??= this.#writeSlice().finally(() => {
        this.#slice = undefined
      })
      await this.#slice
    }
  }

  /**
   * Writes one chunk at `end`, durably. After a rejection the segment must be abandoned: whether the bytes are on disk is
   * unknown, and this descriptor is not synced again.
   */
  async append(pieces: readonly Buffer[], previous: Position): Promise<void> {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (this.prepared < this.end + bytes) await this.prepareTo(this.end + bytes)
    if (this.#headWritten) await this.#file.writeDurably(pieces, this.end)
    else await this.#file.writeDurably([this.#head(previous), ...pieces], 0)
    this.#headWritten = true
    this.end += bytes
  }

  /**
   * Gives up after a failed append. Zeros over the unconfirmed header keep a restart from finding a chunk that was refused;
   * the head of the next segment says the same durably.
   */
  async abandon(): Promise<void> {
    await this.#file.write([Buffer.alloc(headerBytes)], this.end).catch(ignore)
    await this.close()
  }

  /** Cuts the zeros that were not used; call when nothing will be appended any more. */
  async trim(): Promise<void> {
    await this.#settled()
    await this.#file.truncate(this.end)
    this.prepared = this.end
  }

  async close(): Promise<void> {
    await this.#settled()
    await this.#zeros.close().catch(ignore)
    await this.#file.close().catch(ignore)
  }

  #head(previous: Position): Buffer {
    const { mark, isReused } = this
    return writeSegmentHead({ mark, previous, node: this.#plan.node, isReused }, this.number)
  }

  /** No slice is under way, and none begins. */
  async #settled(): Promise<void> {
    this.#isEnding = true
    await this.#slice?.catch(ignore)
  }

  async #writeSlice(): Promise<void> {
    const zeros = zerosOf(this.#plan.sliceBytes)
    await writeAll(this.#zeros, [zeros], this.prepared)
    await this.#zeros.sync()
    this.prepared += zeros.length
    this.#plan.onBytes(zeros.length)
  }
}

function headCrc(bytes: Buffer, number: number): number {
  return crc32(bytes.subarray(16, segmentHeadBytes), crc32(bytes.subarray(0, 12), number))
}

// Shared by all segments and never written to: a slice of its own each time was as much garbage as the data.
let sharedZeros = Buffer.alloc(0)

function zerosOf(bytes: number): Buffer {
  if (sharedZeros.length < bytes) sharedZeros = Buffer.alloc(bytes)
  return sharedZeros.subarray(0, bytes)
}

// The failure that matters was already thrown; a second one while cleaning up says nothing new.
function ignore(): void {}
