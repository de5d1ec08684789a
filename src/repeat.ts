// Work that is done again and again in the background: never twice at once, never the end of the process.

export type Repeated = {
  /** No more rounds; resolves when the one under way is over. */
  stop(): Promise<void>
}

export function repeatEvery(
  everyMs: number,
  work: () => Promise<void>,
  onError: (error: unknown) => void,
): Repeated {
  let working: Promise<void> | undefined
  const timer = setInterval(() => {
    // A round that takes longer than the pause is not followed by a queue of them.
    working ??= work()
      .catch(onError)
      .finally(() => {
        working = undefined
      })
  }, everyMs)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await working
    },
  }
}
