// Experiments as the API sends them, read once at the door like everything else (wire.ts).

import { list, number, object, text, textOr } from './wire.ts'

export type Reading = {
  name: string
  mean: number | null
  low: number | null
  high: number | null
  /** Proven above it: holds. Proven below `worseBelow`: worse. */
  holdsAbove: number
  worseBelow: number
  holds: boolean
  worse: boolean
}

export type Experiment = {
  experimentId: string
  regressionId: string
  registryId: string
  baselineId: string
  candidateId: string
  status: string
  promotionStatus: string
  evidence: string | null
  judge: string
  summary: string
  sampleCount: number
  passCount: number
  failCount: number
  errorCount: number
  planned: number | null
  replayable: number | null
  frameNote: string | null
  selfAgreement: number | null
  candidateAgreement: number | null
  baselineLatencyMs: number | null
  candidateLatencyMs: number | null
  costUsd: number | null
  budgetUsd: number | null
  callCount: number | null
  quality: Reading | null
  guardrails: Reading[]
  createdAt: string
  decidedAt: string | null
}

export type Output = { text: string; toolCalls: { name: string; arguments: string }[] } | null

export type Sample = {
  index: number
  status: string
  direction: number | null
  similarity: number | null
  findings: { judge: string; arm: string; kind: string; detail: string }[]
  standsFor: number
  stratum: string
  traceId: string
  lastInput: string
  baseline: Output
  candidate: Output
  label: string | null
}

export type ExperimentDetail = Experiment & {
  samples: Sample[]
  withheld: number
  slices: { stratum: string; sampleCount: number; delta: number | null }[]
  events: { at: string; actor: string; status: string; promotionStatus: string; reason: string }[]
}

export function readExperiments(body: unknown): Experiment[] {
  return list(object(body).items).map(readExperiment)
}

function readExperiment(body: unknown): Experiment {
  const from = object(body)
  const frame = object(from.frame)
  return {
    experimentId: text(from.experiment_id),
    regressionId: text(from.regression_id),
    registryId: text(from.registry_id),
    baselineId: text(from.baseline_prompt_version_id),
    candidateId: text(from.candidate_prompt_version_id),
    status: text(from.status),
    promotionStatus: text(from.promotion_status),
    evidence: textOr(from.evidence),
    judge: text(from.judge),
    summary: text(from.summary),
    sampleCount: number(from.sample_count) ?? 0,
    passCount: number(from.pass_count) ?? 0,
    failCount: number(from.fail_count) ?? 0,
    errorCount: number(from.error_count) ?? 0,
    planned: number(from.n_max),
    replayable: number(frame.units),
    frameNote: textOr(frame.note),
    selfAgreement: number(from.self_agreement),
    candidateAgreement: number(from.candidate_agreement),
    baselineLatencyMs: number(from.baseline_avg_latency_ms),
    candidateLatencyMs: number(from.candidate_avg_latency_ms),
    costUsd: number(from.cost_usd),
    budgetUsd: number(from.budget_usd),
    callCount: number(from.call_count),
    quality: null,
    guardrails: list(from.guardrails).map(readReading),
    createdAt: text(from.created_at),
    decidedAt: textOr(from.decided_at),
  }
}

/** A metric of the API is spelled as the decision stores it; a guardrail as the API spells it. */
function readReading(body: unknown): Reading {
  const from = object(body)
  return {
    name: text(from.name),
    mean: number(from.mean),
    low: number(from.low),
    high: number(from.high),
    holdsAbove: number(from.holds_above ?? from.holdsAbove) ?? 0,
    worseBelow: number(from.worse_below ?? from.worseBelow) ?? 0,
    holds: from.holds === true,
    worse: from.worse === true,
  }
}

export function readExperimentDetail(body: unknown): ExperimentDetail {
  const from = object(body)
  const metrics = list(from.metrics).map(readReading)
  return {
    ...readExperiment(from),
    quality: metrics.find(({ name }) => name === 'quality') ?? null,
    samples: list(from.samples).map(readSample),
    withheld: number(from.withheld) ?? 0,
    slices: list(from.slices).map((slice) => {
      const one = object(slice)
      return {
        stratum: text(one.stratum),
        sampleCount: number(one.sample_count) ?? 0,
        delta: number(one.delta),
      }
    }),
    events: list(from.events).map((event) => {
      const one = object(event)
      return {
        at: text(one.at),
        actor: text(one.actor),
        status: text(one.status),
        promotionStatus: text(one.promotion_status),
        reason: text(one.reason),
      }
    }),
  }
}

function readSample(body: unknown): Sample {
  const from = object(body)
  return {
    index: number(from.index) ?? 0,
    status: text(from.status),
    direction: number(from.direction),
    similarity: number(from.similarity),
    findings: list(from.findings).map((finding) => {
      const one = object(finding)
      return {
        judge: text(one.judge),
        arm: text(one.arm),
        kind: text(one.kind),
        detail: text(one.detail),
      }
    }),
    standsFor: number(from.stands_for) ?? 1,
    stratum: text(from.stratum),
    traceId: text(from.trace_id),
    lastInput: lastOf(object(from.input).candidate),
    baseline: readOutput(from.baseline),
    candidate: readOutput(from.candidate),
    label: textOr(from.label),
  }
}

/** The last message that the model was given, as text. */
function lastOf(messages: unknown): string {
  const content = object(list(messages).at(-1)).content
  return typeof content === 'string' ? content : JSON.stringify(content ?? '')
}

function readOutput(body: unknown): Output {
  if (body === null || body === undefined) return null
  const from = object(body)
  if (textOr(from.error) !== null) return { text: `Failed: ${text(from.error)}`, toolCalls: [] }
  return {
    text: text(from.text),
    toolCalls: list(from.toolCalls).map((call) => {
      const one = object(call)
      return { name: text(one.name), arguments: text(one.arguments) }
    }),
  }
}
