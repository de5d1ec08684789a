// JSON: what is no request, what is odd but meant well, and what the mapping of OTLP to JSON asks.

import { jsonRequest, type Plain } from '../otlp-messages.ts'
import {
  type Body,
  type Fresh,
  firstAttribute,
  type Row,
  span,
  validJson,
  withAttribute,
} from './row.ts'

// What a lenient decoder may take without breaking the specification, and we do not.
const refusedByUs = new Set([
  'an empty body',
  'null',
  'a lone surrogate',
  'a raw control character in a string',
  'logs',
  'metrics in snake_case',
])

/** A row of JSON that cannot be read: 400, our words for it, nothing stored. */
function bad(id: string, what: string, json: (fresh: Fresh) => Body, says: RegExp): Row {
  const level = refusedByUs.has(what) ? 'ours' : 'MUST'
  return { id, what, level, json, expect: { status: 400, says } }
}

const valid = (replace: string, by: string) => (fresh: Fresh) => {
  const text = validJson(fresh)
  if (!text.includes(replace)) throw new Error(`${replace} is not in a valid request`)
  return text.replace(replace, by)
}

const notJson: Row[] = [
  bad('B001', 'an empty body', () => '', /empty/),
  bad('B003 T27', 'an array', () => '[]', /not a JSON object/),
  bad('B003', 'a string', () => '"x"', /not a JSON object/),
  bad('B003', 'a number', () => '1', /not a JSON object/),
  bad('B003', 'null', () => 'null', /not a JSON object/),
  bad('B004 H13', 'truncated JSON', (fresh) => validJson(fresh).slice(0, -3), /ends early/),
  bad('B004 T27', 'a trailing comma', valid('"kind":2,', '"kind":2,,'), /byte \d+/),
  bad('B004', 'single quotes', () => "{'resourceSpans':[]}", /byte 1/),
  bad('B004', 'a comment', () => '{/* */}', /byte 1/),
  bad('T27', 'two documents', (fresh) => `${validJson(fresh)}\n${validJson(fresh)}`, /follows/),
  bad('B006 T27', 'UTF-16', (fresh) => Buffer.from(validJson(fresh), 'utf16le'), /byte|object/),
  bad(
    'B006',
    'Latin-1',
    (fresh) => Buffer.from(validJson(fresh).replace('shop', 'sh\u00f6p'), 'latin1'),
    /UTF-8/,
  ),
  bad('B027 T28', 'a lone surrogate', valid('"op"', '"\\ud800"'), /surrogate/),
  bad('B004', 'a bad escape', valid('"op"', '"\\x41"'), /escape/),
  bad('B027', 'a raw control character in a string', valid('"op"', '"o\u0001p"'), /control/),
  bad('B004', 'a bad literal', valid('"kind":2', '"kind":nul'), /JSON/),
  bad('B004 T22', 'a number like 01', valid('"kind":2', '"kind":01'), /JSON|expected/),
  bad('B010', 'resourceSpans as an object', () => '{"resourceSpans":{}}', /must be an array/),
  bad(
    'B010 T31',
    'attributes as a map',
    (fresh) => JSON.stringify(jsonRequest(span(fresh, { attributes: { k: 'v' } }))),
    /attributes must be an array of \{"key", "value"\} objects/,
  ),
  bad('B010', 'an object in place of a name', valid('"op"', '{}'), /must not be an object/),
  bad('B007 T29', '100,000 nested arrays', () => `{"x":${'['.repeat(100_000)}`, /nesting exceeds/),
  bad(
    'B007',
    '100,000 nested kvlists',
    () =>
      `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":${'{"kvlistValue":{"values":[{"value":'.repeat(100_000)}`,
    /nesting exceeds 100/,
  ),
  bad('B030 T39', 'logs', () => '{"resourceLogs":[]}', /resourceLogs is not taken here/),
  bad('B030', 'metrics in snake_case', () => '{"resource_metrics":[]}', /not taken here/),
]

type Odd = Pick<Row, 'id' | 'what'> & {
  json: (fresh: Fresh) => string
  /** Counted under this name and warned of; none: it is OTLP. */
  deviation?: string
}

/** Accepted and kept. Where OTLP forbids it, said so in a warning. What each becomes in the columns: otlp-bad-input.test.ts. */
export const oddJson: Odd[] = [
  {
    id: 'B005 T27',
    what: 'a byte order mark',
    json: (fresh) => `\ufeff${validJson(fresh)}`,
    deviation: 'byte_order_mark',
  },
  {
    id: 'B008 H19 T24',
    what: 'snake_case keys',
    json: valid('startTimeUnixNano', 'start_time_unix_nano'),
    deviation: 'snake_case',
  },
  {
    id: 'B015',
    what: 'a duplicate key',
    json: valid('"name":"op"', '"name":"no","name":"op"'),
    deviation: 'duplicate_key',
  },
  {
    id: 'B015',
    what: 'a duplicate key that ends absent',
    json: valid('"name":"op"', '"name":"no","name":null'),
    deviation: 'duplicate_key',
  },
  {
    id: 'B015',
    what: 'duplicate attributes',
    json: valid(
      '"name":"op"',
      '"name":"op","attributes":[{"key":"a"}],"attributes":[{"key":"b","value":{"boolValue":true}}]',
    ),
    deviation: 'duplicate_key',
  },
  {
    id: 'B016 H20',
    what: 'a time as a number, without loss',
    json: (fresh) =>
      valid(
        `"startTimeUnixNano":"${fresh.startNs}"`,
        `"startTimeUnixNano":${fresh.startNs - 1n}`,
      )(fresh),
  },
  { id: 'B019 T23', what: 'an unknown kind', json: valid('"kind":2', '"kind":99') },
  {
    id: 'B019 T23',
    what: 'a kind in digits',
    json: valid('"kind":2', '"kind":"3"'),
    deviation: 'enum_string',
  },
  {
    id: 'B019 H17 T23',
    what: 'a kind by name',
    json: valid('"kind":2', '"kind":"SPAN_KIND_SERVER"'),
    deviation: 'enum_name',
  },
  {
    id: 'T22',
    what: 'a number for a name',
    json: valid('"op"', '17'),
    deviation: 'number_for_string',
  },
  {
    id: 'B054 T30',
    what: 'a time in two words',
    json: (fresh) => {
      const end = fresh.startNs + 7n
      const words = { low: Number(end & 0xffffffffn) | 0, high: Number(end >> 32n) }
      return validJson(fresh).replace(
        `"endTimeUnixNano":"${fresh.startNs + 1_500_000n}"`,
        `"endTimeUnixNano":${JSON.stringify(words)}`,
      )
    },
    deviation: 'fixed64_object',
  },
  {
    id: 'B023',
    what: 'bytes that are not base64',
    json: attributeJson({ bytesValue: '*' }),
    deviation: 'bad_base64',
  },
  {
    id: 'T19',
    what: 'the names of 2021',
    json: valid('scopeSpans', 'instrumentationLibrarySpans'),
    deviation: 'legacy_field',
  },
  {
    id: 'B013 H16 T21',
    what: 'upper-case ids',
    json: (fresh) => validJson(fresh).replace(fresh.traceId, fresh.traceId.toUpperCase()),
  },
  {
    id: 'B018',
    what: 'end before start',
    json: (fresh) =>
      JSON.stringify(jsonRequest(span(fresh, { endTimeUnixNano: String(fresh.startNs - 5n) }))),
  },
  {
    id: 'B009 H18 T25',
    what: 'unknown fields of every form',
    json: valid('"kind":2', '"x":{"y":[1,null,{"z":"\\u00e9"}]},"kind":2,"w":-1.5e3'),
  },
  {
    id: 'T26',
    what: 'null everywhere',
    json: valid('"kind":2', '"kind":null,"attributes":null,"status":null,"events":null'),
  },
  { id: 'H18', what: 'an escaped key', json: valid('"name"', '"na\\u006de"') },
  {
    id: 'B020 T22',
    what: 'an int of 2^63-1',
    json: attributeJson({ intValue: '9223372036854775807' }),
  },
  {
    id: 'B020 T22',
    what: 'an int of 1e3',
    json: valid('"kind":2', '"kind":2,"attributes":[{"key":"k","value":{"intValue":1e3}}]'),
  },
  { id: 'B021', what: 'a double of NaN', json: attributeJson({ doubleValue: 'NaN' }) },
  {
    id: 'B022',
    what: 'two members of a oneof',
    json: valid(
      '"kind":2',
      '"kind":2,"attributes":[{"key":"k","value":{"intValue":1,"stringValue":"s"}}]',
    ),
  },
  {
    id: 'B014',
    what: 'a span that is its own parent',
    json: (fresh) => JSON.stringify(jsonRequest(span(fresh, { parentSpanId: fresh.spanId }))),
  },
  {
    id: 'B027 T13',
    what: 'control characters in a name',
    json: valid('"op"', '"a\\u0000b\\u001bc"'),
  },
]

function attributeJson(value: Plain): (fresh: Fresh) => string {
  return (fresh) => String(withAttribute(value).json?.(fresh))
}

const odd: Row[] = oddJson.map(({ id, what, json, deviation }) => ({
  id,
  what,
  level: deviation ? 'ours' : 'MUST',
  json,
  expect: deviation
    ? { status: 200, form: 'warning', says: new RegExp(`${deviation} \\d`), stored: 1 }
    : { status: 200, stored: 1 },
}))

const valueIn = (spans: Plain[]): unknown => firstAttribute(spans)?.value

const mapping: Row[] = [
  {
    id: 'H17',
    what: 'a kind by name, when strictness is asked',
    level: 'ours',
    json: valid('"kind":2', '"kind":"SPAN_KIND_SERVER"'),
    send: { query: '?strict=1' },
    oursOnly: true,
    expect: { status: 200, form: 'partial', rejected: 1, stored: 0 },
  },
  ...['+/+/', '-_-_', '+/8=', '+/8', '-_8=', '-_8'].map(
    (bytesValue): Row => ({
      id: 'H21',
      what: `bytesValue ${bytesValue}: base64 or base64url, padded or not`,
      level: 'MUST',
      json: attributeJson({ bytesValue }),
      expect: {
        status: 200,
        stored: 1,
        reads: {
          of: valueIn,
          are: { bytesValue: Buffer.from(bytesValue, 'base64').toString('base64') },
        },
      },
    }),
  ),
  {
    id: 'H20 B016',
    what: 'a time as a bare number keeps its last digit',
    level: 'MUST',
    json: (fresh) => validJson(fresh).replace(`"${fresh.startNs}"`, String(fresh.startNs)),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'B020 H20',
    what: 'an int as a number and as text come back as text',
    level: 'MUST',
    json: (fresh) =>
      validJson(fresh).replace(
        '"kind":2',
        '"kind":2,"attributes":[{"key":"k","value":{"intValue":9007199254740993}}]',
      ),
    expect: {
      status: 200,
      reads: { of: valueIn, are: { intValue: '9007199254740993' } },
    },
  },
  {
    id: 'T32',
    what: 'no kind and no status',
    level: 'MUST',
    json: (fresh) => validJson(fresh).replace('"kind":2,', ''),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T24',
    what: 'a key in both forms: one of them counts, the span is kept',
    level: 'ours',
    json: valid('"name":"op"', '"name":"op","trace_state":"a=1","traceState":"a=1"'),
    expect: { status: 200, form: 'warning', stored: 1 },
  },
  {
    id: 'B021',
    what: 'a double of 1e999',
    level: 'ours',
    json: valid('"kind":2', '"kind":2,"attributes":[{"key":"k","value":{"doubleValue":1e999}}]'),
    expect: { status: 200, form: 'success' },
  },
  {
    id: 'B028',
    what: '200,000 unknown keys of digits',
    level: 'MUST',
    json: (fresh) => {
      const keys = Array.from({ length: 200_000 }, (_, i) => `"${i}":0`).join(',')
      return validJson(fresh).replace('"kind":2', `"kind":2,${keys}`)
    },
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T21',
    what: 'ids in mixed case',
    level: 'MUST',
    json: (fresh) =>
      validJson(fresh).replace(
        fresh.spanId,
        fresh.spanId.replace(/[a-f]/, (x) => x.toUpperCase()),
      ),
    expect: {
      status: 200,
      stored: 1,
    },
  },
  {
    id: 'T22',
    what: 'a kind of -0, a count of 0.0',
    level: 'ours',
    json: valid('"kind":2', '"kind":-0,"droppedAttributesCount":0.0'),
    expect: { status: 200, form: 'success', stored: 1 },
  },
  { id: 'B002 H9 T1', what: '{}', level: 'SHOULD', json: () => '{}', expect: { status: 200 } },
  {
    id: 'B002 H9',
    what: 'no resources',
    level: 'SHOULD',
    json: () => '{"resourceSpans":[]}',
    expect: { status: 200 },
  },
  {
    id: 'T26 H9',
    what: 'null resources',
    level: 'SHOULD',
    json: () => '{"resourceSpans":null}',
    expect: { status: 200 },
  },
]

export const jsonRows: Row[] = [...notJson, ...odd, ...mapping]
