// The filters of the list, bound to the URL: what is typed is in the address a moment later, and the other way round.

import { useEffect, useId, useRef, useState } from 'react'
import { Text } from '../ui/atoms.tsx'
import { Icon } from '../ui/icons.tsx'
import type { TraceFilters } from '../url.ts'
import { RangeEdges } from './RangePicker.tsx'

const settleMs = 250
const statuses = ['ok', 'error', 'client_closed', 'truncated', 'interrupted', 'cache_hit']
const fields: { key: string; title: string; hint: string; numeric?: boolean }[] = [
  { key: 'service', title: 'Service', hint: 'any service' },
  { key: 'model', title: 'Model', hint: 'any model' },
  { key: 'prompt_version_id', title: 'Prompt version', hint: 'any version' },
  { key: 'min_latency_ms', title: 'Slower than', hint: 'ms', numeric: true },
]
const inBar = new Set(['q', 'status', ...fields.map((field) => field.key)])

type Props = { filters: TraceFilters; onChange: (next: TraceFilters) => void; busy: boolean }

export function FilterBar({ filters, onChange, busy }: Props) {
  const search = useRef<HTMLInputElement>(null)
  const id = useId()
  useSlash(search)
  const set = (key: string, value: string) => {
    const { [key]: _old, ...by } = filters.by
    onChange({ ...filters, by: value === '' ? by : { ...by, [key]: value } })
  }
  const others = Object.entries(filters.by).filter(([key]) => !inBar.has(key))
  const any = Object.keys(filters.by).length > 0
  return (
    // biome-ignore lint/a11y/useSemanticElements: <search> is not yet known to every browser this supports
    <div className="filters" role="search" aria-label="Filter traces" data-busy={busy || undefined}>
      <label className="filter filter-q" htmlFor={`${id}-q`}>
        <Icon name="search" />
        <span className="sr">Search names, inputs and outputs</span>
        <Field
          id={`${id}-q`}
          value={filters.by.q ?? ''}
          onSettle={(value) => set('q', value)}
          hint="Search traces"
          box={search}
        />
        <span className="kbd">/</span>
      </label>
      {fields.map((field) => (
        <label
          key={field.key}
          htmlFor={`${id}-${field.key}`}
          className={`filter filter-${field.key}`}
          data-set={filters.by[field.key] !== undefined || undefined}
        >
          <span className="filter-title">{field.title}</span>
          <Field
            id={`${id}-${field.key}`}
            value={filters.by[field.key] ?? ''}
            onSettle={(value) => set(field.key, value)}
            hint={field.hint}
            numeric={field.numeric ?? false}
          />
          {field.numeric && filters.by[field.key] && <span className="filter-unit">ms</span>}
        </label>
      ))}
      <StatusField value={filters.by.status ?? ''} onPick={(status) => set('status', status)} />
      {filters.range === 'custom' && <RangeEdges filters={filters} onChange={onChange} />}
      {others.map(([key, value]) => (
        <button
          key={key}
          type="button"
          className="chip"
          onClick={() => set(key, '')}
          aria-label={`Remove filter ${key}`}
        >
          <span className="quiet">{key}</span> <Text>{value}</Text> <Icon name="close" />
        </button>
      ))}
      {any && (
        <button type="button" className="plain" onClick={() => onChange({ ...filters, by: {} })}>
          Clear
        </button>
      )}
    </div>
  )
}

function StatusField({ value, onPick }: { value: string; onPick: (status: string) => void }) {
  return (
    <label className="filter" data-set={value !== '' || undefined}>
      <span className="filter-title">Status</span>
      <select value={value} onChange={(event) => onPick(event.target.value)}>
        <option value="">any</option>
        {statuses.map((status) => (
          <option key={status} value={status}>
            {status.replaceAll('_', ' ')}
          </option>
        ))}
      </select>
    </label>
  )
}

type FieldProps = {
  id: string
  value: string
  onSettle: (value: string) => void
  hint: string
  numeric?: boolean
  box?: React.RefObject<HTMLInputElement | null>
}

/** A text field that speaks once its writer pauses. */
function Field({ id, value, onSettle, hint, numeric, box }: FieldProps) {
  const [draft, setDraft] = useState(value)
  const said = useRef(value)
  const speak = useRef(onSettle)
  speak.current = onSettle
  useEffect(() => {
    // A change from elsewhere (Back, Clear) replaces the draft; the echo of our own words does not.
    if (value !== said.current) setDraft(value)
    said.current = value
  }, [value])
  useEffect(() => {
    if (draft.trim() === said.current) return
    const timer = setTimeout(() => {
      said.current = draft.trim()
      speak.current(draft.trim())
    }, settleMs)
    return () => clearTimeout(timer)
  }, [draft])
  return (
    <input
      ref={box}
      id={id}
      type="text"
      inputMode={numeric ? 'numeric' : undefined}
      spellCheck={false}
      autoComplete="off"
      placeholder={hint}
      value={draft}
      onChange={(event) =>
        setDraft(numeric ? event.target.value.replace(/[^0-9]/g, '') : event.target.value)
      }
      onKeyDown={(event) => {
        if (event.key === 'Escape') event.currentTarget.blur()
      }}
    />
  )
}

/** `/` goes to the filter from anywhere that is not already a text field. */
export function useSlash(box: React.RefObject<HTMLInputElement | null>): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const typing =
        event.target instanceof Element && event.target.closest('input, textarea, select')
      if (event.key !== '/' || typing || event.metaKey || event.ctrlKey) return
      event.preventDefault()
      box.current?.focus()
      box.current?.select()
    }
    addEventListener('keydown', onKeyDown)
    return () => removeEventListener('keydown', onKeyDown)
  }, [box])
}
