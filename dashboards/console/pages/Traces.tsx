// The list of traces: filters in the URL, newest first, older ones as one scrolls, new ones by themselves when live.

import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useCallback, useMemo, useState } from 'react'
import { useTitle } from '../Console.tsx'
import { anyTraceQuery, liveEveryMs, tracesQuery } from '../client.ts'
import { counted } from '../format.ts'
import { push, replace } from '../history.ts'
import { usePreference } from '../preferences.ts'
import { FilterBar } from '../traces/FilterBar.tsx'
import { FirstSteps } from '../traces/FirstSteps.tsx'
import { RangePicker } from '../traces/RangePicker.tsx'
import { TraceHead, TraceRow } from '../traces/TraceRow.tsx'
import { Empty, Failure, Loading } from '../ui/atoms.tsx'
import { List } from '../ui/List.tsx'
import { link, parseFilters, type TraceFilters } from '../url.ts'
import type { TraceItem } from '../wire.ts'

const rowHeight = 36
const headHeight = 32
// Live lists ask again for every page they hold; beyond this many the reader is in the past, and rest is kinder.
const livePagesMax = 2
const activeOf = new Map<string, string>()

export function Traces({ search }: { search: string }) {
  useTitle('Traces')
  const filters = useMemo(() => parseFilters(search), [search])
  const [live] = usePreference('live')
  const found = useInfiniteQuery({
    ...tracesQuery(filters),
    refetchInterval: (query) =>
      live && (query.state.data?.pages.length ?? 0) <= livePagesMax ? liveEveryMs : false,
  })
  const items = useMemo(
    () => unique(found.data?.pages.flatMap((page) => page.items) ?? []),
    [found.data],
  )
  const onFilters = useCallback((next: TraceFilters) => replace(link.traces(next)), [])
  const older = found.hasNextPage
  return (
    <section className="page">
      <header className="page-head">
        <h1>Traces</h1>
        <p className="page-count" role="status">
          {found.data && `${counted(items.length, 'trace')}${older ? ' loaded, more below' : ''}`}
        </p>
        <RangePicker filters={filters} onChange={onFilters} />
        <LiveToggle paused={(found.data?.pages.length ?? 0) > livePagesMax} />
      </header>
      <FilterBar
        filters={filters}
        onChange={onFilters}
        busy={found.isFetching && !found.isFetchingNextPage}
      />
      {found.isPending && <Loading what="traces" />}
      {found.isError && !found.data && (
        <Failure error={found.error} what="traces" retry={() => void found.refetch()} />
      )}
      {found.isError && found.data && (
        <p className="strip" role="alert">
          {found.error.message} The list below may be out of date.
          <button type="button" onClick={() => void found.refetch()}>
            Try again
          </button>
        </p>
      )}
      {found.data && items.length === 0 && <Nothing filters={filters} onFilters={onFilters} />}
      {items.length > 0 && (
        <TraceList
          key={search}
          items={items}
          place={`traces${search}`}
          loading={found.isFetchingNextPage}
          onEnd={() => {
            if (older && !found.isFetching && !found.isError) void found.fetchNextPage()
          }}
        />
      )}
    </section>
  )
}

type ListProps = { items: TraceItem[]; place: string; loading: boolean; onEnd: () => void }

function TraceList({ items, place, loading, onEnd }: ListProps) {
  // The active trace, not its place: a live list grows at the top and must not slip away under the reader.
  const [activeId, setActiveId] = useState(activeOf.get(place))
  const active = activeId === undefined ? -1 : items.findIndex((item) => item.traceId === activeId)
  const onActive = (at: number) => {
    const id = items[at]?.traceId
    setActiveId(id)
    if (id !== undefined) activeOf.set(place, id)
  }
  return (
    <>
      <List
        className="traces"
        label="Traces"
        role="grid"
        count={items.length}
        rowHeight={rowHeight}
        headHeight={headHeight}
        head={<TraceHead />}
        rowKey={(at) => items[at]!.traceId}
        active={active}
        onActive={onActive}
        onOpen={(at) => push(link.trace(items[at]!.traceId))}
        onEnd={onEnd}
        row={(at) => <TraceRow item={items[at]!} />}
        place={place}
      />
      {loading && (
        <p className="list-foot" role="status">
          Loading older traces …
        </p>
      )}
    </>
  )
}

function LiveToggle({ paused }: { paused: boolean }) {
  const [live, setLive] = usePreference('live')
  const title =
    live && paused
      ? 'Paused while older traces are loaded'
      : `Asks again every ${liveEveryMs / 1000} s`
  return (
    <button
      type="button"
      className="live"
      role="switch"
      aria-checked={live}
      title={title}
      data-paused={paused || undefined}
      onClick={() => setLive(!live)}
    >
      <span className="live-dot" aria-hidden="true" />
      {live && paused ? 'Live, paused' : 'Live'}
    </button>
  )
}

type NothingProps = { filters: TraceFilters; onFilters: (next: TraceFilters) => void }

/** Two kinds of nothing: none match, or none have ever come. */
function Nothing({ filters, onFilters }: NothingProps) {
  const any = useQuery(anyTraceQuery)
  if (any.isPending) return <Loading what="traces" />
  if (any.data === false) return <FirstSteps />
  const filtered = Object.keys(filters.by).length > 0
  return (
    <Empty icon="search" title="No trace matches">
      <p>
        {filtered
          ? 'Loosen a filter, or look further back.'
          : 'Nothing came in this window of time.'}
      </p>
      <div className="state-actions">
        {filtered && (
          <button
            type="button"
            className="button"
            onClick={() => onFilters({ ...filters, by: {} })}
          >
            Clear filters
          </button>
        )}
        {filters.range !== 'all' && (
          <button
            type="button"
            className="button"
            onClick={() => onFilters({ ...filters, range: 'all', from: '', to: '' })}
          >
            Look at all time
          </button>
        )}
      </div>
    </Empty>
  )
}

/** A trace that moved from one page to another between two requests is shown once. */
function unique(items: TraceItem[]): TraceItem[] {
  const seen = new Set<string>()
  return items.filter((item) => !seen.has(item.traceId) && seen.add(item.traceId))
}
