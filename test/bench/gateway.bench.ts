// What a gateway costs a call: saturation, what it adds to a call at a fixed rate, and streams; ours beside others, in turns.

import { cpuSeconds, residentBytes } from '../product.ts'
import { type Arm, startArms, stopArms } from './gateway-arms.ts'
import { besideIngest, memoryOver } from './gateway-long.ts'
import { closedLoop, type Load, openLoop, percentile, streams } from './http-load.ts'

const connections = 32
const perSecond = 500
const repeats = 5
const tokensPerSecond = 100
const burstTokens = 5
const quick = { warmMs: 3000, saturateMs: 1200, fixedMs: 1200, streams: 100, tokens: 200 }
// V8's helper threads, which compile at first, took 193 µs of a call in the first repeat after 3 s, and 91 µs in the third.
const whole = { warmMs: 6000, saturateMs: 3000, fixedMs: 4000, streams: 300, tokens: 400 }

export const method = `An upstream that answers 1 KB at once, in a process of its own; requests of 1 KB in 64 kinds; generator,
upstream and gateways share this machine. Ours with everything on: keys, capture on disk, one signature a call, discovery, ClickHouse
loading beside it. Saturation: ${connections} connections, closed loop. Then, once ClickHouse has every row (/metrics says so), the fixed
rate: ${perSecond} requests/s, latencies from the intended start. Streams: ${tokensPerSecond} tokens/s each, begun evenly over half their length, the
first token from the intended start; a burst is all of them begun at once. ${repeats} repeats of each arm, in turns; medians. Options:
--quick, --streams=N, --minutes=N for memory under streams, --upstream-port=N, --base-url=http://host:port/v1 and --header=name=value for any other gateway that asks that upstream.`

type Row = { name: string; figure: string; unit: string; reference?: string }
type Plan = typeof whole
type Figures = Record<string, number[]>

export async function run(given: readonly string[]): Promise<Row[]> {
  const option = (name: string) =>
    given.find((one) => one.startsWith(`--${name}=`))?.slice(name.length + 3)
  const plan = { ...(given.includes('--quick') ? quick : whole) }
  plan.streams = Number(option('streams') ?? plan.streams)
  const headers = Object.fromEntries(
    given
      .filter((one) => one.startsWith('--header='))
      .map((one) => /^--header=([^=]+)=(.*)$/.exec(one)?.slice(1) ?? []),
  )
  const upstreamPort = Number(option('upstream-port') ?? 0)
  const { arms, left } = await startArms({ baseUrl: option('base-url'), headers, upstreamPort })
  try {
    const figures = new Map(arms.map((arm) => [arm.name, {} as Figures])) // filled below, name by name
    for (const arm of arms) await closedLoop(arm, { connections, forMs: plan.warmMs })
    for (let i = 0; i < repeats; i++)
      for (const arm of arms) {
        const into = figures.get(arm.name)!
        await measureCalls(arm, plan, into)
        const failed = into.failed ? undefined : await measureStreams(arm, plan, into)
        if (failed) left.push(`streams of ${arm.name}: ${failed}`)
      }
    for (const reason of left) console.log(`Left out: ${reason}`)
    const rows = toRows(arms, figures)
    const ours = arms[1]! // startArms puts it there
    rows.push(...(await besideIngest(ours, { perSecond, forMs: plan.fixedMs })))
    const minutes = Number(option('minutes') ?? 0)
    if (minutes > 0) rows.push(...(await memoryOver(ours, { ...plan, minutes, ...spreadOf(plan) })))
    return rows
  } finally {
    await stopArms(arms)
  }
}

function note(into: Figures, name: string, value: number): void {
  into[name] ??= []
  into[name].push(value)
}

async function measureCalls(arm: Arm, plan: Plan, into: Figures): Promise<void> {
  const saturated = await withCpu(arm, () =>
    closedLoop(arm, { connections, forMs: plan.saturateMs }),
  )
  note(into, 'rate', saturated.load.latencies.length / saturated.load.seconds)
  note(into, 'cpu', saturated.cpuMicros)
  await arm.rest()
  const fixed = await withCpu(arm, () => openLoop(arm, { perSecond, forMs: plan.fixedMs }))
  note(into, 'p50', percentile(fixed.load.latencies, 0.5))
  note(into, 'p99', percentile(fixed.load.latencies, 0.99))
  note(into, 'cpuFixed', fixed.cpuMicros)
}

/**
 * CPU of a chunk: between a quarter and three quarters of all tokens, when no stream begins or ends. Returns why the arm has no
 * figures; only another's gateway may fail here.
 */
async function measureStreams(arm: Arm, plan: Plan, into: Figures): Promise<string | undefined> {
  const total = plan.streams * plan.tokens
  const looks: { tokens: number; cpuS: number }[] = []
  const paced = streams(arm, {
    count: plan.streams,
    tokens: plan.tokens,
    ...spreadOf(plan),
    onTokens(tokens) {
      if (tokens >= (total * (1 + 2 * looks.length)) / 4 && looks.length < 2)
        looks.push({ tokens, cpuS: cpuOf(arm) })
    },
  })
  const burst = { count: plan.streams, tokens: burstTokens, spreadMs: 0, onTokens: () => {} }
  const loads = await paced
    .then(async (load) => ({ load, atOnce: await streams(arm, burst) }))
    .catch((error: Error) => error)
  if (loads instanceof Error) {
    if (arm.name === 'direct' || arm.name === 'runledger') throw loads
    note(into, 'failed', 1)
    return loads.message
  }
  const { load, atOnce } = loads
  const [from, to] = looks
  if (from && to)
    note(into, 'cpuChunk', ((to.cpuS - from.cpuS) * 1e6) / Math.max(1, to.tokens - from.tokens))
  note(into, 'firstToken', percentile(load.firstToken, 0.5))
  note(into, 'held50', percentile(load.held, 0.5))
  note(into, 'held99', percentile(load.held, 0.99))
  note(into, 'burst', percentile(atOnce.firstToken, 0.5))
  await arm.rest()
  return undefined
}

/** The last one begins when half the tokens of the first are here: from a quarter of all tokens to three quarters none begins or ends. */
function spreadOf(plan: Plan): { spreadMs: number } {
  return { spreadMs: (plan.tokens * 1000) / tokensPerSecond / 2 }
}

async function withCpu(
  arm: Arm,
  make: () => Promise<Load>,
): Promise<{ load: Load; cpuMicros: number }> {
  const before = cpuOf(arm)
  const load = await make()
  return { load, cpuMicros: ((cpuOf(arm) - before) * 1e6) / load.latencies.length }
}

function cpuOf({ pid }: Arm): number {
  return pid === undefined ? Number.NaN : cpuSeconds(pid)
}

const shown: { key: string; name: string; unit: string; digits: number; isAdded?: boolean }[] = [
  { key: 'rate', name: 'saturation', unit: 'calls/s', digits: 0 },
  { key: 'cpu', name: 'CPU of its process, saturated', unit: 'µs a call', digits: 0 },
  { key: 'p50', name: `added at ${perSecond}/s, p50`, unit: 'ms', digits: 2, isAdded: true },
  { key: 'p99', name: `added at ${perSecond}/s, p99`, unit: 'ms', digits: 2, isAdded: true },
  { key: 'cpuFixed', name: `CPU of its process at ${perSecond}/s`, unit: 'µs a call', digits: 0 },
  { key: 'firstToken', name: 'added to the first token', unit: 'ms', digits: 2, isAdded: true },
  {
    key: 'burst',
    name: 'added to the first token, all at once',
    unit: 'ms',
    digits: 2,
    isAdded: true,
  },
  { key: 'cpuChunk', name: 'CPU of a chunk', unit: 'µs', digits: 1 },
  { key: 'held50', name: 'a chunk is under way, p50', unit: 'ms', digits: 2 },
  { key: 'held99', name: 'a chunk is under way, p99', unit: 'ms', digits: 2 },
]

function toRows(arms: readonly Arm[], figures: ReadonlyMap<string, Figures>): Row[] {
  const of = (arm: Arm, key: string) => median(figures.get(arm.name)?.[key] ?? [])
  const [direct, ours] = arms as [Arm, Arm] // startArms puts them first
  const rows = shown.flatMap(({ key, name, unit, digits, isAdded }) =>
    arms.flatMap((arm): Row[] => {
      const value = of(arm, key) - (isAdded && arm !== direct ? of(direct, key) : 0)
      if (Number.isNaN(value)) return []
      const isCompared = key === 'rate' && arm !== ours
      return [
        {
          name: `${isAdded && arm === direct ? name.replace('added', 'whole') : name}, ${arm.name}`,
          figure: value.toFixed(digits),
          unit,
          ...(isCompared ? { reference: `ours: ${(of(ours, key) / value).toFixed(2)} ×` } : {}),
        },
      ]
    }),
  )
  const rss = residentBytes(ours.pid ?? 0) / 2 ** 20
  return [...rows, { name: 'memory of our process', figure: rss.toFixed(0), unit: 'MiB resident' }]
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
