// The parameters that decide what a call may cost: numbers in their bounds, or the call is refused before money is asked.

import { Fault } from '../../schemas/faults.ts'
import type { JsonObject } from './operation.ts'

// Far above any model's longest answer, and below where a count of tokens would overflow its column.
const tokensMax = 100_000_000
const choicesMax = 128

const counts: readonly (readonly [string, number, number])[] = [
  ['n', 1, choicesMax],
  ['best_of', 1, choicesMax],
  ['max_tokens', 0, tokensMax],
  ['max_completion_tokens', 0, tokensMax],
  ['max_output_tokens', 0, tokensMax],
]
const amounts = ['temperature', 'top_p', 'frequency_penalty', 'presence_penalty'] as const

/** Throws `invalid_request` with the name of the first that is out of its bounds. In a form every number is a text. */
export function checkSampling(request: JsonObject, isForm: boolean): void {
  for (const [name, least, most] of counts) {
    const value = isForm ? fromText(request[name]) : request[name]
    if (value === undefined || value === null) continue
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most)
      continue
    const message = `${name} must be a whole number, ${least} to ${most}.`
    throw new Fault('invalid_request', { message, param: name })
  }
  for (const name of amounts) {
    const value = isForm ? fromText(request[name]) : request[name]
    if (value === undefined || value === null) continue
    if (typeof value === 'number' && Number.isFinite(value)) continue
    throw new Fault('invalid_request', { message: `${name} must be a number.`, param: name })
  }
}

function fromText(value: unknown): unknown {
  return typeof value === 'string' && value.trim() !== '' ? Number(value) : value
}
