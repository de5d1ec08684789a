// The thread of discovery as the plane holds it: started with what was known, asked, stopped; its end is told, not survived.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { packageRoot } from '../root.ts'
import type { FromThread, ThreadData, ToThread } from './discovery-messages.ts'

// What is remembered has a bound of its own below this; a thread that passes it ends, and the process lives.
const heapMib = 512

export type Host = {
  send(message: ToThread): void
  stop(): Promise<void>
}

export function startThread(given: {
  snapshot: Uint8Array | undefined
  onMessage: (message: FromThread) => void
  /** Once, with the reason: the thread is gone and answers nothing more. Not called by `stop`. */
  onEnd: (reason: string) => void
}): Host {
  const program = join(packageRoot(), 'dist', 'server', 'discovery-thread.js')
  if (!existsSync(program))
    throw new Error(`${program} is missing: run "npm run build:server" first.`)
  const worker = new Worker(program, {
    workerData: { snapshot: given.snapshot } satisfies ThreadData,
    resourceLimits: { maxOldGenerationSizeMb: heapMib },
    // Nothing of the environment is needed there, no key of ours is in it.
    env: {},
  })
  let isOver = false
  const end = (reason: string) => {
    if (isOver) return
    isOver = true
    given.onEnd(reason)
  }
  worker.on('message', (message: FromThread) => {
    if (!isOver) given.onMessage(message)
  })
  worker.on('error', (error) => end(String(error)))
  worker.on('exit', (code) => end(`exit code ${code}`))
  // Only the plane's own listeners keep the process alive.
  worker.unref()
  return {
    send: (message) => worker.postMessage(message),
    async stop() {
      isOver = true
      await worker.terminate()
    },
  }
}
