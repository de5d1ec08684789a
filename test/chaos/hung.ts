// ClickHouse hangs in every way a server can: takes connections and never answers, stores and never says so, breaks in the middle
// of a request or where its answer would begin. No client notices, nothing is lost or doubled, and memory does not grow with it.

import { setTimeout as wait } from 'node:timers/promises'
import { spoolLimits } from '../../collectors/spool/limits.ts'
import { get } from '../clients.ts'
import { type Product, residentBytes } from '../product.ts'
import type { FaultProxy, Flow } from './fault-proxy.ts'
import { type Calls, callSteadily } from './kills.ts'
import { type Acked, countStored, judge } from './spans.ts'
import { behindProxy, p99Of, sendSteadily, untilCaughtUp } from './steady.ts'

export type HungOptions = {
  /** Of each way of hanging. Beyond the deadline of an insert that comes first; below, the connection breaks. */
  seconds: number
  rounds: number
  spansPerS: number
  print?: (line: string) => void
}

export type HungReport = {
  seconds: number
  rounds: number
  spansAcked: number
  callsAnswered: number
  spansStored: number
  lost: string[]
  doubled: string[]
  refused: number
  failedCalls: number
  /** Inserts that were sent again. */
  insertsRetried: number
  caughtUpS: number
  ackMsP99: number
  /** Of the plane alone, at the end of a way of hanging. */
  residentMiB: { first: number; last: number; most: number }
}

const flows: readonly Flow[] = ['mute', 'deaf', 'cut requests', 'cut answers']
const mebi = 2 ** 20
const insertDeadlineS = spoolLimits.insertDeadlineMs / 1_000

export function hung(options: HungOptions): Promise<HungReport> {
  return behindProxy(async (product, proxy) => {
    const acked: Acked = new Set()
    const calls: Calls = new Map()
    const stop = new AbortController()
    const { signal } = stop
    const spans = sendSteadily(product, acked, { ...options, signal })
    const calling = callSteadily(product, calls, signal)
    await wait(1_000)
    const resident: number[] = []
    for (let round = 1; round <= options.rounds; round++)
      for (const flow of flows) {
        resident.push(await hang(product, proxy, { flow, seconds: options.seconds }))
        options.print?.(`round ${round}, ${flow}: ${resident.at(-1)} MiB`)
      }
    const caughtUpS = await untilCaughtUp(product)
    stop.abort()
    const [{ refused, latencies }, failedCalls] = await Promise.all([spans, calling])
    const stored = await countStored(product)
    return {
      ...{ seconds: options.seconds, rounds: options.rounds, spansAcked: acked.size },
      ...{ callsAnswered: calls.size, spansStored: stored.size },
      ...judge(new Set([...acked, ...calls.keys()]), stored),
      ...{ refused, failedCalls, insertsRetried: await retriesOf(product) },
      ...{ caughtUpS, ackMsP99: p99Of(latencies) },
      residentMiB: {
        first: resident[0] ?? 0,
        last: resident.at(-1) ?? 0,
        most: Math.max(...resident),
      },
    }
  })
}

/** Hangs for that long, with an insert under way from the first moment; then everything held back goes on its way, or breaks. */
async function hang(
  product: Product,
  proxy: FaultProxy,
  how: { flow: Flow; seconds: number },
): Promise<number> {
  proxy.flow(how.flow)
  // Who reads wants everything that was acknowledged before, so that the drain does not wait for more.
  const reading = get(product, '/v1/traces?limit=1').catch(() => undefined)
  await wait(how.seconds * 1_000)
  const resident = Math.round(residentBytes(product.pid) / mebi)
  proxy.flow('pass')
  // A break of each connection is what a server's restart looks like; an answer that comes after the deadline finds nobody.
  if (how.seconds < insertDeadlineS) proxy.reset()
  await reading
  await untilCaughtUp(product)
  return resident
}

async function retriesOf(product: Product): Promise<number> {
  const text = await (await fetch(`${product.url}/metrics`)).text()
  const found = text.matchAll(
    /^runledger_spool_inserts_total\{[^}]*outcome="retried"[^}]*\} (\d+)/gm,
  )
  return [...found].reduce((sum, [, count]) => sum + Number(count), 0)
}
