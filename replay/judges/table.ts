// The judges, cheapest first, each with a version: a judge that changes its mind about any pair gets the next number, and
// experiments registered under the old one are not continued with it.

import type { FindingKind } from '../../schemas/experiment.ts'
import { findCritical } from './critical.ts'
import type { Checked } from './validators.ts'
import * as validators from './validators.ts'

/** `llm`, `panel` and `human` have no rows here: they answer later than a function returns (asked.ts, calibration.ts). */
export type Rung =
  | 'equality'
  | 'validator'
  | 'critical_span'
  | 'similarity'
  | 'llm'
  | 'panel'
  | 'human'

export type Judge = {
  id: string
  version: number
  rung: Rung
  kind: FindingKind
  /** What is wrong, a sentence each. Absent where the ladder itself compares: equality and similarity. */
  find?: (checked: Checked) => string[]
}

const hard = (id: string, check: validators.Check): Judge => row(id, 'hard', check)
const relative = (id: string, check: validators.Check): Judge => row(id, 'relative', check)

export const judges: readonly Judge[] = [
  { id: 'equality', version: 1, rung: 'equality', kind: 'triage' },
  hard('answered', validators.answered),
  hard('finish_reason', validators.finishReason),
  hard('json_schema', validators.jsonSchema),
  hard('refusal', validators.refusal),
  hard('leak', validators.leak),
  hard('length_max', validators.lengthMax),
  hard('declared_language', validators.declaredLanguage),
  relative('same_language', validators.sameLanguage),
  relative('same_length', validators.sameLength),
  relative('same_tool_calls', validators.sameToolCalls),
  {
    id: 'critical_spans',
    version: 1,
    rung: 'critical_span',
    kind: 'relative',
    find: ({ output, reference }) => findCritical(reference, output),
  },
  { id: 'similarity', version: 1, rung: 'similarity', kind: 'triage' },
]

/** A ladder's name is what an experiment's `judge` shows. */
export const ladders: Record<string, readonly Judge[]> = {
  deterministic_replay: judges,
  // The same, and above it models that are asked (asked.ts); a registration names them beside these.
  pairwise_llm: judges,
  panel: judges,
}

/** Throws for a name that no ladder has. */
export function getLadder(name: string): readonly Judge[] {
  const ladder = ladders[name]
  if (ladder === undefined) throw new Error(`No ladder of judges is called ${name}.`)
  return ladder
}

/** What a registration lists under the ladder's name. */
export function judgeNamesOf(ladder: string): string[] {
  return getLadder(ladder).map(toJudgeName)
}

/** `id@version`: what a registration lists and a finding names. */
export function toJudgeName({ id, version }: Pick<Judge, 'id' | 'version'>): string {
  return `${id}@${version}`
}

function row(id: string, kind: FindingKind, check: validators.Check): Judge {
  const find = (checked: Checked) => [check(checked)].filter((found) => found !== undefined)
  return { id, version: 1, rung: 'validator', kind, find }
}
