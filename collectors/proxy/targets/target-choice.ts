// Which target of a route is asked next.

import type { Target } from './routes.ts'

/**
 * The position of the next one that is not among `tried` (bits), or -1: by weight, of those whose breaker lets calls through and
 * that have a key which does not rest; then those of weight 0, which stand by; then, because a refusal would help nobody, the rest.
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
  const standby = targets.findIndex((it, i) => left(i) && !isOut(it, now.nowMs))
  return standby >= 0 ? standby : targets.findIndex((_, i) => left(i))
}

function byWeight(
  targets: readonly Target[],
  tried: number,
  { nowMs, random }: { nowMs: number; random: () => number },
): number {
  const weightOf = (target: Target, i: number) =>
    tried & (1 << i) || isOut(target, nowMs) ? 0 : target.weight
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

function isOut({ breaker, keys }: Target, nowMs: number): boolean {
  return breaker.state(nowMs) === 'open' || keys.isResting(nowMs)
}
