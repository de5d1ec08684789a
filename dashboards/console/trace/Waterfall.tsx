// The waterfall: rows of the tree that are unfolded and on screen, one time axis above them, an overview above that.

import { useMemo, useRef } from 'react'
import { duration, instant } from '../format.ts'
import { usePreference } from '../preferences.ts'
import { HeadCell, HeadRow } from '../ui/Cells.tsx'
import { Divider } from '../ui/Divider.tsx'
import { List } from '../ui/List.tsx'
import { useWidth } from '../ui/useWidth.ts'
import type { TraceView } from '../url.ts'
import { Overview } from './Overview.tsx'
import { place, ticks, type Window } from './scale.ts'
import { Toolbar } from './Toolbar.tsx'
import type { Row, Tree } from './tree.ts'
import { useRows } from './useRows.ts'
import { WaterfallRow } from './WaterfallRow.tsx'

const rowHeight = 28
const headHeight = 28
// A label of the axis needs about this much room.
const tickPx = 76
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

function Axis({ shown, most }: { shown: Window; most: number }) {
  const marks = ticks(shown, most)
  return (
    <HeadRow>
      <HeadCell>Span</HeadCell>
      <HeadCell
        className="axis"
        label={`Time, ${duration(shown.fromMs)} to ${duration(shown.toMs)}`}
      >
        {marks.map((ms) => {
          const { left } = place(ms, 0, shown)
          return (
            <span
              key={ms}
              className="tick"
              style={{ left: `${left}%` }}
              data-edge={left > 94 || undefined}
            >
              {instant(ms)}
            </span>
          )
        })}
      </HeadCell>
    </HeadRow>
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
