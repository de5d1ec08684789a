// Which rows of a trace are folded and which one is active: everything the keyboard and the toolbar move.

import { useCallback, useEffect, useMemo, useState } from 'react'
import type { TraceView } from '../url.ts'
import { type Row, type Tree, visibleRows } from './tree.ts'

export type RowsState = ReturnType<typeof useRows>

/** Which rows are folded and which one is active. The active row is an index into all rows, so folding cannot lose it. */
export function useRows({ rows }: Tree, view: TraceView) {
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
