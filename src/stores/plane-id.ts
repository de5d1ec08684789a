// Which plane this is, among those that share stores: an id that stays with its data directory, and so with what it has on disk.

import { randomUUID } from 'node:crypto'
import { link, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const fileName = 'plane-id'

/** The id in the data directory, made when there is none. The caller holds the directory's lock. */
export async function loadPlaneId(dataDir: string): Promise<string> {
  const path = join(dataDir, fileName)
  const draft = `${path}.draft`
  try {
    return readId(await readFile(path, 'utf8'), path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
  await writeFile(draft, `${randomUUID()}\n`, { mode: 0o600, flush: true })
  // Linked when whole: a crash leaves a draft, never half an id.
  await link(draft, path)
  await unlink(draft)
  return readId(await readFile(path, 'utf8'), path)
}

function readId(text: string, path: string): string {
  const id = text.trim()
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return id
  throw new Error(`${path} does not hold an id. Remove it when no other plane shares these stores.`)
}
