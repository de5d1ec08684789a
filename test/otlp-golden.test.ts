// Every combination of what a span may have and lack, through the whole product: sent, stored in ClickHouse, exported, equal.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { flatten, oracle, type Plain, toJson, toOracle } from './otlp-messages.ts'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.end())

const nowNs = BigInt(Date.now()) * 1_000_000n
const some: Plain[] = [
  { key: 'text', value: { stringValue: 'é 🦊' } },
  { key: 'int', value: { intValue: '-9223372036854775808' } },
  { key: 'double', value: { doubleValue: 0.1 } },
  { key: 'bool', value: { boolValue: false } },
  { key: 'bytes', value: { bytesValue: Buffer.from([0, 255]) } },
  { key: 'list', value: { arrayValue: { values: [{ stringValue: '' }, { intValue: '0' }, {}] } } },
  { key: 'map', value: { kvlistValue: { values: [{ key: '', value: { doubleValue: 7 } }] } } },
  { key: 'none', value: {} },
  { key: 'text', value: { stringValue: 'again' } },
]
const event = (over: Plain): Plain => ({ timeUnixNano: String(nowNs), ...over })
const link = (over: Plain): Plain => ({
  traceId: Buffer.alloc(16, 0x11),
  spanId: Buffer.alloc(8, 0x22),
  ...over,
})

/** The dimensions and values of the Collector's golden data set, and what has been added to spans since. */
const dimensions: Record<string, Plain[]> = {
  parent: [{}, { parentSpanId: Buffer.alloc(8, 0x33) }],
  state: [{}, { traceState: 'a=1' }, { traceState: `b=2,${'c'.repeat(250)}=3` }],
  kind: [0, 1, 2, 3, 4, 5, 99].map((kind) => ({ kind })),
  attributes: [
    {},
    { attributes: some },
    { attributes: some.slice(0, 1), droppedAttributesCount: 7 },
  ],
  events: [
    {},
    { events: [event({ name: 'one' })] },
    {
      events: [event({ attributes: some }), event({ name: '' })],
      droppedEventsCount: 4_294_967_295,
    },
  ],
  links: [
    {},
    {
      links: [link({ traceState: 'x=y', flags: 0x301 }), link({ attributes: some })],
      droppedLinksCount: 2,
    },
  ],
  status: [{}, { status: {} }, { status: { code: 1 } }, { status: { code: 2, message: 'broken' } }],
  flags: [{}, { flags: 0xffffffff }],
}

/** Two by two: every pair of values of every two dimensions is in some span, and no span is like another. */
function combinations(): Plain[] {
  const names = Object.keys(dimensions)
  const spans = new Map<string, Plain>()
  names.forEach((first, i) => {
    for (const second of names.slice(i + 1))
      dimensions[first]!.forEach((_, a) => {
        dimensions[second]!.forEach((_, b) => {
          const chosen = names.map((name, n) => {
            const values = dimensions[name]!
            if (name === first) return a
            return name === second ? b : (a * 7 + b * 3 + n) % values.length
          })
          const span = Object.assign({}, ...names.map((name, n) => dimensions[name]![chosen[n]!]))
          spans.set(chosen.join(), span)
        })
      })
  })
  return [...spans.values()]
}

function requestOf(traceId: string): { resourceSpans: Plain[]; count: number } {
  const spans = combinations().map((span, i) =>
    toOracle({
      traceId,
      spanId: (i + 1).toString(16).padStart(16, '0'),
      name: i % 5 === 0 ? '' : `combination ${i}`,
      startTimeUnixNano: String(nowNs - 5_000n),
      endTimeUnixNano: String(i % 7 === 0 ? 0n : nowNs),
      ...span,
    }),
  )
  const half = spans.length >> 1
  const resourceSpans = [
    {
      resource: { attributes: some, droppedAttributesCount: 1, entityRefs: [{ type: 'service' }] },
      schemaUrl: 'https://resource',
      scopeSpans: [
        {
          scope: { name: 'lib', version: '1', attributes: some, droppedAttributesCount: 2 },
          schemaUrl: 'https://scope',
          spans: spans.slice(0, half),
        },
      ],
    },
    { scopeSpans: [{ spans: spans.slice(half) }] },
  ]
  return { resourceSpans, count: spans.length }
}

async function exported(traceId: string, format: string): Promise<Buffer> {
  const query = `trace_id=${traceId}&limit=1000&format=${format}`
  const response = await fetch(`${world.url}/v1/otlp/export?${query}`, {
    headers: { authorization: `Bearer ${world.key}` },
  })
  expect(response.status).toBe(200)
  return Buffer.from(await response.arrayBuffer())
}

async function send(body: string | Buffer): Promise<string> {
  const response = await fetch(`${world.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${world.key}`,
      'content-type': typeof body === 'string' ? 'application/json' : 'application/x-protobuf',
    },
    body: typeof body === 'string' ? body : new Uint8Array(body),
  })
  expect(response.status).toBe(200)
  return response.text()
}

const decoded = (bytes: Buffer) => flatten(oracle.decode('ExportTraceServiceRequest', bytes))

test.each([
  ['protobuf', 'a5'.repeat(16)],
  ['json', 'a6'.repeat(16)],
])(
  'every pair of values, sent as %s, is exported as it came in both encodings',
  async (encoding, traceId) => {
    const { resourceSpans, count } = requestOf(traceId)
    expect(count).toBeGreaterThan(100)
    const sent = oracle.encode('ExportTraceServiceRequest', { resourceSpans })
    const answer = await send(encoding === 'json' ? toJson(resourceSpans) : sent)
    expect(answer).toBe(encoding === 'json' ? '{}' : '')
    const wanted = decoded(sent)
    expect(wanted).toHaveLength(count)
    expect(decoded(await exported(traceId, 'protobuf'))).toEqual(wanted)
    // JSON has one reader here, our own: what it made of the export, sent under another trace, is compared in protobuf again.
    const json = (await exported(traceId, 'json')).toString()
    const other = `b${traceId.slice(1)}`
    expect(await send(json.replaceAll(traceId, other))).toBe('{}')
    const again = decoded(await exported(other, 'protobuf'))
    const renamed = wanted.map((one) => ({
      ...one,
      span: { ...(one.span as Plain), traceId: Buffer.from(other, 'hex') },
    }))
    expect(again).toEqual(renamed)
  },
)
