// What the processes of a started product use: CPU of each, memory of all together over time.

import { readdirSync, readFileSync } from 'node:fs'
import { cpuSeconds, familyOf } from '../product.ts'

const sampleEveryMs = 500

export type Usage = { name: string; cpuS: number }
export type Watch = {
  /** CPU since the watch began, by what the process is. */
  cpu(): Usage[]
  /** The same by part: a process's loop, its merges, and the rest of its threads. */
  parts(): Usage[]
  /** MiB of memory at each look, what processes of one program share counted once. */
  memoryMib: number[]
  stop(): void
}

export function watchFamily(pid: number): Watch {
  const family = familyOf(pid).map((one) => ({
    pid: one,
    name: safely(() => nameOf(one)) || 'gone',
  }))
  const before = new Map(family.map((one) => [one.pid, safely(() => cpuSeconds(one.pid))]))
  const partsBefore = partsOf(pid)
  const memoryMib: number[] = []
  const look = () => memoryMib.push(memoryOf(family) / 2 ** 20)
  look()
  const timer = setInterval(look, sampleEveryMs)
  return {
    memoryMib,
    cpu() {
      const byName = new Map<string, number>()
      for (const one of familyOf(pid)) {
        const used = safely(() => cpuSeconds(one)) - (before.get(one) ?? 0)
        const name = safely(() => nameOf(one)) || 'gone'
        byName.set(name, (byName.get(name) ?? 0) + used)
      }
      return [...byName].map(([name, cpuS]) => ({ name, cpuS })).filter(({ cpuS }) => cpuS > 0)
    },
    parts: () =>
      [...partsOf(pid)]
        .map(([name, cpuS]) => ({ name, cpuS: cpuS - (partsBefore.get(name) ?? 0) }))
        .filter(({ cpuS }) => cpuS > 0),
    stop: () => clearInterval(timer),
  }
}

/** Threads that have ended count with the rest, which is what the process has beside those that are named. */
function partsOf(pid: number): Map<string, number> {
  const parts = new Map<string, number>()
  const add = (name: string, cpuS: number) => parts.set(name, (parts.get(name) ?? 0) + cpuS)
  for (const one of familyOf(pid)) {
    const name = safely(() => nameOf(one)) || 'gone'
    if (name !== 'plane' && name !== 'ClickHouse') continue
    const threads = safely(() => readdirSync(`/proc/${one}/task`)) || []
    const secondsOf = (of: string[]) =>
      of.reduce((sum, thread) => sum + safely(() => threadSeconds(one, thread)), 0)
    const loop = secondsOf([String(one)])
    const merges = secondsOf(threads.filter((thread) => isMerging(one, thread)))
    add(`${name}: loop`, loop)
    if (merges > 0) add(`${name}: merges`, merges)
    add(`${name}: other threads`, safely(() => cpuSeconds(one)) - loop - merges)
  }
  return parts
}

function threadSeconds(pid: number, thread: string): number {
  const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
  const fields = stat.split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function isMerging(pid: number, thread: string): boolean {
  const name = safely(() => readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8')) || ''
  return name.startsWith('MergeMutate')
}

/** The means of the first and the last third: the same, if memory is flat. */
export function thirdsOf(samples: readonly number[]): [number, number] {
  const third = Math.max(1, Math.floor(samples.length / 3))
  const mean = (of: readonly number[]) => of.reduce((a, b) => a + b, 0) / Math.max(1, of.length)
  return [mean(samples.slice(0, third)), mean(samples.slice(-third))]
}

/**
 * What each has alone, and once for each program what its processes have mapped or share. From counters that the kernel keeps:
 * adding up every page of a process (`smaps_rollup`) and listing all processes held this process, and the one that was looked
 * at, for 30 to 60 ms at each look, so that the watching was most of the tail of what was watched.
 */
function memoryOf(family: readonly { pid: number; name: string }[]): number {
  const shared = new Map<string, number>()
  let bytes = 0
  for (const { pid, name } of family) {
    const status = safely(() => readFileSync(`/proc/${pid}/status`, 'utf8')) || ''
    const kib = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
    bytes += kib('RssAnon') * 1024
    const mapped = (kib('RssFile') + kib('RssShmem')) * 1024
    shared.set(name, Math.max(shared.get(name) ?? 0, mapped))
  }
  for (const mapped of shared.values()) bytes += mapped
  return bytes
}

function nameOf(pid: number): string {
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  if (command.includes('chdb-child')) return 'ClickHouse'
  return command.includes('postgres') ? 'Postgres' : 'plane'
}

// A process may end between two looks; then it counts nothing.
function safely<T>(read: () => T): T | 0 {
  try {
    return read()
  } catch {
    return 0
  }
}
