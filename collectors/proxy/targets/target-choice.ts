// Which target of a route is asked next.

import type { Target } from './routes.ts'

/**
 * The position of the next one that is not among `tried` (bits), or -1: by weight, of those whose breaker lets calls through;
 * then those of weight 0, which stand by; then, because a refusal would help nobody, those whose breaker is open.
 */
export function chooseTarget(
  targets: readonly Target[],
  tried: number,
  now: { nowMs: number; random: () => number },
): number {
  if (targets.length === 1) return tried === 0 ? 0 : -1
  const weighed = byWeight(targets, tried, now)
  if (weighed >= 0) return weighed
  const left = (i: number) => !(tried & (1 << i))
  const standby = targets.findIndex((it, i) => left(i) && it.breaker.state(now.nowMs) !== 'open')
  return standby >= 0 ? standby : targets.findIndex((_, i) => left(i))
}

function byWeight(
  targets: readonly Target[],
  tried: number,
  { nowMs, random }: { nowMs: number; random: () => number },
): number {
  const weightOf = (target: Target, i: number) =>
    tried & (1 << i) || target.breaker.state(nowMs) === 'open' ? 0 : target.weight
  const sum = targets.reduce((total, target, i) => total + weightOf(target, i), 0)
  let left = random() * sum
  let last = -1
  for (const [i, target] of targets.entries()) {
    const weight = weightOf(target, i)
    if (weight === 0) continue
    last = i
    left -= weight
    if (left < 0) break
  }
  return last
}
