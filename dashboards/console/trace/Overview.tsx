// The whole trace in forty pixels: where time went and where it failed. Dragging over it zooms the axis below.

import { useEffect, useRef, useState } from 'react'
import { counted, duration } from '../format.ts'
import type { TraceView } from '../url.ts'
import { place, type Window } from './scale.ts'
import type { Tree } from './tree.ts'

const heightPx = 40
// A shorter drag is a click that slipped.
const dragMinPx = 4

type Props = {
  tree: Tree
  shown: Window
  zoomed: boolean
  onZoom: (zoom: TraceView['zoom']) => void
}

export function Overview({ tree, shown, zoomed, onZoom }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [drag, setDrag] = useState<{ from: number; to: number } | undefined>(undefined)
  useDrawing(canvas, tree)
  const all = { fromMs: 0, toMs: tree.endMs || 1 }
  const at = (event: React.PointerEvent) => {
    const box = event.currentTarget.getBoundingClientRect()
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width))
  }
  const finish = (event: React.PointerEvent) => {
    if (!drag) return
    setDrag(undefined)
    const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)]
    const wide = (to - from) * event.currentTarget.clientWidth >= dragMinPx
    if (wide) onZoom({ fromMs: from * all.toMs, toMs: to * all.toMs })
  }
  const left = place(shown.fromMs, 0, all).left
  const right = 100 - place(shown.toMs, 0, all).left
  return (
    <div className="overview">
      <div
        className="overview-side quiet"
        title="Drag to zoom, double-click or 0 to see all, z to zoom to the active span"
      >
        {duration(tree.endMs)} in all
      </div>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: a pointer's way to zoom; the keys z and 0 are the other */}
      <div
        className="overview-box"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId)
          setDrag({ from: at(event), to: at(event) })
        }}
        onPointerMove={(event) => drag && setDrag({ ...drag, to: at(event) })}
        onPointerUp={finish}
        onDoubleClick={() => onZoom(undefined)}
      >
        <canvas
          ref={canvas}
          role="img"
          aria-label={`Overview of ${counted(tree.rows.length, 'row')}`}
        />
        {zoomed && <span className="overview-off" style={{ left: 0, width: `${left}%` }} />}
        {zoomed && <span className="overview-off" style={{ right: 0, width: `${right}%` }} />}
        {drag && (
          <span
            className="overview-drag"
            style={{
              left: `${100 * Math.min(drag.from, drag.to)}%`,
              width: `${100 * Math.abs(drag.to - drag.from)}%`,
            }}
          />
        )}
      </div>
    </div>
  )
}

/** Draws again when the data, the size or the theme changes; never while scrolling. */
function useDrawing(canvas: React.RefObject<HTMLCanvasElement | null>, tree: Tree): void {
  useEffect(() => {
    const element = canvas.current
    if (!element) return
    // After the rows are on screen: fifty thousand strokes must not stand before the first paint.
    let timer: ReturnType<typeof setTimeout> | undefined
    const again = () => {
      clearTimeout(timer)
      timer = setTimeout(() => draw(element, tree))
    }
    const sizes = new ResizeObserver(again)
    sizes.observe(element)
    const themes = new MutationObserver(again)
    themes.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    const system = matchMedia('(prefers-color-scheme: dark)')
    system.addEventListener('change', again)
    return () => {
      clearTimeout(timer)
      sizes.disconnect()
      themes.disconnect()
      system.removeEventListener('change', again)
    }
  }, [canvas, tree])
}

function draw(element: HTMLCanvasElement, { rows, endMs }: Tree): void {
  const pixels = devicePixelRatio
  const width = element.clientWidth * pixels
  const height = heightPx * pixels
  element.width = width
  element.height = height
  const pen = element.getContext('2d')
  if (!pen || width === 0) return
  const style = getComputedStyle(element)
  const line = height / rows.length
  const thick = Math.max(1, Math.min(3 * pixels, line * 0.7))
  // Errors last and on top: one failed span among fifty thousand must not be painted over.
  for (const failed of [false, true]) {
    pen.fillStyle = style.getPropertyValue(failed ? 'outline-color' : 'color')
    rows.forEach((row, at) => {
      if (row.kind !== 'span' || row.adrift || (row.span.status === 'error') !== failed) return
      const x = (row.startMs / (endMs || 1)) * width
      const w = Math.max(failed ? 2 * pixels : 1, (row.span.durationMs / (endMs || 1)) * width)
      pen.fillRect(x, at * line, w, failed ? Math.max(thick, 2 * pixels) : thick)
    })
  }
}
