// The embedded ClickHouse: chDB in a child process behind ClickHouse's HTTP interface, on loopback, with a random password.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../root.ts'
import type { FromChild, ToChild } from './chdb-child.ts'
import { type Engine, type Life, type Log, supervise } from './engine.ts'
import { endRecorded } from './process-record.ts'

// All lanes (chdb-lanes.ts) and the control connection run on libuv's threads, and files need some too.
const threads = 20
const startDeadlineMs = 30_000
const stopDeadlineMs = 15_000
const user = 'runledger'

/**
 * Starts chDB on the directory `dir`, which is its alone. The address holds the password and stays the same over restarts.
 * Ends a child that an earlier, killed parent left behind before it opens the data.
 */
export async function startClickhouse(options: {
  dir: string
  log: Log
}): Promise<Engine & { url: string }> {
  mkdirSync(options.dir, { recursive: true, mode: 0o700 })
  const password = randomBytes(24).toString('base64url')
  let port = 0
  const engine = await supervise({
    name: 'ClickHouse (chDB)',
    log: options.log,
    async begin() {
      await endRecorded(join(options.dir, 'child.pid'), ['SIGKILL'])
      const child = spawnChild(options.log)
      const life = lifeOf(child, () => port)
      try {
        port = await opened(child, life, { dir: options.dir, port, password })
        return life
      } catch (error) {
        life.kill()
        await life.ended
        throw error
      }
    },
  })
  return { ...engine, url: `http://${user}:${password}@127.0.0.1:${port}/default` }
}

function spawnChild(log: Log): ChildProcess {
  const program = join(packageRoot(), 'dist', 'server', 'chdb-child.js')
  if (!existsSync(program))
    throw new Error(`${program} is missing: run "npm run build:server" first.`)
  // A session of its own: Ctrl-C reaches only the parent. An environment of its own: no key of ours is in there.
  const child = spawn(process.execPath, ['--max-old-space-size=256', program], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { UV_THREADPOOL_SIZE: String(threads), TZ: 'UTC', LC_ALL: 'C' },
  })
  for (const out of [child.stdout, child.stderr])
    out?.setEncoding('utf8').on('data', (text: string) => log(`chDB: ${text.trimEnd()}`))
  return child
}

function lifeOf(child: ChildProcess, port: () => number): Life {
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
  })
  return {
    ended,
    async check(signal) {
      const answer = await fetch(`http://127.0.0.1:${port()}/ping`, { signal })
      if (!answer.ok) throw new Error(await answer.text())
      await answer.arrayBuffer()
    },
    async stop() {
      const timer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs)
      if (child.connected) child.send({ type: 'stop' } satisfies ToChild, () => {})
      await ended
      clearTimeout(timer)
    },
    kill: () => child.kill('SIGKILL'),
  }
}

function opened(
  child: ChildProcess,
  life: Life,
  to: { dir: string; port: number; password: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () =>
        reject(new Error(`ClickHouse (chDB) was not ready within ${startDeadlineMs / 1000} s.`)),
      startDeadlineMs,
    )
    const settle = (end: () => void) => {
      clearTimeout(timer)
      child.off('message', hear)
      end()
    }
    const hear = (message: FromChild) =>
      settle(() =>
        message.type === 'ready'
          ? resolve(message.port)
          : reject(new Error(`ClickHouse (chDB) could not open ${to.dir}: ${message.says}`)),
      )
    child.on('message', hear)
    void life.ended.then((reason) =>
      settle(() => reject(new Error(`ClickHouse (chDB) ended while it was starting: ${reason}.`))),
    )
    child.send({ type: 'open', user, ...to } satisfies ToChild, () => {})
  })
}
