// What earlier processes left in the directory: which segments still hold undrained chunks, and where everything ends.
// Law: an intact chunk after the cursor is found, whatever is damaged around it; nothing damaged keeps the spool from opening.

import { type Chunk, headerBytes, markBytes, type Position, readHeader } from './chunk.ts'
import { type Disk, type DiskFile, readFull } from './disk.ts'
import { type OpenCalls, readJournal } from './journal.ts'
import { reasonOf, type SpoolLimits, type SpoolLog } from './limits.ts'
import type { Quarantine } from './quarantine.ts'
import { isDamage, readIdentity, readWindow } from './scan.ts'
import { parseSegmentName, segmentHeadBytes, segmentName } from './segment.ts'
import type { Shelf } from './shelf.ts'

export type RecoverDeps = {
  disk: Disk
  dir: string
  limits: SpoolLimits
  shelf: Shelf
  openCalls: OpenCalls
  quarantine: Quarantine
  log: SpoolLog
  onTorn: (bytes: number) => void
}

export type Recovered = {
  previous: Position
  /** The number after every segment seen here. */
  nextNumber: number
  /** The sequence number after every row seen here; 0 when there was none. */
  nextSeq: bigint
}

type Found = {
  number: number
  bytes: number
  mark: Buffer | undefined
  isReused: boolean
  fixedEnd?: number
}

/** Fills the shelf. Segments without a chunk are removed; a torn tail is copied to the quarantine and cut off. */
export async function recover(deps: RecoverDeps): Promise<Recovered> {
  const found = await findSegments(deps)
  const { cursor } = deps.shelf
  let nextSeq = 0n
  let chunks = 0
  for (const segment of found) {
    const file = await deps.disk.open(pathOf(deps, segment.number), 'read')
    try {
      const scanned = await scanSegment(deps, file, segment)
      chunks += scanned.chunks
      if (scanned.nextSeq > nextSeq) nextSeq = scanned.nextSeq
    } finally {
      await file.close()
    }
  }
  const { tail, undrainedRows, undrainedBytes } = deps.shelf
  if (chunks > 0)
    deps.log('info', 'The spool holds rows of an earlier run; they are drained first', {
      chunks,
      rows: undrainedRows,
      bytes: undrainedBytes,
    })
  const last = found.at(-1)?.number ?? 0
  return { previous: tail, nextNumber: Math.max(last, cursor.segment) + 1, nextSeq }
}

/** The sequence number after the last row of one segment, read for nothing else. */
export async function lastSeqOf(disk: Disk, path: string, number: number): Promise<bigint> {
  const file = await disk.open(path, 'read')
  try {
    const { mark } = await readIdentity(file, number)
    if (!mark) return 0n
    const { bytes: end } = await disk.stat(path)
    let nextSeq = 0n
    for (let from = segmentHeadBytes; from < end; ) {
      const window = await readWindow(file, { number, mark, from, end }, 1 << 22)
      for (const item of window.items) if (!isDamage(item)) nextSeq = seqAfter(item)
      from = window.next
    }
    return nextSeq
  } finally {
    await file.close()
  }
}

export function seqAfter(chunk: Chunk): bigint {
  return chunk.firstSeq + BigInt(chunk.seqs)
}

async function findSegments(deps: RecoverDeps): Promise<Found[]> {
  const { disk, dir } = deps
  const numbers = (await disk.list(dir))
    .map(parseSegmentName)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b)
  const found: Found[] = []
  for (const number of numbers) {
    const path = pathOf(deps, number)
    const { bytes } = await disk.stat(path)
    const file = await disk.open(path, 'read')
    try {
      const { head, mark } = await readIdentity(file, number)
      // The head of a later segment fixes where its predecessor ended: what follows there was refused, not accepted.
      const before = found.find((one) => one.number === head?.previous.segment)
      if (before && head) before.fixedEnd = head.previous.offset
      found.push({ number, bytes, mark, isReused: head?.isReused === true })
    } finally {
      await file.close()
    }
  }
  return found
}

async function scanSegment(
  deps: RecoverDeps,
  file: DiskFile,
  segment: Found,
): Promise<{ chunks: number; nextSeq: bigint }> {
  const { shelf, limits, openCalls } = deps
  const { number } = segment
  const start = number === shelf.cursor.segment ? shelf.cursor.offset : segmentHeadBytes
  const isDone = number < shelf.cursor.segment
  const limit = segment.fixedEnd ?? segment.bytes
  const mark = segment.mark ?? Buffer.alloc(8, 0xff)
  let end = Math.min(start, limit)
  let nextSeq = 0n
  let chunks = 0
  for (let from = start; from < limit && !isDone; ) {
    const window = await readWindow(file, { number, mark, from, end: limit }, limits.windowBytes)
    for (const item of window.items) {
      if (isDamage(item)) continue
      shelf.count(item)
      if (item.journal) openCalls.take(readJournal(item.journal), item.at)
      chunks += 1
      end = item.at.offset + item.bytes
      nextSeq = seqAfter(item)
    }
    from = window.next
  }
  let isCopied = true
  if (isDone || segment.fixedEnd !== undefined) end = limit
  else {
    const torn = { number, from: end, end: limit }
    const kept = segment.isReused
      ? await begunIn(file, mark, torn)
      : await writtenIn(deps, file, torn)
    isCopied = kept === 0 || (await setTornAside(deps, file, { ...torn, end: end + kept }))
  }
  if (end > segmentHeadBytes) shelf.addSegment({ number, mark, end, sealed: true })
  else if (isCopied) await deps.disk.remove(pathOf(deps, number))
  return { chunks, nextSeq }
}

type TornRange = { number: number; from: number; end: number }

/** After the last intact chunk there should be zeros. Bytes up to the last that is none: they were being written when the process died. */
async function writtenIn(deps: RecoverDeps, file: DiskFile, range: TornRange): Promise<number> {
  const { windowBytes } = deps.limits
  let written = 0
  for (let at = range.from; at < range.end; at += windowBytes) {
    const bytes = Buffer.alloc(Math.min(windowBytes, range.end - at))
    await readFull(file, bytes, at)
    const last = lastNonZero(bytes)
    if (last >= 0) written = at - range.from + last + 1
  }
  return written
}

/**
 * In a reused segment drained chunks of another stand there; only a header of its own tells of a chunk that was being written. One
 * that the disk has spoilt still tells, by its mark, which nothing else begins with, or by all but its mark.
 */
async function begunIn(file: DiskFile, mark: Buffer, range: TornRange): Promise<number> {
  const rest = range.end - range.from
  const bytes = Buffer.alloc(headerBytes)
  await readFull(file, bytes, range.from)
  const isMarked = bytes.subarray(0, markBytes).equals(mark)
  mark.copy(bytes)
  const header = readHeader(bytes, { mark, at: { segment: range.number, offset: range.from } })
  if (header) return Math.min(headerBytes + header.bodyBytes, rest)
  return isMarked ? rest : 0
}

/** False: it could not be copied, so its file must stay. */
async function setTornAside(deps: RecoverDeps, file: DiskFile, range: TornRange): Promise<boolean> {
  const bytes = range.end - range.from
  deps.onTorn(bytes)
  const facts = { segment: range.number, offset: range.from, bytes }
  deps.log('warn', 'The end of a spool segment was cut off; it is kept in quarantine', facts)
  const torn = Buffer.alloc(bytes)
  await readFull(file, torn, range.from)
  try {
    const name = `${range.number}-${range.from}.torn`
    await deps.quarantine.save(name, [torn], { ...facts, reason: 'torn' })
    return true
  } catch (error) {
    deps.log('error', 'The cut off end could not be copied', { ...facts, why: reasonOf(error) })
    return false
  }
}

function lastNonZero(bytes: Buffer): number {
  let at = bytes.length - 1
  while (at >= 0 && bytes[at] === 0) at -= 1
  return at
}

function pathOf(deps: RecoverDeps, number: number): string {
  return `${deps.dir}/${segmentName(number)}`
}
