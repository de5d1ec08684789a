// The models that may be named in a call: those of the configuration, with what public routes' upstreams say they offer.
// Upstreams are asked at most once a minute, whoever asks us how often.

import type { Outbound } from '../collectors/proxy/outbound.ts'
import type { Routes } from '../collectors/proxy/targets/routes.ts'
import type { Config, ModelRow, Provider } from '../schemas/config.ts'
import { get } from './post.ts'

const freshMs = 60_000
// A page of models is worth waiting for this long, once; afterwards the older answer stands while a newer one is fetched.
const deadlineMs = 1_500
const offersMax = 5_000

export type Model = {
  id: string
  object: 'model'
  created: number
  owned_by: string
  status: string
  context_length: number | null
  license: string | null
  /** USD per million tokens. */
  pricing: { std_input: number; std_output: number; cached_input?: number } | null
  tier: string | null
  quality_floor: number | null
  /** USD for a thousand tokens, half of them read and half of them made. */
  cost_per_1k: number | null
}

type Offer = { id: string; created: number; ownedBy: string }
type Offers = {
  provider: Provider
  offers: readonly Offer[]
  askedAtMs: number
  pending?: Promise<void>
}

export type Models = {
  list(): Promise<Model[]>
  find(id: string): Promise<Model | undefined>
}

export function openModels(deps: {
  config: () => Config
  routes: Routes
  outbound: Outbound
  nowMs: () => number
}): Models {
  const { config, routes, outbound, nowMs } = deps
  const known = new Map<string, Offers>()

  async function offersOf(provider: Provider): Promise<readonly Offer[]> {
    if (provider.baseUrl === undefined)
      return [{ id: provider.id, created: 0, ownedBy: provider.id }]
    let entry = known.get(provider.id)
    // A provider of the same name at another address, or with another key, is another one.
    if (!entry || entry.provider !== provider) {
      entry = { provider, offers: [], askedAtMs: Number.NEGATIVE_INFINITY }
      known.set(provider.id, entry)
    }
    const isFirst = entry.askedAtMs === Number.NEGATIVE_INFINITY
    if (!entry.pending && nowMs() - entry.askedAtMs >= freshMs) entry.pending = refresh(entry)
    if (isFirst || entry.offers.length === 0) await entry.pending
    return entry.offers
  }

  /** Never rejects: an upstream that does not say what it has offers what it did before. */
  async function refresh(entry: Offers): Promise<void> {
    try {
      entry.offers = await fetchOffers(outbound, entry.provider)
    } catch {
      // Not reached, late, or not a list of models; asked again in a minute.
    } finally {
      entry.askedAtMs = nowMs()
      delete entry.pending
    }
  }

  async function list(): Promise<Model[]> {
    const now = config()
    for (const id of known.keys()) if (!now.providers.some((it) => it.id === id)) known.delete(id)
    const models = new Map(now.models.map((row) => [row.id, toModel(row)]))
    const offered = await Promise.all(openProviders(now).map(offersOf))
    for (const { id, created, ownedBy } of [...namedByRoutes(now), ...offered.flat()]) {
      const present = models.get(id)
      if (present) Object.assign(present, { created: present.created || created })
      else if (isPublic(routes, id)) models.set(id, { ...bare(id), created, owned_by: ownedBy })
    }
    return [...models.values()]
  }

  return {
    list,
    find: async (id) => (await list()).find((model) => model.id === id),
  }
}

/** Providers whose own names for models reach callers: a public route passes them on as they are. */
function openProviders(config: Config): Provider[] {
  const ids = new Set(
    config.routes
      .filter((route) => route.public)
      .flatMap((route) => route.targets.filter((target) => target.model === undefined))
      .map((target) => target.provider),
  )
  return config.providers.filter((provider) => ids.has(provider.id))
}

/** Models that a public route names without a `*`. */
function namedByRoutes(config: Config): Offer[] {
  return config.routes
    .filter((route) => route.public)
    .flatMap((route) =>
      route.models
        .filter((pattern) => !pattern.includes('*'))
        .map((id) => ({ id, created: 0, ownedBy: route.targets[0]?.provider ?? route.id })),
    )
}

function isPublic(routes: Routes, id: string): boolean {
  try {
    return routes.get(id, undefined).public
  } catch {
    return false // no route takes it
  }
}

async function fetchOffers(outbound: Outbound, provider: Provider): Promise<Offer[]> {
  const url = new URL(provider.baseUrl ?? '')
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/models`
  const headers = ['accept', 'application/json', 'accept-encoding', 'identity']
  const [key] = provider.apiKeys
  if (key !== undefined) headers.push('authorization', `Bearer ${key}`)
  const signal = AbortSignal.timeout(deadlineMs)
  const answer = await get(outbound, { url, headers, deadlineMs, isTrusted: true, signal })
  const body: unknown = JSON.parse(answer.body.toString())
  const rows = isObject(body) && Array.isArray(body.data) ? body.data : undefined
  if (answer.status !== 200 || !rows) throw new Error('This is no list of models.')
  return rows.slice(0, offersMax).flatMap((row: unknown) => {
    if (!isObject(row) || typeof row.id !== 'string' || !/^[\x21-\x7e]{1,256}$/.test(row.id))
      return []
    const created = typeof row.created === 'number' ? row.created : 0
    const ownedBy = typeof row.owned_by === 'string' ? row.owned_by.slice(0, 128) : provider.id
    return [{ id: row.id, created, ownedBy }]
  })
}

function toModel(row: ModelRow): Model {
  const { pricing } = row
  const cached = pricing?.cachedInput
  return {
    ...bare(row.id),
    status: row.status,
    context_length: row.contextLength ?? null,
    license: row.license ?? null,
    pricing: pricing
      ? {
          std_input: pricing.stdInput,
          std_output: pricing.stdOutput,
          ...(cached === undefined ? {} : { cached_input: cached }),
        }
      : null,
    tier: row.tier ?? null,
    quality_floor: row.qualityFloor ?? null,
    cost_per_1k: pricing ? (pricing.stdInput + pricing.stdOutput) / 2_000 : null,
  }
}

function bare(id: string): Model {
  return {
    id,
    object: 'model',
    created: 0,
    owned_by: 'runledger',
    status: 'available',
    context_length: null,
    license: null,
    pricing: null,
    tier: null,
    quality_floor: null,
    cost_per_1k: null,
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
