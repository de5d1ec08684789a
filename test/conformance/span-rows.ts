// The values of spans, the same in both encodings: which span is rejected alone, and what is kept however odd.

import { jsonRequest, type Plain, protobufRequest } from '../otlp-messages.ts'
import {
  bareSpan,
  type Fresh,
  firstAttribute,
  oneSpan,
  type Row,
  repeated,
  span,
  spans,
  withAttribute,
} from './row.ts'

const dayNs = 86_400_000_000_000n
const nowNs = (): bigint => BigInt(Date.now()) * 1_000_000n

/** One bad span beside one good: 200, one rejected with its reason, the other stored. The specification lets others refuse both. */
function rejected(id: string, what: string, over: Plain, says: RegExp, json = false): Row {
  const both = spans((fresh) => [span(fresh, over), span(fresh)])
  return {
    id,
    what: `a span is rejected alone: ${what}`,
    level: 'ours',
    ...(json && both.json ? { json: both.json } : both),
    expect: { status: 200, form: 'partial', rejected: 1, says, stored: 1 },
  }
}

const ids: Row[] = [
  rejected('B049 T12', 'a trace id of 15 bytes', { traceId: 'ab'.repeat(15) }, /invalid_trace_id/),
  rejected('B049 T12', 'a trace id of 17 bytes', { traceId: 'ab'.repeat(17) }, /invalid_trace_id/),
  rejected('B012 T12', 'a 64-bit trace id', { traceId: 'ab'.repeat(8) }, /invalid_trace_id/),
  rejected(
    'T12',
    'a trace id of 32 bytes',
    { traceId: 'ab'.repeat(32) },
    /hex text|invalid_trace_id/,
  ),
  rejected('B011 B049 H11', 'no trace id', { traceId: '' }, /invalid_trace_id/),
  rejected('B011', 'a zero trace id', { traceId: '00'.repeat(16) }, /invalid_trace_id/),
  rejected('B011 T12', 'a zero span id', { spanId: '00'.repeat(8) }, /invalid_span_id/),
  rejected(
    'B049',
    'a parent id of 4 bytes',
    { parentSpanId: 'abcdabcd' },
    /invalid_parent_span_id/,
  ),
  rejected('B011 T21', '31 hex digits', { traceId: 'a'.repeat(31) }, /invalid_trace_id/, true),
  rejected('B011 T21', '33 hex digits', { traceId: 'a'.repeat(33) }, /invalid_trace_id/, true),
  rejected('B011', 'no hex at all', { traceId: 'z'.repeat(32) }, /invalid_trace_id/, true),
  rejected(
    'B012 H16 T21',
    'a base64 trace id',
    { traceId: 'W47/95gDgQPSabYzgT/GDA==' },
    /base64/,
    true,
  ),
]

const times: Row[] = [
  rejected('B033 T16', 'no start', { startTimeUnixNano: '0' }, /invalid_time/),
  rejected(
    'B033',
    'seconds in place of nanoseconds',
    { startTimeUnixNano: String(nowNs() / 1_000_000_000n) },
    /invalid_time/,
  ),
  rejected(
    'B033',
    'milliseconds in place of nanoseconds',
    { startTimeUnixNano: String(nowNs() / 1_000_000n) },
    /invalid_time/,
  ),
  rejected(
    'B036',
    'two days ahead',
    { startTimeUnixNano: String(nowNs() + 2n * dayNs) },
    /invalid_time/,
  ),
  rejected(
    'B034 T16',
    'the end of time',
    { endTimeUnixNano: '18446744073709551615' },
    /invalid_time/,
  ),
  rejected(
    'B034 T16',
    'a start in the year 2300',
    { startTimeUnixNano: '10413792000000000000' },
    /invalid_time/,
  ),
  rejected('B017', 'a time of letters', { startTimeUnixNano: 'abc' }, /invalid_time/, true),
  rejected('B017', 'a negative time', { startTimeUnixNano: '-1' }, /invalid_time/, true),
  rejected('B017', 'a time of 1e30', { startTimeUnixNano: '1e30' }, /invalid_time/, true),
  rejected(
    'B017',
    'a time of 2^64',
    { startTimeUnixNano: '18446744073709551616' },
    /invalid_time/,
    true,
  ),
]

const attribute = (value: Plain): Plain => ({ attributes: [{ key: 'k', value }] })
const values: Row[] = [
  rejected('B019 T23', 'an unknown kind by name', { kind: 'SERVER' }, /invalid_enum/, true),
  rejected('B020 T22', 'an int of 1.5', attribute({ intValue: '1.5' }), /invalid_value/, true),
  rejected(
    'B020 H20',
    'an int of 2^63',
    attribute({ intValue: '9223372036854775808' }),
    /invalid_value/,
    true,
  ),
  rejected(
    'B021',
    'a double of letters',
    attribute({ doubleValue: 'many' }),
    /invalid_value/,
    true,
  ),
  rejected('T22', 'a bool of 1', attribute({ boolValue: 1 }), /invalid_value/, true),
]

const many = (count: number, over: (i: number, fresh: Fresh) => Plain) => (fresh: Fresh) =>
  Array.from({ length: count }, (_, i) =>
    span(fresh, { spanId: (i + 1).toString(16).padStart(16, '0'), ...over(i, fresh) }),
  )

const inArray = (depth: number): Plain =>
  depth === 0 ? { stringValue: 'x' } : { arrayValue: { values: [inArray(depth - 1)] } }
const inList = (depth: number): Plain =>
  depth === 0
    ? { stringValue: 'x' }
    : { kvlistValue: { values: [{ key: 'k', value: inList(depth - 1) }] } }

const amounts: Row[] = [
  {
    id: 'B029 H11',
    what: 'one bad span among a thousand leaves 999',
    level: 'ours',
    ...spans(many(1_000, (i) => (i === 500 ? { spanId: '' } : {}))),
    expect: { status: 200, form: 'partial', rejected: 1, stored: 999 },
  },
  {
    id: 'B029',
    what: 'a request of bad spans only is still 200, all rejected',
    level: 'ours',
    ...oneSpan({ spanId: '' }),
    expect: { status: 200, form: 'partial', rejected: 1, stored: 0 },
  },
  {
    id: 'H8',
    what: '50,000 rejected spans: the answer stays short',
    level: 'ours',
    protobuf: () => repeated(Buffer.alloc(0), 50_000),
    plainOnly: true,
    expect: { status: 200, form: 'partial', rejected: 50_000, stored: 0 },
  },
  {
    id: 'T18',
    what: '100,000 spans, the most a request may have',
    level: 'ours',
    protobuf: (fresh) => repeated(bareSpan(fresh), 100_000),
    plainOnly: true,
    expect: { status: 200 },
  },
  {
    id: 'B026',
    what: '100,000 attributes on a span',
    level: 'MUST',
    ...oneSpan({
      attributes: Array.from({ length: 100_000 }, (_, i) => ({
        key: `k${i}`,
        value: { intValue: i },
      })),
    }),
    plainOnly: true,
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'B026 T14',
    what: 'a key of 1 MiB',
    level: 'MUST',
    ...withAttribute({ stringValue: 'v' }, 'k'.repeat(1024 * 1024)),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'B035',
    what: '500 spans, each in another month',
    level: 'ours',
    ...spans(
      many(500, (i, fresh) => ({
        startTimeUnixNano: String(fresh.startNs - BigInt(i) * 30n * dayNs),
      })),
    ),
    expect: { status: 200, form: 'success', stored: 500 },
  },
  {
    id: 'T11',
    what: '31 levels of kvlist, the most that official decoders read',
    level: 'MUST',
    ...withAttribute(inList(31)),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T11',
    what: '46 levels of arrays',
    level: 'MUST',
    ...withAttribute(inArray(46)),
    expect: { status: 200, stored: 1 },
  },
]

const kept: Row[] = [
  ...['__proto__', 'constructor.prototype.x', 'gen_ai.prompt.__proto__.polluted', ''].map(
    (key): Row => ({
      id: key === '' ? 'T14' : 'B024 T14',
      what: `the key ${JSON.stringify(key)} is a key like any other`,
      level: 'MUST',
      ...withAttribute({ stringValue: 'v' }, key),
      expect: {
        status: 200,
        stored: 1,
        reads: {
          of: firstAttribute,
          are: { ...(key === '' ? {} : { key }), value: { stringValue: 'v' } },
        },
      },
    }),
  ),
  ...['gen_ai.prompt.4294967294.role', 'gen_ai.prompt.99999999.content'].map(
    (key): Row => ({
      id: 'B025',
      what: `${key} makes no array of that size`,
      level: 'MUST',
      ...withAttribute({ stringValue: 'user' }, key),
      expect: { status: 200, stored: 1 },
    }),
  ),
  {
    id: 'B027',
    what: 'controls and bidi overrides in a name come back as they were',
    level: 'MUST',
    ...oneSpan({ name: 'a\u0000b\u001b[31m\u202ec' }),
    expect: {
      status: 200,
      stored: 1,
      reads: { of: ([first]) => first?.name, are: 'a\u0000b\u001b[31m\u202ec' },
    },
  },
  {
    id: 'B014',
    what: 'two spans that are each other’s parent, and one without its own',
    level: 'MUST',
    ...spans((fresh) => [
      span(fresh, { spanId: 'a'.repeat(16), parentSpanId: 'b'.repeat(16) }),
      span(fresh, { spanId: 'b'.repeat(16), parentSpanId: 'a'.repeat(16) }),
      span(fresh, { spanId: 'c'.repeat(16), parentSpanId: 'd'.repeat(16) }),
    ]),
    expect: { status: 200, stored: 3 },
  },
  {
    id: 'B018 T16',
    what: 'an end of zero, before the start',
    level: 'MUST',
    ...oneSpan({ endTimeUnixNano: '0' }),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'B036',
    what: 'an hour ahead: clocks run ahead',
    level: 'MUST',
    ...spans((fresh) => [
      span(fresh, {
        startTimeUnixNano: String(fresh.startNs + dayNs / 24n),
        endTimeUnixNano: String(fresh.startNs + dayNs / 12n),
      }),
    ]),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T10 B054',
    what: 'every field of a span comes back as it came, ids in hex and times in digits',
    level: 'MUST',
    json: (fresh) => JSON.stringify(jsonRequest(whole(fresh))),
    protobuf: (fresh) => protobufRequest(whole(fresh, (id) => Buffer.from(id, 'hex'))),
    expect: {
      status: 200,
      stored: 1,
      reads: {
        of: ([first]) => ({
          ...first,
          traceId: '',
          spanId: '',
          startTimeUnixNano: '',
          endTimeUnixNano: '',
        }),
        are: {
          ...wholeFields((id) => id),
          traceId: '',
          spanId: '',
          name: 'op',
          kind: 2,
          startTimeUnixNano: '',
          endTimeUnixNano: '',
        },
      },
    },
  },
]

function whole(fresh: Fresh, id: (hex: string) => unknown = (hex) => hex): Plain {
  return span(fresh, wholeFields(id))
}

function wholeFields(id: (hex: string) => unknown): Plain {
  return {
    traceState: 'vendor=1',
    flags: 769,
    droppedAttributesCount: 1,
    droppedEventsCount: 2,
    droppedLinksCount: 3,
    attributes: [
      {
        key: 'list',
        value: { arrayValue: { values: [{ intValue: '-1' }, { boolValue: true }, {}] } },
      },
      { key: 'none' },
    ],
    events: [{ timeUnixNano: '1', name: 'e', droppedAttributesCount: 4 }],
    links: [
      { traceId: id('c'.repeat(32)), spanId: id('d'.repeat(16)), traceState: 'x=y', flags: 256 },
    ],
    status: { code: 2, message: 'broken' },
  }
}

export const spanRows: Row[] = [...ids, ...times, ...values, ...amounts, ...kept]
