// Which process was that? A pid is reused; a pid with its start time is not. So nobody else's process is ever ended.

import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'

const pollMs = 10

/** Writes who this is, so that a later start can find it. Do it before the data is opened. */
export function recordProcess(file: string, pid: number): void {
  writeFileSync(file, JSON.stringify({ pid, started: startOf(pid) }), { mode: 0o600 })
}

/**
 * Ends the process that `file` names if it is still that very process, and waits until it is gone. Tries the signals one
 * after the other, each for `deadlineMs`; throws when the last one did not help either.
 */
export async function endRecorded(
  file: string,
  signals: NodeJS.Signals[],
  deadlineMs = 5000,
): Promise<boolean> {
  const found = readRecord(file)
  if (!found || !isStill(found)) {
    rmSync(file, { force: true })
    return false
  }
  for (const signal of signals) {
    process.kill(found.pid, signal)
    const until = performance.now() + deadlineMs
    while (isStill(found) && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    if (!isStill(found)) {
      rmSync(file, { force: true })
      return true
    }
  }
  throw new Error(
    `Process ${found.pid} still holds the data of an earlier start and cannot be ended.`,
  )
}

type Recorded = { pid: number; started: string }

function readRecord(file: string): Recorded | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as Partial<Recorded> // written above, or torn by a crash
    if (
      typeof record.pid === 'number' &&
      typeof record.started === 'string' &&
      record.started !== ''
    )
      return { pid: record.pid, started: record.started }
  } catch {
    // Absent or torn: nobody to end.
  }
  return undefined
}

function isStill(record: Recorded): boolean {
  return startOf(record.pid) === record.started
}

/** Start time in the words of the system, with the boot it belongs to; empty when there is no such process or it is a zombie. */
export function startOf(pid: number): string {
  if (process.platform !== 'linux') return startByPs(pid)
  try {
    // After the name, which may hold anything: state is the third field, start time the 22nd (proc_pid_stat(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return ''
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${fields[19]}`
  } catch {
    return ''
  }
}

function startByPs(pid: number): string {
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
  } catch {
    return ''
  }
}
