// Reads `runledger.json`: unknown keys, wrong types and dangling names are refused, every mistake at once, each with its path.

import type { z } from 'zod'
import type {
  Config,
  ConfiguredDestination,
  Pricing,
  Provider,
  RouteRule,
  Target,
} from './config.ts'
import { type ConfigFile, configFile, routeRow } from './config-shape.ts'

const dayMs = 86_400_000
// An answer that is not streamed is all its tokens late, where a stream is one: it may take so many times longer by default.
const wholePerToken = 20

export type ConfigSource = {
  /** The text of a variable, for `api_key_env`. */
  env: (name: string) => string | undefined
  /** Providers that exist without the file: the sandbox, and `openai` when the environment names an address. */
  known: readonly Provider[]
}

export class ConfigMistakes extends Error {
  readonly mistakes: readonly string[]

  constructor(mistakes: readonly string[]) {
    super(mistakes.join('\n  '))
    this.name = 'ConfigMistakes'
    this.mistakes = mistakes
  }
}

/** The configuration in a file's text. Throws ConfigMistakes. */
export function readConfig(text: string, source: ConfigSource): Config {
  const given = parse(text)
  const parsed = configFile.safeParse(given, { reportInput: true })
  const mistakes = parsed.success ? [] : parsed.error.issues.flatMap(toMistakes)
  mistakes.push(...wrongNames(given, source))
  if (!parsed.success || mistakes.length > 0) throw new ConfigMistakes(mistakes)
  return toConfig(parsed.data, source)
}

/** What holds without a file: one route to the provider that the environment names, else to the sandbox. */
export function defaultConfig(source: ConfigSource): Config {
  return toConfig(configFile.parse({}), source)
}

function toConfig(data: ConfigFile, source: ConfigSource): Config {
  const named = new Set(data.providers.map((row) => row.id))
  const providers = [
    ...data.providers.map((row) => toProvider(row, source)),
    ...source.known.filter((provider) => !named.has(provider.id)),
  ]
  const fallback = source.known.find((provider) => provider.baseUrl) ?? source.known[0]
  const routes = data.routes.map(toRoute)
  return {
    retryBudget: { ratio: data.retry_budget.ratio, perSecond: data.retry_budget.per_second },
    breaker: {
      failuresInRow: data.breaker.failures_in_row,
      failureRatio: data.breaker.failure_ratio,
      windowMs: data.breaker.window_ms,
      callsMin: data.breaker.calls_min,
      openMs: data.breaker.open_ms,
    },
    providers,
    routes: routes.length > 0 || !fallback ? routes : [defaultRoute(fallback)],
    models: data.models.map((row) => ({
      id: row.id,
      contextLength: row.context_length,
      license: row.license,
      status: row.status,
      tier: row.tier,
      qualityFloor: row.quality_floor,
      pricing: row.pricing && toPricing(row.pricing),
    })),
    destinations: data.destinations.map((row) => toDestination(row, source)),
    retentionDays: data.retention_days,
    redact: data.redact,
    limits: data.limits.map((row) => ({
      workspace: row.workspace,
      lane: row.lane,
      region: row.region,
      requestsPerMinute: row.requests_per_minute,
      tokensPerMinute: row.tokens_per_minute,
    })),
  }
}

function toProvider(row: ConfigFile['providers'][number], source: ConfigSource): Provider {
  return {
    id: row.id,
    baseUrl: row.base_url,
    apiKeys: row.api_key_env.flatMap((name) => source.env(name) || []),
    responses: row.responses,
  }
}

/** A variable that is not set leaves its header out; the reader of variables says so. */
function toDestination(
  { headers_env, workspace, ...row }: ConfigFile['destinations'][number],
  source: ConfigSource,
): ConfiguredDestination {
  const headers = { ...row.headers }
  for (const [name, variable] of Object.entries(headers_env)) {
    const value = source.env(variable)
    if (value) headers[name] = value
  }
  return { ...row, headers, workspace }
}

function toRoute(row: ConfigFile['routes'][number]): RouteRule {
  return {
    id: row.id,
    publicLabel: row.public_label ?? row.id,
    public: row.public,
    models: row.models,
    targets: row.targets.map(
      ({ provider, model, weight }): Target => ({ provider, model, weight }),
    ),
    ttftTimeoutMs: row.ttft_timeout_ms,
    answerTimeoutMs: row.answer_timeout_ms ?? Math.min(row.ttft_timeout_ms * wholePerToken, dayMs),
    idleTimeoutMs: row.idle_timeout_ms,
    totalTimeoutMs: row.total_timeout_ms,
    capture: row.capture,
    captureRequired: row.capture_required,
    cacheS: row.cache === 'off' ? undefined : row.cache,
  }
}

function defaultRoute(provider: Provider): RouteRule {
  const target = { provider: provider.id }
  return toRoute(
    routeRow.parse({ id: 'default-route', public_label: 'default', targets: [target] }),
  )
}

function toPricing(row: NonNullable<ConfigFile['models'][number]['pricing']>): Pricing {
  return {
    stdInput: row.std_input,
    stdOutput: row.std_output,
    cachedInput: row.cached_input,
    reasoningOutput: row.reasoning_output,
    audioSecond: row.audio_second,
    imagePiece: row.image_piece,
    videoSecond: row.video_second,
    millionCharacters: row.million_characters,
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unreadable'
    throw new ConfigMistakes([`it is not JSON: ${reason}`])
  }
}

/** Names that name nothing, and names given twice; looked for in whatever form the file has, so that no mistake hides another. */
function wrongNames(given: unknown, source: ConfigSource): string[] {
  const lists = isObject(given) ? given : {}
  const mistakes = [
    ...twice(lists, 'providers', 'id'),
    ...twice(lists, 'routes', 'id'),
    ...twice(lists, 'models', 'id'),
    ...twice(lists, 'destinations', 'name'),
  ]
  const providers = new Set<unknown>(source.known.map((provider) => provider.id))
  for (const row of rowsOf(lists, 'providers')) providers.add(row.id)
  rowsOf(lists, 'routes').forEach((route, r) => {
    if (route.public === false && route.public_label === undefined)
      mistakes.push(`routes[${r}].public_label: a route that is not public needs one`)
    const targets = rowsOf(route, 'targets')
    targets.forEach(({ provider }, t) => {
      if (typeof provider !== 'string' || providers.has(provider)) return
      mistakes.push(`routes[${r}].targets[${t}].provider: there is no provider "${provider}"`)
    })
    if (targets.length > 0 && targets.every((target) => target.weight === 0))
      mistakes.push(`routes[${r}].targets: one of them must have a weight above 0`)
  })
  return mistakes
}

function twice(lists: Record<string, unknown>, list: string, key: string): string[] {
  const seen = new Set<unknown>()
  return rowsOf(lists, list).flatMap((row, i) => {
    const name = row[key]
    if (typeof name !== 'string') return []
    if (seen.has(name)) return [`${list}[${i}].${key}: "${name}" is there twice`]
    seen.add(name)
    return []
  })
}

function rowsOf(from: Record<string, unknown>, list: string): Record<string, unknown>[] {
  const rows = from[list]
  return Array.isArray(rows) ? rows.map((row) => (isObject(row) ? row : {})) : []
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function toMistakes(issue: z.core.$ZodIssue): string[] {
  const at = toPath(issue.path)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${toPath([...issue.path, key])}: there is no such key`)
  }
  return [`${at === '' ? 'the file' : at}: ${toSentence(issue)}`]
}

function toSentence(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') {
    return issue.input === undefined ? 'is missing' : `must be of type ${issue.expected}`
  }
  return issue.message.replace(/^Too (small|big): expected [a-z]+ to (be|have) /, 'must $2 ')
}

function toPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number'
        ? `${text}[${part}]`
        : text === ''
          ? String(part)
          : `${text}.${String(part)}`,
    '',
  )
}
