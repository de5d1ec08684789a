// The data directory: ours alone, one process at a time, closed to everybody else on the machine.

import {
  type BigIntStats,
  chmodSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

// Says that a directory is ours, so that a mistyped path never changes the mode of somebody's home.
const markerName = 'runledger-data'
const layoutVersion = 1
const lockName = 'lock.sock'
// What a kernel takes as the path of a unix socket, with room to spare (108 on Linux, 104 on macOS).
const socketPathMax = 100
const lockDeadlineMs = 2000

export type DataDir = {
  path: string
  /** The path of a folder of its own below it, made 0700 when it is not there. */
  sub(name: string): string
  /** Gives the directory to the next process. Idempotent. */
  release(): Promise<void>
}

/**
 * Makes the directory if need be, and holds it until `release` or the end of this process, however that comes.
 * Throws an Error whose message is a sentence for the user when it is held, foreign, or cannot be made.
 */
export async function openDataDir(given: string): Promise<DataDir> {
  const path = makeOwn(resolve(given))
  const locks = await holdLocks(path)
  let released: Promise<void> | undefined
  return {
    path,
    sub(name) {
      const folder = join(path, name)
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      return folder
    },
    release() {
      released ??= Promise.all(locks.map(closed)).then(() => {})
      return released
    },
  }
}

/** The first folder on the way to `path`, itself included, that this user may not pass through; judged by mode bits alone. */
export function findClosedParent(
  path: string,
  user: { uid: number; gid: number },
): string | undefined {
  const parents: string[] = []
  for (let at = path; ; at = dirname(at)) {
    parents.unshift(at)
    if (dirname(at) === at) break
  }
  return parents.find((folder) => {
    const { uid, gid, mode } = statSync(folder)
    const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0
    return ((mode >> shift) & 1) === 0
  })
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

function makeOwn(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    const marker = join(path, markerName)
    const names = readdirSync(path)
    if (!names.includes(markerName)) {
      if (names.some((name) => name !== 'lost+found'))
        throw new Error(
          `${path} is not empty and is not a data directory of Runledger. Name another RUNLEDGER_DATA_DIR.`,
        )
      writeFileSync(marker, `${layoutVersion}\n`, { mode: 0o600 })
    }
    // As root the database runs as another user, who must pass through to his own folder and see nothing else.
    chmodSync(path, isRoot() ? 0o711 : 0o700)
    return realpathSync(path)
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error
    throw new Error(
      `The data directory ${path} cannot be used: ${error.message}. Name another RUNLEDGER_DATA_DIR.`,
      {
        cause: error,
      },
    )
  }
}

// Two locks, because each misses something: an abstract socket cannot go stale and cannot be taken twice, but is seen only in
// the same network namespace; a socket file is seen from every container that shares the directory, but outlives its process.
async function holdLocks(path: string): Promise<Server[]> {
  const id = statSync(path, { bigint: true })
  const held: Server[] = []
  try {
    if (process.platform === 'linux') held.push(await holdAbstract(path, id))
    held.push(...(await holdFile(path, id)))
    return held
  } catch (error) {
    await Promise.all(held.map(closed))
    throw error
  }
}

async function holdAbstract(path: string, id: BigIntStats): Promise<Server> {
  const name = `\0runledger-${id.dev}-${id.ino}`
  try {
    return await listening(name)
  } catch (error) {
    if (codeOf(error) === 'EADDRINUSE') throw inUse(path, await askHolder(name))
    throw error
  }
}

async function holdFile(path: string, id: BigIntStats): Promise<Server[]> {
  const inside = join(path, lockName)
  const file =
    inside.length <= socketPathMax ? inside : join(tmpdir(), `runledger-${id.dev}-${id.ino}.sock`)
  const holder = await askHolder(file)
  if (holder !== undefined) throw inUse(path, holder)
  rmSync(file, { force: true })
  try {
    const server = await listening(file)
    chmodSync(file, 0o600)
    return [server]
  } catch (error) {
    // Some shared folders of virtual machines hold no sockets. On Linux the abstract one is held already.
    if (process.platform === 'linux' && codeOf(error) !== 'EADDRINUSE') return []
    throw error
  }
}

function listening(name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.on('error', () => {}).end(`${process.pid}\n`))
    server.once('error', reject)
    server.listen(name, () => {
      // Holding the lock must not hold the process.
      server.unref()
      resolve(server)
    })
  })
}

/** Who listens there, in his own words; undefined when nobody does. */
function askHolder(name: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = ''
    const socket = connect(name)
    socket.setTimeout(lockDeadlineMs, () => socket.destroy())
    let connected = false
    socket.on('connect', () => {
      connected = true
    })
    socket.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 20)
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(connected ? said.trim() : undefined))
  })
}

function inUse(path: string, holder: string | undefined): Error {
  const who = holder ? ` (process ${holder})` : ''
  return new Error(
    `Another Runledger${who} is using the data directory ${path}. Stop it, or name another RUNLEDGER_DATA_DIR.`,
  )
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
