// The media folder of this plane: pieces that calls carried, by their hashes. Swept once an hour; what is under way when the
// plane stops is written first.

import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { type MediaStore, openMediaStore } from '../../collectors/proxy/media/store.ts'
import { sweepMedia } from '../../collectors/proxy/media/sweep.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { Settings } from '../../schemas/settings.ts'
import type { LiveConfig } from '../config.ts'
import type { DataDir } from '../data-dir.ts'

const sweepEveryMs = 60 * 60 * 1000
// Beyond this the oldest pieces go, however young they are: spans and records need the disk more.
const mediaBytesMax = 10 * 1024 * 1024 * 1024

export type Media = MediaStore & { close(): Promise<void> }

/** Throws an Error whose message is a sentence when the folder of the setting cannot be had. */
export function mediaDirOf(
  { mediaDir }: Pick<Settings, 'mediaDir'>,
  dataDir: Pick<DataDir, 'sub'>,
): string {
  if (mediaDir === undefined) return dataDir.sub('media')
  const dir = resolve(mediaDir)
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    return dir
  } catch (error) {
    throw new Error(`RUNLEDGER_MEDIA_DIR: ${dir} cannot be made: ${String(error)}`, {
      cause: error,
    })
  }
}

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
