// Above the waterfall: find spans, jump to failures, fold, and leave a zoom.

import { useRef } from 'react'
import { counted, duration } from '../format.ts'
import { useSlash } from '../traces/FilterBar.tsx'
import { Icon } from '../ui/icons.tsx'
import type { TraceView } from '../url.ts'
import type { RowsState } from './useRows.ts'

type Props = {
  onSearch: (q: string) => void
  onZoom: (zoom: TraceView['zoom']) => void
  q: string
  hits: ReadonlySet<number> | undefined
  failed: readonly number[]
  onJump: (among: Iterable<number>) => void
  nav: RowsState
  zoom: TraceView['zoom']
}

export function Toolbar({ q, onSearch, hits, failed, onJump, nav, zoom, onZoom }: Props) {
  const box = useRef<HTMLInputElement>(null)
  useSlash(box)
  return (
    <div className="toolbar" role="toolbar" aria-label="Waterfall">
      <label className="filter filter-q">
        <Icon name="search" />
        <span className="sr">Find spans by name, service, type or model</span>
        <input
          ref={box}
          type="text"
          value={q}
          placeholder="Find spans"
          spellCheck={false}
          onChange={(event) => onSearch(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter') onJump(hits ?? [])
            if (event.key === 'Escape') event.currentTarget.blur()
          }}
        />
        {hits && <span className="quiet">{counted(hits.size, 'match', 'matches')}</span>}
        <span className="kbd">/</span>
      </label>
      {failed.length > 0 && (
        <button
          type="button"
          className="plain plain-error"
          onClick={() => onJump(failed)}
          title="Next error (e)"
        >
          {counted(failed.length, 'error')} <Icon name="down" />
        </button>
      )}
      <span className="grow" />
      {zoom && (
        <button
          type="button"
          className="chip"
          onClick={() => onZoom(undefined)}
          title="Show the whole trace (0)"
        >
          {duration(zoom.fromMs)} – {duration(zoom.toMs)} <Icon name="close" />
        </button>
      )}
      <button type="button" className="plain" onClick={nav.foldAll}>
        Fold all
      </button>
      <button type="button" className="plain" onClick={nav.unfoldAll}>
        Unfold all
      </button>
    </div>
  )
}
