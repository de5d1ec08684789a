// The owner's policy as the rule of an experiment.

import { calibrate, type Labelled } from '../../replay/calibration.ts'
import type { Rule, Rules } from '../../replay/experiment.ts'
import { type PromptPolicy, policyInForce } from '../../schemas/prompt-policy.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Registry } from '../registry/registry.ts'

const nanoPerUsd = 1e9

/** Without a registry the product's own policy applies. */
export function openRules(
  sql: Sql,
  registry: Pick<Registry, 'policyOf'>,
  judgeModels: readonly string[],
): Rules {
  return {
    async calibration(workspace, registryId, judge) {
      const labelled = await sql.query<Labelled>(
        `SELECT u.label = 'worse' AS "isWorse", (u.outcome->'verdict'->>'direction')::int < 0 AS "wasFlagged"
         FROM experiment_units u JOIN experiments e USING (experiment_id)
         WHERE e.workspace = $1 AND e.registry_id = $2 AND e.registration->>'judge' = $3 AND u.label IS NOT NULL
           AND u.outcome->>'outcome' = 'judged' LIMIT 5000`,
        [workspace, registryId, judge],
      )
      return calibrate(labelled)
    },
    async of(workspace, registryId) {
      const found = await registry.policyOf({ workspace, registry: registryId })
      const mode = found?.mode ?? 'observe'
      return { ...toRule(found?.policy ?? policyInForce({}, mode), mode), judgeModels }
    },
  }
}

function toRule(policy: PromptPolicy, mode: Rule['mode']): Omit<Rule, 'judgeModels'> {
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
