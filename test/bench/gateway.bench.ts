// What the proxy costs a call: the same closed loop straight to the upstream and through the proxy, in turns.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { packageRoot } from '../../src/root.ts'
import { buildEntry } from '../build-child.ts'

const connections = 32
const repeats = 4
const warmMs = 1500
const repeatMs = 2500

export const method = `${connections} connections, closed loop, 1 KB JSON up and down, an instant upstream; generator, upstream and
proxy are three processes on this machine. Koa, capture and signing on, rows sealed in memory (no disk). ${repeats} repeats
of ${repeatMs / 1000} s each way, in turns; medians.`

const body = JSON.stringify({
  model: 'gpt-4o-mini',
  temperature: 0.2,
  messages: [
    { role: 'system', content: 'You are brief. '.repeat(20) },
    { role: 'user', content: 'Tell me of the sea. '.repeat(30) },
  ],
})
const requestBytes = Buffer.from(
  `POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer batchin_api_bench\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
)

type Row = { name: string; figure: string; unit: string; reference?: string }
type Measured = { perSecond: number; p50: number; p99: number; cpuMicros: number }

export async function run(): Promise<Row[]> {
  const out = join(packageRoot(), 'dist', `gateway-${process.pid}`)
  const children: ChildProcess[] = []
  try {
    const entry = await buildEntry(join(packageRoot(), 'test/bench/gateway-child.ts'), out)
    const upstream = await start(
      children,
      join(packageRoot(), 'test/bench/instant-upstream.mjs'),
      [],
    )
    const proxy = await start(children, entry, [`http://127.0.0.1:${upstream.port}/v1`])
    await load(upstream.port, warmMs)
    await load(proxy.port, warmMs)
    const direct: Measured[] = []
    const through: Measured[] = []
    for (let i = 0; i < repeats; i++) {
      direct.push(await load(upstream.port, repeatMs))
      through.push(await load(proxy.port, repeatMs, proxy.child))
    }
    const { memory } = await usageOf(proxy.child)
    return toRows(direct, through, memory)
  } finally {
    for (const child of children) child.disconnect()
    rmSync(out, { recursive: true, force: true })
  }
}

function toRows(direct: Measured[], through: Measured[], rss: number): Row[] {
  const of = (list: Measured[], key: keyof Measured) =>
    list.map((it) => it[key]).sort((a, b) => a - b)[Math.floor(list.length / 2)]!
  const row = (name: string, key: keyof Measured, unit: string, digits: number): Row => ({
    name,
    figure: of(through, key).toFixed(digits),
    unit,
    reference: `direct ${of(direct, key).toFixed(digits)}`,
  })
  return [
    row('calls through the proxy', 'perSecond', 'calls/s', 0),
    row('latency p50', 'p50', 'ms', 2),
    row('latency p99', 'p99', 'ms', 2),
    { name: 'CPU of the proxy', figure: of(through, 'cpuMicros').toFixed(0), unit: 'µs a call' },
    { name: 'memory of the proxy', figure: (rss / 2 ** 20).toFixed(0), unit: 'MiB resident' },
  ]
}

async function start(
  children: ChildProcess[],
  path: string,
  args: string[],
): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(path, args, { cwd: packageRoot() })
  children.push(child)
  const [{ port }] = await once(child, 'message')
  return { child, port }
}

async function usageOf(child: ChildProcess): Promise<{ cpuMicros: number; memory: number }> {
  child.send('usage')
  const [{ cpu, memory }] = await once(child, 'message')
  return { cpuMicros: cpu.user + cpu.system, memory }
}

/** Every connection sends its next request when its answer is complete. */
async function load(port: number, forMs: number, child?: ChildProcess): Promise<Measured> {
  const before = child && (await usageOf(child))
  const latencies: number[] = []
  const startedAt = performance.now()
  const endAt = startedAt + forMs
  await Promise.all(Array.from({ length: connections }, () => keepAsking(port, endAt, latencies)))
  const seconds = (performance.now() - startedAt) / 1000
  const after = child && (await usageOf(child))
  latencies.sort((a, b) => a - b)
  return {
    perSecond: latencies.length / seconds,
    p50: latencies[Math.floor(latencies.length * 0.5)]!,
    p99: latencies[Math.floor(latencies.length * 0.99)]!,
    cpuMicros:
      before && after ? (after.cpuMicros - before.cpuMicros) / latencies.length : Number.NaN,
  }
}

async function keepAsking(port: number, endAt: number, latencies: number[]): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  await new Promise<void>((resolve, reject) => {
    let sentAt = 0
    const ask = () => {
      sentAt = performance.now()
      socket.write(requestBytes)
    }
    onAnswers(socket, () => {
      const now = performance.now()
      latencies.push(now - sentAt)
      if (now < endAt) ask()
      else {
        socket.destroy()
        resolve()
      }
    })
    socket.on('error', reject)
    ask()
  })
}

/** Calls `answered` for every complete answer of status 200; anything else stops the measurement. */
function onAnswers(socket: Socket, answered: () => void): void {
  let held = Buffer.alloc(0)
  socket.on('data', (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    const headEnd = held.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const head = held.toString('latin1', 0, headEnd)
    if (!head.startsWith('HTTP/1.1 200'))
      throw new Error(`An answer was not 200:\n${held.toString()}`)
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
    if (held.length < headEnd + 4 + length) return
    held = Buffer.alloc(0)
    answered()
  })
}
