// Which headers of an upstream's answer reach the client: these, and no other (no cookies, no CORS, nothing hop-by-hop).

import type { IncomingHttpHeaders } from 'node:http'

const passed: readonly (readonly [string, string])[] = [
  ['content-type', 'Content-Type'],
  ['retry-after', 'Retry-After'],
  ['retry-after-ms', 'retry-after-ms'],
  ['x-should-retry', 'x-should-retry'],
  ['openai-model', 'openai-model'],
  ['openai-organization', 'openai-organization'],
  ['openai-poll-after-ms', 'openai-poll-after-ms'],
  ['openai-processing-ms', 'openai-processing-ms'],
  ['openai-project', 'openai-project'],
  ['openai-version', 'openai-version'],
  ['x-ratelimit-limit-requests', 'x-ratelimit-limit-requests'],
  ['x-ratelimit-limit-tokens', 'x-ratelimit-limit-tokens'],
  ['x-ratelimit-remaining-requests', 'x-ratelimit-remaining-requests'],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-remaining-tokens'],
  ['x-ratelimit-reset-requests', 'x-ratelimit-reset-requests'],
  ['x-ratelimit-reset-tokens', 'x-ratelimit-reset-tokens'],
]

const passedInPrivate = passed.filter(([key]) => !key.startsWith('openai-'))

const idCharsMax = 256
// What Node sends in a header without an error.
const sendable = /^[\t\x20-\x7e]*$/

/** Adds the passed headers to a list of names and values in turn. A route that is not public keeps back who its provider is. */
export function pushAnswerHeaders(
  list: string[],
  headers: IncomingHttpHeaders,
  isPublic: boolean,
): void {
  for (const [key, name] of isPublic ? passed : passedInPrivate) {
    const value = headers[key]
    // Where a limit of ours is told, another's would make nonsense of it.
    if (value !== undefined && key.startsWith('x-ratelimit-') && list.includes(name)) continue
    if (typeof value === 'string' && sendable.test(value)) list.push(name, value)
  }
}

export function upstreamRequestIdOf(headers: IncomingHttpHeaders): string | null {
  const id = headers['x-request-id']
  return typeof id === 'string' && id !== '' && sendable.test(id) ? id.slice(0, idCharsMax) : null
}

/** True when the body is in an encoding we did not ask for and cannot look into. */
export function isEncoded(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['content-encoding']
  return encoding !== undefined && encoding !== 'identity' && encoding !== ''
}

export function isEventStream(headers: IncomingHttpHeaders): boolean {
  return /^text\/event-stream\b/i.test(headers['content-type'] ?? '')
}
