// Regressions on the wire: what replays showed of a candidate, its samples side by side, one started by hand, and people's labels.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import type { ExperimentRow } from '../../replay/experiment.ts'
import type { Decision } from '../../schemas/experiment.ts'
import { Fault } from '../../schemas/faults.ts'
import { isSlug } from '../../schemas/ids.ts'
import { requireScope } from '../accounts/access.ts'
import type { Engine } from '../experiments/engine.ts'
import { estimate } from '../experiments/estimate.ts'
import type { Reading } from '../experiments/reading.ts'
import { toRegression, toSlices } from '../experiments/views.ts'
import { readJson } from '../http/http-json.ts'
import { parseBody } from '../http/parse-body.ts'
import { readVersionName } from '../registry/promotion.ts'
import type { Registry } from '../registry/registry.ts'
import { invalid, readLimit } from '../traces/trace-filters.ts'

const listBounds = { fallback: 50, max: 200 }
const sampleBounds = { fallback: 50, max: 200 }
const noteCharsMax = 2_000

export type ExperimentRoutesDeps = { engine: Engine; reading: Reading; registry: Registry }

const startShape = z.strictObject({
  registry_id: z.string().refine(isSlug, 'must be the name of a prompt'),
  baseline: z.string().optional(),
  candidate: z.string(),
  max_pairs: z.int().min(3).max(2_000).optional(),
  budget_usd: z.number().min(0).max(10_000).optional(),
  dry_run: z.boolean().optional(),
})

const labelShape = z.strictObject({
  /** Of the candidate's answer beside the baseline's. */
  label: z.enum(['better', 'same', 'worse']),
  note: z.string().max(noteCharsMax).optional(),
})

const cancelShape = z.object({ reason: z.string().max(noteCharsMax).optional() })

export function regressionRoutes(router: Router, deps: ExperimentRoutesDeps): void {
  const { reading } = deps
  router.get('/v1/prompt-regressions', async (ctx) => {
    const { shown, next } = await listed(ctx, deps)
    ctx.body = {
      status: 'ready',
      docs: '/docs/experiments',
      items: shown.map(({ row, decision }) => toRegression(row, decision)),
      next_cursor: next,
    }
  })
  router.get('/v1/prompt-regressions/:id', async (ctx) => {
    const limit = readLimit(new URLSearchParams(ctx.querystring), sampleBounds)
    const { row, decision } = await getOne(ctx, deps, 'read')
    ctx.body = {
      ...toRegression(row, decision),
      metrics: decision?.metrics ?? [],
      slices: [...(await reading.slices(row)), ...toSlices(decision)],
      ...(await reading.samples(row, limit)),
      events: await reading.events(row),
      webhooks: await reading.webhooks(row),
      registration: row.registered?.registration ?? null,
      ...(ctx.query.check === '1' ? { check: await reading.check(row) } : {}),
    }
  })
  router.post('/v1/prompt-regressions', (ctx) => start(ctx, deps))
  router.post('/v1/prompt-regressions/:id/cancel', (ctx) => cancel(ctx, deps, toRegression))
  router.get('/v1/prompt-regressions/:id/samples/:index/label', async (ctx) => {
    const { row } = await getOne(ctx, deps, 'read')
    ctx.body = await readLabel(ctx, deps, row)
  })
  router.post('/v1/prompt-regressions/:id/samples/:index/label', async (ctx) => {
    const caller = requireScope(ctx, 'admin')
    const { row } = await getOne(ctx, deps, 'admin')
    const { label, note = null } = parseBody(labelShape, await readJson(ctx))
    const isThere = await reading.label(row, readIndex(ctx), { label, note, by: caller.keyId })
    if (!isThere) throw noSample()
    ctx.body = await readLabel(ctx, deps, row)
  })
}

/** A page of the caller's experiments, newest first. */
export function listed(ctx: Context, { reading }: ExperimentRoutesDeps) {
  const caller = requireScope(ctx, 'read')
  const query = new URLSearchParams(ctx.querystring)
  const before = query.get('cursor') || undefined
  if (before !== undefined && !/^pexp_[0-9A-Z]{26}$/.test(before)) {
    throw invalid('cursor', 'is not one that was given out here')
  }
  return reading.list(caller.workspace, {
    limit: readLimit(query, listBounds),
    registry: query.get('registry_id') || undefined,
    before,
  })
}

export async function getOne(
  ctx: Context,
  { reading }: ExperimentRoutesDeps,
  scope: 'read' | 'admin',
) {
  const caller = requireScope(ctx, scope)
  const found = await reading.find(caller.workspace, String(ctx.params.id))
  if (found === undefined) {
    throw new Fault('not_found', { message: `There is no experiment ${String(ctx.params.id)}.` })
  }
  return found
}

async function start(ctx: Context, deps: ExperimentRoutesDeps): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const given = parseBody(startShape, await readJson(ctx))
  const at = { workspace: caller.workspace, registry: given.registry_id }
  const found = await deps.registry.findRegistry(at)
  if (!found) {
    throw new Fault('not_found', {
      message: `There is no prompt ${at.registry}.`,
      param: 'registry_id',
    })
  }
  const candidate = readVersionName(given.candidate, at.registry)
  const baseline =
    given.baseline === undefined
      ? await deps.engine.baselineOf(at, found.state)
      : readVersionName(given.baseline, at.registry)
  if (baseline === undefined || baseline === candidate) {
    throw new Fault('invalid_request', {
      message: `${at.registry}@${candidate} has no other version to be compared with.`,
      param: 'baseline',
    })
  }
  for (const [param, version] of [
    ['candidate', candidate],
    ['baseline', baseline],
  ] as const) {
    if (await deps.registry.findVersion({ ...at, version })) continue
    throw new Fault('not_found', {
      message: `There is no version ${at.registry}@${version}.`,
      param,
    })
  }
  const asked = {
    ...(given.max_pairs === undefined ? {} : { maxPairs: given.max_pairs }),
    ...(given.budget_usd === undefined
      ? {}
      : { budgetNanoUsd: Math.round(given.budget_usd * 1e9) }),
  }
  const ask = { ...at, baseline, candidate, asked }
  if (given.dry_run === true) {
    ctx.body = await estimate(deps.engine, ask)
    return
  }
  const queued = await deps.engine.queue({ ...ask, startedBy: `key ${caller.keyId}` })
  const made = queued && (await deps.reading.find(caller.workspace, queued.regressionId))
  if (made === undefined) {
    throw new Fault('conflict', { message: 'Another experiment was started at the same moment.' })
  }
  ctx.status = 201
  ctx.body = toRegression(made.row, made.decision)
}

/** Ends an experiment that is not decided; one that is stays as it is, and the answer says so. */
export async function cancel(
  ctx: Context,
  deps: ExperimentRoutesDeps,
  show: (row: ExperimentRow, decision: Decision | null) => object,
): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const { row } = await getOne(ctx, deps, 'admin')
  // A reason is welcome, a body is not needed.
  const given = ctx.request.length ? parseBody(cancelShape, await readJson(ctx)) : {}
  const isCancelled = await deps.engine.cancel(row, { keyId: caller.keyId, reason: given.reason })
  const { row: now, decision } = await getOne(ctx, deps, 'admin')
  if (!isCancelled) {
    const undo = now.promotionStatus === 'promoted' ? ' A rollback takes it out of force.' : ''
    throw new Fault('conflict', { message: `It is ${now.status} already.${undo}` })
  }
  ctx.body = show(now, decision)
}

async function readLabel(
  ctx: Context,
  { reading }: ExperimentRoutesDeps,
  row: Parameters<Reading['findLabel']>[0],
) {
  const found = await reading.findLabel(row, readIndex(ctx))
  if (found === undefined) throw noSample()
  return { index: readIndex(ctx), ...found }
}

function readIndex(ctx: Context): number {
  const text = String(ctx.params.index)
  if (!/^\d{1,6}$/.test(text)) throw noSample()
  return Number(text)
}

function noSample(): Fault {
  return new Fault('not_found', { message: 'There is no such sample here.' })
}
