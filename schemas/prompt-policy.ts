// What the owner of a prompt decided about its experiments, and whether the gateway serves it. Read from JSON, all mistakes at once.

import { z } from 'zod'

export const promptModes = ['observe', 'serve'] as const
export type PromptMode = (typeof promptModes)[number]

export const autoPromotes = ['off', 'threshold', 'proven'] as const
export type AutoPromote = (typeof autoPromotes)[number]

const guardrailNames = ['hard_failures', 'latency', 'latency_tail', 'cost'] as const
const share = z.number().min(0).max(1)

const expectationsShape = z.strictObject({
  /** A JSON Schema that every answer must satisfy as JSON. */
  schema: z.record(z.string(), z.unknown()).optional(),
  /** ISO 639-1. */
  language: z
    .string()
    .regex(/^[a-z]{2}$/, 'must be two lower-case letters')
    .optional(),
  length_max: z.int().min(1).max(1_000_000).optional(),
  tool_order: z.enum(['same', 'any']).optional(),
})

/** As it is stored: what the owner chose, nothing filled in. Absent members follow the product's defaults. */
export const policyShape = z.strictObject({
  auto_promote: z.enum(autoPromotes).optional(),
  /** Of pass rates: 0.05 are five points. Absent: by how many inputs there are. */
  margin: z.number().gt(0).max(0.5).optional(),
  /** The chance of one wrong decision. */
  alpha: z.number().gt(0).max(0.2).optional(),
  /** Conversations replayed in one experiment at most. */
  max_pairs: z.int().min(3).max(20_000).optional(),
  /** What one decision, and what one day of this prompt's experiments, may cost. */
  budget_usd: z.number().min(0).max(10_000).optional(),
  budget_usd_per_day: z.number().min(0).max(100_000).optional(),
  guardrails: z
    .array(z.enum(guardrailNames))
    .max(guardrailNames.length)
    .refine((names) => new Set(names).size === names.length, 'names a guardrail twice')
    .optional(),
  /** How far back the inputs of an experiment are drawn from. */
  sample_days: z.int().min(1).max(90).optional(),
  /** `off`: no run of this prompt is ever replayed. */
  replay: z.enum(['off', 'full']).optional(),
  /** Shares of traffic that a candidate gets in serve mode, one after the other. */
  canary_steps: z
    .array(share.gt(0).lt(1))
    .max(8)
    .refine((steps) => steps.every((step, i) => i === 0 || step > steps[i - 1]!), 'must rise')
    .optional(),
  /** How long a candidate waits for enough calls, in the shadow and in each step of the ramp; then it ends undecided. */
  canary_hours: z.int().min(1).max(8_760).optional(),
  /** How long a promoted version is watched for a rollback by itself. */
  watch_minutes: z.int().min(0).max(10_080).optional(),
  /** Told, signed, when a version that is live is proven worse. Never a private address. */
  webhook_url: z
    .url({ protocol: /^https?$/ })
    .max(2_000)
    .nullable()
    .optional(),
  expectations: expectationsShape.optional(),
})
export type PolicyChoices = z.infer<typeof policyShape>

/** The policy in force: every member has a value, except a margin that follows the number of inputs. */
export type PromptPolicy = {
  [K in Exclude<keyof PolicyChoices, 'margin' | 'webhook_url' | 'expectations'>]-?: NonNullable<
    PolicyChoices[K]
  >
} & {
  margin: number | null
  webhook_url: string | null
  expectations: NonNullable<PolicyChoices['expectations']>
}

const defaults = {
  alpha: 0.01,
  max_pairs: 2_000,
  // About three decisions of the longest kind at the price of a small model.
  budget_usd: 5,
  budget_usd_per_day: 20,
  guardrails: [...guardrailNames],
  sample_days: 14,
  replay: 'full',
  canary_steps: [0.05, 0.25, 0.5],
  // At 5 % of the calls, 25 pairs in a week are three and a half calls an hour.
  canary_hours: 168,
  watch_minutes: 60,
} satisfies Partial<PolicyChoices>

/** Contract section 6: where a promotion only labels, meeting the threshold is enough; where it routes, proof is needed. */
export function policyInForce(chosen: PolicyChoices, mode: PromptMode): PromptPolicy {
  const { margin = null, webhook_url = null, expectations = {}, ...rest } = chosen
  const auto_promote = mode === 'observe' ? 'threshold' : 'proven'
  // What was read from JSON has no members that are there and undefined.
  const own = rest as Partial<Omit<PromptPolicy, 'margin' | 'webhook_url' | 'expectations'>>
  return { auto_promote, ...defaults, ...own, margin, webhook_url, expectations }
}
