// Every kind of inference the proxy answers, one row each.

import { readCompletion } from './completion.ts'
import { readEmbeddings } from './embeddings.ts'
import { videos } from './jobs/videos.ts'
import { allowedTokens, json, needs } from './json-rows.ts'
import { imageEdits, images } from './media/images.ts'
import { speech } from './media/speech.ts'
import { transcriptions } from './media/transcriptions.ts'
import type { EventStream, JsonObject, Operation } from './operation.ts'
import { responses } from './responses/operation.ts'
import { intoChat } from './served-prompt.ts'
import { doneTerminal } from './streams/sse-blocks.ts'
import { SseTap } from './streams/sse-tap.ts'

/** Events that end with `data: [DONE]`. */
export const untilDone: EventStream = {
  tap: () => new SseTap(),
  terminal: doneTerminal,
  breakWith: (fault, comment) =>
    `${comment === undefined ? '' : `${comment}\n`}data: ${JSON.stringify(fault.toBody())}\n\n`,
}

export const chat: Operation = {
  ...json,
  name: 'chat',
  paths: ['/v1/chat/completions'],
  upstreamPath: '/chat/completions',
  check: (request) => needs(request, 'messages'),
  namesPrompt: true,
  withPrompt: intoChat,
  usageOnDemand: true,
  keptInput: (request) => request.messages,
  keepsOutput: true,
  outputTokensMax: boundOf,
  answerName: 'a chat completion',
  readWhole: readCompletion,
  events: () => untilDone,
}

export const completions: Operation = {
  ...json,
  name: 'text_completion',
  paths: ['/v1/completions'],
  upstreamPath: '/completions',
  check: (request) => needs(request, 'prompt'),
  namesPrompt: false,
  usageOnDemand: true,
  keptInput: (request) => toTexts(request.prompt),
  keepsOutput: true,
  outputTokensMax: boundOf,
  answerName: 'a completion',
  readWhole: readCompletion,
  events: () => untilDone,
}

export const embeddings: Operation = {
  ...json,
  name: 'embeddings',
  paths: ['/v1/embeddings'],
  upstreamPath: '/embeddings',
  check: (request) => needs(request, 'input'),
  namesPrompt: false,
  usageOnDemand: false,
  keptInput: (request) => toTexts(request.input),
  keepsOutput: false,
  outputTokensMax: () => 0,
  answerName: 'a list of embeddings',
  readWhole: readEmbeddings,
}

export const operations: readonly Operation[] = [
  chat,
  responses,
  completions,
  embeddings,
  speech,
  transcriptions,
  images,
  imageEdits,
  videos,
]

/** By the names these routes have for it. */
function boundOf({ max_output_tokens: _, ...request }: JsonObject): number | undefined {
  return allowedTokens(request)
}

/** Texts as they are; lists of token numbers as one text each, because a message for each number says nothing. */
function toTexts(given: unknown): unknown {
  if (!Array.isArray(given)) return given
  if (typeof given[0] === 'number') return JSON.stringify(given)
  return given.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)))
}
