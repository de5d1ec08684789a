// One pair climbs the ladder. With the baseline's repeat beside it the comparison is fair: candidate and repeat are each held
// against the baseline's answer, and if nothing changed neither is likelier to differ. So noise cannot fail a candidate.

import type { Expectations, Finding, ReplayOutput, Verdict } from '../../schemas/experiment.ts'
import { similarityOf, type TextSimilarity } from './similarity.ts'
import { getLadder, toJudgeName } from './table.ts'
import { isEqualOutput } from './text.ts'

export type Pair = {
  baseline: ReplayOutput
  /** The baseline once more, from a call of its own. Null: relative findings are listed but do not decide. */
  repeat: ReplayOutput | null
  candidate: ReplayOutput
  expectations: Expectations
}

// Findings are stored with every sample; a pair that broke everything need not list it all.
const findingsMax = 12

/**
 * The verdict of the ladder's deterministic judges. `direction` compares what is wrong with the repeat (the baseline where
 * there is none) and with the candidate. Similarity is measured, never decides.
 */
export function judgePair(ladder: string, pair: Pair, textSimilarity?: TextSimilarity): Verdict {
  const { baseline, repeat, candidate, expectations } = pair
  const look = (arm: Finding['arm'], output: ReplayOutput) =>
    findingsOf(ladder, arm, { output, reference: baseline, expectations })
  const ofBaseline = look('baseline', baseline)
  const ofRepeat = repeat === null ? [] : look('repeat', repeat)
  const ofCandidate = look('candidate', candidate)
  // Against a baseline that failed by itself, staying the same is no virtue: only hard checks speak.
  const counts = ({ kind }: Finding) =>
    kind === 'hard' || (kind === 'relative' && repeat !== null && !hasHard(ofBaseline))
  const rival = (repeat === null ? ofBaseline : ofRepeat).filter(counts)
  const own = ofCandidate.filter(counts)
  const direction = rival.length > 0 === own.length > 0 ? 0 : own.length > 0 ? -1 : 1
  return {
    direction,
    baselineHard: hasHard(ofBaseline),
    candidateHard: hasHard(ofCandidate),
    candidateDeviates: ofCandidate.some(({ kind }) => kind === 'relative'),
    similarity: similarityOf(baseline, candidate, textSimilarity),
    selfSimilarity: repeat === null ? null : similarityOf(baseline, repeat, textSimilarity),
    selfAgrees: repeat === null ? null : ofRepeat.length === 0,
    decidedBy: decidedBy(ladder, pair, direction === -1 ? own : direction === 1 ? rival : []),
    findings: [...ofCandidate, ...ofRepeat, ...ofBaseline].slice(0, findingsMax),
  }
}

function findingsOf(
  ladder: string,
  arm: Finding['arm'],
  checked: { output: ReplayOutput; reference: ReplayOutput; expectations: Expectations },
): Finding[] {
  return getLadder(ladder).flatMap((judge) =>
    (judge.find?.(checked) ?? []).map((detail) => ({
      judge: toJudgeName(judge),
      kind: judge.kind,
      arm,
      detail,
    })),
  )
}

function hasHard(findings: readonly Finding[]): boolean {
  return findings.some(({ kind }) => kind === 'hard')
}

/** The judge whose finding tipped the pair; without one, equality if all answers are equal, else the last rung reached. */
function decidedBy(ladder: string, pair: Pair, tipping: readonly Finding[]): string {
  if (tipping[0] !== undefined) return tipping[0].judge
  const isEqual =
    isEqualOutput(pair.baseline, pair.candidate) &&
    (pair.repeat === null || isEqualOutput(pair.baseline, pair.repeat))
  const rung = isEqual ? 'equality' : 'similarity'
  const judge = getLadder(ladder).find((one) => one.rung === rung)
  return judge === undefined ? rung : toJudgeName(judge)
}
