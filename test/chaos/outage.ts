// ClickHouse goes away for a while at a steady rate of spans: no client notices, nothing is lost, and the backlog is worked off.

import { setTimeout as wait } from 'node:timers/promises'
import { type Acked, countStored, judge } from './spans.ts'
import { behindProxy, p99Of, sendSteadily, spoolOf, untilCaughtUp } from './steady.ts'

export type OutageOptions = {
  outageS: number
  spansPerS: number
  print?: (line: string) => void
}

export type OutageReport = {
  outageS: number
  spansAcked: number
  spansStored: number
  lost: string[]
  doubled: string[]
  refused: number
  backlogRows: number
  /** From the return of ClickHouse until nothing that was accepted is older than two seconds in the spool; spans still came. */
  caughtUpS: number
  ackMsP99: number
}

export function outage(options: OutageOptions): Promise<OutageReport> {
  return behindProxy(async (target, proxy) => {
    const acked: Acked = new Set()
    const stop = new AbortController()
    const sending = sendSteadily(target, acked, { ...options, signal: stop.signal })
    await wait(1_000)
    await proxy.refuse()
    await wait(options.outageS * 1_000)
    const { undrainedRows: backlogRows } = await spoolOf(target)
    options.print?.(`after ${options.outageS} s away: ${backlogRows} rows in the spool`)
    await proxy.pass()
    const caughtUpS = await untilCaughtUp(target)
    options.print?.(`caught up after ${caughtUpS.toFixed(1)} s`)
    stop.abort()
    const { refused, latencies } = await sending
    const stored = await countStored(target)
    return {
      outageS: options.outageS,
      spansAcked: acked.size,
      spansStored: stored.size,
      ...judge(acked, stored),
      refused,
      backlogRows,
      caughtUpS,
      ackMsP99: p99Of(latencies),
    }
  })
}
