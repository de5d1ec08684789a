// What is replayed: a recorded request as both prompts would have it, and what a call of it answered. Plain JSON, stored as it is.

import type { ReplayOutput } from './experiment.ts'
import type { Usage } from './run.ts'

/** In the form of OpenAI's chat API. */
export type ReplayMessage = { role: string; content?: unknown } & Record<string, unknown>

/** A tool's answer as production saw it, given again to whoever calls that tool with those arguments. */
export type RecordedResult = { name: string; arguments: string; content: unknown }

/** `R1`: one turn. `R2`: the history is given, the next turn is made. `R3`: tools are called, and answer as recorded. */
export type ReplayTier = 'R1' | 'R2' | 'R3'

/** One arm's request: the prompt of that arm around what the caller had said. */
export type ArmRequest = {
  model: string
  messages: ReplayMessage[]
  /** Everything else of the recorded request: sampling parameters, tools, response format. */
  parameters: Record<string, unknown>
}

export type ReplayRequest = {
  baseline: ArmRequest
  candidate: ArmRequest
  results: RecordedResult[]
}

export type UnitSource = {
  traceId: string
  spanId: string
  conversation: string
  /** Of the input without the prompt; equal inputs are drawn once. */
  inputHash: string
  /** How many conversations of the frame this one stands for. */
  multiplicity: number
  /** Model, tools and length of the recorded run, for the eye. */
  stratum: string
  /** What it is told apart by where losses are looked for in parts of the traffic; absent from what was drawn before that was. */
  slices?: string[]
  tier: ReplayTier
  routeId: string
  recordedOutput: ReplayOutput | null
  recordedLatencyMs: number
  /** What the recorded run cost; null for a model without a price. */
  recordedCostNanoUsd: number | null
}

export type DrawnUnit = { unit: number; source: UnitSource; request: ReplayRequest }

export type Arm = 'baseline' | 'repeat' | 'candidate'
export const arms: readonly Arm[] = ['baseline', 'repeat', 'candidate']

/** One call: answered by a model, or failed for a reason that is not the prompt's. */
export type CallAnswer =
  | {
      kind: 'answered'
      output: ReplayOutput
      /** The assistant's message as it came, for the next step of a loop. */
      message: ReplayMessage
      latencyMs: number
      usage: Usage | null
      modelServed: string | null
      runId: string | null
    }
  | { kind: 'failed'; status: number | null; message: string }
