// The rule of a decision, chosen from what can be replayed, and its hash, taken before the first call. A changed rule is
// another experiment: whoever decides gives the registration with its hash, and a mismatch is refused.

import { createHash } from 'node:crypto'
import type { DecisionPolicy, Registered, Registration } from '../schemas/experiment.ts'
import { toJcsBytes } from '../schemas/jcs.ts'
import { checkSchema } from './judges/json-schema.ts'

/** Below it nothing can be proven to hold, and the threshold rule speaks. */
export const provableUnitsMin = 100

const pairsMax = 2_000
const batchUnits = 25
const passUnitsMin = 50

// What N units can prove at α = 1 %: no failure among 100 still allows 6 % (rule of three), so small frames get wide margins.
const margins = [
  { unitsMin: 1_200, margin: 0.05, hardFailureMargin: 0.02 },
  { unitsMin: 400, margin: 0.1, hardFailureMargin: 0.04 },
  { unitsMin: 0, margin: 0.15, hardFailureMargin: 0.1 },
] as const

/** The default rule for so many replayable units; what the prompt's owner chose stands over it. */
export function planPolicy(units: number, chosen: Partial<DecisionPolicy> = {}): DecisionPolicy {
  const { margin, hardFailureMargin } = margins.find(({ unitsMin }) => units >= unitsMin)!
  const policy: DecisionPolicy = {
    alpha: 0.01,
    margin,
    hardFailureMargin,
    judgeJ: 1,
    guardrails: ['hard_failures', 'latency', 'latency_tail', 'cost'],
    batch: batchUnits,
    unitsMin: passUnitsMin,
    unitsMax: pairsMax,
    unusableShareMax: 0.1,
    ...chosen,
  }
  return { ...policy, unitsMax: Math.min(policy.unitsMax, units) }
}

/** `sha256:` and the hex digest of the registration's RFC 8785 bytes. */
export function hashRegistration(registration: Registration): string {
  return `sha256:${createHash('sha256').update(toJcsBytes(registration)).digest('hex')}`
}

/** Throws a sentence for a rule that could not keep its promise, or a schema that cannot be checked; then hashes. */
export function register(registration: Registration): Registered {
  checkPolicy(registration.policy)
  if (registration.policy.unitsMax > registration.frame.units) {
    throw new Error('unitsMax is above what the frame holds: such an experiment would never end.')
  }
  if (registration.expectations.schema !== undefined) checkSchema(registration.expectations.schema)
  return { registration, hash: hashRegistration(registration) }
}

/** Throws when the rule is not the one that was hashed before the first call. */
export function checkRegistered({ registration, hash }: Registered): void {
  if (hashRegistration(registration) !== hash) {
    throw new Error(
      'The registration is not the one that was hashed: a changed rule is another experiment.',
    )
  }
}

function checkPolicy(policy: DecisionPolicy): void {
  const wrong = [
    !isBetween(policy.alpha, 0, 0.5) && 'alpha lies above 0 and up to 0.5',
    !isBetween(policy.margin, 0, 0.5) && 'margin lies above 0 and up to 0.5',
    !isBetween(policy.hardFailureMargin, 0, 0.5) && 'hardFailureMargin lies above 0 and up to 0.5',
    !isBetween(policy.judgeJ, 0, 1) && 'judgeJ lies above 0 and up to 1',
    !(Number.isInteger(policy.batch) && policy.batch > 0) && 'batch is a positive integer',
    !(Number.isInteger(policy.unitsMin) && policy.unitsMin >= 0) && 'unitsMin is an integer',
    !(Number.isInteger(policy.unitsMax) && policy.unitsMax >= 0) && 'unitsMax is an integer',
    !(policy.unusableShareMax >= 0 && policy.unusableShareMax < 1) &&
      'unusableShareMax lies from 0 to below 1',
    new Set(policy.guardrails).size !== policy.guardrails.length && 'a guardrail is named twice',
  ].filter((problem) => problem !== false)
  if (wrong.length > 0) throw new Error(`This rule cannot decide: ${wrong.join('; ')}.`)
}

function isBetween(value: number, above: number, upTo: number): boolean {
  return value > above && value <= upTo
}
