// Every count this process keeps, and its Prometheus text. Nothing is counted anywhere else.

import type { Counters } from '../schemas/counters.ts'

// Label values come from callers now and then; beyond this many series a name is counted without its labels.
const seriesMax = 1_000

export type Metrics = Counters & {
  /** A value read when asked for, such as a queue's depth. */
  gauge(name: string, read: () => number): void
  /** Prometheus exposition text, version 0.0.4. */
  toText(): string
}

export function openMetrics(): Metrics {
  const series = new Map<string, Map<string, number>>()
  const gauges = new Map<string, () => number>()

  return {
    count(name, labels, by = 1) {
      const counts = series.get(name) ?? new Map<string, number>()
      series.set(name, counts)
      const key = counts.size < seriesMax ? toLabels(labels) : '{overflow="true"}'
      counts.set(key, (counts.get(key) ?? 0) + by)
    },
    gauge(name, read) {
      gauges.set(name, read)
    },
    toText() {
      const lines: string[] = []
      for (const [name, counts] of [...series].sort()) {
        lines.push(`# TYPE runledger_${name} counter`)
        for (const [labels, value] of counts) lines.push(`runledger_${name}${labels} ${value}`)
      }
      for (const [name, read] of [...gauges].sort()) {
        lines.push(`# TYPE runledger_${name} gauge`, `runledger_${name} ${read()}`)
      }
      const memory = process.memoryUsage()
      lines.push(
        '# TYPE process_resident_memory_bytes gauge',
        `process_resident_memory_bytes ${memory.rss}`,
      )
      return `${lines.join('\n')}\n`
    },
  }
}

function toLabels(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeLabel(value: string): string {
  return value.slice(0, 200).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
