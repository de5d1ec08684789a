// Which past conversations are replayed: one seeded order of all of them, drawn before the first call, of which the sample is a
// prefix. So a longer sample only appends, and a crash changes nothing.

import { createHash } from 'node:crypto'
import type { DrawnUnit, ReplayRequest, UnitSource } from '../schemas/replay.ts'
import { slicesOf } from './slices.ts'

// Recent traffic is likelier to be drawn: half as likely a week ago.
const halfLifeMs = 7 * 86_400_000
// A share of the sample that one caller may have. A share can only be kept by enough of them: 2 % by fifty users, 10 % by ten keys.
const caps = [
  { of: 'userId', share: 0.02, reason: 'user_cap' },
  { of: 'keyId', share: 0.1, reason: 'key_cap' },
] as const
const pageSize = 50
// Of the loads that may be spent on conversations which turn out not to be replayable, in proportion to those wanted.
const loadsPerUnitMax = 4
const loadsMin = 200
const testEnvironment = /^(test|testing|ci)$/i

/** A past run of the baseline, by its figures alone. */
export type FrameRun = {
  traceId: string
  spanId: string
  /** The session, else the trace. */
  conversation: string
  hasSession: boolean
  userId: string
  keyId: string
  model: string
  environment: string
  routeId: string
  status: string
  startMs: number
  latencyMs: number
  outputTokens: number
  costNanoUsd: number | null
  hasOptedOut: boolean
}

export type RejectReason =
  | 'unfinished'
  | 'test_environment'
  | 'opted_out'
  | 'user_cap'
  | 'key_cap'
  | 'no_text'
  /** Exporters tell of models that this gateway does not serve. */
  | 'no_route'
  | 'no_template'
  | 'not_rendered'
  | 'missing_variable'
  | 'media'
  | 'live_tools'
  | 'too_large'
  | 'deleted'

/** A conversation that can be replayed, or why not. */
export type LoadedRun =
  | {
      request: ReplayRequest
      /** Of the input without the prompt, and of the caller's first words. */
      inputHash: string
      openingHash: string
      tier: UnitSource['tier']
      recordedOutput: UnitSource['recordedOutput']
      hasTools: boolean
    }
  | { rejected: RejectReason }

export type FrameReport = {
  runs: number
  conversations: number
  /** Distinct inputs that can be replayed; the sample is drawn from them. */
  units: number
  rejected: Partial<Record<RejectReason, number>>
  /** Of the conversations looked at, the share that can be replayed or repeats one that can. */
  keptShare: number
  /** A sentence when less than half is kept: the sample speaks for that part only. */
  note: string | null
}

export type Frame = { units: DrawnUnit[]; report: FrameReport }

/** Draws at most `unitsMax` conversations. `load` is asked for runs in the drawn order, a page at a time. */
export async function drawFrame(
  runs: readonly FrameRun[],
  load: (page: readonly FrameRun[]) => Promise<LoadedRun[]>,
  options: { seed: string; unitsMax: number; nowMs: number },
): Promise<Frame> {
  const { seed, unitsMax } = options
  const rejected = new Map<RejectReason, number>()
  const reject = (reason: RejectReason) => rejected.set(reason, (rejected.get(reason) ?? 0) + 1)
  const turns = oneTurnEach(runs, seed)
  const ordered = inDrawnOrder(turns, options)
  const drawing = new Drawing(capsOf(turns, unitsMax))
  const loadsMax = Math.max(loadsMin, unitsMax * loadsPerUnitMax)
  let looked = 0
  let kept = 0
  for (let at = 0; at < ordered.length && looked < loadsMax; at += pageSize) {
    const page = ordered.slice(at, at + pageSize).filter((run) => {
      looked++
      const reason = refusal(run) ?? drawing.overCap(run)
      if (reason !== undefined) reject(reason)
      return reason === undefined
    })
    const loaded = await load(page)
    for (const [i, run] of page.entries()) {
      const one = loaded[i] ?? { rejected: 'deleted' }
      // Others of the same page may have filled the share since.
      const over = drawing.overCap(run)
      if (over !== undefined) reject(over)
      else if ('rejected' in one) reject(one.rejected)
      else {
        kept++
        drawing.add(run, one)
      }
      if (drawing.units.length === unitsMax) break
    }
    if (drawing.units.length === unitsMax) break
  }
  const seen = kept + [...rejected.values()].reduce((sum, count) => sum + count, 0)
  const report = toReport({ runs: runs.length, conversations: turns.length, kept, seen })
  return {
    units: drawing.units,
    report: { ...report, units: drawing.units.length, rejected: Object.fromEntries(rejected) },
  }
}

/** A number in (0, 1) that the seed and the name decide. */
export function unitInterval(seed: string, name: string): number {
  const bytes = createHash('sha256').update(seed).update('\0').update(name).digest()
  return (bytes.readUIntBE(0, 6) + 0.5) / 2 ** 48
}

/** Turns of one conversation resemble each other: counting them as independent makes a 1 % error one of 8 to 19 %. */
function oneTurnEach(runs: readonly FrameRun[], seed: string): FrameRun[] {
  const chosen = new Map<string, { run: FrameRun; drawn: number }>()
  for (const run of runs) {
    const drawn = unitInterval(seed, `turn ${run.traceId} ${run.spanId}`)
    const held = chosen.get(run.conversation)
    if (held === undefined || drawn < held.drawn) chosen.set(run.conversation, { run, drawn })
  }
  return [...chosen.values()].map(({ run }) => run)
}

/** Weighted order without replacement (Efraimidis and Spirakis 2006): the smaller −ln(u)/w, the earlier. */
function inDrawnOrder(
  runs: readonly FrameRun[],
  { seed, nowMs }: { seed: string; nowMs: number },
): FrameRun[] {
  const keyed = runs.map((run) => {
    const weight = 2 ** (-Math.max(0, nowMs - run.startMs) / halfLifeMs)
    return { run, key: -Math.log(unitInterval(seed, `order ${run.conversation}`)) / weight }
  })
  return keyed.sort((a, b) => a.key - b.key).map(({ run }) => run)
}

function refusal(run: FrameRun): RejectReason | undefined {
  if (run.hasOptedOut) return 'opted_out'
  if (run.status !== 'ok' && run.status !== 'cache_hit') return 'unfinished'
  return testEnvironment.test(run.environment) ? 'test_environment' : undefined
}

type Cap = { of: 'userId' | 'keyId'; reason: RejectReason; max: number }

function capsOf(runs: readonly FrameRun[], unitsMax: number): Cap[] {
  const wanted = Math.min(unitsMax, runs.length)
  return caps.flatMap(({ of, share, reason }) => {
    const callers = new Set(runs.map((run) => run[of]).filter((name) => name !== ''))
    return callers.size * share < 1 ? [] : [{ of, reason, max: Math.ceil(share * wanted) }]
  })
}

/** What has been drawn so far. Equal inputs are one, so that a health check does not outvote the users. */
class Drawing {
  readonly units: DrawnUnit[] = []
  readonly #byInput = new Map<string, DrawnUnit>()
  readonly #openings = new Set<string>()
  readonly #taken = new Map<string, number>()
  readonly #caps: readonly Cap[]

  constructor(caps: readonly Cap[]) {
    this.#caps = caps
  }

  overCap(run: FrameRun): RejectReason | undefined {
    return this.#caps.find(
      ({ of, max }) => run[of] !== '' && (this.#taken.get(`${of} ${run[of]}`) ?? 0) >= max,
    )?.reason
  }

  add(run: FrameRun, loaded: Exclude<LoadedRun, { rejected: RejectReason }>): void {
    const same = this.#byInput.get(loaded.inputHash)
    if (same !== undefined) {
      same.source.multiplicity++
      return
    }
    // Without a session, calls that open with the same words are turns of one conversation.
    if (!run.hasSession && this.#openings.has(loaded.openingHash)) return
    this.#openings.add(loaded.openingHash)
    for (const { of } of this.#caps) {
      const name = `${of} ${run[of]}`
      this.#taken.set(name, (this.#taken.get(name) ?? 0) + 1)
    }
    const unit = { unit: this.units.length, source: toSource(run, loaded), request: loaded.request }
    this.#byInput.set(loaded.inputHash, unit)
    this.units.push(unit)
  }
}

function toSource(
  run: FrameRun,
  loaded: Exclude<LoadedRun, { rejected: RejectReason }>,
): UnitSource {
  const length =
    run.outputTokens < 100 ? 'short' : run.outputTokens < 500 ? 'medium' : 'long answers'
  return {
    traceId: run.traceId,
    spanId: run.spanId,
    conversation: run.conversation,
    inputHash: loaded.inputHash,
    multiplicity: 1,
    stratum: `${run.model}, ${loaded.hasTools ? 'tools' : 'no tools'}, ${length}`,
    slices: slicesOf({ ...loaded.request.baseline, ...loaded, routeId: run.routeId }),
    tier: loaded.tier,
    routeId: run.routeId,
    recordedOutput: loaded.recordedOutput,
    recordedLatencyMs: run.latencyMs,
    recordedCostNanoUsd: run.costNanoUsd,
  }
}

function toReport(counts: { runs: number; conversations: number; kept: number; seen: number }) {
  const { runs, conversations, kept, seen } = counts
  const keptShare = seen === 0 ? 0 : kept / seen
  const note =
    seen > 0 && keptShare < 0.5
      ? `Only ${Math.round(keptShare * 100)} % of the conversations looked at can be replayed: the sample speaks for those.`
      : null
  return { runs, conversations, keptShare, note }
}
