// How any part of the product counts what happened, without knowing who shows it.

/** A distribution: how many were at most each bound, and their sum. */
export type Histogram = { observe(value: number): void }

export type Histograms = {
  /** The same one for the same name and labels; to be kept by whoever observes often. `bounds` ascend. */
  histogram(name: string, labels: Record<string, string>, bounds: readonly number[]): Histogram
}

export type Counters = {
  /** Adds `by` (1 if absent) to the counter of that name and labels. Labels come from closed sets, never from callers' data. */
  count(name: string, labels: Record<string, string>, by?: number): void
}
