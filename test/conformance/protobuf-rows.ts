// Protobuf: what cannot be read, what must be skipped, what is merged, and how deep it may go.

import { oracle, type Plain, protobufRequest } from '../otlp-messages.ts'
import {
  type Fresh,
  field,
  fieldHead,
  firstAttribute,
  hex,
  type Row,
  span,
  spanAnd,
  spanBytes,
  validJson,
  withAttribute,
} from './row.ts'

// What some official decoders skip, or read to any depth.
const refusedByUs = new Set([
  'groups 1,000 deep',
  'kvlists 10,000 deep',
  'an id of another wire type',
  'a logs payload',
  'a metrics payload, whose metrics read as spans without times',
])

/** A row of protobuf that cannot be read: 400, our words for it, nothing stored. */
function bad(id: string, what: string, protobuf: (fresh: Fresh) => Buffer, says: RegExp): Row {
  const level = refusedByUs.has(what) ? 'ours' : 'MUST'
  return { id, what, level, protobuf, expect: { status: 400, says } }
}

const good = (fresh: Fresh) => protobufRequest(span(fresh))

/** An attribute whose value is lists in lists, written from the inside. */
function nestedLists(depth: number): Buffer {
  const heads: Buffer[] = []
  let length = 0
  for (let i = 0; i < depth; i++)
    for (const number of [2, 1, 6]) {
      const head = fieldHead(number, length)
      heads.push(head)
      length += head.length
    }
  return field(9, field(2, Buffer.concat(heads.reverse(), length)))
}

const unreadable: Row[] = [
  bad('T2', 'one byte', () => hex('0a'), /truncated/),
  bad('B041', 'JSON', (fresh) => Buffer.from(validJson(fresh)), /byte/),
  bad('B041', 'random bytes', () => hex('deadbeefdeadbeefdeadbeef'), /byte/),
  bad('B042 T3 H13', 'a cut in a field', (fresh) => good(fresh).subarray(0, -5), /past the end/),
  bad('B043', 'a length of 2^31-1', () => hex('0affffffff07'), /past the end/),
  bad('B043', 'a negative length', () => hex('0affffffffffffffffff01'), /length out of range/),
  bad(
    'B043 T4',
    'a varint of eleven bytes',
    () => hex(`18${'80'.repeat(10)}01`),
    /longer than ten/,
  ),
  bad('T4', 'a varint of 65 bits', () => hex('18ffffffffffffffffff02'), /longer than 64 bits/),
  bad('T6', 'field number 0', () => hex('0200'), /field number 0/),
  bad('T6', 'wire type 7', () => hex('0f'), /wire type 7/),
  bad('T7', 'a group that does not end', () => hex('f303'), /truncated/),
  bad('T7', 'a group ended by another', () => hex('f3038c03'), /group|byte/),
  bad('B044 T7', 'groups 1,000 deep', () => hex('f303'.repeat(1_000)), /nested too deep/),
  bad(
    'B045 T11',
    'kvlists 10,000 deep',
    () => spanBytes(nestedLists(10_000)),
    /nesting exceeds 100/,
  ),
  bad(
    'B046',
    'an id of another wire type',
    () => spanBytes(hex('0801')),
    /traceId has wire type 0/,
  ),
  bad(
    'B030 T39',
    'a logs payload',
    () => spanBytes(Buffer.from([9]), Buffer.alloc(8, 1)),
    /wire type 1/,
  ),
  bad(
    'B030 T39',
    'a metrics payload, whose metrics read as spans without times',
    () => spanBytes(field(1, Buffer.from('http.server.duration')), field(3, Buffer.from('ms'))),
    /metrics/,
  ),
  bad(
    'B053',
    'a gRPC frame',
    (fresh) => {
      const message = good(fresh)
      const head = Buffer.alloc(5)
      head.writeUInt32BE(message.length, 1)
      return Buffer.concat([head, message])
    },
    /gRPC/,
  ),
]

/** Every wire type under a number that means nothing, and the largest number there is. */
const unknown: [string, Buffer][] = [
  ['a varint', hex('f8ff0401')],
  ['fixed64', hex('f9ff040102030405060708')],
  ['bytes', hex('faff0402aabb')],
  ['a group', hex('fbff040801fcff04')],
  ['fixed32', hex('fdff0401020304')],
  ['field 536870911', hex('f8ffffff0f01')],
]

const only = (spans: Plain[]): Plain => spans[0] ?? {}

const readable: Row[] = [
  ...unknown.map(
    ([form, bytes]): Row => ({
      id: 'B047 H22 T19',
      what: `an unknown field is skipped: ${form}`,
      level: 'MUST',
      protobuf: (fresh) => Buffer.concat([spanAnd(fresh, bytes), bytes]),
      expect: { status: 200, stored: 1 },
    }),
  ),
  {
    id: 'B040 H9 T1',
    what: 'no bytes at all',
    level: 'SHOULD',
    protobuf: () => Buffer.alloc(0),
    plainOnly: true,
    expect: { status: 200 },
  },
  {
    id: 'H25 T17',
    what: 'a thousand empty envelopes',
    level: 'SHOULD',
    protobuf: () => hex('0a021200'.repeat(1_000)),
    expect: { status: 200 },
  },
  {
    id: 'T19',
    what: 'spans under field 1000, as before 2022',
    level: 'ours',
    protobuf: (fresh) => {
      // The request's only field holds ResourceSpans; its child's tag 2 becomes tag 1000.
      const scopeSpans = field(2, oracle.encode('Span', ids(fresh)))
      return field(1, Buffer.concat([hex('c23e'), field(1, scopeSpans).subarray(1)]))
    },
    expect: { status: 200, form: 'warning', says: /legacy_field 1/, stored: 1 },
  },
  {
    id: 'T20',
    what: 'string indexes, which only profiles use',
    level: 'MUST',
    protobuf: (fresh) =>
      spanAnd(fresh, field(9, Buffer.concat([hex('1805'), field(2, hex('4007'))]))),
    expect: { status: 200, form: 'success', stored: 1 },
  },
  {
    id: 'T4',
    what: 'a varint longer than it need be',
    level: 'MUST',
    protobuf: (fresh) => spanAnd(fresh, hex('308280808000')),
    expect: { status: 200, stored: 1, reads: { of: (spans) => only(spans).kind, are: 2 } },
  },
  {
    id: 'B050 T8',
    what: 'a name given twice: the last counts',
    level: 'MUST',
    protobuf: (fresh) => spanAnd(fresh, field(5, Buffer.from('last'))),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T8',
    what: 'a status in two parts',
    level: 'MUST',
    protobuf: (fresh) =>
      spanAnd(fresh, field(15, field(2, Buffer.from('broken'))), field(15, hex('1802'))),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T9',
    what: 'a oneof set twice',
    level: 'MUST',
    protobuf: (fresh) =>
      spanAnd(
        fresh,
        field(
          9,
          Buffer.concat([
            field(1, Buffer.from('k')),
            field(2, Buffer.concat([hex('1801'), field(1, Buffer.from('s'))])),
          ]),
        ),
      ),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T15',
    what: 'flags with bits that mean nothing yet',
    level: 'MUST',
    protobuf: (fresh) => spanAnd(fresh, hex('8501010300ff')),
    expect: {
      status: 200,
      stored: 1,
      reads: { of: (spans) => only(spans).flags, are: 0xff000301 },
    },
  },
  ...[
    ['a lone continuation byte', '4180'],
    ['an overlong form', 'c0af'],
    ['a surrogate half', 'eda080'],
    ['a rune cut short', 'e282'],
  ].map(
    ([form, bytes]): Row => ({
      id: 'B048 T13',
      what: `text that is not UTF-8 is repaired: ${form}`,
      level: 'ours',
      protobuf: (fresh) => spanAnd(fresh, field(5, hex(bytes ?? ''))),
      expect: { status: 200, form: 'warning', says: /invalid_utf8 1/, stored: 1 },
    }),
  ),
  {
    id: 'B051',
    what: '1,000,000 empty spans, two bytes each',
    level: 'ours',
    protobuf: () => field(1, field(2, hex('1200'.repeat(1_000_000)))),
    expect: { status: 413 },
  },
  ...['9223372036854775807', '-9223372036854775808', '-1'].map(
    (intValue): Row => ({
      id: 'T5',
      what: `an int of ${intValue} comes back as it is`,
      level: 'MUST',
      ...withAttribute({ intValue }),
      expect: {
        status: 200,
        reads: { of: (spans) => firstAttribute(spans)?.value, are: { intValue } },
      },
    }),
  ),
]

function ids(fresh: Fresh): Plain {
  return {
    ...span(fresh),
    traceId: Buffer.from(fresh.traceId, 'hex'),
    spanId: Buffer.from(fresh.spanId, 'hex'),
  }
}

export const protobufRows: Row[] = [...unreadable, ...readable]
