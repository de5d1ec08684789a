// GET|POST|DELETE /v1/otlp/destinations: where a workspace's spans are pushed to. Headers go in and never come out.

import type Router from '@koa/router'
import { refuseLiteral } from '../../collectors/proxy/addresses.ts'
import { destinationInput } from '../../schemas/destination.ts'
import { Fault } from '../../schemas/faults.ts'
import { requireScope } from '../accounts/access.ts'
import type { Destinations, ShownDestination } from '../destinations/destinations.ts'
import { isOwnAddress } from '../destinations/own-address.ts'
import { readJson } from '../http/http-json.ts'
import { readLimit } from '../traces/trace-filters.ts'

const deadLetterBounds = { fallback: 50, max: 500 }
const path = '/v1/otlp/destinations'

export function destinationRoutes(router: Router, destinations: Destinations): void {
  router.get(path, async (ctx) => {
    const { workspace } = requireScope(ctx, 'read')
    const items = await destinations.list(workspace)
    ctx.body = { items: items.map(toAnswer), next_cursor: null }
  })

  router.post(path, async (ctx) => {
    const { workspace } = requireScope(ctx, 'admin')
    const input = readInput(await readJson(ctx), `http://${ctx.host}`)
    ctx.status = 201
    ctx.body = toAnswer(await destinations.create(workspace, input))
  })

  router.delete(`${path}/:id`, async (ctx) => {
    const { workspace } = requireScope(ctx, 'admin')
    await destinations.remove(workspace, readId(ctx.params.id))
    ctx.status = 204
  })

  router.post(`${path}/:id/test`, async (ctx) => {
    const { workspace } = requireScope(ctx, 'admin')
    const { ok, status, latencyMs, message } = await destinations.test(
      workspace,
      readId(ctx.params.id),
    )
    ctx.body = { ok, status, latency_ms: latencyMs, message: message || null }
  })

  router.get(`${path}/:id/dead-letters`, async (ctx) => {
    const { workspace } = requireScope(ctx, 'read')
    const limit = readLimit(new URLSearchParams(ctx.querystring), deadLetterBounds)
    const items = await destinations.deadLetters(workspace, readId(ctx.params.id), limit)
    ctx.body = { items, next_cursor: null }
  })
}

function readInput(body: unknown, here: string) {
  const read = destinationInput.safeParse(body)
  if (!read.success) {
    const mistakes = read.error.issues.map(
      ({ path: at, message }) => `${at.join('.') || 'body'}: ${message}`,
    )
    throw new Fault('invalid_request', {
      message: `The destination is not valid. ${mistakes.join('; ')}`,
      param: read.error.issues[0]?.path.join('.') || 'body',
    })
  }
  if (URL.canParse(here) && isOwnAddress(new URL(read.data.url), new URL(here)))
    throw new Fault('invalid_request', {
      message: 'This is the address of Runledger itself: every span would come back.',
      param: 'url',
    })
  try {
    refuseLiteral(new URL(read.data.url).hostname)
  } catch (error) {
    throw new Fault('invalid_request', {
      message: String(error instanceof Error ? error.message : error),
      param: 'url',
    })
  }
  return read.data
}

/** Ids are UUIDs; anything else names nothing. */
function readId(text: string | undefined): string {
  if (text && /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text))
    return text
  throw new Fault('not_found', { message: 'There is no such destination here.' })
}

function toAnswer(to: ShownDestination) {
  return {
    id: to.id,
    name: to.name,
    url: to.url,
    protocol: to.protocol,
    header_names: Object.keys(to.headers),
    compression: to.compression,
    filter: to.filter,
    redact: { ...to.redact, allow: to.redact.allow ?? null },
    trusted: to.isTrusted,
    state:
      to.failures === 0
        ? 'ok'
        : to.lastStatus !== null && to.lastStatus < 429
          ? 'held'
          : 'retrying',
    lag_ms: to.lagMs,
    sent_spans: to.sentSpans,
    rejected_spans: to.rejectedSpans,
    dead_spans: to.deadSpans,
    failures: to.failures,
    last_status: to.lastStatus,
    last_error: to.lastError,
    last_error_at: to.lastErrorAt,
    last_success_at: to.lastSuccessAt,
    retry_at: to.retryAt,
    created_at: to.createdAt,
  }
}
