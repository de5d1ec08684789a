// The waterfall: rows of the tree that are unfolded and on screen, one time axis above them, an overview above that.

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { counted, duration, instant } from '../format.ts'
import { usePreference } from '../preferences.ts'
import { useSlash } from '../traces/FilterBar.tsx'
import { Divider } from '../ui/Divider.tsx'
import { Icon } from '../ui/icons.tsx'
import { List } from '../ui/List.tsx'
import { useWidth } from '../ui/useWidth.ts'
import type { TraceView } from '../url.ts'
import { Overview } from './Overview.tsx'
import { place, ticks, type Window } from './scale.ts'
import { type Row, type Tree, visibleRows } from './tree.ts'
import { WaterfallRow } from './WaterfallRow.tsx'

const rowHeight = 28
const headHeight = 28
// A label of the axis needs about this much room.
const tickPx = 96
// The names never take more than this share of the width.
const nameShareMax = 0.45

type Props = {
  tree: Tree
  traceId: string
  view: TraceView
  onSpan: (spanId: string) => void
  onZoom: (zoom: TraceView['zoom']) => void
  onSearch: (q: string) => void
  onClose: () => void
}

export function Waterfall({ tree, traceId, view, onSpan, onZoom, onSearch, onClose }: Props) {
  const { rows } = tree
  const [nameWish, setNameWidth] = usePreference('nameWidth')
  const box = useRef<HTMLDivElement>(null)
  const width = useWidth(box)
  const nameWidth = width > 0 ? Math.min(nameWish, Math.round(width * nameShareMax)) : nameWish
  const shown = useMemo(() => toWindow(tree, view.zoom), [tree, view.zoom])
  const nav = useRows(tree, view)
  const { visible, active } = nav
  const hits = useMemo(() => findHits(rows, view.q), [rows, view.q])
  const failed = useMemo(() => indexesOf(rows, isFailed), [rows])
  const jump = (among: Iterable<number>) => {
    const at = nav.jump(among)
    if (at !== undefined && view.span !== undefined) open(at)
  }
  const open = (at: number) => {
    const row = rows[at]
    if (row?.kind === 'span') onSpan(row.span.spanId)
    else if (row) nav.toggle(row.key)
  }
  const onKey = (event: KeyboardEvent, line: number): boolean => {
    const at = visible[line]
    switch (event.key) {
      case 'Escape':
        if (view.span !== undefined) onClose()
        else if (view.zoom) onZoom(undefined)
        else return false
        return true
      case 'ArrowRight':
        return at !== undefined && nav.unfold(at)
      case 'ArrowLeft':
        return at !== undefined && nav.foldOrRise(at)
      case 'e':
        jump(failed)
        return true
      case 'n':
        jump(hits ?? [])
        return true
      case '0':
        onZoom(undefined)
        return true
      case 'z':
        return at !== undefined && zoomTo(rows[at]!, onZoom)
      default:
        return false
    }
  }
  return (
    <div
      className="waterfall"
      ref={box}
      style={{ '--name-width': `${nameWidth}px` } as React.CSSProperties /* a custom property */}
    >
      <Toolbar
        q={view.q}
        onSearch={onSearch}
        hits={hits}
        failed={failed}
        onJump={jump}
        nav={nav}
        zoom={view.zoom}
        onZoom={onZoom}
      />
      <Overview tree={tree} shown={shown} onZoom={onZoom} zoomed={view.zoom !== undefined} />
      <List
        className="spans"
        label="Spans"
        role="treegrid"
        count={visible.length}
        rowHeight={rowHeight}
        headHeight={headHeight}
        head={<Axis shown={shown} most={Math.max(2, Math.floor((width - nameWidth) / tickPx))} />}
        rowKey={(line) => rows[visible[line]!]!.key}
        active={active}
        onActive={(line) => {
          nav.setActive(visible[line]!)
          const row = rows[visible[line]!]
          if (view.span !== undefined && row?.kind === 'span') onSpan(row.span.spanId)
        }}
        onOpen={(line) => open(visible[line]!)}
        onKey={onKey}
        rowProps={(line) =>
          rowProps(
            rows[visible[line]!]!,
            nav.folded,
            hits === undefined || hits.has(visible[line]!),
          )
        }
        row={(line) => {
          const row = rows[visible[line]!]!
          return (
            <WaterfallRow
              row={row}
              shown={shown}
              folded={nav.folded.has(row.key)}
              onToggle={nav.toggle}
            />
          )
        }}
        place={`trace ${traceId}`}
      />
      <Divider
        label="Width of the name column"
        at={nameWidth}
        min={180}
        max={760}
        onMove={setNameWidth}
        side="left"
      />
    </div>
  )
}

type Nav = ReturnType<typeof useRows>

/** Which rows are folded and which one is active. The active row is an index into all rows, so folding cannot lose it. */
function useRows({ rows }: Tree, view: TraceView) {
  const [folded, setFolded] = useState<ReadonlySet<number>>(new Set())
  const [activeAt, setActive] = useState(() => rows.findIndex((row) => isSpan(row, view.span)))
  const visible = useMemo(() => visibleRows(rows, folded), [rows, folded])
  const active = useMemo(() => lineOf(visible, activeAt), [visible, activeAt])
  // Back and Forward move between spans too: the row follows the URL.
  useEffect(() => {
    if (view.span === undefined) return
    setActive((at) =>
      isSpan(rows[at], view.span) ? at : rows.findIndex((row) => isSpan(row, view.span)),
    )
  }, [rows, view.span])
  const toggle = useCallback((key: number) => {
    setFolded((old) => {
      const next = new Set(old)
      if (!next.delete(key)) next.add(key)
      return next
    })
  }, [])
  const reveal = (at: number) => {
    const next = new Set(folded)
    for (let up = rows[at]!.parent; up >= 0; up = rows[up]!.parent) next.delete(rows[up]!.key)
    if (next.size !== folded.size) setFolded(next)
    setActive(at)
  }
  return {
    visible,
    active,
    folded,
    setActive,
    toggle,
    foldAll: () =>
      setFolded(new Set(rows.filter((row) => row.descendants > 0).map((row) => row.key))),
    unfoldAll: () => setFolded(new Set()),
    unfold: (at: number) => {
      if (!folded.has(rows[at]!.key)) return false
      toggle(rows[at]!.key)
      return true
    },
    foldOrRise: (at: number) => {
      const row = rows[at]!
      if (row.descendants > 0 && !folded.has(row.key)) toggle(row.key)
      else if (row.parent >= 0) setActive(row.parent)
      return true
    },
    /** The next of these rows after the active one, round and round; it is unfolded and made active. */
    jump: (among: Iterable<number>) => {
      const list = [...among]
      const at = list.find((index) => index > activeAt) ?? list[0]
      if (at !== undefined) reveal(at)
      return at
    },
  }
}

type ToolbarProps = Pick<Props, 'onSearch' | 'onZoom'> & {
  q: string
  hits: ReadonlySet<number> | undefined
  failed: readonly number[]
  onJump: (among: Iterable<number>) => void
  nav: Nav
  zoom: TraceView['zoom']
}

function Toolbar({ q, onSearch, hits, failed, onJump, nav, zoom, onZoom }: ToolbarProps) {
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
        <kbd aria-hidden="true">/</kbd>
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

function Axis({ shown, most }: { shown: Window; most: number }) {
  const marks = ticks(shown, most)
  return (
    <div className="list-head" role="row">
      <div className="cell" role="columnheader" tabIndex={-1}>
        Span
      </div>
      <div
        className="cell axis"
        role="columnheader"
        tabIndex={-1}
        aria-label={`Time, ${duration(shown.fromMs)} to ${duration(shown.toMs)}`}
      >
        {marks.map((ms) => (
          <span
            key={ms}
            className="tick"
            style={{ left: `${place(ms, 0, shown).left}%` }}
            data-edge={place(ms, 0, shown).left > 94 || undefined}
          >
            {instant(ms)}
          </span>
        ))}
      </div>
    </div>
  )
}

function rowProps(row: Row, folded: ReadonlySet<number>, hit: boolean) {
  return {
    'aria-level': row.depth + 1,
    ...(row.descendants > 0 ? { 'aria-expanded': !folded.has(row.key) } : {}),
    'data-tone': row.kind === 'missing' ? 'warn' : isFailed(row) ? 'error' : undefined,
    'data-dim': hit ? undefined : true,
  }
}

function toWindow(tree: Tree, zoom: TraceView['zoom']): Window {
  const endMs = tree.endMs || 1
  if (!zoom || zoom.fromMs >= endMs) return { fromMs: 0, toMs: endMs }
  return { fromMs: zoom.fromMs, toMs: Math.min(zoom.toMs, endMs) }
}

function zoomTo(row: Row, onZoom: Props['onZoom']): boolean {
  if (row.kind !== 'span' || row.adrift) return false
  const margin = Math.max(row.span.durationMs * 0.05, 0.001)
  onZoom({
    fromMs: Math.max(0, row.startMs - margin),
    toMs: row.startMs + row.span.durationMs + margin,
  })
  return true
}

function findHits(rows: readonly Row[], q: string): ReadonlySet<number> | undefined {
  const wanted = q.trim().toLowerCase()
  if (wanted === '') return undefined
  return new Set(indexesOf(rows, (row) => row.kind === 'span' && words(row).includes(wanted)))
}

function words({ span }: Row & { kind: 'span' }): string {
  return `${span.name}\n${span.service}\n${span.type}\n${span.model ?? ''}\n${span.spanId}`.toLowerCase()
}

function indexesOf(rows: readonly Row[], is: (row: Row) => boolean): number[] {
  return rows.flatMap((row, at) => (is(row) ? [at] : []))
}

function isFailed(row: Row): boolean {
  return row.kind === 'span' && row.span.status === 'error'
}

function isSpan(row: Row | undefined, spanId: string | undefined): boolean {
  return row?.kind === 'span' && row.span.spanId === spanId
}

/** The line on screen of a row, or of the nearest folded row above that hides it: the last visible index not beyond it. */
function lineOf(visible: readonly number[], at: number): number {
  if (at < 0) return -1
  let low = 0
  let high = visible.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (visible[middle]! <= at) low = middle + 1
    else high = middle
  }
  return low - 1
}
