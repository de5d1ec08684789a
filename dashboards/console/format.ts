// Numbers and times as the console shows them: always with their unit, always the same width of meaning.

const integers = new Intl.NumberFormat('en-US')
const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
})
const day = new Intl.DateTimeFormat('en-US', { month: 'short', day: '2-digit' })

export const absent = '–'

export function duration(ms: number | null): string {
  if (ms === null) return absent
  if (ms === 0) return '0 ms'
  if (ms < 0.001) return `${Math.round(ms * 1e6)} ns`
  if (ms < 1) return `${trim(ms * 1000)} µs`
  if (ms < 1000) return `${trim(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return two([Math.floor(seconds / 60), 'min'], [seconds % 60, 's'])
  const minutes = Math.round(seconds / 60)
  if (minutes < 48 * 60) return two([Math.floor(minutes / 60), 'h'], [minutes % 60, 'min'])
  return two([Math.floor(minutes / 1440), 'd'], [Math.floor((minutes % 1440) / 60), 'h'])
}

/** A round instant on an axis: as a duration, without the decimals that say nothing there. */
export function instant(ms: number): string {
  return ms >= 1000 && ms < 60_000
    ? `${Number((ms / 1000).toFixed(2))} s`
    : duration(Number(ms.toPrecision(9)))
}

export function count(value: number | null): string {
  return value === null ? absent : integers.format(value)
}

export function counted(value: number, one: string, many: string = `${one}s`): string {
  return `${integers.format(value)} ${value === 1 ? one : many}`
}

/** US dollars with as many decimals as it takes to see two digits that matter. */
export function cost(usd: number | null): string {
  if (usd === null) return absent
  if (usd === 0) return '$0'
  if (usd >= 1) return `$${usd.toFixed(2)}`
  const decimals = Math.min(8, Math.max(4, 1 - Math.floor(Math.log10(Math.abs(usd)))))
  return `$${usd.toFixed(decimals)}`
}

export function bytes(length: number): string {
  if (length < 1000) return `${length} B`
  if (length < 1_000_000) return `${trim(length / 1000)} kB`
  return `${trim(length / 1_000_000)} MB`
}

/** The reader's own clock; the day is named only when it is not today. */
export function time(iso: string, now: Date = new Date()): { day: string; clock: string } {
  const at = new Date(iso)
  if (Number.isNaN(at.getTime())) return { day: '', clock: absent }
  const today = at.toDateString() === now.toDateString()
  return { day: today ? '' : day.format(at), clock: clock.format(at) }
}

export function shortId(id: string): string {
  return id.length <= 12 ? id : id.slice(0, 8)
}

function two([large, unit]: [number, string], [small, rest]: [number, string]): string {
  return `${integers.format(large)} ${unit}${small > 0 ? ` ${small} ${rest}` : ''}`
}

function trim(value: number): string {
  return value >= 100 ? integers.format(Math.round(value)) : String(Number(value.toPrecision(3)))
}
