// Every key of `runledger.json` by its path, with what it is for; type and default come from its form. The table in
// runledger-json.md is made of these rows.

import { z } from 'zod'
import { configFile } from './config-shape.ts'

const help: Record<string, string> = {
  providers: 'Upstreams. `sandbox` is always there; `openai` too when OPENAI_BASE_URL is set.',
  'providers[].id': 'Its name in headers, records and pages.',
  'providers[].base_url': 'Where its OpenAI-compatible API begins, `/v1` included.',
  'providers[].api_key_env': 'Variables that hold its keys, which are taken in turn.',
  'providers[].responses':
    'Whether it has `/responses`; absent: the first call finds out. Without it the chat route is translated.',
  routes: 'Tried in their order; absent: one route for every model.',
  'routes[].id': 'Its name in headers, records and pages; `X-BatchIn-Route` pins it.',
  'routes[].public_label': 'What it is called outside when it is not public; absent: its id.',
  'routes[].public': 'false: neither its id nor its provider is shown to callers or signed.',
  'routes[].models': 'Which models it takes; `*` stands for any text.',
  'routes[].targets': 'Who may answer; the next is asked when one cannot.',
  'routes[].targets[].provider': 'The id of a provider.',
  'routes[].targets[].model': 'What the model is called there; absent: as the caller named it.',
  'routes[].targets[].weight': 'Its share of the calls; 0 stands by until the others fail.',
  'routes[].ttft_timeout_ms': 'Of a stream, to its first byte.',
  'routes[].answer_timeout_ms':
    'Of an answer that is not streamed, to its head; absent: twenty times `ttft_timeout_ms`.',
  'routes[].idle_timeout_ms': 'Between two pieces of an answer.',
  'routes[].total_timeout_ms':
    'Of the whole call, over all targets; absent: as long as it goes on.',
  'routes[].capture':
    'The most that is kept: everything, counts without texts, or not even who it was for.',
  'routes[].capture_required': 'false: a call that cannot be stored goes on, and says so.',
  'routes[].cache': 'Seconds for which an answer may be given again to the same request.',
  models: 'What is known of models, by the name callers use.',
  'models[].id': 'Its name.',
  'models[].context_length': 'In tokens.',
  'models[].license': 'As shown in `GET /v1/models`.',
  'models[].status': 'As shown in `GET /v1/models`.',
  'models[].tier': 'As shown in `GET /v1/models`.',
  'models[].quality_floor': 'As shown in `GET /v1/models`.',
  'models[].pricing': 'Absent: it has no price, and no key with a budget may call it.',
  'models[].pricing.std_input': 'USD for a million tokens that are read.',
  'models[].pricing.std_output': 'USD for a million tokens that are made.',
  'models[].pricing.cached_input': 'USD for a million tokens that the provider had read before.',
  'models[].pricing.reasoning_output': 'USD for a million tokens of reasoning.',
  'models[].pricing.audio_second': 'USD for a second of sound.',
  'models[].pricing.image_piece': 'USD for an image.',
  'models[].pricing.video_second': 'USD for a second of video.',
  'models[].pricing.million_characters': 'USD for a million characters of a text that is spoken.',
  destinations: 'OTLP endpoints that get every span, beside those made over the API.',
  retention_days: 'How long spans and texts are kept.',
  redact:
    'Applied to runs before anything is written; what is signed is the hash of what was sent.',
  'redact[].pattern': 'A JavaScript regular expression (flags gu) over every text.',
  'redact[].replacement': 'What stands in place of what matched, as it is.',
  'redact[].attribute': 'An attribute that is left out.',
  limits: 'Calls and tokens a minute; every rule that fits a call must have room for it.',
  'limits[].workspace': 'Whose calls; absent: each workspace by itself.',
  'limits[].lane': 'Which lane of calls; absent: all.',
  'limits[].region': 'Where; absent: everywhere.',
  'limits[].requests_per_minute': 'Calls.',
  'limits[].tokens_per_minute': 'Tokens, read and made.',
  'retry_budget.ratio': 'Retries that each call of a route adds to what may be spent.',
  'retry_budget.per_second': 'Retries a second besides.',
  'breaker.failures_in_row': 'After so many a target is left alone.',
  'breaker.failure_ratio': 'Or after this share of the calls of a window.',
  'breaker.window_ms': 'The window.',
  'breaker.calls_min': 'Fewer calls in a window say nothing about a share.',
  'breaker.open_ms': 'How long it is left alone; then one call tries it.',
}

export type ConfigKey = { path: string; type: string; fallback: string; help: string }

/** In the order of the file. A key without a sentence has an empty one, which a test refuses. */
export function configKeys(): ConfigKey[] {
  const keys: ConfigKey[] = []
  collect(z.toJSONSchema(configFile, { io: 'input', unrepresentable: 'any' }), '', keys)
  // Those of a destination are the API's, and told there.
  return keys.filter(({ path }) => path !== '$schema' && !path.startsWith('destinations[]'))
}

type Schema = z.core.JSONSchema.BaseSchema

function collect(schema: Schema, at: string, keys: ConfigKey[]): void {
  for (const branch of schema.anyOf ?? []) collect(branch as Schema, at, keys) // toJSONSchema makes no booleans
  if (schema.items) collect(schema.items as Schema, `${at}[]`, keys) // so too
  for (const [name, value] of Object.entries(schema.properties ?? {})) {
    const child = value as Schema // so too
    const path = at === '' ? name : `${at}.${name}`
    const isGroup = child.type === 'object' && !(path in help)
    if (!isGroup) {
      const fallback = child.default === undefined ? '' : JSON.stringify(child.default)
      keys.push({ path, type: typeOf(child), fallback, help: help[path] ?? '' })
    }
    collect(child, path, keys)
  }
}

function typeOf(schema: Schema): string {
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' \\| ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.anyOf)
    return [...new Set(schema.anyOf.map((branch) => typeOf(branch as Schema)))].join(' \\| ')
  if (schema.type === 'array') return `list of ${typeOf((schema.items ?? {}) as Schema)}`
  return String(schema.type ?? 'any')
}
