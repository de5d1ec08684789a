// GET /v1/metrics/timeseries and /v1/metrics/top: figures of model calls over time, or by the values of a dimension.

import type Router from '@koa/router'
import { requireScope } from '../accounts/access.ts'
import {
  type Dimension,
  dimensions,
  type Figures,
  type FiguresAsked,
  type Metric,
  metrics,
  type PointRow,
} from '../rollups/figures.ts'
import { invalid, readFilters, readLimit } from '../traces/trace-filters.ts'

const dayS = 86_400
const defaultRangeS = dayS
const rangeMaxS = 400 * dayS
// A chart has this many points at most, and about this many when no step is asked for.
const pointsMax = 1_500
const pointsAbout = 120
const steps = [60, 300, 900, 1_800, 3_600, 10_800, 21_600, dayS, 7 * dayS] as const
const topBounds = { fallback: 20, max: 1_000 }
const seriesBounds = { fallback: 10, max: 50 }
// Counts of a step without calls are zero; what a quantile would have been there nobody knows.
const zeroWithout = new Set<Metric>(['requests', 'errors', 'tokens', 'cost'])

export function metricRoutes(
  router: Router,
  deps: { figures: Figures; flush: () => Promise<void>; nowMs: () => number },
): void {
  router.get('/v1/metrics/top', async (ctx) => {
    const { workspace } = requireScope(ctx, 'read')
    const query = new URLSearchParams(ctx.querystring)
    const by = readBy(query)
    if (!by) throw invalid('by', `must be one of ${dimensions.join(', ')}`)
    if (query.has('step')) throw invalid('step', 'belongs to /v1/metrics/timeseries')
    const asked = { workspace, by, ...readAsked(query, deps.nowMs(), 60) }
    const limit = readLimit(query, topBounds)
    await deps.flush()
    const found = await deps.figures.top(asked, limit)
    ctx.body = {
      ...headOf(asked),
      items: found.map(({ key, value, calls }) => ({
        key: toKey(by, key),
        value: rounded(value),
        requests: Number(calls),
      })),
      next_cursor: null,
    }
  })

  router.get('/v1/metrics/timeseries', async (ctx) => {
    const { workspace } = requireScope(ctx, 'read')
    const query = new URLSearchParams(ctx.querystring)
    const by = readBy(query)
    const stepS = readStep(query, deps.nowMs())
    const asked = { workspace, by, ...readAsked(query, deps.nowMs(), stepS) }
    if ((asked.toS - asked.fromS) / stepS > pointsMax)
      throw invalid('step', `makes more than ${pointsMax} points of this time; take a longer one`)
    const limit = readLimit(query, seriesBounds)
    await deps.flush()
    const keys = by ? (await deps.figures.top(asked, limit)).map(({ key }) => key) : ['']
    const points = keys.length === 0 ? [] : await deps.figures.series(asked, { stepS, keys })
    ctx.body = {
      ...headOf(asked),
      step_seconds: stepS,
      items: keys.map((key) => ({
        key: by ? toKey(by, key) : null,
        points: toPoints(
          points.filter((point) => point.key === key),
          asked,
          stepS,
        ),
      })),
      next_cursor: null,
    }
  })
}

function headOf({ metric, by, fromS, toS }: FiguresAsked) {
  const { unit, statistic } = metrics[metric]
  return { metric, unit, statistic, by: by ?? null, from: toTime(fromS), to: toTime(toS) }
}

/** A span without a version stands under `default`, as everywhere; an empty value is null. */
function toKey(by: Dimension, key: string): string | null {
  return key || (by === 'prompt_version_id' ? 'default' : null)
}

/** Every step from the first to the last, with and without calls. */
function toPoints(found: PointRow[], asked: FiguresAsked, stepS: number) {
  const values = new Map(found.map(({ at, value }) => [at, value]))
  const without = zeroWithout.has(asked.metric) ? 0 : null
  const points: { time: string; value: number | null }[] = []
  for (let at = asked.fromS; at < asked.toS; at += stepS)
    points.push({ time: toTime(at), value: rounded(values.get(at) ?? without) })
  return points
}

function readAsked(
  query: URLSearchParams,
  nowMs: number,
  stepS: number,
): Pick<FiguresAsked, 'metric' | 'fromS' | 'toS' | 'filters'> {
  const filters = readFilters(withoutOwn(query))
  const { fromMs, toMs } = rangeOf(filters, nowMs)
  if (toMs - fromMs > rangeMaxS * 1000)
    throw invalid('from', `may lie ${rangeMaxS / dayS} days before \`to\` at most`)
  const metric = query.get('metric') ?? 'requests'
  if (!isMetric(metric))
    throw invalid('metric', `must be one of ${Object.keys(metrics).join(', ')}`)
  // Whole steps, so that a chart asked for again a moment later shows the same bars.
  const fromS = Math.floor(fromMs / 1000 / stepS) * stepS
  const toS = Math.ceil(toMs / 1000 / stepS) * stepS
  return { metric, filters, fromS, toS }
}

function rangeOf(filters: { fromMs: number | undefined; toMs: number | undefined }, nowMs: number) {
  const toMs = filters.toMs ?? nowMs
  const fromMs = filters.fromMs ?? toMs - defaultRangeS * 1000
  if (fromMs >= toMs) throw invalid('from', 'must be before `to`')
  return { fromMs: Math.max(0, fromMs), toMs }
}

function readBy(query: URLSearchParams): Dimension | undefined {
  const text = query.get('by')
  if (!text) return undefined
  const by = dimensions.find((name) => name === text)
  if (!by) throw invalid('by', `must be one of ${dimensions.join(', ')}`)
  return by
}

const unitS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: dayS }

/** Seconds: `300s`, `5m`, `1h`, `1d`, or a bare number of seconds; whole minutes. */
function readStep(query: URLSearchParams, nowMs: number): number {
  const text = query.get('step')
  if (!text) {
    const { fromMs, toMs } = rangeOf(readFilters(withoutOwn(query)), nowMs)
    const about = (toMs - fromMs) / 1000 / pointsAbout
    return steps.find((step) => step >= about) ?? steps[steps.length - 1]!
  }
  const [, count, unit = ''] = /^(\d{1,7})([smhd]?)$/.exec(text) ?? []
  const stepS = Number(count) * (unitS[unit] ?? 1)
  if (!(stepS >= 60 && stepS <= 31 * dayS && stepS % 60 === 0))
    throw invalid('step', 'must be whole minutes up to 31 days, such as 300, 5m, 1h or 1d')
  return stepS
}

function withoutOwn(query: URLSearchParams): URLSearchParams {
  const own = new Set(['metric', 'by', 'step'])
  return new URLSearchParams([...query].filter(([name]) => !own.has(name)))
}

function isMetric(text: string): text is Metric {
  return Object.hasOwn(metrics, text)
}

function toTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1e6) / 1e6
}
