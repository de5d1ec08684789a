// An upstream's failure as OpenAI's clients read it. Law: what leaves with an error status is JSON and has an `error` object. One
// that has it passes as it came; a page, nothing, or another API's words are told inside it.

import type { ErrorType } from '../../schemas/faults.ts'
import { messageCharsMax, parseObject, readError } from './completion.ts'
import { isObject } from './usage.ts'

/** `error` is what is kept of it, `body` what leaves. */
export type ErrorAnswer = { error: { code: string; message: string }; body: Buffer }

export function toErrorAnswer(status: number, body: Buffer): ErrorAnswer {
  const given = parseObject(body)
  if (isObject(given?.error)) return { error: readError(given.error), body }
  const message = given ? ownWords(given) : plainText(body)
  const error = {
    message: message?.slice(0, messageCharsMax) ?? `The upstream answered with ${status}.`,
    type: typeOf(status),
    param: null,
    code: 'upstream_error',
  }
  return { error, body: Buffer.from(JSON.stringify({ error })) }
}

/** Where other APIs put the sentence: Ollama, vLLM, FastAPI. */
function ownWords({ error, message, detail }: Record<string, unknown>): string | undefined {
  return [error, message, detail].find((it): it is string => typeof it === 'string' && it !== '')
}

/** A sentence without a form; no page, no bytes. */
function plainText(body: Buffer): string | undefined {
  const text = body.toString('utf8', 0, 4 * messageCharsMax).trim()
  return text === '' || /^[<[]|[^\P{C}\s]|\ufffd/u.test(text) ? undefined : text
}

function typeOf(status: number): ErrorType {
  if (status === 429) return 'rate_limit_error'
  return status >= 500 ? 'api_error' : 'invalid_request_error'
}
