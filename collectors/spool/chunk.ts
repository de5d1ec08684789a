// A chunk: the rows of one group commit as they lie in a segment. Header, directory of tables, then their Native blocks.
// Law: what `readHeader` accepts was written for exactly this place of this segment, and by nobody else.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { type TableName, tables } from '../../schemas/tables.ts'
import type { Slab, Slabs } from './slabs.ts'

// Numbers on disk, never given to another table.
const tableNumbers = {
  spans: 1,
  payloads: 2,
  envelopes: 3,
  records: 4,
} as const satisfies Record<TableName, number>

// Beside the tables: which calls begin and end with this chunk. Its entry's count of rows is 0.
const journalNumber = 1000

export const chunkFormat = 1
export const headerBytes = 56
export const markBytes = 8
const entryBytes = 12
const bodyBytesLimit = 1 << 30
// One copy costs a tenth of a microsecond a span; it frees the block's own memory, grown to size, for the next batch. Blocks that
// started anew each time were most of what the garbage collector had to do. Beyond this a copy would hold the loop.
const copiedBytesMax = 32 << 20

// Checksummed at a stretch; about four milliseconds.
const crcStepBytes = 12 << 20

/** A place in the spool; chunks are ordered by it. */
export type Position = { segment: number; offset: number }

export type Part = { table: TableName; rows: number; bytes: number; pieces: readonly Buffer[] }

export type Chunk = {
  at: Position
  /** Header and body. */
  bytes: number
  /** Row i of each table carries firstSeq + i. */
  firstSeq: bigint
  /** How many sequence numbers it took: the rows of its largest table. */
  seqs: number
  arrivalMs: number
  /** As in its header. */
  bodyCrc: number
  /** The memory of its parts that goes back once they are drained; empty when it is just memory. */
  slabs: readonly Slab[]
  parts: Part[]
}

export type ChunkHeader = {
  bodyBytes: number
  bodyCrc: number
  firstSeq: bigint
  seqs: number
  arrivalMs: number
  wireVersion: number
}

/** What the header binds a chunk to: random bytes of its segment, which no sender of data can know, and its place. */
export type Place = { mark: Buffer; at: Position }

export function isBefore(a: Position, b: Position): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset)
}

export function rowsOf(chunk: Chunk): number {
  return chunk.parts.reduce((sum, part) => sum + part.rows, 0)
}

/** `journal`: the bytes of `journal.ts`, when a call begins or ends here. */
export type Body = { parts: Part[]; journal: Buffer | undefined }

/** `copied`: the blocks that the parts came from are free again, and `slabs` hold the bytes. */
export type PackedBody = {
  parts: Part[]
  pieces: Buffer[]
  bodyBytes: number
  copied: boolean
  slabs: Slab[]
}

/** A body from parts that have rows. */
export function packBody({ parts, journal }: Body, slabs: Slabs): PackedBody {
  const directory = directoryOf(parts, journal)
  let bodyBytes = directory.length + (journal?.length ?? 0)
  for (const { bytes } of parts) bodyBytes += bytes
  if (bodyBytes > copiedBytesMax) {
    const pieces = [directory, ...parts.flatMap((part) => part.pieces)]
    if (journal) pieces.push(journal)
    return { pieces, parts, bodyBytes, copied: false, slabs: [] }
  }
  const writer = slabs.begin(bodyBytes)
  writer.write([directory])
  const copies = parts.map(({ table, rows, bytes, pieces }) => ({
    ...{ table, rows, bytes },
    pieces: writer.write(pieces),
  }))
  if (journal) writer.write([journal])
  return { pieces: writer.end(), parts: copies, bodyBytes, copied: true, slabs: writer.taken }
}

function directoryOf(parts: readonly Part[], journal: Buffer | undefined): Buffer {
  const count = parts.length + (journal ? 1 : 0)
  const directory = Buffer.allocUnsafe(4 + count * entryBytes)
  let at = directory.writeUInt32LE(count, 0)
  const add = (number: number, rows: number, bytes: number) => {
    at = directory.writeUInt32LE(number, at)
    at = directory.writeUInt32LE(rows, at)
    at = directory.writeUInt32LE(bytes, at)
  }
  for (const { table, rows, bytes } of parts) add(tableNumbers[table], rows, bytes)
  if (journal) add(journalNumber, 0, journal.length)
  return directory
}

/** The parts of a body whose checksum held. Undefined: it names a table this version does not know. */
export function unpackBody(body: Buffer): Body | undefined {
  const count = body.readUInt32LE(0)
  const parts: Part[] = []
  let journal: Buffer | undefined
  let at = 4 + count * entryBytes
  for (let i = 0; i < count; i++) {
    const number = body.readUInt32LE(4 + i * entryBytes)
    const rows = body.readUInt32LE(8 + i * entryBytes)
    const bytes = body.readUInt32LE(12 + i * entryBytes)
    const table = tableOf(number)
    if (number === journalNumber) journal = body.subarray(at, at + bytes)
    else if (table === undefined) return undefined
    else parts.push({ table, rows, bytes, pieces: [body.subarray(at, at + bytes)] })
    at += bytes
  }
  return { parts, journal }
}

export function bodyCrcOf(pieces: readonly Buffer[], segment: number): number {
  let crc = segment >>> 0
  for (const piece of pieces) crc = crc32(piece, crc)
  return crc
}

/** The same for a body of any size: the loop gets its turn between two steps. */
export async function bodyCrcInSteps(pieces: readonly Buffer[], segment: number): Promise<number> {
  let crc = segment >>> 0
  let step = 0
  for (const piece of pieces)
    for (let at = 0; at < piece.length; at += crcStepBytes) {
      const part = piece.subarray(at, at + crcStepBytes)
      crc = crc32(part, crc)
      step += part.length
      if (step < crcStepBytes) continue
      step = 0
      await nextTurn()
    }
  return crc
}

export function writeHeader(header: ChunkHeader, place: Place): Buffer {
  const bytes = Buffer.alloc(headerBytes)
  place.mark.copy(bytes, 0)
  bytes.writeUInt16LE(chunkFormat, 8)
  bytes.writeUInt16LE(header.wireVersion, 10)
  bytes.writeUInt32LE(header.bodyBytes, 12)
  bytes.writeBigUInt64LE(header.firstSeq, 16)
  bytes.writeBigUInt64LE(BigInt(header.arrivalMs), 24)
  bytes.writeBigUInt64LE(BigInt(place.at.offset), 32)
  bytes.writeUInt32LE(header.seqs, 40)
  bytes.writeUInt32LE(header.bodyCrc, 44)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, headerBytes - 4), place.at.segment), headerBytes - 4)
  return bytes
}

/** The header at the start of `bytes`; undefined when these bytes are not one of this place. */
export function readHeader(bytes: Buffer, place: Place): ChunkHeader | undefined {
  if (bytes.length < headerBytes || !bytes.subarray(0, markBytes).equals(place.mark))
    return undefined
  const crc = crc32(bytes.subarray(0, headerBytes - 4), place.at.segment)
  if (crc !== bytes.readUInt32LE(headerBytes - 4)) return undefined
  if (bytes.readUInt16LE(8) > chunkFormat)
    throw new Error(
      `Segment ${place.at.segment} was written by a newer version of Runledger; that version must drain it`,
    )
  const bodyBytes = bytes.readUInt32LE(12)
  if (bytes.readBigUInt64LE(32) !== BigInt(place.at.offset) || bodyBytes > bodyBytesLimit)
    return undefined
  return {
    bodyBytes,
    wireVersion: bytes.readUInt16LE(10),
    firstSeq: bytes.readBigUInt64LE(16),
    arrivalMs: Number(bytes.readBigUInt64LE(24)),
    seqs: bytes.readUInt32LE(40),
    bodyCrc: bytes.readUInt32LE(44),
  }
}

function tableOf(number: number): TableName | undefined {
  for (const name of Object.keys(tables) as TableName[]) // its keys are the table names
    if (tableNumbers[name] === number) return name
  return undefined
}
