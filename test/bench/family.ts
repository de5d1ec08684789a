// What the processes of a started product use: CPU of each, memory of all together over time.

import { readFileSync } from 'node:fs'
import { cpuSeconds, familyOf } from '../product.ts'

const sampleEveryMs = 500

export type Usage = { name: string; cpuS: number }
export type Watch = {
  /** CPU since the watch began, by what the process is. */
  cpu(): Usage[]
  /** MiB of memory, shared pages counted once, at each look. */
  memoryMib: number[]
  stop(): void
}

export function watchFamily(pid: number): Watch {
  const before = new Map(familyOf(pid).map((one) => [one, safely(() => cpuSeconds(one))]))
  const memoryMib: number[] = []
  const look = () => {
    const bytes = familyOf(pid).reduce((sum, one) => sum + safely(() => proportionalBytes(one)), 0)
    memoryMib.push(bytes / 2 ** 20)
  }
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
    stop: () => clearInterval(timer),
  }
}

/** The means of the first and the last third: the same, if memory is flat. */
export function thirdsOf(samples: readonly number[]): [number, number] {
  const third = Math.max(1, Math.floor(samples.length / 3))
  const mean = (of: readonly number[]) => of.reduce((a, b) => a + b, 0) / Math.max(1, of.length)
  return [mean(samples.slice(0, third)), mean(samples.slice(-third))]
}

function proportionalBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) * 1024
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
