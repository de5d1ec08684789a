// The attribute maps of a row, whichever way its span is read: in passing, or again because something in it was not plain.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { newBatch } from '../collectors/otlp/aside.ts'
import { decodeRequest } from '../collectors/otlp/decode.ts'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { transcodeRequest } from '../collectors/otlp/json-request.ts'
import { Tally } from '../collectors/otlp/tally.ts'
import { type NativeRow, readNative } from './native-reader.ts'
import { jsonRequest, jsonSpan, nowMs, type Plain, protobufRequest } from './otlp-messages.ts'

type Attribute = { key: string; value: Plain }
type Maps = { strings: [string, string][]; numbers: [string, number][] }

function decode(spans: Plain[]): { rows: NativeRow[]; tally: Tally } {
  const batch = newBatch()
  const tally = new Tally(false)
  const steps = decodeRequest(
    {
      body: protobufRequest(...spans),
      workspace: 'w',
      prompts: { link: (_workspace, slug) => slug },
      notes: new EnvelopeBook().open('w'),
      tally,
      nowMs,
    },
    batch,
  )
  for (const _ of steps);
  const rows = batch.spans.rows === 0 ? [] : readNative(Buffer.concat(batch.spans.seal(1n, 1)))
  return { rows, tally }
}

function mapsOf(row: NativeRow = {}): Maps {
  const { attr_str, attr_num } = row as Record<string, Map<string, never> | undefined> // maps, when there is a row
  return { strings: [...(attr_str ?? [])], numbers: [...(attr_num ?? [])] }
}

/** What the contract of the search columns says, without any speed. */
function expected(attributes: Attribute[]): Maps {
  const last = new Map<string, Plain>()
  for (const { key, value } of attributes)
    if (last.has(key) || last.size < 512) last.set(key, value)
  const maps: Maps = { strings: [], numbers: [] }
  for (const [key, value] of last) {
    if (maps.strings.length + maps.numbers.length === 128) break
    if (key === 'gen_ai.input.messages') continue
    const number = value.intValue ?? value.doubleValue ?? value.boolValue
    if (typeof value.stringValue === 'string') maps.strings.push([cut(key), cut(value.stringValue)])
    else if (number !== undefined) maps.numbers.push([cut(key), Number(number)])
  }
  return maps
}

function cut(text: string): string {
  const bytes = Buffer.from(text)
  let end = Math.min(bytes.length, 1024)
  while (end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

const text = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: 120, max: 1_100 }).map((n) => 'ä€'.repeat(n)) },
)
const value: fc.Arbitrary<Plain> = fc.oneof(
  { weight: 4, arbitrary: text.map((stringValue) => ({ stringValue })) },
  { weight: 2, arbitrary: fc.maxSafeInteger().map((intValue) => ({ intValue })) },
  fc.double({ noNaN: true }).map((doubleValue) => ({ doubleValue })),
  fc.boolean().map((boolValue) => ({ boolValue })),
  fc.constant({ arrayValue: { values: [{ stringValue: 'in' }] } }),
  fc.constant({ bytesValue: Buffer.from([0, 255]) }),
  fc.constant({}),
)
const key = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ max: 40, min: 0 }).map((n) => `app.key.${n}`) },
  { weight: 1, arbitrary: fc.constantFrom('', 'gen_ai.input.messages', 'session.id', 'ключ') },
  { weight: 1, arbitrary: fc.integer({ max: 3, min: 0 }).map((n) => 'k'.repeat(255 + n)) },
)
const attribute = fc.record({ key, value })
const distinct = fc
  .uniqueArray(key, { maxLength: 30 })
  .chain((keys) => fc.tuple(...keys.map((key) => fc.record({ key: fc.constant(key), value }))))
const many = fc
  .tuple(fc.integer({ min: 100, max: 700 }), value)
  .map(([count, value]) => Array.from({ length: count }, (_, i) => ({ key: `n.${i}`, value })))
// Every shape in one request: what one span leaves behind must not show in the next.
const spans = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: distinct },
    { weight: 3, arbitrary: fc.array(attribute, { maxLength: 20 }) },
    { weight: 1, arbitrary: many },
  ),
  { minLength: 1, maxLength: 45 },
)

test('a row holds the first 128 texts and numbers of its span, of a key given twice the last', () => {
  fc.assert(
    fc.property(spans, (given) => {
      const { rows, tally } = decode(given.map((attributes) => jsonSpan({ attributes })))
      expect(tally.rejected).toBe(0)
      expect(rows.map(mapsOf)).toEqual(given.map(expected))
    }),
    { seed: 20_261_120, numRuns: 60 },
  )
})

describe('what would hold the loop is read in steps', () => {
  const countOf = (steps: Iterable<void>): number => [...steps].length
  const huge = Array.from({ length: 60_000 }, (_, i) => ({
    key: `key.${i % 50_000}`,
    value: { stringValue: `${i} ${'x'.repeat(40)}` },
  }))

  test('a span of thousands of attributes, and what becomes of it is the same', () => {
    const spans = [
      jsonSpan({ attributes: huge }),
      jsonSpan({ attributes: huge.slice(0, 3) }),
      jsonSpan({ attributes: huge.slice(0, 40_000) }),
    ]
    const body = protobufRequest(...spans)
    const batch = newBatch()
    const input = {
      workspace: 'w',
      prompts: { link: (_workspace: string, slug: string) => slug },
      notes: new EnvelopeBook().open('w'),
      tally: new Tally(false),
      nowMs,
    }
    expect(countOf(decodeRequest({ ...input, body }, batch))).toBeGreaterThan(
      body.length / (512 * 1024),
    )
    const rows = readNative(Buffer.concat(batch.spans.seal(1n, 1)))
    expect(rows.map(mapsOf)).toEqual([huge, huge.slice(0, 3), huge.slice(0, 40_000)].map(expected))
  })

  test.each([
    [
      'a span of thousands of attributes',
      JSON.stringify(jsonRequest(jsonSpan({ attributes: huge }))),
    ],
    ['a field that nobody knows', `{"new":[${'{"a":[1,2,{"b":null}]},'.repeat(100_000)}0]}`],
    [
      'such a field in a span',
      `{"resourceSpans":[{"scopeSpans":[{"spans":[{"new":[${'[],'.repeat(500_000)}0]}]}]}]}`,
    ],
  ])('%s, in JSON', (_, json) => {
    const body = Buffer.from(json)
    expect(countOf(transcodeRequest(body, new Tally(false)))).toBeGreaterThan(
      body.length / (256 * 1024),
    )
  })
})

test('the attributes of a span that is rejected are in no row', () => {
  const attributes = [
    { key: 'a', value: { stringValue: 'kept' } },
    { key: 'b', value: { intValue: 1 } },
  ]
  const bad = [
    { key: 'c', value: { stringValue: 'lost' } },
    { key: 'd', value: { intValue: 2 } },
  ]
  const good = jsonSpan({ attributes })
  const wrong = jsonSpan({ attributes: bad, startTimeUnixNano: '0' })
  const { rows, tally } = decode([wrong, good, wrong, good, wrong])
  expect(tally.rejected).toBe(3)
  expect(rows.map(mapsOf)).toEqual([expected(attributes), expected(attributes)])
})

test.each(['app.long', 'gen_ai.input.messages'])(
  'text of %s that is not UTF-8 is found at any length and repaired',
  (name) => {
    for (const before of [0, 3, 100, 190, 1_020, 1_030, 5_000]) {
      const stringValue = `${'x'.repeat(before)}\u00ff tail`
      const body = protobufRequest(
        jsonSpan({ attributes: [{ key: name, value: { stringValue } }] }),
      )
      // U+00FF is two bytes; the first alone begins a rune that does not follow.
      const at = body.indexOf(Buffer.from('\u00ff'))
      body[at + 1] = 0x20
      const batch = newBatch()
      const tally = new Tally(false)
      const steps = decodeRequest(
        {
          body,
          workspace: 'w',
          prompts: { link: (_workspace, slug) => slug },
          notes: new EnvelopeBook().open('w'),
          tally,
          nowMs,
        },
        batch,
      )
      for (const _ of steps);
      expect([before, tally.deviations.get('invalid_utf8')]).toEqual([before, 1])
      const [row] = readNative(Buffer.concat(batch.spans.seal(1n, 1)))
      const repaired = `${'x'.repeat(before)}\ufffd  tail`
      const shown = name === 'app.long' ? [[name, cut(repaired)]] : []
      expect(mapsOf(row).strings).toEqual(shown)
    }
  },
)
