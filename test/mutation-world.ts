// A model that repeats itself imperfectly, and a candidate whose answers are mutated now and then: judged by the product's
// ladder, decided by its rule. Verdicts are looked up once a combination, for there are few and the runs are many.

import { judgePair } from '../replay/judges/judge-pair.ts'
import { Monitor } from '../replay/monitor.ts'
import type { DecisionPolicy, ReplayOutput, Verdict } from '../schemas/experiment.ts'
import { type Random, randomFrom } from './decision-world.ts'
import { answers, isChanged, type Mutation, mutations, paraphrase } from './mutations.ts'

// Half of the calls are worded otherwise; one in twenty gets a value wrong by itself, so that A/A discordance is 10 %.
const rewordedShare = 0.5
const wrongShare = 0.05

type Phrasing = 'plain' | 'reworded' | 'wrong'

/** Share of runs in which the rule failed the candidate. */
export function failedShare(
  mutation: Mutation,
  fraction: number,
  { policy, runs, seed }: { policy: DecisionPolicy; runs: number; seed: number },
): number {
  const random = randomFrom(seed)
  const affected = answers
    .map((_, index) => index)
    .filter((index) => isChanged(mutation, answers[index]!.output))
  const verdicts = new Map<string, Verdict['direction']>()
  const draw = () => {
    const index = affected[Math.floor(random() * affected.length)]!
    const [a, r, c] = [drawPhrasing(random), drawPhrasing(random), drawPhrasing(random)]
    const isMutated = random() < fraction
    const key = `${index} ${a} ${r} ${c} ${isMutated}`
    const known = verdicts.get(key)
    if (known !== undefined) return known
    const { output, expectations } = answers[index]!
    const answer = phrase(output, c)
    const { direction } = judgePair('deterministic_replay', {
      baseline: phrase(output, a),
      repeat: phrase(output, r),
      candidate: isMutated ? mutation.apply(answer) : answer,
      expectations,
    })
    verdicts.set(key, direction)
    return direction
  }
  let failed = 0
  for (let run = 0; run < runs; run++) {
    const monitor = new Monitor(policy)
    let look: ReturnType<Monitor['look']> = 'continue'
    while (look === 'continue' && monitor.units < policy.unitsMax) {
      monitor.add([draw()])
      if (monitor.units % policy.batch === 0) look = monitor.look()
    }
    if (look === 'failed') failed++
  }
  return failed / runs
}

function drawPhrasing(random: Random): Phrasing {
  const drawn = random()
  return drawn < wrongShare ? 'wrong' : drawn < wrongShare + rewordedShare ? 'reworded' : 'plain'
}

const wrongs = [
  'number wrong',
  'label wrong',
  'JSON amount wrong',
  'tool argument wrong',
  'negation added',
]

function phrase(output: ReplayOutput, phrasing: Phrasing): ReplayOutput {
  if (phrasing === 'plain') return output
  if (phrasing === 'reworded') {
    return /^[{[]/.test(output.text) ? output : { ...output, text: paraphrase(output.text) }
  }
  const wrong = wrongs
    .map((name) => mutations.find((one) => one.name === name)!)
    .find((one) => isChanged(one, output))
  return wrong?.apply(output) ?? output
}
