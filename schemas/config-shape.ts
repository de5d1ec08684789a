// The form of `runledger.json`: every key with its type, its bounds and its default. Unknown keys are mistakes.

import { z } from 'zod'
import { destinationInput } from './destination.ts'

// A call keeps what it has tried in the bits of a number.
const targetsMax = 16
const rowsMax = 1_000
const dayMs = 86_400_000

const id = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes, underscores')
// What leaves in a header as it is.
const label = z.string().regex(/^[\x21-\x7e]{1,64}$/, 'must be 1 to 64 printable characters')
const modelId = z
  .string()
  .regex(/^[\x21-\x7e]{1,256}$/, 'must be 1 to 256 printable characters without spaces')
const price = z.number().nonnegative()
const milliseconds = z.int().positive().max(dayMs)
const httpUrl = z
  .string()
  .refine(
    (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol),
    'must be a URL that starts with http:// or https://',
  )
  .refine(
    (text) => !URL.canParse(text) || (new URL(text).username === '' && !new URL(text).hash),
    'must have no user, password or fragment',
  )
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "must be a variable's name")

const providerRow = z.strictObject({
  id,
  base_url: httpUrl,
  api_key_env: z.array(variable).max(targetsMax).default([]),
  responses: z.boolean().optional(),
})

const targetRow = z.strictObject({
  provider: id,
  model: modelId.optional(),
  weight: z.number().nonnegative().max(1_000_000).default(1),
})

export const routeRow = z.strictObject({
  id,
  public_label: label.optional(),
  public: z.boolean().default(true),
  models: z.array(modelId).min(1).max(rowsMax).default(['*']),
  targets: z.array(targetRow).min(1).max(targetsMax),
  ttft_timeout_ms: milliseconds.default(30_000),
  answer_timeout_ms: milliseconds.optional(),
  idle_timeout_ms: milliseconds.default(60_000),
  total_timeout_ms: milliseconds.optional(),
  capture: z.enum(['full', 'usage', 'none']).default('full'),
  capture_required: z.boolean().default(true),
  cache: z.union([z.literal('off'), z.int().positive().max(2_592_000)]).default('off'),
})

const modelRow = z.strictObject({
  id: modelId,
  context_length: z.int().positive().optional(),
  license: z.string().max(128).optional(),
  status: z.string().max(64).default('always_on'),
  tier: z.string().max(64).optional(),
  quality_floor: z.number().min(0).max(1).optional(),
  pricing: z
    .strictObject({
      std_input: price,
      std_output: price,
      cached_input: price.optional(),
      reasoning_output: price.optional(),
      audio_second: price.optional(),
      image_piece: price.optional(),
      video_second: price.optional(),
      million_characters: price.optional(),
    })
    .optional(),
})

const destinationRow = destinationInput.extend({
  /** Headers whose values are in the environment, so that the file holds no secret. */
  headers_env: z.record(z.string(), variable).default({}),
  /** The e-mail address of the user whose spans go there; without one, the first user's. */
  workspace: z.email().optional(),
})

const redactRow = z.union(
  [
    z.strictObject({
      pattern: z.string().min(1).max(1_000).refine(isPattern, 'must be a regular expression'),
      replacement: z.string().max(1_000).default('[redacted]'),
    }),
    z.strictObject({ attribute: z.string().min(1).max(256) }),
  ],
  { error: 'must be {"pattern", "replacement"} or {"attribute"}' },
)

const limitRow = z.strictObject({
  workspace: z.string().max(128).optional(),
  lane: z.string().max(64).optional(),
  region: z.string().max(64).optional(),
  requests_per_minute: z.int().positive().optional(),
  tokens_per_minute: z.int().positive().optional(),
})

export const configFile = z.strictObject({
  $schema: z.string().optional(),
  providers: z.array(providerRow).max(rowsMax).default([]),
  routes: z.array(routeRow).max(rowsMax).default([]),
  models: z.array(modelRow).max(100_000).default([]),
  destinations: z.array(destinationRow).max(rowsMax).default([]),
  retention_days: z.int().positive().max(3_650).default(30),
  redact: z.array(redactRow).max(100).default([]),
  limits: z.array(limitRow).max(rowsMax).default([]),
  retry_budget: z
    .strictObject({
      ratio: z.number().min(0).max(10).default(0.2),
      per_second: z.number().min(0).max(1_000).default(1),
    })
    .prefault({}),
  breaker: z
    .strictObject({
      failures_in_row: z.int().positive().default(5),
      failure_ratio: z.number().positive().max(1).default(0.5),
      window_ms: milliseconds.default(30_000),
      calls_min: z.int().positive().default(20),
      open_ms: milliseconds.default(10_000),
    })
    .prefault({}),
})

export type ConfigFile = z.infer<typeof configFile>

function isPattern(text: string): boolean {
  try {
    new RegExp(text, 'gu')
    return true
  } catch {
    return false // said by the rule that asks
  }
}
