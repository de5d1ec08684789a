// What may be said of the few live conversations that a passed candidate is replayed on before it is served.

import { expect, test } from 'vitest'
import { planPolicy } from '../replay/registration.ts'
import type { Sample } from '../schemas/experiment.ts'
import { judgeShadow, shadowUnits } from '../src/experiments/shadow.ts'

const policy = planPolicy(1_000)

function judged(unit: number, direction: -1 | 0): Sample {
  return {
    ...{ unit, turn: 0, turns: 1, outcome: 'judged' },
    verdict: {
      ...{ direction, baselineHard: false, candidateHard: false, candidateDeviates: direction < 0 },
      ...{ similarity: 1, selfSimilarity: 1, selfAgrees: true, decidedBy: 'test', findings: [] },
    },
    baseline: { latencyMs: 1, costUsd: null },
    candidate: { latencyMs: 1, costUsd: null },
  }
}
const all = (make: (unit: number) => Sample) =>
  Array.from({ length: shadowUnits }, (_, i) => make(i))

test('a candidate that loses every live conversation is proven worse by them', () => {
  expect(
    judgeShadow(
      all((unit) => judged(unit, -1)),
      policy,
    ),
  ).toMatchObject({ isWorse: true })
  expect(
    judgeShadow(
      all((unit) => judged(unit, 0)),
      policy,
    ),
  ).toMatchObject({ isWorse: false })
})

test('calls that failed say nothing of the candidate', () => {
  const failed = all((unit) => ({ unit, turn: 0, turns: 1, outcome: 'error' }))
  expect(judgeShadow(failed, policy)).toEqual({
    ...{ count: shadowUnits, judged: 0, isWorse: false, hardFailures: 0 },
  })
})
