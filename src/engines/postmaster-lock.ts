// Who holds the data of a Postgres, told from `postmaster.pid` and from the kernel.

import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
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
 * Removes the lock file of a server that was killed and that nobody has reaped yet. Postgres itself takes such a zombie for a
 * running server and refuses to start, for ever where PID 1 does not reap. Waits first until no process works in the
 * directory any more, because the killed server's own children leave a moment after it.
 */
export async function clearDeadLock(data: string, deadlineMs: number): Promise<void> {
  const pid = readPostmasterPid(data)
  if (process.platform !== 'linux' || pid === undefined || !isZombie(pid)) return
  const until = performance.now() + deadlineMs
  while (readPids().some((other) => worksIn(other, data))) {
    // Somebody lives there: Postgres is left to say so in its own words.
    if (performance.now() > until) return
    await wait(pollMs)
  }
  rmSync(join(data, 'postmaster.pid'), { force: true })
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
