// Where this package lies on disk, found the same way from the sources and from the bundle.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

let found: string | undefined

/** The folder of our package.json: what is read from disk at run time (migrations, built files) is found from here. */
export function packageRoot(): string {
  found ??= findUpwards(dirname(fileURLToPath(import.meta.url)))
  return found
}

function findUpwards(folder: string): string {
  const manifest = join(folder, 'package.json')
  if (existsSync(manifest)) {
    const { name } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string } // our own file
    if (name === 'runledger') return folder
  }
  const parent = dirname(folder)
  if (parent === folder)
    throw new Error('The package.json of runledger was not found above the running program.')
  return findUpwards(parent)
}

/** Our own version, as package.json has it. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string
  } // our own file
  return version
}
