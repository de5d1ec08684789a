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
import { type RowsState, useRows } from './useRows.ts'
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

export function Waterfall(props: Props) {
  const { tree, view, onZoom } = props
  const { rows } = tree
  const [nameWish, setNameWidth] = usePreference('nameWidth')
  const box = useRef<HTMLDivElement>(null)
  const width = useWidth(box)
  const nameWidth = width > 0 ? Math.min(nameWish, Math.round(width * nameShareMax)) : nameWish
  const shown = useMemo(() => toWindow(tree, view.zoom), [tree, view.zoom])
  const nav = useRows(tree, view)
  const hits = useMemo(() => findHits(rows, view.q), [rows, view.q])
  const failed = useMemo(() => indexesOf(rows, isFailed), [rows])
  const moves = toMoves(props, nav, { hits: hits ?? [], failed })
  return (
    <div
      className="waterfall"
      ref={box}
      style={{ '--name-width': `${nameWidth}px` } as React.CSSProperties /* a custom property */}
    >
      <Toolbar
        q={view.q}
        onSearch={props.onSearch}
        hits={hits}
        failed={failed}
        onJump={moves.jump}
        nav={nav}
        zoom={view.zoom}
        onZoom={onZoom}
      />
      <Overview tree={tree} shown={shown} onZoom={onZoom} zoomed={view.zoom !== undefined} />
      <SpanList
        {...props}
        nav={nav}
        shown={shown}
        hits={hits}
        moves={moves}
        ticksMost={Math.max(2, Math.floor((width - nameWidth) / tickPx))}
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

type SpanListProps = Props & {
  nav: RowsState
  shown: Window
  hits: ReadonlySet<number> | undefined
  moves: Moves
  ticksMost: number
}

function SpanList(props: SpanListProps) {
  const { nav, shown, hits, moves, view, onSpan } = props
  const { visible, folded } = nav
  const rowAt = (line: number) => props.tree.rows[visible[line]!]!
  return (
    <List
      className="spans"
      label="Spans"
      role="treegrid"
      count={visible.length}
      rowHeight={rowHeight}
      headHeight={headHeight}
      head={<Axis shown={shown} most={props.ticksMost} />}
      rowKey={(line) => rowAt(line).key}
      active={nav.active}
      onActive={(line) => {
        nav.setActive(visible[line]!)
        const row = rowAt(line)
        if (view.span !== undefined && row.kind === 'span') onSpan(row.span.spanId)
      }}
      onOpen={(line) => moves.open(visible[line]!)}
      onKey={(event, line) => moves.onKey(event.key, visible[line])}
      rowProps={(line) => rowProps(rowAt(line), folded, hits?.has(visible[line]!) ?? true)}
      row={(line) => (
        <WaterfallRow
          row={rowAt(line)}
          shown={shown}
          folded={folded.has(rowAt(line).key)}
          onToggle={nav.toggle}
        />
      )}
      place={`trace ${props.traceId}`}
    />
  )
}

type Moves = {
  open: (at: number) => void
  jump: (among: Iterable<number>) => void
  /** `at`: the active row, an index into all rows. True when the key was one of these. */
  onKey: (key: string, at: number | undefined) => boolean
}
type Targets = { hits: Iterable<number>; failed: Iterable<number> }

function toMoves(props: Props, nav: RowsState, { hits, failed }: Targets): Moves {
  const { tree, view, onSpan, onZoom } = props
  const open = (at: number) => {
    const row = tree.rows[at]
    if (row?.kind === 'span') onSpan(row.span.spanId)
    else if (row) nav.toggle(row.key)
  }
  const jump = (among: Iterable<number>) => {
    const at = nav.jump(among)
    if (at !== undefined && view.span !== undefined) open(at)
    return true
  }
  const leave = () => {
    if (view.span !== undefined) props.onClose()
    else if (view.zoom) onZoom(undefined)
    else return false
    return true
  }
  const zoomOut = () => {
    onZoom(undefined)
    return true
  }
  const keys = new Map<string, (at: number) => boolean>([
    ['Escape', leave],
    ['ArrowRight', (at) => at >= 0 && nav.unfold(at)],
    ['ArrowLeft', (at) => at >= 0 && nav.foldOrRise(at)],
    ['e', () => jump(failed)],
    ['n', () => jump(hits)],
    ['z', (at) => at >= 0 && zoomTo(tree.rows[at]!, onZoom)],
    ['0', zoomOut],
  ])
  return { open, jump, onKey: (key, at = -1) => keys.get(key)?.(at) ?? false }
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
