// The whole plane in this process: a free port, a data directory of its own, embedded engines.

import { readSettings } from '../schemas/settings.ts'
import { type Plane, startPlane } from '../src/plane.ts'
import { startedDataDir } from './first-start.ts'
import { removeDataDir, testKey } from './product.ts'

export type World = {
  url: string
  key: string
  plane: Plane
  dataDir: string
  log: string[]
  end(): Promise<void>
}

/**
 * A started plane. `env` adds settings by their variables. Worlds share the keys and ids of one first start; where they must be
 * strangers to one another, each is given a new directory.
 */
export async function startWorld(
  env: Record<string, string> = {},
  dataDir = startedDataDir(),
): Promise<World> {
  const log: string[] = []
  const settings = readSettings({
    PORT: '0',
    RUNLEDGER_DATA_DIR: dataDir,
    RUNLEDGER_BOOTSTRAP_KEY: testKey,
    ...env,
  })
  const plane = await startPlane(settings, {
    log: (line) => log.push(line),
    signal: new AbortController().signal,
    env: (name) => env[name],
  })
  return {
    url: plane.url,
    key: settings.bootstrapKey ?? testKey,
    plane,
    dataDir,
    log,
    async end() {
      await plane.stop()
      removeDataDir(dataDir)
    },
  }
}
