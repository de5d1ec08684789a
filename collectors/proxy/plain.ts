// Members of JSON that somebody else wrote, as a text or a number whatever they are. `String` and `Number` throw on an object
// whose `toString` is no function, which is four bytes in a body and would be a 500, or a call that never ends.

export function asText(value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined ? '' : JSON.stringify(value)
}

/** NaN for whatever is neither a number nor a text of one. */
export function asNumber(value: unknown): number {
  return typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN
}

// Eleven days: longer than anything that is heard or made in one call. What is above it is no length, and would be billed as one.
export const secondsMax = 1_000_000

/** The length of a sound or a clip; undefined for what cannot be one. */
export function asSeconds(value: unknown): number | undefined {
  const seconds = asNumber(value)
  return seconds > 0 && seconds <= secondsMax ? seconds : undefined
}
