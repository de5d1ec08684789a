// What a decision may do by itself. Only a pass promotes; proof promotes anywhere, a threshold where a promotion routes nothing.

import type { Decision } from '../schemas/experiment.ts'

export type PromotionPolicy = {
  mode: 'observe' | 'serve'
  autoPromote: 'off' | 'threshold' | 'proven'
}

/** Whether the candidate becomes the promoted version without anybody's word. */
export function maySelfPromote(decision: Decision, policy: PromotionPolicy): boolean {
  if (decision.status !== 'passed' || policy.autoPromote === 'off') return false
  if (decision.evidence === 'proven') return true
  return policy.mode === 'observe' || policy.autoPromote === 'threshold'
}
