// What shows only beside other work, or after minutes: calls while traces come in, and memory under streams that never pause.

import { residentBytes } from '../product.ts'
import { batchMaker } from './batches.ts'
import type { Arm } from './gateway-arms.ts'
import { type Address, openLoop, percentile, streams } from './http-load.ts'

const spansPerSecond = 20_000
const spansPerBatch = 1000
const batchesPerSecond = spansPerSecond / spansPerBatch
const lookEveryMs = 1000

type Row = { name: string; figure: string; unit: string; reference?: string }

/** The same calls at the same rate, first alone, then while so many spans a second are taken in. */
export async function besideIngest(
  arm: Arm,
  of: { perSecond: number; forMs: number },
): Promise<Row[]> {
  const batches = batchesTo(arm, Math.ceil(batchesPerSecond * (1 + of.forMs / 1000)))
  const warm = batches.splice(0, batchesPerSecond)
  await openLoop(arm, { perSecond: batchesPerSecond, forMs: 1000, requests: warm })
  await arm.rest()
  const alone = await openLoop(arm, of)
  await arm.rest()
  const [beside, taken] = await Promise.all([
    openLoop(arm, of),
    openLoop(arm, { perSecond: batchesPerSecond, forMs: of.forMs, requests: batches }),
  ])
  const [idle99, busy99] = [percentile(alone.latencies, 0.99), percentile(beside.latencies, 0.99)]
  const spans = (taken.latencies.length * spansPerBatch) / taken.seconds
  return [
    {
      name: `a call at ${of.perSecond}/s beside ${Math.round(spans / 1000)} thousand spans/s, p99`,
      figure: busy99.toFixed(2),
      unit: 'ms',
      reference: `alone: ${idle99.toFixed(2)} ms, ${(busy99 / idle99).toFixed(1)} ×`,
    },
  ]
}

/** Streams side by side, again and again; memory is looked at every second. */
export async function memoryOver(
  arm: Arm,
  of: { minutes: number; streams: number; tokens: number; spreadMs: number },
): Promise<Row[]> {
  const looks: number[] = []
  const look = () => looks.push(residentBytes(arm.pid ?? 0) / 2 ** 20)
  const timer = setInterval(look, lookEveryMs)
  const endsAt = performance.now() + of.minutes * 60_000
  try {
    while (performance.now() < endsAt)
      await streams(arm, { ...of, count: of.streams, onTokens: () => {} })
  } finally {
    clearInterval(timer)
  }
  look()
  const row = (when: string, mebi: number): Row => ({
    name: `memory of our process, ${of.streams} streams over ${of.minutes} minutes, ${when}`,
    figure: mebi.toFixed(0),
    unit: 'MiB resident',
  })
  const quarter = (from: number) => {
    const part = looks.slice(Math.floor((looks.length * from) / 4))
    const end = Math.max(1, Math.floor(looks.length / 4))
    return part.slice(0, end).reduce((sum, one, _, all) => sum + one / all.length, 0)
  }
  return [
    row('second quarter, mean', quarter(1)),
    row('last quarter, mean', quarter(3)),
    row('at most', Math.max(...looks)),
  ]
}

/** Ids and times never repeat, so each is sent once. */
function batchesTo(at: Address, count: number): Buffer[] {
  const { next } = batchMaker('protobuf', spansPerBatch)
  return Array.from({ length: count }, () => {
    const body = next()
    const lines = [
      'POST /v1/traces HTTP/1.1',
      `host: ${at.host}:${at.port}`,
      ...Object.entries(at.headers).map(([name, value]) => `${name}: ${value}`),
      'content-type: application/x-protobuf',
      'content-encoding: gzip',
      `content-length: ${body.length}`,
    ]
    return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body])
  })
}
