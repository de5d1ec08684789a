// The started product: the real command in a process group of its own, on a free port and a data directory of its own.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { packageRoot } from '../src/root.ts'

const root = packageRoot()
const startDeadlineMs = 40_000
export const testKey = 'batchin_api_for_tests_only_0123456789abcdef'

export type Product = {
  url: string
  key: string
  pid: number
  dataDir: string
  /** Milliseconds from spawn to the first 200 of /health. */
  startedInMs: number
  output(): string
  /** Sends a signal to the plane alone and waits for its end; the exit code, or the signal that ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | string>
  /** Ends the plane and every engine it started, at once, as a power cut would. */
  killFamily(): Promise<void>
}

/** A fresh directory that a database's own user may enter too. */
export function newDataDir(): string {
  return mkdtempSync(join(tmpdir(), 'runledger-product-'))
}

/** Starts the product as a user does. `npm test` has built it. */
export async function startProduct(
  options: { dataDir?: string; env?: Record<string, string>; port?: number } = {},
): Promise<Product> {
  const dataDir = options.dataDir ?? newDataDir()
  const port = options.port ?? (await freePort())
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: process.env.HOME ?? '/tmp',
    PORT: String(port),
    RUNLEDGER_DATA_DIR: dataDir,
    RUNLEDGER_BOOTSTRAP_KEY: testKey,
    ...options.env,
  }
  const startedAt = performance.now()
  const child = spawn(process.execPath, ['src/start.mjs'], {
    cwd: root,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output: string[] = []
  child.stdout?.on('data', (chunk) => output.push(String(chunk)))
  child.stderr?.on('data', (chunk) => output.push(String(chunk)))
  const url = `http://127.0.0.1:${port}`
  const product: Product = {
    url,
    key: env.RUNLEDGER_BOOTSTRAP_KEY,
    pid: child.pid ?? 0,
    dataDir,
    startedInMs: 0,
    output: () => output.join(''),
    stop: (signal = 'SIGTERM') => end(child, signal),
    async killFamily() {
      for (const pid of [...familyOf(child.pid ?? 0)].reverse()) kill(pid, 'SIGKILL')
      await end(child, 'SIGKILL')
    },
  }
  await untilHealthy(url, child, product.output)
  return { ...product, startedInMs: performance.now() - startedAt }
}

/** Removes a data directory that no process uses any more. */
export function removeDataDir(dataDir: string): void {
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

/** The process and all below it, parents first, from /proc. */
export function familyOf(pid: number): number[] {
  const listed = spawnSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .stdout.trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
  const family = [pid]
  for (const parent of family)
    family.push(...listed.filter(([, ppid]) => ppid === parent).map(([child]) => child ?? 0))
  return family
}

/** Seconds of CPU that a process has used, from /proc. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024
}

async function untilHealthy(url: string, child: ChildProcess, output: () => string): Promise<void> {
  const deadline = performance.now() + startDeadlineMs
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`The product ended while starting:\n${output()}`)
    const isHealthy = await fetch(`${url}/health`).then(
      (response) => response.ok,
      () => false,
    )
    if (isHealthy) return
    await wait(20)
  }
  throw new Error(`The product was not healthy within ${startDeadlineMs} ms:\n${output()}`)
}

function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | string> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null)
      resolve(child.exitCode ?? child.signalCode ?? 'unknown')
    child.once('exit', (code, by) => resolve(code ?? by ?? 'unknown'))
    kill(child.pid ?? 0, signal)
  })
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has already gone.
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        typeof address === 'object' && address
          ? resolve(address.port)
          : reject(new Error('no port')),
      )
    })
  })
}
