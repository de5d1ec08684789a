// An engine is a process of ours that must be there: started, watched, started again when it goes, stopped when asked.

export type EngineState = 'starting' | 'ready' | 'restarting' | 'stopped'

export type Engine = {
  state(): EngineState
  /** Calls back at every change; returns what ends that. */
  onState(listener: (state: EngineState) => void): () => void
  /** Idempotent; resolves when the process is gone. */
  stop(): Promise<void>
}

export type Log = (line: string) => void

/** One life of the process. */
export type Life = {
  /** Resolves with the reason when the process has ended, for whatever cause. */
  ended: Promise<string>
  /** Throws or rejects when it does not answer. */
  check(signal: AbortSignal): Promise<void>
  /** Asks it to end, and after a deadline makes it. */
  stop(): Promise<void>
  kill(): void
}

export type Supervision = {
  name: string
  log: Log
  /** Begins a life, and resolves when it serves. Ends what is left of an earlier one first. */
  begin(): Promise<Life>
}

// Quick at first, because most ends are one crash; slow later, because then something is wrong with the machine.
const backoffFirstMs = 100
const backoffMaxMs = 10_000
// A life this long was a good one: the next crash starts with the short wait again.
const goodLifeMs = 30_000
// A process that hangs is found after three checks. Longer than any pause a loaded laptop makes.
const checkEveryMs = 10_000
const checkDeadlineMs = 5_000
const failedChecksMax = 3

/** Starts an engine. The first start must succeed; after that it is started again for ever, until stopped. */
export async function supervise({ name, log, begin }: Supervision): Promise<Engine> {
  const listeners = new Set<(state: EngineState) => void>()
  const stopping = new AbortController()
  let state: EngineState = 'starting'
  let life = await begin()
  turn('ready')

  function turn(next: EngineState): void {
    if (state === next) return
    state = next
    for (const listener of listeners) listener(next)
  }

  async function keepAlive(): Promise<void> {
    let waitMs = backoffFirstMs
    while (!stopping.signal.aborted) {
      const since = performance.now()
      const endChecks = checkUntilEnd(life, { name, log })
      const reason = await life.ended
      endChecks()
      if (stopping.signal.aborted) return
      turn('restarting')
      if (performance.now() - since > goodLifeMs) waitMs = backoffFirstMs
      log(`${name} ended (${reason}); starting it again in ${waitMs} ms.`)
      waitMs = await beginAgain(waitMs)
    }
  }

  async function beginAgain(firstMs: number): Promise<number> {
    let waitMs = firstMs
    while (!stopping.signal.aborted) {
      await pause(waitMs, stopping.signal)
      waitMs = Math.min(waitMs * 2, backoffMaxMs)
      if (stopping.signal.aborted) break
      try {
        life = await begin()
        // Asked to stop while it was starting: stop() has only seen the life before this one.
        if (stopping.signal.aborted) await life.stop()
        else turn('ready')
        break
      } catch (error) {
        log(
          `${name} could not be started again: ${error instanceof Error ? error.message : String(error)}`,
        )
      }
    }
    return waitMs
  }

  const kept = keepAlive()
  let stopped: Promise<void> | undefined
  return {
    state: () => state,
    onState(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    stop() {
      stopped ??= (async () => {
        stopping.abort()
        await life.stop()
        await kept
        turn('stopped')
      })()
      return stopped
    },
  }
}

function checkUntilEnd(life: Life, { name, log }: { name: string; log: Log }): () => void {
  let failed = 0
  const timer = setInterval(async () => {
    try {
      await life.check(AbortSignal.timeout(checkDeadlineMs))
      failed = 0
    } catch {
      failed += 1
      if (failed !== failedChecksMax) return
      log(`${name} has not answered ${failedChecksMax} times; ending it.`)
      life.kill()
    }
  }, checkEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, ms)
    function end(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    signal.addEventListener('abort', end, { once: true })
  })
}
