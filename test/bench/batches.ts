// OTLP batches of new spans, thousands of them in seconds: one request is written with marks in place of ids and times, and each
// batch is a copy with its own put there.

import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { WireWriter } from '../../collectors/otlp/wire-writer.ts'
import {
  encodeResourceEnvelope,
  encodeScopeEnvelope,
  encodeSpanMessage,
} from '../protobuf-writer.ts'

export type Encoding = 'protobuf' | 'json'

const marks = { trace: 'aa'.repeat(16), span: 'bb'.repeat(8), parent: 'cc'.repeat(8) }
const startMark = 1_111_111_111_111_111_111n
const endMark = 1_222_222_222_222_222_222n
const durationNs = 4_200_000n
// Level 1 is what the Collector's exporters use by default.
const gzipLevel = 1

type Place = { at: number; mark: keyof typeof marks | 'start' | 'end' }

/** Makes gzip bodies whose ids and times never repeat. `bytes`: of one body before compression. */
export function batchMaker(
  encoding: Encoding,
  spans: number,
): { bytes: number; next: () => Buffer } {
  const template = encoding === 'json' ? jsonTemplate(spans) : protobufTemplate(spans)
  const places = placesIn(template, encoding)
  return {
    bytes: template.length,
    next: () => gzipSync(filled(template, places, encoding), { level: gzipLevel }),
  }
}

function filled(template: Buffer, places: Place[], encoding: Encoding): Buffer {
  const body = Buffer.from(template)
  const traceId = randomBytes(16)
  const ids = randomBytes(places.length * 8)
  let startNs = BigInt(Date.now()) * 1_000_000n
  places.forEach(({ at, mark }, i) => {
    if (mark === 'start' || mark === 'end') {
      if (mark === 'start') startNs += 1_000n
      const ns = mark === 'start' ? startNs : startNs + durationNs
      if (encoding === 'json') body.write(String(ns), at, 'latin1')
      else body.writeBigUInt64LE(ns, at)
      return
    }
    const id = mark === 'trace' ? traceId : ids.subarray(i * 8, i * 8 + 8)
    if (encoding === 'json') body.write(id.toString('hex'), at, 'latin1')
    else id.copy(body, at)
  })
  return body
}

function placesIn(template: Buffer, encoding: Encoding): Place[] {
  const word = (ns: bigint): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(ns)
    return bytes
  }
  const form = (hex: string) => (encoding === 'json' ? Buffer.from(hex) : Buffer.from(hex, 'hex'))
  const time = (ns: bigint) => (encoding === 'json' ? Buffer.from(String(ns)) : word(ns))
  const patterns: [Place['mark'], Buffer][] = [
    ['trace', form(marks.trace)],
    ['span', form(marks.span)],
    ['parent', form(marks.parent)],
    ['start', time(startMark)],
    ['end', time(endMark)],
  ]
  const places = patterns.flatMap(([mark, pattern]) => {
    const found: Place[] = []
    for (let at = template.indexOf(pattern); at >= 0; at = template.indexOf(pattern, at + 1))
      found.push({ at, mark })
    return found
  })
  return places.sort((a, b) => a.at - b.at)
}

type Value = string | number | boolean

/** About 450 bytes of protobuf with everything around them. */
function attributesOf(i: number): [string, Value][] {
  return [
    ['http.request.method', 'POST'],
    ['http.route', `/v1/items/${i % 40}`],
    ['http.response.status_code', i % 50 === 0 ? 500 : 200],
    ['server.address', 'api.internal'],
    ['server.port', 443],
    ['user_agent.original', 'client/3.1'],
    ['url.full', `https://api.internal/v1/items/${i}?page=${i % 7}`],
    ['network.protocol.version', '1.1'],
    ['session.id', `s-${i % 90}`],
    ['user.id', `u-${i % 300}`],
    ['db.rows', i],
    ['cache.hit', i % 3 === 0],
  ]
}

const resource: [string, Value][] = [
  ['service.name', 'bench'],
  ['service.version', '1.2.3'],
  ['host.name', 'node-1'],
]

function protobufTemplate(spans: number): Buffer {
  const writer = new WireWriter()
  const resourceSpans = writer.begin(1)
  writer.raw(encodeResourceEnvelope(resource))
  const scopeSpans = writer.begin(2)
  writer.raw(encodeScopeEnvelope('bench', '1'))
  for (let i = 0; i < spans; i++)
    writer.bytesField(
      2,
      encodeSpanMessage({
        traceId: marks.trace,
        spanId: marks.span,
        parentSpanId: marks.parent,
        name: `POST /v1/items/${i % 40}`,
        kind: 2,
        startUnixNano: startMark,
        endUnixNano: endMark,
        attributes: attributesOf(i),
      }),
    )
  writer.end(scopeSpans)
  writer.end(resourceSpans)
  return writer.finish()
}

function jsonTemplate(spans: number): Buffer {
  const list = (attributes: [string, Value][]) =>
    attributes.map(([key, value]) => ({ key, value: toAnyValue(value) }))
  const request = {
    resourceSpans: [
      {
        resource: { attributes: list(resource) },
        scopeSpans: [
          {
            scope: { name: 'bench', version: '1' },
            spans: Array.from({ length: spans }, (_, i) => ({
              traceId: marks.trace,
              spanId: marks.span,
              parentSpanId: marks.parent,
              name: `POST /v1/items/${i % 40}`,
              kind: 2,
              startTimeUnixNano: String(startMark),
              endTimeUnixNano: String(endMark),
              attributes: list(attributesOf(i)),
              status: {},
            })),
          },
        ],
      },
    ],
  }
  return Buffer.from(JSON.stringify(request))
}

function toAnyValue(value: Value): Record<string, unknown> {
  if (typeof value === 'string') return { stringValue: value }
  return typeof value === 'number' ? { intValue: String(value) } : { boolValue: value }
}
