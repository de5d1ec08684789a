// Images, sounds and files by the hash of their bytes, in a folder of ours and never in rows. A piece is written beside its
// place and moved there when it is whole, so a name always means those bytes; the same bytes of a workspace are kept once.

import { createHash, randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Counters } from '../../../schemas/counters.ts'

/** Larger pieces are not kept; their reference still says what they were. */
export const mediaBytesMax = 64 * 1024 * 1024
// Of pieces that wait for the disk at one time: above it they are not kept rather than held.
const waitingBytesMax = 128 * 1024 * 1024
// What a chunk costs besides its bytes, so that a million of one byte each are bounded too.
const chunkBytes = 512
// Touched at most this often: a picture sent with every call costs one write a day, and is swept by its last use.
const touchMs = 24 * 60 * 60 * 1000
const mediaTypeCharsMax = 128

export type MediaRef = { sha256: string; bytes: number; media_type: string }

export type MediaStore = {
  /** What the bytes are called, at once; they are written behind it. A workspace is the id of a user, never a path. */
  keep(workspace: string, bytes: Buffer, mediaType: string): MediaRef
  /** A piece that comes bit by bit. */
  begin(workspace: string): MediaPiece
  /** A path for a file that somebody writes and removes; what is left behind is swept after a day. */
  newPath(): Promise<string>
  /** The file of a piece, while it is kept. */
  find(workspace: string, sha256: string): Promise<{ path: string; bytes: number } | undefined>
  /** No error when it is not kept. */
  remove(workspace: string, sha256: string): Promise<void>
  /** Resolves when everything given before is written or given up. */
  flush(): Promise<void>
}

/** Begun, then kept or discarded, whichever comes first; nothing is in its place before. */
export type MediaPiece = {
  /** Never waits: a disk slower than its callers makes this a piece that is not kept. */
  write(chunk: Buffer): void
  /** What all of it is called. Nothing is written afterwards. */
  name(mediaType: string): MediaRef
  /** Its bytes are in their place once `flush` has resolved, if the disk took them. */
  keep(): void
  discard(): void
}

type Shared = {
  readonly dir: string
  readonly counters: Counters
  readonly nowMs: () => number
  waitingBytes: number
  readonly work: Set<Promise<void>>
}

export function openMediaStore(options: {
  dir: string
  counters: Counters
  nowMs: () => number
}): MediaStore {
  const shared: Shared = { ...options, waitingBytes: 0, work: new Set() }
  return {
    keep(workspace, bytes, mediaType) {
      const piece = new Piece(shared, workspace)
      piece.write(bytes)
      const ref = piece.name(mediaType)
      piece.keep()
      return ref
    },
    begin: (workspace) => new Piece(shared, workspace),
    async newPath() {
      const path = incomingPath(shared.dir)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      return path
    },
    async find(workspace, sha256) {
      const path = placeOf(shared.dir, workspace, sha256)
      const found = await statOf(path)
      return found && { path, bytes: found.size }
    },
    async remove(workspace, sha256) {
      await rm(placeOf(shared.dir, workspace, sha256), { force: true })
    },
    async flush() {
      while (shared.work.size > 0) await Promise.all(shared.work)
    },
  }
}

/** Where a piece stands below the folder. Both names were checked by their own law: an id and 64 hex digits. */
function placeOf(dir: string, workspace: string, sha256: string): string {
  return join(dir, workspace, sha256.slice(0, 2), sha256)
}

function incomingPath(dir: string): string {
  return join(dir, 'incoming', randomUUID())
}

/** One piece on its way to the disk: hashed at once, written in order behind its caller. */
class Piece implements MediaPiece {
  readonly #shared: Shared
  readonly #workspace: string
  readonly #hash = createHash('sha256')
  readonly #path: string
  #bytes = 0
  #sha256 = ''
  #file: FileHandle | undefined
  #written: Promise<void> = Promise.resolve()
  #isDropped = false
  #isKept = false

  constructor(shared: Shared, workspace: string) {
    this.#shared = shared
    this.#workspace = workspace
    this.#path = incomingPath(shared.dir)
  }

  write(chunk: Buffer): void {
    this.#hash.update(chunk)
    this.#bytes += chunk.length
    if (this.#isDropped || chunk.length === 0) return
    const held = chunk.length + chunkBytes
    if (this.#bytes > mediaBytesMax) this.#drop('too_large')
    else if (this.#shared.waitingBytes + held > waitingBytesMax) this.#drop('busy')
    else {
      this.#shared.waitingBytes += held
      this.#then(async () => {
        this.#shared.waitingBytes -= held
        if (!this.#isDropped) await this.#append(chunk)
      })
    }
  }

  name(mediaType: string): MediaRef {
    this.#sha256 = this.#hash.digest('hex')
    return {
      sha256: this.#sha256,
      bytes: this.#bytes,
      media_type: mediaType.slice(0, mediaTypeCharsMax),
    }
  }

  keep(): void {
    this.#isKept = true
    const place = placeOf(this.#shared.dir, this.#workspace, this.#sha256)
    this.#then(() => this.#settle(place))
  }

  discard(): void {
    if (this.#isKept || this.#isDropped) return
    this.#isDropped = true
    this.#then(() => this.#clear())
  }

  /** The next step of this piece's work. What fails drops the piece: a call is worth no less for a picture. */
  #then(step: () => Promise<void>): void {
    const { work } = this.#shared
    const before = this.#written
    const task = before.then(step).catch((error: NodeJS.ErrnoException) => {
      this.#drop(error.code ?? 'error')
    })
    this.#written = task
    work.delete(before)
    work.add(task)
    void task.then(() => work.delete(task))
  }

  #drop(reason: string): void {
    if (this.#isDropped) return
    this.#isDropped = true
    this.#shared.counters.count('media_skipped_total', { reason })
  }

  async #append(chunk: Buffer): Promise<void> {
    if (!this.#file) {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
      this.#file = await open(this.#path, 'wx', 0o600)
    }
    await this.#file.appendFile(chunk)
  }

  async #settle(place: string): Promise<void> {
    try {
      if (this.#isDropped || !this.#file || (await this.#isThere(place))) return
      await mkdir(dirname(place), { recursive: true, mode: 0o700 })
      await this.#file.close()
      this.#file = undefined
      await rename(this.#path, place)
      this.#shared.counters.count('media_stored_total', {})
      this.#shared.counters.count('media_stored_bytes_total', {}, this.#bytes)
    } finally {
      await this.#clear()
    }
  }

  async #isThere(place: string): Promise<boolean> {
    const found = await statOf(place)
    if (!found) return false
    this.#shared.counters.count('media_deduplicated_total', {})
    const now = this.#shared.nowMs()
    if (now - found.mtimeMs > touchMs) await utimes(place, now / 1000, now / 1000)
    return true
  }

  async #clear(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
    await rm(this.#path, { force: true })
  }
}

export async function statOf(path: string): Promise<{ size: number; mtimeMs: number } | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException // node:fs throws nothing else
    if (code === 'ENOENT') return undefined
    throw error
  }
}
