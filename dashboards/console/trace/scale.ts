// The time axis of a waterfall: where a span lies in the part that is shown, and which round instants to name.

export type Window = { fromMs: number; toMs: number }
/** Percent of the shown width. A span outside the window has `side` and no extent. */
export type Place = { left: number; width: number; side: 'inside' | 'before' | 'after' }

const steps = [1, 2, 5]

export function place(startMs: number, durationMs: number, shown: Window): Place {
  const span = shown.toMs - shown.fromMs || 1
  const endMs = startMs + durationMs
  if (endMs < shown.fromMs) return { left: 0, width: 0, side: 'before' }
  if (startMs > shown.toMs) return { left: 100, width: 0, side: 'after' }
  const left = (100 * (Math.max(startMs, shown.fromMs) - shown.fromMs)) / span
  const right = (100 * (Math.min(endMs, shown.toMs) - shown.fromMs)) / span
  return { left, width: right - left, side: 'inside' }
}

/** Round instants within the window, at most `most` of them, evenly spaced at 1, 2 or 5 times a power of ten. */
export function ticks(shown: Window, most: number): number[] {
  const span = shown.toMs - shown.fromMs
  if (!(span > 0)) return [shown.fromMs]
  const power = 10 ** Math.floor(Math.log10(span / most))
  const step = [...steps.map((s) => s * power), 10 * power].find((s) => span / s <= most)!
  const found: number[] = []
  const first = Math.ceil(shown.fromMs / step - 1e-9)
  for (let i = first; i * step <= shown.toMs + step * 1e-9; i++) found.push(i * step)
  return found
}
