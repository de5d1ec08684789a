// How often strangers may try something: a bucket a name, in this process. A guess at a password is what it is for.

// Names beyond this many are strangers in bulk; forgetting the oldest gives each of them a few tries more, not memory.
const namesMax = 20_000

export type Tries = {
  /** Seconds to wait before the next try under this name; 0 when this one was taken. */
  take(name: string): number
}

/** `burst` tries at once, then one every `everyMs`. `tickMs` is a clock that only goes forward. */
export function openTries(burst: number, everyMs: number, tickMs: () => number): Tries {
  // When the bucket will be full again, as in the generic cell rate algorithm: one number a name.
  const fullAt = new Map<string, number>()
  return {
    take(name) {
      const now = tickMs()
      const full = Math.max(fullAt.get(name) ?? now, now)
      const waitMs = full + everyMs - (now + burst * everyMs)
      if (waitMs > 0) return Math.ceil(waitMs / 1000)
      fullAt.delete(name)
      const oldest = fullAt.size >= namesMax ? fullAt.keys().next().value : undefined
      if (oldest !== undefined) fullAt.delete(oldest)
      fullAt.set(name, full + everyMs)
      return 0
    },
  }
}
