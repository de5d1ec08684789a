// A line between two parts that can be dragged, or moved with the arrow keys.

import { useRef } from 'react'

type Props = {
  label: string
  at: number
  min: number
  max: number
  onMove: (width: number) => void
  /** Which part the width belongs to: the one left of the line, or the one right of it. */
  side: 'left' | 'right'
}

const stepPx = 24

export function Divider({ label, at, min, max, onMove, side }: Props) {
  const grabbed = useRef<{ x: number; at: number } | undefined>(undefined)
  const sign = side === 'left' ? 1 : -1
  const move = (width: number) => onMove(Math.round(Math.min(max, Math.max(min, width))))
  return (
    // biome-ignore lint/a11y/useSemanticElements: an <hr> takes no focus; this is the separator pattern of WAI-ARIA
    <div
      className={`divider divider-${side}`}
      role="separator"
      aria-orientation="vertical"
      aria-label={label}
      aria-valuenow={at}
      aria-valuemin={min}
      aria-valuemax={max}
      tabIndex={0}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId)
        grabbed.current = { x: event.clientX, at }
      }}
      onPointerMove={(event) => {
        if (grabbed.current) move(grabbed.current.at + sign * (event.clientX - grabbed.current.x))
      }}
      onPointerUp={() => {
        grabbed.current = undefined
      }}
      onKeyDown={(event) => {
        const direction = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0
        if (direction === 0) return
        event.preventDefault()
        move(at + sign * direction * stepPx)
      }}
    />
  )
}
