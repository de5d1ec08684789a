// What the media folder keeps no longer: pieces that nothing has named for the retention time, and the oldest above its size.

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Counters } from '../../../schemas/counters.ts'
import { statOf } from './store.ts'

const dayMs = 24 * 60 * 60 * 1000
// A piece that was begun this long ago and never moved to its place belongs to a process that is gone.
const abandonedMs = dayMs

type Piece = { path: string; bytes: number; usedMs: number }

export async function sweepMedia(
  dir: string,
  limits: { retentionDays: number; bytesMax: number; nowMs: number },
  counters: Counters,
): Promise<void> {
  const { nowMs } = limits
  const pieces = (await piecesOf(dir)).sort((a, b) => a.usedMs - b.usedMs)
  let bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0)
  for (const piece of pieces) {
    const isIncoming = piece.path.startsWith(join(dir, 'incoming'))
    const keepMs = isIncoming ? abandonedMs : limits.retentionDays * dayMs
    const isOld = nowMs - piece.usedMs > keepMs
    if (!isOld && (isIncoming || bytes <= limits.bytesMax)) continue
    await rm(piece.path, { force: true })
    bytes -= piece.bytes
    counters.count('media_swept_total', { reason: isOld ? 'retention' : 'size' })
  }
}

async function piecesOf(dir: string): Promise<Piece[]> {
  const pieces: Piece[] = []
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const found = await statOf(path)
    if (found) pieces.push({ path, bytes: found.size, usedMs: found.mtimeMs })
  }
  return pieces
}
