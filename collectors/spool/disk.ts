// The few things the spool asks of a disk, so that a test can make each of them fail, and the real one.
// Law: a promise that resolves means done; nothing here retries or hides an error.

import { constants, writev } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises'

export type DiskFile = {
  /** Bytes written, which may be fewer than given; the caller goes on from there. */
  write(pieces: readonly Uint8Array[], position: number): Promise<number>
  /** Writes every byte and makes them durable, or rejects; the rule of `sync` about errors holds. */
  writeDurably(pieces: readonly Uint8Array[], position: number): Promise<void>
  /** Bytes read; 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>
  /** fdatasync. After it failed once, this file is never synced again: a later success could hide lost pages. */
  sync(): Promise<void>
  truncate(bytes: number): Promise<void>
  /** Waits for writes that are under way. */
  close(): Promise<void>
}

export type DiskMode = 'create' | 'commit' | 'recommit' | 'write' | 'read'

export type Disk = {
  makeDir(path: string): Promise<void>
  list(path: string): Promise<string[]>
  /**
   * `create` starts an empty file, `commit` too, one that is mostly written durably; `recommit` opens such a one again, `write` any
   * existing one for reading and writing.
   */
  open(path: string, mode: DiskMode): Promise<DiskFile>
  rename(from: string, to: string): Promise<void>
  /** No error when the file is already gone. */
  remove(path: string): Promise<void>
  /** Makes created, renamed and removed names of a directory durable. */
  syncDir(path: string): Promise<void>
  stat(path: string): Promise<{ bytes: number; modifiedMs: number }>
  space(path: string): Promise<{ freeBytes: number; totalBytes: number }>
}

// Where a write of such a file is a sync as well, a commit is one trip to a thread in place of two. Only on Linux: elsewhere O_DSYNC
// is missing, or means less than fdatasync does.
const syncsItself = process.platform === 'linux'
const flags = {
  create: 'w+',
  commit: syncsItself
    ? constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_DSYNC
    : 'w+',
  recommit: syncsItself ? constants.O_RDWR | constants.O_DSYNC : 'r+',
  write: 'r+',
  read: 'r',
} as const

export const nodeDisk: Disk = {
  async makeDir(path) {
    await mkdir(path, { recursive: true, mode: 0o700 })
  },
  list: (path) => readdir(path),
  open: async (path, mode) => {
    const handle = await open(path, flags[mode], 0o600)
    return toDiskFile(handle, syncsItself && (mode === 'commit' || mode === 'recommit'))
  },
  rename: (from, to) => rename(from, to),
  remove: (path) => rm(path, { force: true }),
  async syncDir(path) {
    const handle = await open(path, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
  async stat(path) {
    const { size, mtimeMs } = await stat(path)
    return { bytes: size, modifiedMs: mtimeMs }
  },
  async space(path) {
    const { bavail, blocks, bsize } = await statfs(path)
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
  },
}

function toDiskFile(handle: FileHandle, isSynced: boolean): DiskFile {
  let underWay = 0
  let whenIdle: (() => void) | undefined
  const file: DiskFile = {
    // Not the handle's own promises: each goes through several more turns of the queue, and a call alone waits for all of them. So it
    // is on us that no write meets its number when that is another file's.
    write: (pieces, position) =>
      new Promise((resolve, reject) => {
        writev(handle.fd, pieces, position, (error, written) => {
          underWay -= 1
          if (underWay === 0) whenIdle?.()
          if (error) reject(error)
          else resolve(written)
        })
        underWay += 1
      }),
    async writeDurably(pieces, position) {
      await writeAll(file, pieces, position)
      if (!isSynced) await file.sync()
    },
    async read(into, position) {
      return (await handle.read(into, 0, into.length, position)).bytesRead
    },
    sync: () => handle.datasync(),
    truncate: (bytes) => handle.truncate(bytes),
    async close() {
      if (underWay > 0)
        await new Promise<void>((resolve) => {
          whenIdle = resolve
        })
      await handle.close()
    },
  }
  return file
}

/** Writes every byte or throws; a write of nothing counts as a full disk. */
export async function writeAll(
  file: DiskFile,
  pieces: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = pieces.filter((piece) => piece.length > 0)
  let at = position
  while (rest.length > 0) {
    const written = await file.write(rest, at)
    if (written <= 0) throw new Error('the disk took no bytes')
    at += written
    rest = after(rest, written)
  }
}

/** Fills `into` as far as the file goes; the bytes read. */
export async function readFull(
  file: DiskFile,
  into: Uint8Array,
  position: number,
): Promise<number> {
  let filled = 0
  while (filled < into.length) {
    const got = await file.read(into.subarray(filled), position + filled)
    if (got <= 0) break
    filled += got
  }
  return filled
}

/** What a file is called while it is being replaced. */
export const temporaryEnd = '.tmp'

/** A small file, whole or not at all: after a crash there is the old one or the new one. */
export async function replaceFile(
  disk: Disk,
  at: { dir: string; name: string },
  pieces: readonly Uint8Array[],
): Promise<void> {
  const temporary = `${at.dir}/${at.name}${temporaryEnd}`
  const file = await disk.open(temporary, 'create')
  try {
    await writeAll(file, pieces, 0)
    await file.sync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, `${at.dir}/${at.name}`)
  await disk.syncDir(at.dir)
}

/** The bytes of a small file; undefined when it does not exist. */
export async function loadFile(disk: Disk, path: string): Promise<Buffer | undefined> {
  let file: DiskFile
  try {
    file = await disk.open(path, 'read')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  try {
    const { bytes } = await disk.stat(path)
    const text = Buffer.alloc(bytes)
    return text.subarray(0, await readFull(file, text, 0))
  } finally {
    await file.close()
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function after(pieces: Uint8Array[], written: number): Uint8Array[] {
  let left = written
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i]!
    if (left < piece.length) return [piece.subarray(left), ...pieces.slice(i + 1)]
    left -= piece.length
  }
  return []
}
