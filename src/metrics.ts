// Every count this process keeps, and its Prometheus text. Nothing is counted anywhere else.

import type { Counters, Histogram, Histograms } from '../schemas/counters.ts'
import { metricHelp } from './metric-help.ts'

// Label values come from callers now and then; beyond this many series a name is counted without its labels.
const seriesMax = 1_000

export type Metrics = Counters &
  Histograms & {
    /** A value read when asked for, such as a queue's depth. */
    gauge(name: string, read: () => number): void
    /** Prometheus exposition text, version 0.0.4. */
    toText(): string
  }

export function openMetrics(): Metrics {
  const series = new Map<string, Map<string, number>>()
  const gauges = new Map<string, () => number>()
  const distributions = new Map<string, Map<string, Distribution>>()

  return {
    count(name, labels, by = 1) {
      let counts = series.get(name)
      if (!counts) {
        counts = new Map()
        series.set(name, counts)
      }
      const labelled = toLabels(labels)
      const isKnown = counts.size < seriesMax || counts.has(labelled)
      const key = isKnown ? labelled : '{overflow="true"}'
      counts.set(key, (counts.get(key) ?? 0) + by)
    },
    histogram(name, labels, bounds) {
      const known = distributions.get(name) ?? new Map<string, Distribution>()
      distributions.set(name, known)
      const pairs = toPairs(labels)
      const key = known.size < seriesMax || known.has(pairs) ? pairs : 'overflow="true"'
      const made = known.get(key) ?? new Distribution(bounds)
      known.set(key, made)
      return made
    },
    gauge(name, read) {
      gauges.set(name, read)
    },
    toText() {
      const lines: string[] = []
      for (const [name, counts] of [...series].sort()) {
        lines.push(...headOf(name, 'counter'))
        for (const [labels, value] of counts) lines.push(`runledger_${name}${labels} ${value}`)
      }
      for (const [name, known] of [...distributions].sort()) {
        lines.push(...headOf(name, 'histogram'))
        for (const [pairs, one] of known) lines.push(...one.toLines(`runledger_${name}`, pairs))
      }
      for (const [name, read] of [...gauges].sort()) {
        lines.push(...headOf(name, 'gauge'), `runledger_${name} ${read()}`)
      }
      lines.push(...ofProcess())
      return `${lines.join('\n')}\n`
    },
  }
}

function headOf(name: string, type: string, prefix = 'runledger_'): string[] {
  const help = metricHelp[name]
  const head = [`# TYPE ${prefix}${name} ${type}`]
  return help ? [`# HELP ${prefix}${name} ${help}`, ...head] : head
}

/** By the names that every Prometheus client gives them. */
function ofProcess(): string[] {
  const { user, system } = process.cpuUsage()
  const figures = [
    ['process_cpu_seconds_total', 'counter', (user + system) / 1e6],
    ['process_resident_memory_bytes', 'gauge', process.memoryUsage().rss],
    ['process_start_time_seconds', 'gauge', Math.round(performance.timeOrigin / 1_000)],
  ] as const
  return figures.flatMap(([name, type, value]) => [...headOf(name, type, ''), `${name} ${value}`])
}

/** One series of a histogram, as Prometheus counts it: each bucket holds all that is at most its bound. */
class Distribution implements Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  observe(value: number): void {
    let at = 0
    while (at < this.#bounds.length && value > this.#bounds[at]!) at += 1
    this.#counts[at]! += 1
    this.#sum += value
  }

  toLines(name: string, pairs: string): string[] {
    const before = pairs === '' ? '' : `${pairs},`
    let count = 0
    const lines = this.#counts.map((more, at) => {
      count += more
      return `${name}_bucket{${before}le="${this.#bounds[at] ?? '+Inf'}"} ${count}`
    })
    return [...lines, `${name}_sum{${pairs}} ${this.#sum}`, `${name}_count{${pairs}} ${count}`]
  }
}

function toLabels(labels: Record<string, string>): string {
  const pairs = toPairs(labels)
  return pairs === '' ? '' : `{${pairs}}`
}

// Every call is counted under labels, so this leaves no list of them behind.
function toPairs(labels: Record<string, string>): string {
  let pairs = ''
  for (const name in labels) {
    if (pairs !== '') pairs += ','
    pairs += `${name}="${escapeLabel(labels[name]!)}"`
  }
  return pairs
}

function escapeLabel(value: string): string {
  // Nearly every value is short and has nothing to escape.
  if (value.length <= 200 && !/[\\"\n]/.test(value)) return value
  return value.slice(0, 200).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
