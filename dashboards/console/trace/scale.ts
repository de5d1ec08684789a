// The time axis of a waterfall: where a span lies in the part that is shown, and which round instants to name.

export type Window = { fromMs: number; toMs: number }
/** Percent of the shown width. A span outside the window has `side` and no extent. */
export type Place = { left: number; width: number; side: 'inside' | 'before' | 'after' }

// Up to a second, and beyond an hour, decimal steps; between them the steps that clocks have.
const clockSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map(
  (seconds) => seconds * 1000,
)

export function place(startMs: number, durationMs: number, shown: Window): Place {
  const span = shown.toMs - shown.fromMs || 1
  const endMs = startMs + durationMs
  if (endMs < shown.fromMs) return { left: 0, width: 0, side: 'before' }
  if (startMs > shown.toMs) return { left: 100, width: 0, side: 'after' }
  const left = (100 * (Math.max(startMs, shown.fromMs) - shown.fromMs)) / span
  const right = (100 * (Math.min(endMs, shown.toMs) - shown.fromMs)) / span
  return { left, width: right - left, side: 'inside' }
}

/** Round instants within the window, evenly spaced, `most` steps at most from end to end. */
export function ticks(shown: Window, most: number): number[] {
  const span = shown.toMs - shown.fromMs
  if (!(span > 0)) return [shown.fromMs]
  const step = stepOf(span / most)
  const found: number[] = []
  const first = Math.ceil(shown.fromMs / step - 1e-9)
  for (let i = first; i * step <= shown.toMs + step * 1e-9; i++) found.push(i * step)
  return found
}

function stepOf(leastMs: number): number {
  const onClock = leastMs > 500 ? clockSteps.find((step) => step >= leastMs) : undefined
  if (onClock !== undefined) return onClock
  const power = 10 ** Math.floor(Math.log10(leastMs))
  return [1, 2, 5].map((digit) => digit * power).find((step) => step >= leastMs) ?? 10 * power
}
