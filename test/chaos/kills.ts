// kill -9 again and again while spans and calls come in: what was acknowledged is there once, whenever it was.

import { setTimeout as wait } from 'node:timers/promises'
import { get, type Target } from '../clients.ts'
import { newDataDir, removeDataDir, startProduct } from '../product.ts'
import { randomOf } from '../spool-world.ts'
import { type Acked, countStored, judge, type Sending, sendUntilGone } from './spans.ts'

const betweenCallsMs = 20

export type KillOptions = {
  cycles: number
  /** Acknowledged in a cycle before it is killed, on average. */
  spansPerCycle: number
  callers: number
  /** Receipts that are verified at the end, at random; all answered calls are counted. */
  verified: number
  seed: number
  print?: (line: string) => void
}

export type KillReport = {
  cycles: number
  spansAcked: number
  callsAnswered: number
  spansStored: number
  lost: string[]
  doubled: string[]
  /** Record ids of answered calls whose record is not final or does not verify. */
  unproven: string[]
  refused: Record<string, number>
  startMsP50: number
  startMsMax: number
  seconds: number
  seed: number
}

/** Answered calls: the span of each run, and its record. */
export type Calls = Map<string, string>

export async function killCycles(options: KillOptions): Promise<KillReport> {
  const startedAt = performance.now()
  const random = randomOf(options.seed)
  const dataDir = newDataDir()
  const acked: Acked = new Set()
  const calls: Calls = new Map()
  let number = 0
  const batch = 100
  const next = () => {
    number += batch
    return number
  }
  const sending: Sending = { acked, refused: new Map(), next }
  const starts: number[] = []
  try {
    for (let cycle = 1; cycle <= options.cycles; cycle++) {
      const product = await startProduct({ dataDir })
      starts.push(product.startedInMs)
      const before = acked.size
      const senders = [
        sendUntilGone(product, sending, { connections: 6, batch }),
        ...Array.from({ length: options.callers }, () => callUntilGone(product, calls)),
      ]
      const enough = before + options.spansPerCycle * (0.2 + 1.6 * random())
      const all = Promise.all(senders)
      while (acked.size < enough)
        if (await ended(all)) throw new Error(`It ended by itself:\n${product.output()}`)
      // Any moment of a batch, a sync, an insert, a cursor on its way.
      await wait(random() * 60)
      // One time in four the engines are left alive: the next start finds them and ends them.
      if (random() < 0.25) await product.stop('SIGKILL')
      else await product.killFamily()
      await all
      options.print?.(`cycle ${cycle}: ${acked.size} spans, ${calls.size} calls acknowledged`)
    }
    return await report({ dataDir, acked, calls, sending, starts, startedAt, options, random })
  } finally {
    removeDataDir(dataDir)
  }
}

async function ended(work: Promise<unknown>): Promise<boolean> {
  return Promise.race([work.then(() => true), wait(5, false)])
}

async function report(run: {
  dataDir: string
  acked: Acked
  calls: Calls
  sending: Sending
  starts: number[]
  startedAt: number
  options: KillOptions
  random: () => number
}): Promise<KillReport> {
  const product = await startProduct({ dataDir: run.dataDir })
  try {
    const stored = await countStored(product)
    const all = new Set([...run.acked, ...run.calls.keys()])
    const records = [...run.calls.values()]
    const sample = records.filter(() => run.random() < run.options.verified / records.length)
    const unproven: string[] = []
    for (const record of sample) if (!(await isProven(product, record))) unproven.push(record)
    const starts = run.starts.toSorted((a, b) => a - b)
    return {
      cycles: run.options.cycles,
      spansAcked: run.acked.size,
      callsAnswered: run.calls.size,
      spansStored: stored.size,
      ...judge(all, stored),
      unproven,
      refused: Object.fromEntries(run.sending.refused),
      startMsP50: Math.round(starts[starts.length >> 1] ?? 0),
      startMsMax: Math.round(starts.at(-1) ?? 0),
      seconds: Math.round((performance.now() - run.startedAt) / 1000),
      seed: run.options.seed,
    }
  } finally {
    await product.stop()
  }
}

async function isProven(target: Target, record: string): Promise<boolean> {
  const found = await get(target, `/v1/vaas/${record}`)
  if (found.status !== 200 || found.body.status !== 'completed') return false
  return (await get(target, `/v1/vaas/${record}/verify`)).body.valid === true
}

/** JSON calls and streams in turn, until the product is gone. */
async function callUntilGone(target: Target, calls: Calls): Promise<void> {
  for (let i = 0; ; i++)
    try {
      await call(target, calls, i)
    } catch {
      return // the product is gone, as it was meant to be
    }
}

/** The same until `signal` aborts; how many did not come back whole. */
export async function callSteadily(
  target: Target,
  calls: Calls,
  signal: AbortSignal,
): Promise<number> {
  let failed = 0
  for (let i = 0; !signal.aborted; i++) {
    if (!(await call(target, calls, i).catch(() => false))) failed += 1
    await wait(betweenCallsMs)
  }
  return failed
}

/** One counts when its last byte has come. False: it did not come back whole. Rejects when the connection breaks. */
async function call(target: Target, calls: Calls, number: number): Promise<boolean> {
  const stream = number % 2 === 1
  const response = await fetch(`${target.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${target.key}` },
    body: JSON.stringify({
      model: 'm',
      stream,
      messages: [{ role: 'user', content: `Call ${number}` }],
    }),
  })
  const text = await response.text()
  const isWhole = !stream || text.includes('data: [DONE]')
  const span = response.headers.get('traceparent')?.split('-')[2]
  const record = response.headers.get('x-vaas-record-id')
  if (response.status !== 200 || !isWhole || !span || !record) return false
  calls.set(span, record)
  return true
}
