// An experiment's rows: what was registered before the first call, what each sample showed, and what follows from them.
// Everything here is plain JSON, so that a decision can be computed again from stored rows and give the same bytes.

/** One arm's answer, as judges read it. Tool arguments are the text that the model wrote. */
export type ReplayOutput = {
  text: string
  toolCalls: { name: string; arguments: string }[]
  finishReason: string | null
}

/** What a prompt's owner declared of any answer; absent members are not checked. */
export type Expectations = {
  /** A JSON Schema (draft 2020-12, 7 or 4) that the text must satisfy as JSON. */
  schema?: unknown
  /** ISO 639-1; without it the answer's language is compared with the baseline's. */
  language?: string
  lengthMax?: number
  /** `same`: calls in the baseline's order; `any`: as a multiset. */
  toolOrder?: 'same' | 'any'
}

/** `hard`: wrong by itself. `relative`: not what the baseline's answer said. `triage`: for the eye, never decides. */
export type FindingKind = 'hard' | 'relative' | 'triage'

export type Finding = {
  /** `id@version` of the judge. */
  judge: string
  kind: FindingKind
  arm: 'baseline' | 'repeat' | 'candidate'
  detail: string
}

/** How one pair compares. `direction` 1: the candidate is better; 0: no difference seen; -1: worse. */
export type Verdict = {
  direction: -1 | 0 | 1
  /** Failed a hard check. */
  baselineHard: boolean
  candidateHard: boolean
  /** Differs from the baseline's answer in something that matters, as tool calls, numbers, negations do. */
  candidateDeviates: boolean
  similarity: number
  /** Baseline against its own repeat; null when it was not replayed twice. */
  selfSimilarity: number | null
  /** The baseline's repeat was free of findings too; null without a repeat. */
  selfAgrees: boolean | null
  decidedBy: string
  findings: Finding[]
}

/** Null: not measured, as the latency of a reused answer is, or the cost under a model without a price. */
export type ArmFigures = { latencyMs: number | null; costUsd: number | null }

/**
 * One row of raw evidence: a turn of the conversation `unit`, which has `turns` of them. Units count from 0 in the order that
 * the seed drew before any call was made; turns count from 0 too.
 */
export type Sample = {
  unit: number
  turn: number
  turns: number
  /** Parts of the traffic that it belongs to; absent: none is told apart. */
  slices?: string[]
} & (
  | {
      outcome: 'judged'
      verdict: Verdict
      baseline: ArmFigures
      /** Of the baseline's second answer; absent where it was given once. */
      repeat?: ArmFigures
      candidate: ArmFigures
    }
  | { outcome: 'diverged' | 'not_replayable' | 'error' }
)

export const metricNames = ['quality', 'hard_failures', 'latency', 'latency_tail', 'cost'] as const
export type MetricName = (typeof metricNames)[number]
/** Latency and cost are told as room below their limit, in logarithms to this base: 0 is at the limit, 1 a quarter of it. */
export const headroomBase = 4
export type GuardrailName = Exclude<MetricName, 'quality'>

/** The rule of one decision: all of it chosen before the first call. Margins of 0.05 are five points. */
export type DecisionPolicy = {
  alpha: number
  margin: number
  hardFailureMargin: number
  /** Sensitivity + specificity - 1 of the judge; 1 for deterministic ones. The margin shrinks by it. */
  judgeJ: number
  guardrails: GuardrailName[]
  /** Parts of the traffic that are tested for a loss of their own; they share a part of the chance to fail by mistake. */
  slices?: string[]
  /** Units between two looks. */
  batch: number
  /** No pass before it; a failure may be proven at any size. */
  unitsMin: number
  unitsMax: number
  /** Above this share of rows without a verdict, nothing passes. */
  unusableShareMax: number
}

export type Registration = {
  registryId: string
  baseline: string
  candidate: string
  /** Where the machine put the baseline in force: the version before that a pass is held against before it promotes. */
  reference?: string
  /** What the units were drawn from: the query's own words, how many replayable conversations it found, and the seed. */
  frame: { query: string; units: number; seed: string }
  /** The ladder's name and the `id@version` of each judge on it. */
  judge: string
  judges: string[]
  expectations: Expectations
  budgetUsd: number | null
  policy: DecisionPolicy
}

/** A registration under the hash that was stored before the first call. */
export type Registered = { registration: Registration; hash: string }

/** Natural logarithms of e-values; `low` and `high` are the bounds that the same bets allow, so they never contradict the rule. */
export type MetricReading = {
  name: MetricName
  units: number
  mean: number | null
  low: number
  high: number
  /** Proven above it: holds. Proven below `worseBelow`: worse. */
  holdsAbove: number
  worseBelow: number
  logPass: number
  logFail: number
  holds: boolean
  worse: boolean
}

/** One part of the traffic: worse when its own mean is proven below 0. */
export type SliceReading = {
  name: string
  units: number
  mean: number | null
  logFail: number
  worse: boolean
}

export type DecisionStatus = 'replaying' | 'passed' | 'failed' | 'inconclusive'

export type DecisionReason =
  | 'not_decided_yet'
  | 'non_inferior'
  | 'worse'
  | 'threshold_met'
  | 'threshold_missed'
  | 'samples_exhausted'
  | 'unusable_samples'
  | 'unmeasured'
  | 'budget'
  | 'cancelled'

export type Decision = {
  status: DecisionStatus
  evidence: 'proven' | 'threshold' | null
  reason: DecisionReason
  /** A sentence for people. */
  detail: string
  preregistrationHash: string
  /** Conversations with at least one verdict, in the committed prefix. */
  units: number
  sampleCount: number
  passCount: number
  failCount: number
  errorCount: number
  divergedCount: number
  notReplayableCount: number
  avgSimilarity: number | null
  noiseFloorSimilarity: number | null
  /** Share of samples whose baseline agrees with its own repeat. */
  selfAgreement: number | null
  /** Share of samples whose candidate agrees with the baseline, by the same judges. */
  candidateAgreement: number | null
  /** Of the samples that models were asked about, the share of answers that followed the order. Null: none was asked. */
  judgeInconsistency: number | null
  baselineAvgLatencyMs: number | null
  candidateAvgLatencyMs: number | null
  costUsd: number | null
  metrics: MetricReading[]
  /** Absent where the rule names no slices. */
  slices?: SliceReading[]
}
