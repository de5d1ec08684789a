// What a destination gets, by the names that the list of traces is filtered by.

import { invalid, readFilters, type TraceFilters } from '../traces/trace-filters.ts'

/** Throws `invalid_request` naming what is wrong. Pages are the pusher's own. */
export function readPushFilters(filter: Readonly<Record<string, string>>): TraceFilters {
  for (const name of ['limit', 'cursor'])
    if (Object.hasOwn(filter, name)) throw invalid(name, 'is not a filter')
  return readFilters(new URLSearchParams(filter))
}
