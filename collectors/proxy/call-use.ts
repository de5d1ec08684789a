// What a call used, in tokens, in pieces and in money; and its answer as a run keeps it.

import type { Run, Usage } from '../../schemas/run.ts'
import type { Call, Outcome } from './call.ts'
import type { Completion } from './completion.ts'
import { type KeepMedia, withoutMedia } from './media/refs.ts'
import type { Cost, Pieces } from './money.ts'
import { estimateUsage } from './usage.ts'

export type Use = {
  usage: Usage | undefined
  pieces: Pieces | undefined
  cost: Cost | undefined
}

export function countUse(call: Call, outcome: Outcome): Use {
  // Nothing was made for it: nothing was used.
  if (call.isCacheHit) {
    const cost = call.grant?.cost(nothingUsed, undefined, call.model)
    return { usage: nothingUsed, pieces: undefined, cost }
  }
  const usage = usageOf(call, outcome)
  const pieces = outcome.answered ? call.operation.pieces?.(call, endOf(outcome)) : undefined
  return { usage, pieces, cost: costOf(call, outcome, { usage, pieces }) }
}

/** The completion with what ended it before its time, if it was not the caller. */
function endOf({ completion, error }: Outcome): Completion {
  return error && !completion.error ? { ...completion, error } : completion
}

const nothingUsed: Usage = {
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  estimated: false,
}

export function addPieces(attributes: Run['attributes'], pieces: Pieces | undefined): void {
  if (!pieces) return
  for (const [kind, name] of pieceNames) {
    const amount = pieces[kind]
    if (amount !== undefined) attributes[name] = amount
  }
}

const pieceNames = [
  ['images', 'batchin.usage.images'],
  ['audioSeconds', 'batchin.usage.audio_seconds'],
  ['videoSeconds', 'batchin.usage.video_seconds'],
  ['characters', 'batchin.usage.characters'],
] as const

function costOf(call: Call, outcome: Outcome, used: Omit<Use, 'cost'>): Cost | undefined {
  const { grant, model } = call
  if (!grant || !outcome.answered) return undefined
  return grant.cost(used.usage, used.pieces, outcome.completion.modelServed ?? model)
}

/** What the upstream reported; an estimate when that is missing or says nothing was made where something was. */
function usageOf(call: Call, outcome: Outcome): Usage | undefined {
  const { completion } = outcome
  const { usage } = completion
  const { operation } = call
  if (!outcome.answered) return usage
  const made = operation.keepsOutput ? usage?.outputTokens : usage?.inputTokens
  const isHollow = made === 0 && completion.hasContent
  if (usage && !isHollow) return usage
  const reason = isHollow ? 'zero' : outcome.status === 'ok' ? 'missing' : 'unfinished'
  call.deps.counters.count('proxy_usage_estimated_total', { reason })
  return estimateUsage(
    operation.keptInput(call.request),
    operation.keepsOutput ? keptOutput(call, completion, ignoreMedia) : undefined,
  )
}

/** Media are no text: an estimate needs neither their bytes nor their names. */
const ignoreMedia: KeepMedia = () => ({ sha256: '', bytes: 0, media_type: '' })

/** The answer as a run keeps it; media go to where they are kept. */
export function keptOutput(call: Call, completion: Completion, keep: KeepMedia): unknown {
  const { operation } = call
  const kept = operation.keptOutput ? operation.keptOutput(completion, keep) : completion.output
  return withoutMedia(kept, keep)
}
