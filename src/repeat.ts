// Work that is done again and again in the background: never twice at once, never the end of the process.

export type Repeated = {
  /** A round now, unless one is under way; resolves when it is over. Does not throw. */
  now(): Promise<void>
  /** No more rounds; resolves when the one under way is over. */
  stop(): Promise<void>
}

/** The work, which after each time passes over as many times `rest` as long as that took. */
export function withRest(rest: number, work: () => Promise<void>): () => Promise<void> {
  let notBefore = 0
  return async () => {
    const startedAt = performance.now()
    if (startedAt < notBefore) return
    await work()
    const endedAt = performance.now()
    notBefore = endedAt + rest * (endedAt - startedAt)
  }
}

export function repeatEvery(
  everyMs: number,
  work: () => Promise<void>,
  onError: (error: unknown) => void,
): Repeated {
  let working: Promise<void> | undefined
  // A round that takes longer than the pause is not followed by a queue of them.
  function now(): Promise<void> {
    working ??= work()
      .catch(onError)
      .finally(() => {
        working = undefined
      })
    return working
  }
  const timer = setInterval(() => void now(), everyMs)
  timer.unref()
  return {
    now,
    async stop() {
      clearInterval(timer)
      await working
    },
  }
}
