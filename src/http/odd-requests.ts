// Requests that no honest client sends, and that proxies disagree about: refused before anything looks at them.

import type { IncomingMessage } from 'node:http'
import type { Context, Next } from 'koa'
import { Fault } from '../../schemas/faults.ts'

// Node would drop the headers beyond its own limit in silence, the key perhaps among them; so its limit is off and this is ours.
const headersMax = 100

// Headers that decide who calls and what is read: sent twice with two values, two parties would believe two things.
const single = new Set(['authorization', 'content-type'])
const keyParameter = /(^|&)(api_?key|access_token)=/i

export function refuseOddRequests(ctx: Context, next: Next): Promise<void> {
  refuseOdd(ctx.req)
  return next()
}

/** Throws what is wrong with a request's head. */
export function refuseOdd(req: IncomingMessage): void {
  const { rawHeaders, url, method, httpVersion } = req
  if (httpVersion !== '1.1') refuseVersion(req)
  if (url?.[0] !== '/') {
    throw new Fault('invalid_request', { message: 'The request target must be a path.' })
  }
  if (method === 'TRACE') {
    throw new Fault('method_not_allowed', { headers: { Allow: 'GET, HEAD, POST' } })
  }
  if (rawHeaders.length > 2 * headersMax) {
    throw new Fault('headers_too_large', { message: `More than ${headersMax} headers.` })
  }
  const hosts = refuseDoubled(rawHeaders)
  if (hosts > 1) throw new Fault('invalid_request', { message: 'Two Host headers.' })
  if (hosts === 0 && httpVersion === '1.1')
    throw new Fault('invalid_request', { message: 'A Host header is missing.' })
  const query = url.indexOf('?')
  if (query >= 0 && keyParameter.test(url.slice(query + 1))) {
    throw new Fault('unauthorized', {
      message:
        'Keys in the query string are not accepted: they end up in logs. Use the Authorization header.',
    })
  }
}

/** 1.0 has no chunks: whoever stands in front, and believes the length or the end instead, would see another request than we do. */
function refuseVersion({ httpVersion, headers }: IncomingMessage): void {
  if (httpVersion !== '1.0')
    throw new Fault('invalid_request', { message: `HTTP/${httpVersion} is not spoken here.` })
  if (headers['transfer-encoding'] !== undefined)
    throw new Fault('invalid_request', { message: 'HTTP/1.0 has no transfer encodings.' })
}

/** How many Host headers there are; throws for what may be there twice only with one value. */
function refuseDoubled(rawHeaders: string[]): number {
  let hosts = 0
  let seen: Record<string, string> | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const { length } = rawHeaders[i]!
    // Only names of these lengths can be one of those asked for; the rest is not looked at.
    if (length !== 4 && length !== 12 && length !== 13) continue
    const name = rawHeaders[i]!.toLowerCase()
    if (name === 'host') hosts += 1
    else if (single.has(name)) {
      const value = rawHeaders[i + 1]!
      seen ??= {}
      if (seen[name] !== undefined && seen[name] !== value) {
        throw new Fault('invalid_request', { message: `Two different ${name} headers.` })
      }
      seen[name] = value
    }
  }
  return hosts
}
