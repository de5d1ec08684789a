// Prompts on the wire: the registries and what traffic made of them, versions and their content, and what is in force.

import type Router from '@koa/router'
import type { Context } from 'koa'
import { findUncheckable } from '../../replay/judges/json-schema.ts'
import type { Caller } from '../../schemas/caller.ts'
import { Fault } from '../../schemas/faults.ts'
import { isSlug } from '../../schemas/ids.ts'
import {
  declarationShape,
  pinShape,
  promotionShape,
  registryPatchShape,
  resumeShape,
  rollbackShape,
} from '../../schemas/prompt-content.ts'
import { requireScope } from '../accounts/access.ts'
import { readJson } from '../http/http-json.ts'
import { parseBody } from '../http/parse-body.ts'
import { diffVersions } from '../registry/diff.ts'
import { noRegistry } from '../registry/history.ts'
import { type Moved, readVersionName } from '../registry/promotion.ts'
import type { PromptRegistry } from '../registry/prompt-list.ts'
import type { Prompts } from '../registry/prompts.ts'
import type { Registry } from '../registry/registry.ts'
import type { RegistryAt, VersionFacts } from '../registry/rows.ts'
import { showEvent, showVersion } from '../registry/show.ts'
import { invalid, readLimit } from '../traces/trace-filters.ts'

const historyBounds = { fallback: 100, max: 500 }

type Deps = { prompts: Prompts; registry: Registry; flush: () => Promise<void> }

export function promptRoutes(router: Router, deps: Deps): void {
  router.get('/v1/prompts', async (ctx) => {
    const caller = requireScope(ctx, 'read')
    await deps.flush()
    const items = await deps.prompts.list(caller.workspace)
    ctx.body = { status: 'ready', docs: '/docs/prompts', items }
  })
  router.post('/v1/prompts', (ctx) => declareVersion(ctx, deps))
  router.get('/v1/prompts/:registry', async (ctx) => {
    const at = await registryAt(ctx, deps, requireScope(ctx, 'read'))
    await deps.flush()
    ctx.body = await itemOf(deps, at)
  })
  router.patch('/v1/prompts/:registry', (ctx) => changeRegistry(ctx, deps))
  router.get('/v1/prompts/:registry/versions/:version', async (ctx) => {
    const at = await registryAt(ctx, deps, requireScope(ctx, 'read'))
    ctx.body = showVersion(await getVersion(deps, at, String(ctx.params.version)))
  })
  router.get('/v1/prompts/:registry/diff', async (ctx) => {
    const at = await registryAt(ctx, deps, requireScope(ctx, 'read'))
    const [from, to] = ['from', 'to'].map((name) => ctx.query[name])
    if (typeof from !== 'string') throw invalid('from', 'must name a version')
    if (typeof to !== 'string') throw invalid('to', 'must name a version')
    ctx.body = diffVersions(await getVersion(deps, at, from), await getVersion(deps, at, to))
  })
  router.get('/v1/prompts/:registry/history', (ctx) => showHistory(ctx, deps))
  router.post('/v1/prompts/:registry/promote', (ctx) => promote(ctx, deps))
  router.post('/v1/prompts/:registry/rollback', (ctx) => rollback(ctx, deps))
  router.post('/v1/prompts/:registry/pin', (ctx) => pin(ctx, deps))
  router.post('/v1/prompts/:registry/resume', (ctx) => resume(ctx, deps))
}

async function declareVersion(ctx: Context, { registry }: Deps): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const given = parseBody(declarationShape, await readJson(ctx))
  const at = { workspace: caller.workspace, registry: given.registry_id }
  const declared = await registry.declare(at, {
    ...given,
    ...because(caller, given.note || 'Declared.'),
  })
  ctx.status = declared.isNew ? 201 : 200
  ctx.body = showVersion(declared.version)
}

async function changeRegistry(ctx: Context, deps: Deps): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const at = await registryAt(ctx, deps, caller)
  const given = parseBody(registryPatchShape, await readJson(ctx))
  const schema = given.policy?.expectations?.schema
  const uncheckable = schema === undefined ? undefined : findUncheckable(schema)
  if (uncheckable !== undefined)
    throw invalid('policy.expectations.schema', `cannot be checked: ${uncheckable}`)
  await deps.registry.change({
    ...at,
    displayName: given.display_name,
    mode: given.mode,
    policy: given.policy,
    ...because(caller, 'Changed by its owner.'),
  })
  ctx.body = await itemOf(deps, at)
}

async function promote(ctx: Context, deps: Deps): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const at = await registryAt(ctx, deps, caller)
  const given = parseBody(promotionShape, await readJson(ctx))
  const expected = given.expected_promoted_version
  const moved = await deps.registry.promote({
    ...at,
    ...because(caller, given.reason),
    version: readVersionName(given.version, at.registry),
    expected: typeof expected === 'string' ? readVersionName(expected, at.registry) : expected,
  })
  await showMoved(ctx, deps, { at, moved })
}

async function rollback(ctx: Context, deps: Deps): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const at = await registryAt(ctx, deps, caller)
  const { reason, to } = parseBody(rollbackShape, await readJson(ctx))
  const moved = await deps.registry.rollback({
    ...at,
    ...because(caller, reason),
    to: to === undefined ? undefined : readVersionName(to, at.registry),
  })
  await showMoved(ctx, deps, { at, moved })
}

async function pin(ctx: Context, deps: Deps): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const at = await registryAt(ctx, deps, caller)
  const { reason, version } = parseBody(pinShape, await readJson(ctx))
  const moved = await deps.registry.pin({
    ...at,
    ...because(caller, reason),
    version: version === null ? null : readVersionName(version, at.registry),
  })
  await showMoved(ctx, deps, { at, moved })
}

/** After a flood of new versions: they are numbered again, and experiments may start. */
async function resume(ctx: Context, deps: Deps): Promise<void> {
  const caller = requireScope(ctx, 'admin')
  const at = await registryAt(ctx, deps, caller)
  const { reason } = parseBody(resumeShape, await readJson(ctx))
  await deps.registry.resume({ ...at, ...because(caller, reason) })
  ctx.body = await itemOf(deps, at)
}

async function showMoved(
  ctx: Context,
  deps: Deps,
  { at, moved }: { at: RegistryAt; moved: Moved },
): Promise<void> {
  if (moved.outcome === 'refused') throw new Fault('conflict', { message: moved.why })
  if (moved.outcome === 'conflict') {
    const present = moved.present === null ? 'none' : `${at.registry}@${moved.present}`
    throw new Fault('conflict', {
      message: `The promoted version is ${present}, not the one that was expected.`,
      param: 'expected_promoted_version',
    })
  }
  ctx.body = await itemOf(deps, at)
}

async function showHistory(ctx: Context, deps: Deps): Promise<void> {
  const { registry } = deps
  const at = await registryAt(ctx, deps, requireScope(ctx, 'read'))
  if (!(await registry.findRegistry(at))) throw noRegistry(at.registry)
  const query = new URLSearchParams(ctx.querystring)
  const limit = readLimit(query, historyBounds)
  const cursor = query.get('cursor')
  if (cursor !== null && !/^[1-9]\d{0,14}$/.test(cursor))
    throw invalid('cursor', 'is not one that was given out here')
  const events = await registry.history(at, {
    limit: limit + 1,
    before: cursor === null ? undefined : Number(cursor),
  })
  const page = events.slice(0, limit)
  ctx.body = {
    items: page.map((event) => showEvent(at.registry, event)),
    next_cursor: events.length > limit ? String(page.at(-1)!.seq) : null,
    ...(query.get('check') === '1' ? { check: toChecked(await registry.checkHistory(at)) } : {}),
  }
}

function toChecked(check: Awaited<ReturnType<Registry['checkHistory']>>) {
  return { events: check.events, broken_at: check.brokenAt, matches: check.matches }
}

async function itemOf({ prompts }: Deps, at: RegistryAt): Promise<PromptRegistry> {
  const [item] = await prompts.list(at.workspace, at.registry)
  if (!item) throw noRegistry(at.registry)
  return item
}

async function getVersion(
  { registry }: Deps,
  at: RegistryAt,
  given: string,
): Promise<VersionFacts> {
  const found = await registry.findVersion({ ...at, version: readVersionName(given, at.registry) })
  if (found) return found
  if (!(await registry.findRegistry(at))) throw noRegistry(at.registry)
  throw new Fault('not_found', {
    message: `There is no version ${given} of ${at.registry}.`,
    param: 'version',
  })
}

/** The registry of the path. One that a call has named before this request is there by now. */
async function registryAt(ctx: Context, { prompts }: Deps, caller: Caller): Promise<RegistryAt> {
  const registry = String(ctx.params.registry)
  if (!isSlug(registry))
    throw invalid('registry_id', 'must be 1 to 64 of a-z, 0-9, dot, dash and underscore')
  await prompts.registered()
  return { workspace: caller.workspace, registry }
}

function because(caller: Caller, reason: string) {
  return { actor: { kind: 'person' as const, id: caller.keyId }, reason }
}
