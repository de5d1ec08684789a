// What the sandbox answers on one route: pieces of a body, in the order they are played, or a sentence that says why not.

import { createHash } from 'node:crypto'
import type { JsonObject } from '../operation.ts'
import type { UpstreamRequest } from '../upstream.ts'
import { isObject } from '../usage.ts'

export type Reply =
  | { contentType: string; pieces: Buffer[]; isStream: boolean; requestId: string }
  | { mistake: string }

export type Replier = (request: UpstreamRequest) => Reply

/** The request's object, and a name that is the same for the same bytes. */
export function readRequest(request: UpstreamRequest): { asked: JsonObject; digest: string } {
  const { body, upload } = request
  if (upload) {
    const asked: JsonObject = Object.fromEntries(upload.fields)
    const names = upload.files.map(({ field, ref }) => `${field}=${ref.sha256}`)
    return { asked, digest: digestOf(JSON.stringify([upload.fields, names])) }
  }
  const asked: unknown = JSON.parse(body.toString()) // the proxy has parsed the same bytes before
  return { asked: isObject(asked) ? asked : {}, digest: digestOf(body) }
}

export function digestOf(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 24)
}

export function whole(contentType: string, body: Buffer | string, digest: string): Reply {
  const pieces = [typeof body === 'string' ? Buffer.from(body) : body]
  return { contentType, pieces, isStream: false, requestId: `sandbox-${digest}` }
}

export function json(value: object, digest: string): Reply {
  return whole('application/json', JSON.stringify(value), digest)
}

export function events(list: string[], digest: string): Reply {
  const pieces = list.map((text) => Buffer.from(text))
  const contentType = 'text/event-stream; charset=utf-8'
  return { contentType, pieces, isStream: true, requestId: `sandbox-${digest}` }
}

/** An event that says in its type what it is. */
export function typed(type: string, members: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`
}

export function clip(text: string, charsMax: number): string {
  return text.length <= charsMax
    ? text
    : `${text.slice(0, charsMax).replace(/[\uD800-\uDBFF]$/, '')}…`
}
