// Embeddings in the form that was asked for: base64 of little-endian float32, or lists of numbers. An upstream that knows
// only one of them is asked again for that one, and its answer is converted; an answer in the right form passes as it came.

import { JsonExchange } from './json-exchange.ts'
import { asNumber } from './plain.ts'
import type { Upstream } from './upstream.ts'
import { isObject } from './usage.ts'

type Form = 'base64' | 'float'

const path = '/embeddings'
const floatBytes = 4
const lookBytes = 4096

export function convertingUpstream(upstream: Upstream): Upstream {
  return {
    ...upstream,
    call(request, handler) {
      if (request.operation.upstreamPath !== path) return upstream.call(request, handler)
      const parsed: unknown = JSON.parse(request.body.toString()) // the proxy has parsed the same bytes before
      const asked = isObject(parsed) ? parsed : {}
      const form: Form = asked.encoding_format === 'base64' ? 'base64' : 'float'
      return new JsonExchange(upstream, {
        request,
        handler,
        change: {
          changed: (body) => inForm(body, form),
          // Both official SDKs ask for base64 when their users asked for nothing.
          again: (refusal) =>
            form === 'base64' &&
            /encoding_format|base64/.test(refusal.toString('latin1', 0, lookBytes))
              ? Buffer.from(JSON.stringify({ ...asked, encoding_format: 'float' }))
              : undefined,
        },
      })
    },
  }
}

/** The same bytes when every vector is in that form already, or when the body is no list of embeddings. */
export function inForm(body: Buffer, form: Form): Buffer {
  // The first vector shows the form of all of them, without parsing millions of digits.
  const [, opening] = /"embedding"\s*:\s*(["[])/.exec(body.toString('latin1', 0, lookBytes)) ?? []
  if (opening === (form === 'base64' ? '"' : '[')) return body
  let answer: unknown
  try {
    answer = JSON.parse(body.toString())
  } catch {
    return body // the proxy says what it thinks of it
  }
  if (!isObject(answer) || !Array.isArray(answer.data)) return body
  let changed = false
  for (const item of answer.data) {
    if (!isObject(item)) continue
    const { embedding } = item
    if (form === 'base64' && Array.isArray(embedding)) item.embedding = toBase64(embedding)
    else if (form === 'float' && typeof embedding === 'string') item.embedding = toFloats(embedding)
    changed ||= item.embedding !== embedding
  }
  return changed ? Buffer.from(JSON.stringify(answer)) : body
}

function toBase64(vector: unknown[]): string {
  const bytes = Buffer.allocUnsafe(vector.length * floatBytes)
  vector.forEach((value, i) => {
    bytes.writeFloatLE(asNumber(value), i * floatBytes)
  })
  return bytes.toString('base64')
}

function toFloats(text: string): number[] {
  const bytes = Buffer.from(text, 'base64')
  const vector: number[] = []
  for (let at = 0; at + floatBytes <= bytes.length; at += floatBytes)
    vector.push(bytes.readFloatLE(at))
  return vector
}
