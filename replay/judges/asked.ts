// Judges that must be asked: a model that embeds texts, a model that compares two answers. None is asked unless it is configured.

import type { Verdict } from '../../schemas/experiment.ts'
import type { DrawnUnit } from '../../schemas/replay.ts'
import type { CallDeps } from '../calls.ts'
import type { Pair } from './judge-pair.ts'
import type { TextSimilarity } from './similarity.ts'

export type JudgeMore = {
  /** How alike texts are in meaning; undefined: by their letters. */
  similarityOf(pair: Pair): Promise<TextSimilarity | undefined>
  /** The verdict after the asked judges have spoken. */
  ask(deps: CallDeps, asked: { drawn: DrawnUnit; pair: Pair; verdict: Verdict }): Promise<Verdict>
}

export const noMoreJudges: JudgeMore = {
  similarityOf: async () => undefined,
  ask: async (_deps, { verdict }) => verdict,
}
