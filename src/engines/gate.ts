// A bounded number at once, a bounded number waiting, each of whom may leave.

export type Gate = {
  /** Runs `work` when there is room. Throws what `full` makes when too many wait; rejects when the signal aborts first. */
  pass<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>
  readonly running: number
}

export function openGate(options: { atOnce: number; waitingMax: number; full: () => Error }): Gate {
  const waiting: (() => void)[] = []
  let running = 0

  function wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.splice(waiting.indexOf(enter), 1)
        reject(signal?.reason)
      }
      // The place is handed over, not given back: whoever comes between would overtake the queue.
      const enter = () => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      signal?.addEventListener('abort', leave, { once: true })
      waiting.push(enter)
    })
  }

  return {
    get running() {
      return running
    },
    async pass(work, signal) {
      signal?.throwIfAborted()
      if (running < options.atOnce) running += 1
      else if (waiting.length >= options.waitingMax) throw options.full()
      else await wait(signal)
      try {
        return await work()
      } finally {
        const next = waiting.shift()
        if (next) next()
        else running -= 1
      }
    },
  }
}
