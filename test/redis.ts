// A redis-server of a test's own: a free port, a directory of its own, an append-only file.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { vi } from 'vitest'
import { freePort } from './product.ts'

// Where Debian's package puts it; `npm test` installs that when it may.
const redisServer = '/usr/bin/redis-server'
export const isRedisThere = existsSync(redisServer)

export type RedisServer = { url: string; stop(): Promise<void> }

export async function startRedis(): Promise<RedisServer> {
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'runledger-redis-'))
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--appendonly', 'yes']
  const child: ChildProcess = spawn(redisServer, args, { stdio: 'ignore' })
  const exited = once(child, 'exit')
  await vi.waitUntil(() => isListening(port), { timeout: 20_000, interval: 20 })
  return {
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGTERM')
      await Promise.race([exited, wait(5_000)])
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
