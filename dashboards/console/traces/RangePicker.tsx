// Which stretch of time the list looks at: up to now for a named range, between two instants for a custom one.

import { type Range, ranges, type TraceFilters } from '../url.ts'

const titles: Record<Range, string> = {
  '15m': '15 min',
  '1h': '1 h',
  '24h': '24 h',
  '7d': '7 d',
  all: 'All',
  custom: 'Custom',
}

type Props = { filters: TraceFilters; onChange: (next: TraceFilters) => void }

export function RangePicker({ filters, onChange }: Props) {
  const pick = (range: Range) => {
    // A custom range starts as the last hour, as two instants that can then be moved.
    const nowMs = Date.now()
    const custom = range === 'custom'
    const from = custom ? new Date(nowMs - 3_600_000).toISOString() : ''
    const to = custom ? new Date(nowMs).toISOString() : ''
    if (range !== filters.range) onChange({ ...filters, range, from, to })
  }
  return (
    <fieldset className="segments">
      <legend className="sr">Time range</legend>
      {ranges.map((range) => (
        <button
          key={range}
          type="button"
          aria-pressed={filters.range === range}
          onClick={() => pick(range)}
        >
          {titles[range]}
        </button>
      ))}
    </fieldset>
  )
}

export function RangeEdges({ filters, onChange }: Props) {
  const edge = (key: 'from' | 'to', local: string) =>
    onChange({
      ...filters,
      range: 'custom',
      [key]: local === '' ? '' : new Date(local).toISOString(),
    })
  return (['from', 'to'] as const).map((key) => (
    <label key={key} className="filter filter-edge">
      <span className="filter-title">{key === 'from' ? 'From' : 'To'}</span>
      <input
        type="datetime-local"
        step="1"
        value={toLocal(filters[key])}
        onChange={(event) => edge(key, event.target.value)}
      />
    </label>
  ))
}

/** What a datetime field shows for an instant: the reader's own wall clock, to the second. */
function toLocal(iso: string): string {
  const at = new Date(iso)
  if (iso === '' || Number.isNaN(at.getTime())) return ''
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}
