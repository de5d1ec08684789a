// What the proxy costs a call: the same closed loop straight to the upstream and through the proxy, in turns.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { packageRoot } from '../../src/root.ts'
import { cpuSeconds, removeDataDir, residentBytes, startProduct, testKey } from '../product.ts'

const connections = 32
const repeats = 4
// V8's helper threads, which compile at first, took 193 µs of a call in the first repeat after 3 s, and 91 µs in the third.
const warmMs = 5000
const repeatMs = 2500

export const method = `${connections} connections, closed loop, 1 KB JSON up and down, an instant upstream; generator, upstream and
the started product share this machine. Everything on: keys, capture, signing, the spool on disk, ClickHouse loading beside it.
${repeats} repeats of ${repeatMs / 1000} s each way, in turns; medians.`

const body = JSON.stringify({
  model: 'gpt-4o-mini',
  temperature: 0.2,
  messages: [
    { role: 'system', content: 'You are brief. '.repeat(20) },
    { role: 'user', content: 'Tell me of the sea. '.repeat(30) },
  ],
})
const requestBytes = Buffer.from(
  `POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer ${testKey}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
)

type Row = { name: string; figure: string; unit: string; reference?: string }
type Measured = { perSecond: number; p50: number; p99: number; cpuMicros: number }

export async function run(): Promise<Row[]> {
  const upstream = fork(join(packageRoot(), 'test/bench/instant-upstream.mjs'))
  const [{ port }] = await once(upstream, 'message')
  const product = await startProduct({ env: { OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` } })
  const proxyPort = Number(new URL(product.url).port)
  try {
    await load(port, warmMs)
    await load(proxyPort, warmMs)
    const direct: Measured[] = []
    const through: Measured[] = []
    for (let i = 0; i < repeats; i++) {
      direct.push(await load(port, repeatMs))
      through.push(await load(proxyPort, repeatMs, product.pid))
    }
    return toRows(direct, through, residentBytes(product.pid))
  } finally {
    upstream.disconnect()
    await product.stop()
    removeDataDir(product.dataDir)
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
    {
      name: 'CPU of the serving process',
      figure: of(through, 'cpuMicros').toFixed(0),
      unit: 'µs a call',
    },
    {
      name: 'memory of the serving process',
      figure: (rss / 2 ** 20).toFixed(0),
      unit: 'MiB resident',
    },
  ]
}

/** Every connection sends its next request when its answer is complete. */
async function load(port: number, forMs: number, pid?: number): Promise<Measured> {
  const before = pid === undefined ? Number.NaN : cpuSeconds(pid)
  const latencies: number[] = []
  const startedAt = performance.now()
  const endAt = startedAt + forMs
  await Promise.all(Array.from({ length: connections }, () => keepAsking(port, endAt, latencies)))
  const seconds = (performance.now() - startedAt) / 1000
  const after = pid === undefined ? Number.NaN : cpuSeconds(pid)
  latencies.sort((a, b) => a - b)
  return {
    perSecond: latencies.length / seconds,
    p50: latencies[Math.floor(latencies.length * 0.5)]!,
    p99: latencies[Math.floor(latencies.length * 0.99)]!,
    cpuMicros: ((after - before) * 1e6) / latencies.length,
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
