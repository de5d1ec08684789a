// The owner's policy as the rule of an experiment.

import type { Rule, Rules } from '../../replay/experiment.ts'
import { type PromptPolicy, policyInForce } from '../../schemas/prompt-policy.ts'
import type { Registry } from '../registry/registry.ts'

const nanoPerUsd = 1e9

/** Without a registry the product's own policy applies. */
export function openRules(registry: Pick<Registry, 'policyOf'>): Rules {
  return {
    async of(workspace, registryId) {
      const found = await registry.policyOf({ workspace, registry: registryId })
      const mode = found?.mode ?? 'observe'
      return toRule(found?.policy ?? policyInForce({}, mode), mode)
    },
  }
}

export function toRule(policy: PromptPolicy, mode: Rule['mode']): Rule {
  const { schema, language, length_max: lengthMax, tool_order: toolOrder } = policy.expectations
  return {
    mode,
    autoPromote: policy.auto_promote,
    chosen: {
      alpha: policy.alpha,
      guardrails: [...policy.guardrails],
      ...(policy.margin === null ? {} : { margin: policy.margin }),
    },
    pairsMax: policy.max_pairs,
    sampleDays: policy.sample_days,
    mayReplay: policy.replay !== 'off',
    budgetNanoUsd: Math.round(policy.budget_usd * nanoPerUsd),
    budgetPerDayNanoUsd: Math.round(policy.budget_usd_per_day * nanoPerUsd),
    judge: 'deterministic_replay',
    webhookUrl: policy.webhook_url,
    expectations: {
      ...(schema === undefined ? {} : { schema }),
      ...(language === undefined ? {} : { language }),
      ...(lengthMax === undefined ? {} : { lengthMax }),
      ...(toolOrder === undefined ? {} : { toolOrder }),
    },
  }
}
