// Every kind of inference the proxy answers, one row each.

import type { IncomingMessage } from 'node:http'
import { toInputObject } from '../../schemas/commit.ts'
import { Fault } from '../../schemas/faults.ts'
import { type Lease, readBody } from '../body.ts'
import { parseJson } from '../json-body.ts'
import { readCompletion } from './completion.ts'
import { readEmbeddings } from './embeddings.ts'
import type { EventStream, JsonObject, Operation, Received } from './operation.ts'
import { doneTerminal } from './sse-blocks.ts'
import { SseTap } from './sse-tap.ts'
import { isObject } from './usage.ts'

// Enough for a request with several images inside; larger ones belong in files.
const bodyBytesMax = 25 * 1024 * 1024
const bodyDeadlineMs = 60_000

/** Events that end with `data: [DONE]`. */
const untilDone: EventStream = {
  tap: () => new SseTap(),
  terminal: doneTerminal,
  breakWith: (fault, comment) =>
    `${comment === undefined ? '' : `${comment}\n`}data: ${JSON.stringify(fault.toBody())}\n\n`,
}

/** What the rows of JSON in, JSON out have in common. */
const json = {
  receive: receiveJson,
  committedInput: toInputObject,
  mayBeWhole: isObjectText,
} as const

export const chat: Operation = {
  ...json,
  name: 'chat',
  paths: ['/v1/chat/completions'],
  upstreamPath: '/chat/completions',
  check: (request) => needs(request, 'messages'),
  namesPrompt: true,
  usageOnDemand: true,
  keptInput: (request) => request.messages,
  keepsOutput: true,
  outputTokensMax: allowedTokens,
  answerName: 'a chat completion',
  readWhole: readCompletion,
  events: untilDone,
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
  outputTokensMax: allowedTokens,
  answerName: 'a completion',
  readWhole: readCompletion,
  events: untilDone,
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

export const operations: readonly Operation[] = [chat, completions, embeddings]

/** A JSON object, whole and within its bounds. */
export async function receiveJson(req: IncomingMessage, lease: Lease): Promise<Received> {
  const type = req.headers['content-type']
  if (type !== undefined && !/^application\/([a-z0-9.-]+\+)?json\s*(;|$)/i.test(type)) {
    throw new Fault('unsupported_media_type', { message: 'Send application/json.' })
  }
  const body = await readBody(req, {
    limitBytes: bodyBytesMax,
    deadlineMs: bodyDeadlineMs,
    encodings: ['gzip'],
    lease,
  })
  const request = parseJson(body)
  if (!isObject(request)) {
    throw new Fault('invalid_request', { message: 'The body must be a JSON object.' })
  }
  return { request, body, contentType: 'application/json' }
}

/** Throws `invalid_request` when a member is missing. */
export function needs(request: JsonObject, name: string): void {
  if (request[name] !== undefined && request[name] !== null) return
  const verb = name.endsWith('s') ? 'are' : 'is'
  throw new Fault('invalid_request', { message: `${name} ${verb} missing.`, param: name })
}

/** A page, or nothing, with a status of success is what a wrong base URL brings. */
export function isObjectText(body: Buffer): boolean {
  return /^\s*\{/.test(body.toString('latin1', 0, 64))
}

/** Over all choices; `best_of` are made too, and billed. */
function allowedTokens(request: JsonObject): number | undefined {
  const each = request.max_completion_tokens ?? request.max_tokens
  if (typeof each !== 'number' || !(each >= 0)) return undefined
  const choices = [request.n, request.best_of].filter((it) => typeof it === 'number')
  return Math.ceil(each) * Math.max(1, ...choices)
}

/** Texts as they are; lists of token numbers as one text each, because a message for each number says nothing. */
function toTexts(given: unknown): unknown {
  if (!Array.isArray(given)) return given
  if (typeof given[0] === 'number') return JSON.stringify(given)
  return given.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)))
}
