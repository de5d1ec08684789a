// One arm of a pair: the recorded request under one prompt, answered once, or as a loop in which tools answer what they answered
// then. Nothing is called but the model: a tool that was asked something new ends the loop.

import { toMessages } from '../schemas/conversation.ts'
import type { ReplayOutput } from '../schemas/experiment.ts'
import type {
  Arm,
  ArmRequest,
  CallAnswer,
  RecordedResult,
  ReplayMessage,
} from '../schemas/replay.ts'
import { type CallDeps, callOnce, costOf } from './calls.ts'
import { toCanonical } from './judges/text.ts'

// An agent that is still calling tools after this many answers is stopped where it is.
const stepsMax = 12

export type ArmRun =
  | {
      kind: 'answered'
      /** The last text, and every tool call on the way to it. */
      output: ReplayOutput
      /** It asked a tool something that production never asked, or did not come to an end. */
      hasDiverged: boolean
      latencyMs: number
      /** As if nothing had been cached; null without a price. */
      costNanoUsd: number | null
    }
  | { kind: 'failed'; message: string }

export type ArmTask = {
  unit: number
  arm: Arm
  request: ArmRequest
  results: readonly RecordedResult[]
  routeId: string
  reserveNanoUsd: number
}

/** Throws NotNow when another worker is at it or the budget is used up. */
export async function runArm(deps: CallDeps, task: ArmTask): Promise<ArmRun> {
  const messages = [...task.request.messages]
  const results = new Results(task.results)
  const calls: ReplayOutput['toolCalls'] = []
  let latencyMs = 0
  let costNanoUsd: number | null = 0
  for (let step = 0; step < stepsMax; step++) {
    const answer = await callOnce(
      deps,
      { unit: task.unit, arm: task.arm, step },
      { ...task, request: { ...task.request, messages } },
    )
    if (answer.kind === 'failed') return { kind: 'failed', message: answer.message }
    latencyMs += answer.latencyMs
    const cost = costOf(deps, task, answer, true)
    costNanoUsd = costNanoUsd === null || cost === null ? null : costNanoUsd + cost
    calls.push(...answer.output.toolCalls)
    const end = (hasDiverged: boolean): ArmRun => ({
      kind: 'answered',
      output: { ...answer.output, toolCalls: calls },
      hasDiverged,
      latencyMs,
      costNanoUsd,
    })
    // A run that recorded no results asked for none: its tool calls are the answer.
    if (answer.output.toolCalls.length === 0 || task.results.length === 0) return end(false)
    const replies = results.answer(answer)
    if (replies === undefined) return end(true)
    messages.push(answer.message, ...replies)
  }
  return {
    kind: 'answered',
    output: { text: '', toolCalls: calls, finishReason: null },
    hasDiverged: true,
    latencyMs,
    costNanoUsd,
  }
}

/** Recorded results, each given once, in the order they were recorded: a tool asked twice answers twice. */
class Results {
  readonly #left: Map<string, RecordedResult[]>

  constructor(results: readonly RecordedResult[]) {
    this.#left = new Map()
    for (const result of results) {
      const key = keyOf(result)
      this.#left.set(key, [...(this.#left.get(key) ?? []), result])
    }
  }

  /** A tool message for every call of the answer; undefined when one of them was never made. */
  answer({ message }: Extract<CallAnswer, { kind: 'answered' }>): ReplayMessage[] | undefined {
    const replies: ReplayMessage[] = []
    for (const call of toMessages(message, 'assistant')[0]?.toolCalls ?? []) {
      const result = this.#left.get(keyOf(call))?.shift()
      if (result === undefined) return undefined
      replies.push({ role: 'tool', tool_call_id: call.id, content: result.content })
    }
    return replies
  }
}

/** The name and the arguments as a value: spacing and the order of keys do not make another question. */
function keyOf(call: { name: string; arguments: string }): string {
  return `${call.name} ${toCanonical(call.arguments)}`
}
