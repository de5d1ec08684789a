// Spoiled requests, for as long as given (FUZZ_SECONDS, two by default): whatever the bytes, an orderly end, nothing unreadable
// stored, and what we take an independent library reads as well.

import { afterAll, expect, test } from 'vitest'
import { newBatch } from '../collectors/otlp/aside.ts'
import { decodeRequest } from '../collectors/otlp/decode.ts'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { transcodeRequest } from '../collectors/otlp/json-request.ts'
import { BadSpan, Tally } from '../collectors/otlp/tally.ts'
import { Undecodable } from '../collectors/otlp/wire-reader.ts'
import { Fault } from '../schemas/faults.ts'
import { rows } from './conformance/catalogue.ts'
import type { Fresh } from './conformance/row.ts'
import { readNative } from './native-reader.ts'
import {
  jsonRequest,
  jsonSpan,
  nowMs,
  nowNs,
  oracle,
  type Plain,
  protobufRequest,
} from './otlp-messages.ts'
import { randomOf } from './spool-world.ts'

const seconds = Number(process.env.FUZZ_SECONDS ?? 2)
const seed = Number(process.env.FUZZ_SEED ?? 20_261_120)
// The catalogue has bodies of many MiB; a spoiled one tells nothing more than a spoiled small one.
const corpusBytesMax = 16 * 1024
const editsMax = 4
const tried = { protobuf: 0, json: 0, taken: 0 }

afterAll(() => {
  if (process.env.FUZZ_SECONDS) console.log('fuzzed', { seed, ...tried })
})

const fresh: Fresh = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8), startNs: nowNs }
const spans: Plain[] = [
  jsonSpan({
    parentSpanId: 'ab'.repeat(8),
    traceState: 'a=1',
    attributes: [
      { key: 'http.route', value: { stringValue: '/v1/ü' } },
      { key: 'n', value: { intValue: '-5' } },
      { key: 'd', value: { doubleValue: 1.5 } },
      { key: 'gen_ai.input.messages', value: { stringValue: '[{"role":"user","content":"hi"}]' } },
      { key: 'gen_ai.usage.input_tokens', value: { intValue: 7 } },
      { key: 'l', value: { arrayValue: { values: [{ stringValue: 'x' }, {}] } } },
    ],
    events: [
      {
        timeUnixNano: '5',
        name: 'gen_ai.user.message',
        attributes: [{ key: 'content', value: { stringValue: 'é' } }],
      },
    ],
    links: [{ traceId: 'ef'.repeat(16), spanId: '12'.repeat(8), flags: 257 }],
    status: { code: 2, message: 'broken' },
  }),
  jsonSpan({
    attributes: [
      { key: 'k', value: { stringValue: 'one' } },
      { key: 'k', value: { boolValue: true } },
    ],
  }),
]

const corpus = {
  protobuf: [
    protobufRequest(...spans.map((span) => ({ ...span, links: [] }))),
    ...rows.flatMap((row) => small(row.protobuf?.(fresh))),
  ],
  json: [
    Buffer.from(JSON.stringify(jsonRequest(...spans))),
    ...rows.flatMap((row) => small(row.json?.(fresh))),
  ],
}

function small(body: string | Buffer | undefined): Buffer[] {
  const bytes = Buffer.from(body ?? '')
  return bytes.length > 0 && bytes.length <= corpusBytesMax ? [bytes] : []
}

type Random = () => number

function spoil(random: Random, bodies: Buffer[]): Buffer {
  const below = (max: number) => Math.floor(random() * max)
  const any = () => bodies[below(bodies.length)]!
  let body = any()
  for (let edits = 1 + below(editsMax); edits > 0; edits--) {
    const at = below(body.length + 1)
    const to = Math.min(body.length, at + 1 + below(12))
    const [head, part, tail] = [body.subarray(0, at), body.subarray(at, to), body.subarray(to)]
    const other = any()
    const from = below(other.length)
    const pieces = [
      [head, Buffer.from([below(256)]), body.subarray(at + 1)],
      [head, Buffer.from([below(256)]), body.subarray(at)],
      [head, body.subarray(at + 1)],
      [head, tail],
      [head, part, part, tail],
      [head, other.subarray(from, from + below(60)), tail],
      [head],
    ]
    body = Buffer.concat(pieces[below(pieces.length)]!)
  }
  return body
}

/** The rows of a protobuf body; undefined when it was refused in an orderly way. */
function taken(body: Buffer): { tally: Tally; spans: unknown[]; raws: Buffer[] } | undefined {
  const batch = newBatch()
  const tally = new Tally(false)
  const notes = new EnvelopeBook().open('w')
  const prompts = { link: (_workspace: string, slug: string) => slug }
  if (isRefused(() => decodeRequest({ body, workspace: 'w', prompts, notes, tally, nowMs }, batch)))
    return undefined
  const read = (block: typeof batch.spans | typeof batch.payloads) =>
    block.rows === 0 ? [] : readNative(Buffer.concat(block.seal(1n, 1)))
  return {
    tally,
    spans: read(batch.spans),
    raws: read(batch.payloads).map((row) => row.raw as Buffer),
  }
}

function isRefused<T>(start: () => Generator<void, T, void>, keep?: (result: T) => void): boolean {
  try {
    const steps = start()
    let step = steps.next()
    while (!step.done) step = steps.next()
    keep?.(step.value)
    return false
  } catch (error) {
    const isOrderly =
      error instanceof Undecodable || error instanceof BadSpan || error instanceof Fault
    if (!isOrderly) throw error
    return true
  }
}

function check(body: Buffer): void {
  const found = taken(body)
  if (!found) return
  tried.taken += 1
  const { tally, spans, raws } = found
  expect([spans.length, raws.length]).toEqual(Array(2).fill(tally.spans - tally.rejected))
  for (const raw of raws) oracle.decode('Span', raw)
  // What we repair and what we translate, the oracle refuses or does not know.
  if (tally.deviations.has('invalid_utf8') || tally.deviations.has('legacy_field')) return
  const seen = oracle.decode('ExportTraceServiceRequest', body)
  const list = (value: unknown) => (value ?? []) as Plain[]
  const theirs = list(seen.resourceSpans).flatMap(({ scopeSpans }) =>
    list(scopeSpans).flatMap((scope) => list(scope.spans)),
  )
  expect(theirs).toHaveLength(tally.spans)
}

function forSeconds(round: (random: Random) => Buffer, judge: (body: Buffer) => void): void {
  const random = randomOf(seed)
  const until = performance.now() + (seconds * 1000) / 2
  while (performance.now() < until) {
    const body = round(random)
    try {
      judge(body)
    } catch (error) {
      throw new Error(`this body breaks the law (base64): ${body.toString('base64')}`, {
        cause: error,
      })
    }
  }
}

test(
  'a spoiled protobuf request is refused, or taken as the oracle reads it',
  () => {
    forSeconds(
      (random) => spoil(random, corpus.protobuf),
      (body) => {
        tried.protobuf += 1
        check(body)
      },
    )
    expect(tried.taken).toBeGreaterThan(10)
  },
  seconds * 1000 + 30_000,
)

test(
  'a spoiled JSON request is refused, or becomes a protobuf request that is taken',
  () => {
    forSeconds(
      (random) => spoil(random, corpus.json),
      (body) => {
        tried.json += 1
        let request: Buffer | undefined
        isRefused(
          () => transcodeRequest(body, new Tally(false)),
          (bytes) => {
            request = bytes
          },
        )
        if (request === undefined) return
        JSON.parse(body.toString().replace(/^\ufeff/, ''))
        check(request)
      },
    )
  },
  seconds * 1000 + 30_000,
)
