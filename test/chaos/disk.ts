// The disk of the spool fills and fails under spans and calls: what is acknowledged is kept, the rest is told to come again, calls
// outlast spans, and the service comes back by itself.

import { setTimeout as wait } from 'node:timers/promises'
import { type Product, startProduct } from '../product.ts'
import { type Calls, callSteadily } from './kills.ts'
import { failing, openSmallDisk, type SmallDisk } from './small-disk.ts'
import { type Acked, countStored, judge, requestOf } from './spans.ts'

export type DiskOptions = {
  /** Of each way of failing. */
  seconds: number
  print?: (line: string) => void
}

export type DiskReport = {
  spansAcked: number
  callsAnswered: number
  spansStored: number
  lost: string[]
  doubled: string[]
  /** Refused, and stored all the same. */
  undead: string[]
  /** Answers that are neither 200 nor a 503 with a Retry-After of one to three seconds. */
  unclean: string[]
  refused: number
  /** With room for calls alone: how spans and a call are answered. */
  onlyCalls: number[]
  /** With room for neither. */
  nothing: number[]
  /** From the return of the disk until both are taken again. */
  backMs: number[]
}

type Told = { acked: Acked; refused: Set<string>; unclean: string[]; next: number }

const mebi = 2 ** 20
const batch = 20
const answerDeadlineMs = 30_000
// Between the floors of the two lanes, and below both (collectors/spool/limits.ts).
const [roomForCalls, roomForNothing] = [600 * mebi, 1 * mebi]

export async function diskTrouble(options: DiskOptions): Promise<DiskReport> {
  const disk = openSmallDisk()
  try {
    const product = await startProduct({ dataDir: disk.dataDir })
    try {
      return await trouble(product, disk, options)
    } finally {
      await product.stop()
    }
  } finally {
    disk.end()
  }
}

async function trouble(
  product: Product,
  disk: SmallDisk,
  { seconds, print = () => {} }: DiskOptions,
): Promise<DiskReport> {
  const told: Told = { acked: new Set(), refused: new Set(), unclean: [], next: 1 }
  const calls: Calls = new Map()
  const stop = new AbortController()
  const sending = [sendSpans(product, told, stop.signal), callSteadily(product, calls, stop.signal)]
  const probes = () => Promise.all([probeSpans(product, told), probeCall(product, told)])
  const until = async (wanted: number[]): Promise<number> => {
    const startedAt = performance.now()
    for (;;) {
      const seen = await probes()
      if (seen.every((status, i) => status === wanted[i])) break
      if (performance.now() - startedAt > answerDeadlineMs)
        throw new Error(`${seen} is answered, ${wanted} was to be`)
      await wait(20)
    }
    return Math.round(performance.now() - startedAt)
  }
  await until([200, 200])

  disk.fill(roomForCalls)
  await until([503, 200])
  await wait(seconds * 1_000)
  const onlyCalls = await probes()
  disk.fill(roomForNothing)
  await until([503, 503])
  await wait(seconds * 1_000)
  const nothing = await probes()
  disk.empty()
  const backMs = [await until([200, 200])]
  print(`full: ${onlyCalls}, then ${nothing}; back after ${backMs} ms`)

  for (const error of ['EIO', 'ENOSPC'] as const) {
    const how = { calls: 'pwritev,pwrite64,pwritev2,fdatasync', error, when: '2+5' }
    const before = told.refused.size
    await failing(product.pid, how, async () => {
      const until = performance.now() + answerDeadlineMs
      while (told.refused.size === before && performance.now() < until) await wait(20)
      await wait(seconds * 1_000)
    })
    if (told.refused.size === before) throw new Error(`${error} was met by nobody`)
    backMs.push(await until([200, 200]))
    print(`${error}: ${told.refused.size} spans refused so far; back after ${backMs.at(-1)} ms`)
  }
  stop.abort()
  await Promise.all(sending)
  const stored = await countStored(product)
  return {
    ...{ spansAcked: told.acked.size, callsAnswered: calls.size, spansStored: stored.size },
    ...judge(new Set([...told.acked, ...calls.keys()]), stored),
    undead: [...told.refused].filter((id) => stored.has(id)),
    ...{ unclean: told.unclean, refused: told.refused.size, onlyCalls, nothing, backMs },
  }
}

async function sendSpans(product: Product, told: Told, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await probeSpans(product, told)
    await wait(5)
  }
}

async function probeSpans(product: Product, told: Told): Promise<number> {
  const { body, ids } = requestOf(told.next, batch)
  told.next += batch
  const response = await fetch(`${product.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-protobuf',
      'Content-Encoding': 'gzip',
      Authorization: `Bearer ${product.key}`,
    },
    body: new Uint8Array(body),
  })
  await response.arrayBuffer()
  for (const id of ids) (response.status === 200 ? told.acked : told.refused).add(id)
  checkRefusal(response, told)
  return response.status
}

async function probeCall(product: Product, told: Told): Promise<number> {
  const response = await fetch(`${product.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${product.key}` },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Still there?' }] }),
  })
  const text = await response.text()
  checkRefusal(response, told)
  if (response.status !== 200 && JSON.parse(text).error?.code !== 'service_unavailable')
    told.unclean.push(text)
  return response.status
}

function checkRefusal({ status, headers }: Response, told: Told): void {
  const after = Number(headers.get('retry-after'))
  const isClean = status === 200 || (status === 503 && after >= 1 && after <= 3)
  if (!isClean) told.unclean.push(`${status}, Retry-After ${headers.get('retry-after')}`)
}
