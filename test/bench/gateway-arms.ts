// What is measured side by side: the upstream itself, ours, nginx, Portkey, and any other gateway that speaks OpenAI's API.

import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { packageRoot } from '../../src/root.ts'
import { freePort, removeDataDir, startProduct, testKey } from '../product.ts'
import type { Address } from './http-load.ts'

const nginxProgram = '/usr/sbin/nginx'
const portkey = '@portkey-ai/gateway@1.15.2'
const installDeadlineMs = 120_000
const startDeadlineMs = 30_000
const drainDeadlineMs = 60_000

export type Arm = Address & {
  name: string
  /** Undefined: not ours to look at. */
  pid: number | undefined
  /** Resolves when nothing is left to do of what was asked before. */
  rest(): Promise<void>
  stop(): Promise<void>
}

export type ArmOptions = { baseUrl?: string | undefined; headers: Record<string, string> }

/** All that can be started here, the upstream first and ours second; `left` says of each other one why it is not there. */
export async function startArms(
  options: ArmOptions & { upstreamPort: number },
): Promise<{ arms: Arm[]; left: string[] }> {
  const upstream = fork(join(packageRoot(), 'test/bench/instant-upstream.mjs'), [
    String(options.upstreamPort),
  ])
  const [{ port }] = await once(upstream, 'message')
  const host = '127.0.0.1'
  const arms: Arm[] = [
    {
      ...{ name: 'direct', host, port, path: '/v1', headers: {}, pid: undefined },
      rest: async () => {},
      stop: async () => upstream.disconnect(),
    },
  ]
  const left: string[] = []
  try {
    arms.push(await startOurs(port))
    for (const start of [startNginx, startPortkey]) {
      const started = await start(port)
      if (typeof started === 'string') left.push(started)
      else arms.push(started)
    }
    if (options.baseUrl !== undefined) arms.push(otherAt(options.baseUrl, options.headers))
    return { arms, left }
  } catch (error) {
    await stopArms(arms)
    throw error
  }
}

export async function stopArms(arms: readonly Arm[]): Promise<void> {
  for (const arm of arms.toReversed()) await arm.stop()
}

async function startOurs(upstreamPort: number): Promise<Arm> {
  const product = await startProduct({
    env: { OPENAI_BASE_URL: `http://127.0.0.1:${upstreamPort}/v1` },
  })
  return {
    name: 'runledger',
    host: '127.0.0.1',
    port: Number(new URL(product.url).port),
    path: '/v1',
    headers: { authorization: `Bearer ${testKey}` },
    pid: product.pid,
    rest: () => untilDrained(product.url),
    async stop() {
      await product.stop()
      removeDataDir(product.dataDir)
    },
  }
}

/** What saturation left behind is not counted against the calls after it: ClickHouse has taken every row. */
async function untilDrained(url: string): Promise<void> {
  const deadline = performance.now() + drainDeadlineMs
  while (performance.now() < deadline) {
    const answer = await fetch(`${url}/metrics`, {
      headers: { authorization: `Bearer ${testKey}` },
    })
    const rows = (await answer.text()).matchAll(/^\w*spool_undrained_rows(?:\{[^}]*\})? (\d+)/gm)
    const left = [...rows].map(([, count]) => Number(count))
    if (left.length === 0) throw new Error('The product does not say what its spool holds.')
    if (left.every((count) => count === 0)) return
    await wait(100)
  }
  throw new Error('The spool was not drained in time.')
}

/** One process, no log, connections to the upstream kept: the least a proxy can do. */
async function startNginx(upstreamPort: number): Promise<Arm | string> {
  if (!existsSync(nginxProgram)) return `nginx is not at ${nginxProgram}.`
  const dir = mkdtempSync(join(tmpdir(), 'runledger-nginx-'))
  const port = await freePort()
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${dir}/${name};`,
  )
  writeFileSync(
    join(dir, 'nginx.conf'),
    `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; master_process off; pid ${dir}/pid; error_log stderr error;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000; ${folders.join(' ')}
  upstream up { server 127.0.0.1:${upstreamPort}; keepalive 512; keepalive_requests 1000000; }
  server { listen 127.0.0.1:${port}; client_body_buffer_size 64k;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }`,
  )
  const child = spawn(nginxProgram, ['-c', join(dir, 'nginx.conf'), '-p', dir], { stdio: 'ignore' })
  return startedArm('nginx', { child, port, dir, headers: {} })
}

/** From its package, into a folder of its own that goes with it. */
async function startPortkey(upstreamPort: number): Promise<Arm | string> {
  const dir = mkdtempSync(join(tmpdir(), 'runledger-portkey-'))
  const installed = spawnSync(
    'npm',
    ['install', '--prefix', dir, '--ignore-scripts', '--no-audit', '--no-fund', portkey],
    { cwd: dir, stdio: 'ignore', timeout: installDeadlineMs },
  )
  if (installed.status !== 0) {
    rmSync(dir, { recursive: true, force: true })
    return `${portkey} could not be fetched.`
  }
  const port = await freePort()
  const program = join(dir, 'node_modules/@portkey-ai/gateway/build/start-server.js')
  const child = spawn(process.execPath, [program, `--port=${port}`, '--headless'], {
    stdio: 'ignore',
  })
  return startedArm('portkey', {
    ...{ child, port, dir },
    headers: {
      authorization: 'Bearer bench',
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `http://127.0.0.1:${upstreamPort}/v1`,
    },
  })
}

async function startedArm(
  name: string,
  of: { child: ChildProcess; port: number; dir: string; headers: Record<string, string> },
): Promise<Arm> {
  const { child, port, dir, headers } = of
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
    rmSync(dir, { recursive: true, force: true })
  }
  const deadline = performance.now() + startDeadlineMs
  while (!(await answers(port))) {
    if (performance.now() > deadline || child.exitCode !== null) {
      await stop()
      throw new Error(`${name} did not start.`)
    }
    await wait(100)
  }
  return {
    name,
    host: '127.0.0.1',
    port,
    path: '/v1',
    headers,
    pid: child.pid,
    rest: async () => {},
    stop,
  }
}

function otherAt(baseUrl: string, headers: Record<string, string>): Arm {
  const { hostname, port, pathname } = new URL(baseUrl)
  return {
    ...{ name: 'other', host: hostname, port: Number(port || 80), headers, pid: undefined },
    path: pathname.replace(/\/+$/, ''),
    rest: async () => {},
    stop: async () => {},
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    const settle = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}
