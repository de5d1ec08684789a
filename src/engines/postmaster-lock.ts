// Who holds the data of a Postgres, told from `postmaster.pid` and from the kernel.

import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { startOf } from './process-record.ts'

const pollMs = 10

/** The pid that the lock file names; undefined when there is none. */
export function readPostmasterPid(data: string): number | undefined {
  const file = join(data, 'postmaster.pid')
  if (!existsSync(file)) return undefined
  const pid = Number.parseInt(readFileSync(file, 'utf8'), 10)
  return pid > 1 ? pid : undefined
}

/** True when the process runs in this data directory, as every Postgres process does. Known on Linux only. */
export function worksIn(pid: number, data: string): boolean {
  try {
    return realpathSync(`/proc/${pid}/cwd`) === realpathSync(data)
  } catch {
    return false
  }
}

/**
 * After a server was killed: waits until its own processes, which leave a moment after it and hold its shared memory until then,
 * are gone, and ends those that stay. Then removes the lock file if nobody has reaped the server yet: Postgres itself takes such a
 * zombie for a running server and refuses to start, for ever where PID 1 does not reap.
 */
export async function clearDeadLock(data: string, deadlineMs: number): Promise<void> {
  const pid = readPostmasterPid(data)
  if (process.platform !== 'linux' || pid === undefined || worksIn(pid, data)) return
  const orphans = () => readPids().filter((other) => worksIn(other, data) && isPostgres(other))
  const from = performance.now()
  let isTold = false
  while (orphans().length > 0) {
    const waitedMs = performance.now() - from
    // Somebody lives there and cannot be ended: Postgres is left to say so in its own words.
    if (waitedMs > 2 * deadlineMs) return
    if (waitedMs > deadlineMs && !isTold) {
      isTold = true
      for (const orphan of orphans()) end(orphan)
    }
    await wait(pollMs)
  }
  if (isZombie(pid)) rmSync(join(data, 'postmaster.pid'), { force: true })
}

/** Somebody's shell may stand in the directory too. */
function isPostgres(pid: number): boolean {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`)) === 'postgres'
  } catch {
    return false
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has left by itself.
  }
}

/** A zombie has no start time that counts, and is still there. */
function isZombie(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && startOf(pid) === ''
}

function readPids(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 1)
}
