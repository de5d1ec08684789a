// What went in comes out equal, for any span, through either encoding, judged by an independent protobuf library.
// And whatever a mutation makes of a request: an answer, and all of it stored or none.

import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { assemble, type ExportRow } from '../collectors/otlp/export.ts'
import { readResource, readScope, readSpan } from '../collectors/otlp/span-view.ts'
import { flatten, normal, toJson } from './otlp-messages.ts'
import { nowNs, openWorld, oracle, type Plain, type World, workspace } from './otlp-world.ts'
import { type AnyValueInput, encodeSpanMessage } from './protobuf-writer.ts'

const seed = 20261120
let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())
beforeEach(reset)

function reset(): void {
  for (const rows of Object.values(world.stored)) rows.length = 0
}

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)
const u32 = fc.nat(0xffffffff)
const text = fc
  .string({ unit: 'binary', maxLength: 20 })
  .filter((value) => !/\p{Surrogate}/u.test(value))
const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((value) => Buffer.from(value))
const id = (length: number) => bytes(length).filter((value) => value.some((byte) => byte !== 0))

const { keyValue } = fc.letrec<{ anyValue: Plain; keyValue: Plain }>((tie) => ({
  anyValue: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant({}),
    text.map((stringValue) => ({ stringValue })),
    fc.boolean().map((boolValue) => ({ boolValue })),
    fc
      .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
      .map((value) => ({ intValue: String(value) })),
    fc.double().map((doubleValue) => ({ doubleValue })),
    fc.uint8Array({ maxLength: 9 }).map((value) => ({ bytesValue: Buffer.from(value) })),
    fc.array(tie('anyValue'), { maxLength: 3 }).map((values) => ({ arrayValue: { values } })),
    fc.array(tie('keyValue'), { maxLength: 3 }).map((values) => ({ kvlistValue: { values } })),
  ),
  keyValue: fc.record({ key: text, value: tie('anyValue') }),
}))
const attributes = fc.array(keyValue, { maxLength: 5 })
const span = fc.record(
  {
    traceId: id(16),
    spanId: id(8),
    startTimeUnixNano: fc.bigInt({ min: nowNs - 10n ** 18n, max: nowNs }).map(String),
    traceState: text,
    parentSpanId: fc.oneof(bytes(8), bytes(0)),
    name: text,
    kind: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    endTimeUnixNano: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }).map(String),
    attributes,
    droppedAttributesCount: u32,
    events: fc.array(
      fc.record({ timeUnixNano: u64, name: text, attributes, droppedAttributesCount: u32 }),
      { maxLength: 2 },
    ),
    droppedEventsCount: u32,
    links: fc.array(
      fc.record({
        traceId: bytes(16),
        spanId: bytes(8),
        traceState: text,
        attributes,
        droppedAttributesCount: u32,
        flags: u32,
      }),
      { maxLength: 2 },
    ),
    droppedLinksCount: u32,
    status: fc.record({ message: text, code: fc.nat(5) }),
    flags: u32,
  },
  { requiredKeys: ['traceId', 'spanId', 'startTimeUnixNano'] },
)
const entityRefs = fc.array(
  fc.record({ schemaUrl: text, type: text, idKeys: fc.array(text, { maxLength: 2 }) }),
  { maxLength: 2 },
)
const request = fc.array(
  fc.record({
    resource: fc.record({ attributes, droppedAttributesCount: u32, entityRefs }),
    schemaUrl: text,
    scopeSpans: fc.array(
      fc.record({
        scope: fc.record({ name: text, version: text, attributes, droppedAttributesCount: u32 }),
        schemaUrl: text,
        spans: fc.array(span, { minLength: 1, maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 2 },
    ),
  }),
  { minLength: 1, maxLength: 2 },
)

describe('losslessness', () => {
  test('any request comes out of the export equal to what went in: protobuf or JSON in, protobuf or JSON out', async () => {
    await fc.assert(
      fc.asyncProperty(request, async (resourceSpans) => {
        const sent = oracle.encode('ExportTraceServiceRequest', { resourceSpans })
        const wanted = flatten(oracle.decode('ExportTraceServiceRequest', sent))
        for (const body of [sent, toJson(resourceSpans)]) {
          reset()
          world.forgetEnvelopes()
          const answer = await world.post(body)
          expect([answer.status, answer.body.toString()]).toEqual([
            200,
            typeof body === 'string' ? '{}' : '',
          ])
          const rows = exportRows()
          const out = assemble(rows, 'protobuf')
          expect(flatten(oracle.decode('ExportTraceServiceRequest', out))).toEqual(wanted)
          const json = assemble(rows, 'json')
          reset()
          world.forgetEnvelopes()
          expect((await world.post(json.toString())).body.toString()).toBe('{}')
          const again = assemble(exportRows(), 'protobuf')
          expect(flatten(oracle.decode('ExportTraceServiceRequest', again))).toEqual(wanted)
        }
      }),
      { seed, numRuns: 60 },
    )
  }, 60_000)

  test('JSON lines are one TracesData a resource, and each line is a request of its own', async () => {
    const [resourceSpans] = fc.sample(
      request.filter((list) => list.length === 2),
      { seed, numRuns: 1 },
    )
    await world.post(oracle.encode('ExportTraceServiceRequest', { resourceSpans }))
    const lines = assemble(exportRows(), 'jsonl').toString().trimEnd().split('\n')
    const spans = world.stored.spans.length
    reset()
    for (const line of lines) expect((await world.post(line)).status).toBe(200)
    expect(world.stored.spans).toHaveLength(spans)
  })

  test('doubles and 64-bit integers are exact in JSON', async () => {
    const values: Plain[] = [
      { doubleValue: Number.NaN },
      { doubleValue: Number.POSITIVE_INFINITY },
      { doubleValue: Number.NEGATIVE_INFINITY },
      { doubleValue: -0 },
      { doubleValue: 5e-324 },
      { doubleValue: 1.7976931348623157e308 },
      { doubleValue: 0.1 + 0.2 },
      { intValue: '-9223372036854775808' },
      { intValue: '9007199254740993' },
    ]
    const span = oracle.encode('Span', { attributes: values.map((value) => ({ key: 'k', value })) })
    const none = Buffer.alloc(0)
    const json = JSON.parse(assemble([{ resource: none, scope: none, span }], 'json').toString())
    const out = json.resourceSpans[0].scopeSpans[0].spans[0].attributes.map(
      ({ value }: Plain) => value,
    )
    expect(out).toEqual([
      { doubleValue: 'NaN' },
      { doubleValue: 'Infinity' },
      { doubleValue: '-Infinity' },
      ...values.slice(3),
    ])
  })
})

describe('the view of a span', () => {
  test('holds every field, and a repeated message is merged as protobuf merges it', () => {
    const encoded = encodeSpanMessage({
      traceId: '5b8efff798038103d269b633813fc60c',
      spanId: 'eee19b7ec3c1b174',
      parentSpanId: undefined,
      traceState: 'a=1',
      name: 'n',
      kind: 3,
      startUnixNano: nowNs,
      endUnixNano: 2n ** 63n,
      attributes: attributeValues,
      events: [{ timeUnixNano: 5n, name: 'e', attributes: [['a', 1]] }],
      links: [{ traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8), flags: 0x301 }],
      status: { code: 2, message: 'broken' },
      flags: 0x80000001,
    })
    const second = oracle.encode('Span', { status: { code: 1 } })
    expect(readSpan(Buffer.concat([encoded, second]))).toEqual({
      traceId: '5b8efff798038103d269b633813fc60c',
      spanId: 'eee19b7ec3c1b174',
      parentSpanId: '',
      traceState: 'a=1',
      name: 'n',
      kind: 3,
      startUnixNano: nowNs,
      endUnixNano: 2n ** 63n,
      attributes: [
        ['string', 'é'],
        ['empty', ''],
        ['bool', false],
        ['int', 7n],
        ['big', -(2n ** 63n)],
        ['double', 0.5],
        ['integral double', 7],
        ['none', null],
        ['bytes', Buffer.from([0, 255])],
        ['list', ['a', [1n, null]]],
        ['map', new Map([['__proto__', 1n]])],
      ],
      droppedAttributesCount: 0,
      events: [{ timeUnixNano: 5n, name: 'e', attributes: [['a', 1n]], droppedAttributesCount: 0 }],
      droppedEventsCount: 0,
      links: [
        {
          traceId: 'ab'.repeat(16),
          spanId: 'cd'.repeat(8),
          traceState: '',
          attributes: [],
          droppedAttributesCount: 0,
          flags: 0x301,
        },
      ],
      droppedLinksCount: 0,
      status: { code: 1, message: 'broken' },
      flags: 0x80000001,
    })
  })

  test('what the writer makes, the oracle reads', () => {
    fc.assert(
      fc.property(span, (fields) => {
        const encoded = oracle.encode('Span', fields)
        const view = readSpan(encoded)
        const written = encodeSpanMessage({
          ...view,
          parentSpanId: view.parentSpanId === '' ? undefined : view.parentSpanId,
          attributes: [],
          events: [],
          links: view.links.map((link) => ({ ...link, attributes: [] })),
        })
        const expected = oracle.decode('Span', encoded)
        for (const name of [
          'attributes',
          'events',
          'droppedAttributesCount',
          'droppedEventsCount',
          'droppedLinksCount',
        ])
          delete expected[name]
        if (Object.keys(normal((expected.status as Plain) ?? {})).length === 0)
          delete expected.status
        const links = expected.links as Plain[] | undefined
        for (const link of links ?? []) {
          delete link.attributes
          delete link.droppedAttributesCount
        }
        expect(normal(oracle.decode('Span', written))).toEqual(normal(expected))
      }),
      { seed, numRuns: 100 },
    )
  })

  test('an envelope shows its resource, its scope and their schemas', () => {
    const attributes = [{ key: 'k', value: { stringValue: 'v' } }]
    const resource = oracle.encode('ResourceSpans', { resource: { attributes }, schemaUrl: 's1' })
    const scope = oracle.encode('ScopeSpans', {
      scope: { name: 'n', version: '2' },
      schemaUrl: 's2',
    })
    expect([readResource(resource), readScope(scope)]).toEqual([
      { attributes: [['k', 'v']], droppedAttributesCount: 0, schemaUrl: 's1' },
      { name: 'n', version: '2', attributes: [], droppedAttributesCount: 0, schemaUrl: 's2' },
    ])
  })
})

describe('mutation', () => {
  test('whatever becomes of the bytes of a request, it is answered, and stored whole or not at all', async () => {
    const base = fc.sample(request, { seed, numRuns: 20 })
    const bodies = base.flatMap((resourceSpans): (Buffer | string)[] => [
      oracle.encode('ExportTraceServiceRequest', { resourceSpans }),
      toJson(resourceSpans),
    ])
    const mutation = fc.record({
      body: fc.nat(bodies.length - 1),
      edits: fc.array(fc.record({ at: fc.nat(10_000), byte: fc.nat(255), how: fc.nat(3) }), {
        minLength: 1,
        maxLength: 4,
      }),
    })
    const seen = new Set<number>()
    await fc.assert(
      fc.asyncProperty(mutation, async ({ body, edits }) => {
        reset()
        const original = bodies[body]!
        let mutant: Buffer = Buffer.from(original)
        for (const edit of edits) mutant = mutate(mutant, edit)
        const type = typeof original === 'string' ? 'application/json' : 'application/x-protobuf'
        const answer = await world.post(mutant, { type })
        seen.add(answer.status)
        expect([200, 400]).toContain(answer.status)
        expect(answer.headers.get('content-type')).toBe(type)
        expect(world.stored.payloads).toHaveLength(world.stored.spans.length)
        if (answer.status === 400) expect(world.stored.spans).toHaveLength(0)
        for (const row of world.stored.spans) expect(row.workspace).toBe(workspace)
        for (const { raw } of world.stored.payloads) oracle.decode('Span', raw as Buffer)
      }),
      { seed, numRuns: 600 },
    )
    expect(seen).toEqual(new Set([200, 400]))
  }, 60_000)
})

const attributeValues: [string, AnyValueInput][] = [
  ['string', 'é'],
  ['empty', ''],
  ['bool', false],
  ['int', 7],
  ['big', -(2n ** 63n)],
  ['double', 0.5],
  ['integral double', { double: 7 }],
  ['none', null],
  ['bytes', new Uint8Array([0, 255])],
  ['list', ['a', [1, null]]],
  ['map', new Map([['__proto__', 1]])],
]

function mutate(bytes: Buffer, edit: { at: number; byte: number; how: number }): Buffer {
  const at = edit.at % (bytes.length + 1)
  const head = bytes.subarray(0, at)
  const one = Buffer.from([edit.byte])
  if (edit.how === 0) return Buffer.concat([head, one, bytes.subarray(at)])
  if (edit.how === 1) return Buffer.concat([head, bytes.subarray(at + 1)])
  if (edit.how === 2) return Buffer.concat([head, one, bytes.subarray(at + 1)])
  return Buffer.from(head)
}

function exportRows(): ExportRow[] {
  const byHash = new Map(world.stored.envelopes.map((row) => [row.hash, row.raw as Buffer]))
  return world.stored.payloads.map((row) => ({
    resource: byHash.get(row.resource_hash!)!,
    scope: byHash.get(row.scope_hash!)!,
    span: row.raw as Buffer,
  }))
}
