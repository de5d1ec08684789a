// The media folder of this plane: pieces that calls carried, by their hashes. Swept once an hour; what is under way when the
// plane stops is written first.

import { type MediaStore, openMediaStore } from '../collectors/proxy/media/store.ts'
import { sweepMedia } from '../collectors/proxy/media/sweep.ts'
import type { Counters } from '../schemas/counters.ts'
import type { LiveConfig } from './config.ts'

const sweepEveryMs = 60 * 60 * 1000
// Beyond this the oldest pieces go, however young they are: spans and records need the disk more.
const mediaBytesMax = 10 * 1024 * 1024 * 1024

export type Media = MediaStore & { close(): Promise<void> }

export async function openMedia(deps: {
  dir: string
  counters: Counters
  nowMs: () => number
  config: LiveConfig
  log: (line: string) => void
}): Promise<Media> {
  const { dir, counters, nowMs, config, log } = deps
  const store = openMediaStore({ dir, counters, nowMs })
  const sweep = async (): Promise<void> => {
    try {
      const { retentionDays } = config.current()
      const limits = { retentionDays, bytesMax: mediaBytesMax }
      await sweepMedia(dir, { ...limits, nowMs: nowMs() }, counters)
    } catch (error) {
      log(`media: the folder could not be swept: ${String(error)}`)
    }
  }
  await sweep()
  const timer = setInterval(() => void sweep(), sweepEveryMs).unref()
  return {
    ...store,
    async close() {
      clearInterval(timer)
      await store.flush()
    },
  }
}
