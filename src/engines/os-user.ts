// Postgres refuses to run as root. Who it runs as then, found or made.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'

export type OsUser = { name: string; uid: number; gid: number }

// In this order: made for it; the one we make; the one every system has. initdb wants an entry in the table of users, so a
// bare number does not do (tried).
const candidates = ['postgres', 'runledger', 'nobody']

/** Undefined when we are not root: then the database is simply ours. Whoever owns `dir` already keeps it. */
export function findDatabaseUser(dir: string): OsUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = readUsers()
  const owner = existsSync(dir) ? users.find((user) => user.uid === statSync(dir).uid) : undefined
  if (owner && owner.uid !== 0) return owner
  const postgres = users.find((user) => user.name === candidates[0])
  if (postgres) return postgres
  const made = users.find((user) => user.name === candidates[1]) ?? makeUser(candidates[1]!)
  const found = made ?? users.find((user) => user.name === candidates[2])
  if (found) return found
  throw new Error(
    'Runledger runs as root, and Postgres must not. No other user exists and none could be made: ' +
      'start Runledger as an ordinary user, or set DATABASE_URL.',
  )
}

function makeUser(name: string): OsUser | undefined {
  try {
    execFileSync(
      'useradd',
      ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', '--user-group', name],
      {
        stdio: 'ignore',
        timeout: 10_000,
      },
    )
  } catch {
    // No such program, or a file system that is read only.
    return undefined
  }
  return readUsers().find((user) => user.name === name)
}

function readUsers(): OsUser[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map(([name, , uid, gid]) => ({ name: name!, uid: Number(uid), gid: Number(gid) }))
}
