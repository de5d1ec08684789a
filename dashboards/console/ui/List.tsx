// Every list of the console: only the rows on screen exist, and the keyboard reaches all of them.

import { useVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useEffect, useId, useRef } from 'react'

type Props = {
  label: string
  role: 'grid' | 'treegrid'
  count: number
  rowHeight: number
  headHeight: number
  head: ReactNode
  rowKey: (at: number) => string | number
  active: number
  onActive: (at: number) => void
  onOpen: (at: number) => void
  /** Called once the last rows come near. */
  onEnd?: () => void
  /** Keys the list does not know; true when the owner used one. */
  onKey?: (event: KeyboardEvent, at: number) => boolean
  rowProps?: (
    at: number,
  ) => React.HTMLAttributes<HTMLDivElement> & { 'data-tone'?: string | undefined }
  row: (at: number) => ReactNode
  /** Where this list was left is remembered under this name while the page lives. */
  place: string
  className?: string
}

const offsets = new Map<string, number>()
const offsetsMax = 50

export function List(props: Props) {
  const { count, rowHeight, headHeight, active, onEnd } = props
  const id = useId()
  const box = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    getItemKey: props.rowKey,
    overscan: 10,
    scrollMargin: headHeight,
    scrollPaddingStart: headHeight,
    initialOffset: offsets.get(props.place) ?? 0,
  })
  const items = virtual.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  useEffect(() => {
    if (count > 0 && last >= count - 20) onEnd?.()
  }, [count, last, onEnd])
  useEffect(() => {
    if (active >= 0) virtual.scrollToIndex(active, { align: 'auto' })
  }, [active, virtual])
  useListKeys(props, box)
  return (
    // biome-ignore lint/a11y/useAriaPropsSupportedByRole: both roles given here take these properties
    <div
      ref={box}
      className={`list ${props.className ?? ''}`}
      role={props.role}
      aria-label={props.label}
      aria-rowcount={count}
      aria-activedescendant={active >= 0 ? `${id}-${active}` : undefined}
      tabIndex={0}
      onScroll={(event) => remember(props.place, event.currentTarget.scrollTop)}
    >
      {props.head}
      <div className="list-rows" style={{ height: virtual.getTotalSize() }} role="presentation">
        {items.map((item) => (
          // biome-ignore lint/a11y/useSemanticElements: placed by a transform, which no <tr> can be
          // biome-ignore lint/a11y/useFocusableInteractive: focus stays on the list; aria-activedescendant names the row
          // biome-ignore lint/a11y/useKeyWithClickEvents: Enter on the list opens the active row
          <div
            {...props.rowProps?.(item.index)}
            key={item.key}
            id={`${id}-${item.index}`}
            role="row"
            aria-rowindex={item.index + 1}
            aria-selected={item.index === active}
            className="row"
            style={{ height: item.size, transform: `translateY(${item.start - headHeight}px)` }}
            onClick={(event) => {
              // A link or button inside the row has already said what the click means.
              if (event.target instanceof Element && event.target.closest('a, button')) return
              props.onActive(item.index)
              props.onOpen(item.index)
            }}
          >
            {props.row(item.index)}
          </div>
        ))}
      </div>
    </div>
  )
}

const moves: Record<string, (at: number, page: number, count: number) => number> = {
  j: (at) => at + 1,
  ArrowDown: (at) => at + 1,
  k: (at) => at - 1,
  ArrowUp: (at) => at - 1,
  PageDown: (at, page) => at + page,
  PageUp: (at, page) => at - page,
  Home: () => 0,
  End: (_at, _page, count) => count - 1,
}

/** Keys work when the list has the focus or nothing has; letters and Escape from anywhere that is not a text field. */
function useListKeys(props: Props, box: React.RefObject<HTMLDivElement | null>): void {
  const held = useRef(props)
  held.current = props
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented) return
      // A card in front of the page has the keyboard to itself.
      if (document.querySelector('dialog[open]')) return
      const target = event.target
      const mine = target === document.body || target === box.current
      const anywhere = event.key.length === 1 || event.key === 'Escape'
      if (!mine && (!anywhere || isControl(target))) return
      if (!handle(event, held.current, box.current?.clientHeight ?? 0)) return
      event.preventDefault()
      // Who walks the list is in the list: the next Enter is meant for the row, not for the button used before.
      if (moves[event.key]) box.current?.focus({ preventScroll: true })
    }
    addEventListener('keydown', onKeyDown)
    return () => removeEventListener('keydown', onKeyDown)
  }, [box])
}

function handle(event: KeyboardEvent, props: Props, heightPx: number): boolean {
  const { count, active, rowHeight } = props
  const move = moves[event.key]
  if (move && count > 0) {
    const page = Math.max(1, Math.floor(heightPx / rowHeight) - 2)
    const next = move(active, page, count)
    props.onActive(Math.min(count - 1, Math.max(0, next)))
    return true
  }
  if (event.key === 'Enter' && active >= 0 && active < count) {
    props.onOpen(active)
    return true
  }
  return props.onKey?.(event, active) ?? false
}

function isControl(target: EventTarget | null): boolean {
  return (
    target instanceof Element &&
    target.closest('input, textarea, select, [contenteditable]') !== null
  )
}

function remember(place: string, offset: number): void {
  offsets.delete(place)
  offsets.set(place, offset)
  if (offsets.size > offsetsMax) offsets.delete(offsets.keys().next().value ?? '')
}
