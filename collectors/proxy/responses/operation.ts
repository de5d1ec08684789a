// The row of POST /v1/responses.

import type { Caller } from '../../../schemas/caller.ts'
import { Fault } from '../../../schemas/faults.ts'
import { allowedTokens, json } from '../json-rows.ts'
import type { EventStream, JsonObject, Operation } from '../operation.ts'
import { intoResponses } from '../served-prompt.ts'
import { breakTyped, closedBy } from '../streams/typed-events.ts'
import { readResponse, toKeptOutput } from './answer.ts'
import { toKeptInput } from './kept-input.ts'
import { closingTypes, ResponsesTap } from './tap.ts'

export const responsesPath = '/responses'

const events: EventStream = {
  tap: () => new ResponsesTap(),
  terminal: closedBy(closingTypes),
  breakWith: breakTyped,
}

export const responses: Operation = {
  ...json,
  name: 'chat',
  paths: ['/v1/responses'],
  upstreamPath: responsesPath,
  check,
  namesPrompt: true,
  passesPrompt: true,
  withPrompt: intoResponses,
  usageOnDemand: false,
  keptInput: toKeptInput,
  keepsOutput: true,
  keptOutput: toKeptOutput,
  // The other names are those of the chat route, which serves where there is no /responses.
  outputTokensMax: (request) =>
    typeof request.max_output_tokens === 'number' ? allowedTokens(request) : undefined,
  answerName: 'a response',
  readWhole: readResponse,
  events: () => events,
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
