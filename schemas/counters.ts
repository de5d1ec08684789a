// How any part of the product counts what happened, without knowing who shows it.

export type Counters = {
  /** Adds `by` (1 if absent) to the counter of that name and labels. Labels come from closed sets, never from callers' data. */
  count(name: string, labels: Record<string, string>, by?: number): void
}
