// What the rows of the table that take a JSON object have in common.

import type { IncomingMessage } from 'node:http'
import { toInputObject } from '../../schemas/commit.ts'
import { Fault } from '../../schemas/faults.ts'
import { readBody } from '../body.ts'
import { parseJson } from '../json-body.ts'
import { spliceModel } from './json-splice.ts'
import type { JsonObject, Received, Receiving } from './operation.ts'
import { isObject } from './usage.ts'

// Enough for a request with several images inside; larger ones belong in files.
const bodyBytesMax = 25 * 1024 * 1024
const bodyDeadlineMs = 60_000

/** JSON in, JSON out. */
export const json = {
  receive: receiveJson,
  committedInput: toInputObject,
  withModel: spliceModel,
  mayBeWhole: isObjectText,
} as const

/** A JSON object, whole and within its bounds. */
export async function receiveJson(
  req: IncomingMessage,
  { lease }: Pick<Receiving, 'lease'>,
): Promise<Received> {
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

/**
 * The tokens of output that a request allows, over all its choices; `best_of` are made too, and billed. Of two bounds the larger
 * one, for an upstream heeds the one it knows.
 */
export function allowedTokens(request: JsonObject): number | undefined {
  const { max_completion_tokens, max_tokens, max_output_tokens, n, best_of } = request
  const bounds = [max_completion_tokens, max_tokens, max_output_tokens].filter(isNumber)
  if (bounds.length === 0) return undefined
  return Math.ceil(Math.max(0, ...bounds)) * Math.max(1, ...[n, best_of].filter(isNumber))
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number'
}
