// The row of POST /v1/responses.

import type { Caller } from '../../../schemas/caller.ts'
import { Fault } from '../../../schemas/faults.ts'
import { json } from '../json-rows.ts'
import type { JsonObject, Operation } from '../operation.ts'
import { readResponse, toKeptOutput } from './answer.ts'
import { toKeptInput } from './kept-input.ts'
import { ResponsesTap } from './tap.ts'
import { closingTerminal } from './terminal.ts'

export const responsesPath = '/responses'

export const responses: Operation = {
  ...json,
  name: 'chat',
  paths: ['/v1/responses'],
  upstreamPath: responsesPath,
  check,
  namesPrompt: true,
  passesPrompt: true,
  usageOnDemand: false,
  keptInput: toKeptInput,
  keepsOutput: true,
  keptOutput: toKeptOutput,
  outputTokensMax: ({ max_output_tokens: most }) =>
    typeof most === 'number' && most >= 0 ? Math.ceil(most) : undefined,
  answerName: 'a response',
  readWhole: readResponse,
  events: { tap: () => new ResponsesTap(), terminal: closingTerminal, breakWith },
}

function check(request: JsonObject, caller: Caller): void {
  // A prompt that the upstream keeps, or a conversation, may have all the input there is.
  const hasInput = ['input', 'prompt', 'previous_response_id', 'conversation'].some(
    (name) => request[name] !== undefined && request[name] !== null,
  )
  if (!hasInput) {
    throw new Fault('invalid_request', { message: 'input is missing.', param: 'input' })
  }
  if (request.stream === true && caller.responsesStreaming === false) {
    throw new Fault('responses_streaming_disabled')
  }
}

/** Both forms of an error in one event: the flat one of this API, and the nested one that every SDK throws on. */
function breakWith(fault: Fault, comment: string | undefined): string {
  const { error } = fault.toBody()
  const { code, message, param } = error
  const event = { type: 'error', code, message, param, error }
  const lines = ['event: error', ...(comment === undefined ? [] : [comment])]
  return `${lines.join('\n')}\ndata: ${JSON.stringify(event)}\n\n`
}
