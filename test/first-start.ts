// One first start for all worlds: initdb, the migrations and the first user take longer than most tests, and are the same each
// time. A world gets a copy of the directory it left; the started product (product.ts) begins with an empty one, as a user does.

import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { readSettings } from '../schemas/settings.ts'
import { startPlane } from '../src/plane.ts'
import { newDataDir, removeDataDir, testKey } from './product.ts'

const variable = 'RUNLEDGER_TEST_FIRST_START'
// Each plane has an id of its own, and a spool that begins where it began.
const ownNames = ['plane-id', 'spool']

/** Run once by vitest before any file: makes the directory, and takes it away at the end. */
export async function setup(): Promise<() => void> {
  const dataDir = newDataDir()
  const settings = readSettings({
    PORT: '0',
    RUNLEDGER_DATA_DIR: dataDir,
    RUNLEDGER_BOOTSTRAP_KEY: testKey,
  })
  const { signal } = new AbortController()
  const plane = await startPlane(settings, { log: () => {}, signal, env: () => undefined })
  await plane.stop()
  for (const name of ownNames) rmSync(join(dataDir, name), { recursive: true, force: true })
  process.env[variable] = dataDir
  return () => removeDataDir(dataDir)
}

/** A data directory as a first start leaves it; outside vitest, an empty one. */
export function startedDataDir(): string {
  const dataDir = newDataDir()
  const first = process.env[variable]
  if (first === undefined) return dataDir
  // cp keeps owners, which the database checks; what Node copies belongs to the one who copies.
  const copied = spawnSync('cp', ['-a', `${first}/.`, dataDir], { encoding: 'utf8' })
  if (copied.status !== 0) throw new Error(`${first} was not copied: ${copied.stderr}`)
  return dataDir
}
