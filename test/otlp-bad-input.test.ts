// The bad-input catalogue of OTLP: what each malformed request is answered, and what of it is stored.

import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  jsonRequest,
  jsonSpan,
  nowNs,
  openWorld,
  oracle,
  type Plain,
  protobufRequest,
  type World,
} from './otlp-world.ts'

let world: World
beforeAll(async () => {
  world = await openWorld({ bodyDeadlineMs: 300 })
})
afterAll(() => world.close())
beforeEach(() => {
  for (const rows of Object.values(world.stored)) rows.length = 0
  world.counts.clear()
})

const valid = JSON.stringify(jsonRequest(jsonSpan()))
const attribute = (value: Plain, key = 'k') => jsonSpan({ attributes: [{ key, value }] })
const inArray = (depth: number): Plain =>
  depth === 0 ? { stringValue: 'x' } : { arrayValue: { values: [inArray(depth - 1)] } }
const inList = (depth: number): Plain =>
  depth === 0
    ? { stringValue: 'x' }
    : { kvlistValue: { values: [{ key: 'k', value: inList(depth - 1) }] } }

describe('JSON that is not a request is 400, in JSON, and stores nothing', () => {
  test.each<[string, string | Buffer, RegExp]>([
    ['an empty body', '', /empty/],
    ['an array', '[]', /not a JSON object/],
    ['a string', '"x"', /not a JSON object/],
    ['a number', '1', /not a JSON object/],
    ['null', 'null', /not a JSON object/],
    ['truncated JSON', valid.slice(0, -3), /ends early/],
    ['a trailing comma', valid.replace('"kind":2,', '"kind":2,,'), /byte \d+/],
    ['single quotes', "{'resourceSpans':[]}", /byte 1/],
    ['a comment', '{/* */}', /byte 1/],
    ['two documents', `${valid}\n${valid}`, /follows/],
    ['UTF-16', Buffer.from(valid, 'utf16le'), /byte|object/],
    ['Latin-1', Buffer.from(valid.replace('shop', 'sh\u00f6p'), 'latin1'), /UTF-8/],
    ['a lone surrogate', valid.replace('"op"', '"\\ud800"'), /surrogate/],
    ['a bad escape', valid.replace('"op"', '"\\x41"'), /escape/],
    ['a control character in a string', valid.replace('"op"', '"o\u0001p"'), /control/],
    ['a bad literal', valid.replace('"kind":2', '"kind":nul'), /JSON/],
    ['a number like 01', valid.replace('"kind":2', '"kind":01'), /JSON|expected/],
    ['resourceSpans as an object', '{"resourceSpans":{}}', /resourceSpans must be an array/],
    [
      'attributes as a map',
      JSON.stringify(jsonRequest(jsonSpan({ attributes: { k: 'v' } }))),
      /attributes must be an array of \{"key", "value"\} objects/,
    ],
    ['an object in place of a name', valid.replace('"op"', '{}'), /name must not be an object/],
    ['100,000 nested arrays', `{"x":${'['.repeat(100_000)}`, /nesting exceeds/],
    [
      '100,000 nested kvlists',
      `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":${'{"kvlistValue":{"values":[{"value":'.repeat(100_000)}`,
      /nesting exceeds 100/,
    ],
    ['logs', '{"resourceLogs":[]}', /resourceLogs is not taken here/],
    ['metrics in snake_case', '{"resource_metrics":[]}', /not taken here/],
  ])('%s', async (_, body, message) => {
    for (const gzip of [false, true]) {
      const answer = await world.post(body, { type: 'application/json', gzip })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/json'])
      expect(answer.json()).toEqual({ code: 3, message: expect.stringMatching(message) })
    }
    expect(world.stored.spans).toHaveLength(0)
  })
})

describe('protobuf that is not a request is 400, in protobuf, and stores nothing', () => {
  const good = protobufRequest(jsonSpan())
  const nest = (depth: number): Buffer => {
    let inner: Buffer = Buffer.alloc(0)
    for (let i = 0; i < depth; i++) {
      const list = field(6, field(1, field(2, inner)))
      inner = list
    }
    return field(1, field(2, field(2, field(9, field(2, inner)))))
  }
  test.each<[string, Buffer, RegExp]>([
    ['one byte', Buffer.from([0x0a]), /truncated/],
    ['JSON', Buffer.from(valid), /byte/],
    ['random bytes', Buffer.from('deadbeefdeadbeefdeadbeef', 'hex'), /byte/],
    ['a cut in a field', good.subarray(0, -5), /past the end/],
    ['a length of 2^31-1', Buffer.from('0affffffff07', 'hex'), /past the end/],
    ['a negative length', Buffer.from('0affffffffffffffffff01', 'hex'), /length out of range/],
    [
      'a varint of eleven bytes',
      Buffer.from(`18${'80'.repeat(10)}01`, 'hex'),
      /longer than ten bytes/,
    ],
    ['a varint of 65 bits', Buffer.from('18ffffffffffffffffff02', 'hex'), /longer than 64 bits/],
    ['field number 0', Buffer.from('0200', 'hex'), /field number 0/],
    ['wire type 7', Buffer.from('0f', 'hex'), /wire type 7/],
    ['a group that does not end', Buffer.from('f303', 'hex'), /truncated/],
    ['a group ended by another', Buffer.from('f303fc03', 'hex').fill(0x8c, 2, 3), /group|byte/],
    ['groups 1,000 deep', Buffer.from('f303'.repeat(1_000), 'hex'), /nested too deep/],
    ['kvlists 10,000 deep', nest(10_000), /nesting exceeds 100/],
    [
      'a known field of another wire type',
      field(1, field(2, field(2, Buffer.from('0801', 'hex')))),
      /traceId has wire type 0/,
    ],
    [
      'a logs payload',
      field(1, field(2, field(2, Buffer.concat([Buffer.from([9]), Buffer.alloc(8, 1)])))),
      /wire type 1/,
    ],
    ['a gRPC frame', Buffer.concat([Buffer.from([0, 0, 0, 0, good.length]), good]), /gRPC/],
  ])('%s', async (_, body, message) => {
    for (const gzip of [false, true]) {
      const answer = await world.post(body, { gzip })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([
        400,
        'application/x-protobuf',
      ])
      expect(answer.rpcStatus()).toEqual({ code: 3, message: expect.stringMatching(message) })
    }
    expect(world.stored.spans).toHaveLength(0)
  })

  test('a metrics payload, whose metrics read as spans without times', async () => {
    const metric = Buffer.concat([
      field(1, Buffer.from('http.server.duration')),
      field(3, Buffer.from('ms')),
    ])
    const answer = await world.post(field(1, field(2, field(2, metric))))
    expect([answer.status, answer.rpcStatus().message]).toEqual([
      400,
      expect.stringMatching(/metrics/),
    ])
  })
})

describe('empty requests are a full success', () => {
  test.each<[string, string | Buffer]>([
    ['{}', '{}'],
    ['no resources', '{"resourceSpans":[]}'],
    ['null resources', '{"resourceSpans":null}'],
    ['no bytes', Buffer.alloc(0)],
    ['a thousand empty envelopes', Buffer.from('0a021200'.repeat(1_000), 'hex')],
  ])('%s', async (_, body) => {
    const answer = await world.post(body)
    expect([answer.status, answer.body.toString()]).toEqual([
      200,
      typeof body === 'string' ? '{}' : '',
    ])
    expect(world.stored.envelopes).toHaveLength(0)
  })
})

describe('a span with a value that cannot be is rejected alone, in either encoding', () => {
  const day = 86_400_000_000_000n
  test.each<[string, Plain, string]>([
    ['a trace id of 15 bytes', { traceId: 'ab'.repeat(15) }, 'invalid_trace_id'],
    ['a trace id of 17 bytes', { traceId: 'ab'.repeat(17) }, 'invalid_trace_id'],
    ['a 64-bit trace id', { traceId: 'ab'.repeat(8) }, 'invalid_trace_id'],
    ['no trace id', { traceId: '' }, 'invalid_trace_id'],
    ['a zero trace id', { traceId: '00'.repeat(16) }, 'invalid_trace_id'],
    ['a zero span id', { spanId: '00'.repeat(8) }, 'invalid_span_id'],
    ['a parent id of 4 bytes', { parentSpanId: 'abcdabcd' }, 'invalid_parent_span_id'],
    ['no start', { startTimeUnixNano: '0' }, 'invalid_time'],
    [
      'seconds in place of nanoseconds',
      { startTimeUnixNano: String(nowNs / 1_000_000_000n) },
      'invalid_time',
    ],
    [
      'milliseconds in place of nanoseconds',
      { startTimeUnixNano: String(nowNs / 1_000_000n) },
      'invalid_time',
    ],
    ['two days ahead', { startTimeUnixNano: String(nowNs + 2n * day) }, 'invalid_time'],
    ['the end of time', { endTimeUnixNano: '18446744073709551615' }, 'invalid_time'],
  ])('%s', async (_, over, reason) => {
    for (const body of [
      JSON.stringify(jsonRequest(jsonSpan(over), jsonSpan())),
      protobufRequest(jsonSpan(over), jsonSpan()),
    ]) {
      for (const gzip of [false, true]) expect((await world.post(body, { gzip })).status).toBe(200)
    }
    expect(world.stored.spans).toHaveLength(4)
    expect(world.counts.get(`otlp_spans_rejected_total ${reason}`)).toBe(4)
  })

  test.each<[string, Plain, string]>([
    ['31 hex digits', jsonSpan({ traceId: '5b8efff798038103d269b633813fc60' }), 'invalid_trace_id'],
    [
      '33 hex digits',
      jsonSpan({ traceId: '5b8efff798038103d269b633813fc60c0' }),
      'invalid_trace_id',
    ],
    ['a base64 trace id', jsonSpan({ traceId: 'W47/95gDgQPSabYzgT/GDA==' }), 'invalid_trace_id'],
    ['a time of letters', jsonSpan({ startTimeUnixNano: 'abc' }), 'invalid_time'],
    ['a negative time', jsonSpan({ startTimeUnixNano: '-1' }), 'invalid_time'],
    ['a time of 1e30', jsonSpan({ startTimeUnixNano: '1e30' }), 'invalid_time'],
    ['a time of 2^64', jsonSpan({ startTimeUnixNano: '18446744073709551616' }), 'invalid_time'],
    ['an unknown kind by name', jsonSpan({ kind: 'SERVER' }), 'invalid_enum'],
    ['an int of 1.5', attribute({ intValue: '1.5' }), 'invalid_value'],
    ['an int of 2^63', attribute({ intValue: '9223372036854775808' }), 'invalid_value'],
    ['a double of letters', attribute({ doubleValue: 'many' }), 'invalid_value'],
    ['a bool of 1', attribute({ boolValue: 1 }), 'invalid_value'],
  ])('in JSON: %s', async (_, span, reason) => {
    const answer = await world.post(JSON.stringify(jsonRequest(span, jsonSpan())))
    expect([answer.status, world.stored.spans.length]).toEqual([200, 1])
    expect(world.counts.get(`otlp_spans_rejected_total ${reason}`)).toBe(1)
    expect(answer.json().partialSuccess).toMatchObject({ rejectedSpans: '1' })
  })

  test('one bad span among a thousand leaves 999, and all bad is still 200', async () => {
    const spans = Array.from({ length: 1_000 }, (_, i) => jsonSpan(i === 500 ? { spanId: '' } : {}))
    await world.post(JSON.stringify(jsonRequest(...spans)))
    expect(world.stored.spans).toHaveLength(999)
    const all = await world.post(protobufRequest(jsonSpan({ spanId: '' })))
    expect([all.status, world.stored.spans.length]).toEqual([200, 999])
  })
})

describe('odd but meant well: accepted, kept, and counted where OTLP forbids it', () => {
  test.each<[string, string, (row: Plain) => unknown, unknown, string?]>([
    ['a byte order mark', `\ufeff${valid}`, (row) => row.name, 'op', 'byte_order_mark'],
    [
      'snake_case keys',
      valid.replace('startTimeUnixNano', 'start_time_unix_nano'),
      (row) => row.start_time,
      nowNs,
      'snake_case',
    ],
    [
      'a duplicate key',
      valid.replace('"name":"op"', '"name":"no","name":"op"'),
      (row) => row.name,
      'op',
      'duplicate_key',
    ],
    [
      'a duplicate key that ends absent',
      valid.replace('"name":"op"', '"name":"no","name":null'),
      (row) => row.name,
      '',
      'duplicate_key',
    ],
    [
      'duplicate attributes',
      valid.replace(
        '"name":"op"',
        '"attributes":[{"key":"a"}],"attributes":[{"key":"b","value":{"boolValue":true}}]',
      ),
      (row) => row.attr_num,
      new Map([['b', 1]]),
      'duplicate_key',
    ],
    [
      'a time as a number, without loss',
      valid.replace(`"startTimeUnixNano":"${nowNs}"`, `"startTimeUnixNano":${nowNs - 1n}`),
      (row) => row.start_time,
      nowNs - 1n,
    ],
    ['an unknown kind', valid.replace('"kind":2', '"kind":99'), (row) => row.kind, 99],
    [
      'a kind in digits',
      valid.replace('"kind":2', '"kind":"3"'),
      (row) => row.kind,
      3,
      'enum_string',
    ],
    [
      'a number for a name',
      valid.replace('"op"', '17'),
      (row) => row.name,
      '17',
      'number_for_string',
    ],
    [
      'a time in two words',
      valid.replace(
        `"endTimeUnixNano":"${nowNs + 1_500_000n}"`,
        `"endTimeUnixNano":{"low":${Number((nowNs + 7n) & 0xffffffffn) | 0},"high":${Number(nowNs >> 32n)}}`,
      ),
      (row) => row.duration_ns,
      7n,
      'fixed64_object',
    ],
    [
      'bytes that are not base64',
      JSON.stringify(jsonRequest(attribute({ bytesValue: '*' }))),
      (row) => row.attr_str,
      new Map(),
      'bad_base64',
    ],
    [
      'the names of 2021',
      valid.replace('scopeSpans', 'instrumentationLibrarySpans'),
      (row) => row.name,
      'op',
      'legacy_field',
    ],
    [
      'upper-case ids',
      valid.replace('5b8efff798038103d269b633813fc60c', '5B8EFFF798038103D269B633813FC60C'),
      (row) => row.trace_id,
      '5b8efff798038103d269b633813fc60c',
    ],
    [
      'end before start',
      JSON.stringify(jsonRequest(jsonSpan({ endTimeUnixNano: String(nowNs - 5n) }))),
      (row) => row.duration_ns,
      0n,
    ],
    [
      'unknown fields of every form',
      valid.replace('"kind":2', '"x":{"y":[1,null,{"z":"\\u00e9"}]},"kind":2,"w":-1.5e3'),
      (row) => row.kind,
      2,
    ],
    [
      'null everywhere',
      valid.replace('"kind":2', '"kind":null,"attributes":null,"status":null,"events":null'),
      (row) => row.kind,
      0,
    ],
    ['an escaped key', valid.replace('"name"', '"na\\u006de"'), (row) => row.name, 'op'],
    [
      'an int of 2^63-1',
      JSON.stringify(jsonRequest(attribute({ intValue: '9223372036854775807' }))),
      (row) => row.attr_num,
      new Map([['k', 2 ** 63]]),
    ],
    [
      'an int of 1e3',
      valid.replace('"kind":2', '"attributes":[{"key":"k","value":{"intValue":1e3}}]'),
      (row) => row.attr_num,
      new Map([['k', 1000]]),
    ],
    [
      'a double of NaN',
      JSON.stringify(jsonRequest(attribute({ doubleValue: 'NaN' }))),
      (row) => row.attr_num,
      new Map([['k', Number.NaN]]),
    ],
    [
      'two members of a oneof',
      valid.replace(
        '"kind":2',
        '"attributes":[{"key":"k","value":{"intValue":1,"stringValue":"s"}}]',
      ),
      (row) => row.attr_str,
      new Map([['k', 's']]),
    ],
    [
      'a span that is its own parent',
      JSON.stringify(jsonRequest(jsonSpan({ parentSpanId: 'eee19b7ec3c1b174' }))),
      (row) => row.parent_span_id,
      'eee19b7ec3c1b174',
    ],
    [
      'control characters in a name',
      valid.replace('"op"', '"a\\u0000b\\u001bc"'),
      (row) => row.name,
      'a b c',
    ],
  ])('%s', async (_, body, read, expected, deviation) => {
    const answer = await world.post(body)
    expect(answer.status).toBe(200)
    expect(world.stored.spans.map((row) => read(row))).toEqual([expected])
    const counted = [...world.counts.keys()].filter((key) => key.startsWith('otlp_nonconformant'))
    expect(counted).toEqual(deviation ? [`otlp_nonconformant_total ${deviation}`] : [])
  })

  test.each(['__proto__', 'constructor.prototype.x', 'gen_ai.prompt.__proto__.polluted', ''])(
    'the key %j is a key like any other',
    async (key) => {
      for (const body of [
        JSON.stringify(jsonRequest(attribute({ stringValue: 'v' }, key))),
        protobufRequest(attribute({ stringValue: 'v' }, key)),
      ])
        expect((await world.post(body)).status).toBe(200)
      for (const row of world.stored.spans) expect(row.attr_str).toEqual(new Map([[key, 'v']]))
      expect(({} as Plain).polluted ?? ({} as Plain).x).toBeUndefined()
    },
  )

  test('31 levels of kvlist and 46 of arrays, the most that official decoders read, pass both ways', async () => {
    for (const value of [inList(31), inArray(46)])
      for (const body of [
        JSON.stringify(jsonRequest(attribute(value))),
        protobufRequest(attribute(value)),
      ])
        expect((await world.post(body)).status).toBe(200)
  })

  test('text that is not UTF-8 is repaired in protobuf, counted, and stored as UTF-8', async () => {
    const body = protobufRequest(
      jsonSpan({ name: 'AAAA', attributes: [{ key: 'BBBB', value: { stringValue: 'CCCC' } }] }),
    )
    const broken = Buffer.from(
      body.toString('latin1').replace('AAAA', 'A\x80A\xff').replace('CCCC', 'C\xed\xa0\x80'),
      'latin1',
    )
    expect((await world.post(broken)).status).toBe(200)
    expect([
      world.stored.spans[0]!.name,
      world.counts.get('otlp_nonconformant_total invalid_utf8'),
    ]).toEqual(['A\ufffdA\ufffd', 1])
    const raw = oracle.decode('Span', world.stored.payloads[0]!.raw as Buffer)
    expect(raw).toMatchObject({
      name: 'A\ufffdA\ufffd',
      attributes: [{ value: { stringValue: 'C\ufffd\ufffd\ufffd' } }],
    })
    const strict = await world.post(broken, { query: '?strict=1' })
    expect([strict.status, world.stored.spans.length]).toEqual([200, 1])
  })

  test('100,000 attributes on a span fill no more than 128 entries, and the payload keeps all', async () => {
    const attributes = Array.from({ length: 100_000 }, (_, i) => ({
      key: `k${i}`,
      value: { intValue: i },
    }))
    expect((await world.post(protobufRequest(jsonSpan({ attributes })))).status).toBe(200)
    expect((world.stored.spans[0]!.attr_num as Map<string, number>).size).toBe(128)
    const raw = oracle.decode('Span', world.stored.payloads[0]!.raw as Buffer)
    expect(raw.attributes).toHaveLength(100_000)
    // The key table is full of them now; keys that mean something are still recognised.
    await world.post(protobufRequest(attribute({ stringValue: 'm' }, 'gen_ai.request.model')))
    expect(world.stored.spans[1]!.model).toBe('m')
  })
})

describe('compression', () => {
  const good = protobufRequest(jsonSpan())
  const zipped = gzipSync(good)
  const bad = (at: number) => Buffer.from(zipped).fill(zipped[at]! ^ 0xff, at, at + 1)
  test.each<[string, Buffer, string, number]>([
    ['plain bytes called gzip', good, 'gzip', 400],
    ['truncated gzip', zipped.subarray(0, -9), 'gzip', 400],
    ['a wrong checksum', bad(zipped.length - 8), 'gzip', 400],
    ['garbage after the end', Buffer.concat([zipped, Buffer.from('garbage')]), 'gzip', 400],
    ['an empty body called gzip', Buffer.alloc(0), 'gzip', 400],
    ['gzip twice', gzipSync(zipped), 'gzip, gzip', 415],
    ['brotli', zipped, 'br', 415],
    ['zstd', zipped, 'zstd', 415],
    ['deflate', zipped, 'deflate', 415],
    [
      'two members',
      Buffer.concat([gzipSync(good.subarray(0, 20)), gzipSync(good.subarray(20))]),
      'gzip',
      200,
    ],
    ['GZIP', zipped, 'GZIP', 200],
    ['identity', good, 'identity', 200],
  ])('%s', async (_, body, encoding, status) => {
    const answer = await world.post(body, { encoding })
    expect([answer.status, world.stored.spans.length]).toEqual([status, status === 200 ? 1 : 0])
    if (status === 415) expect(answer.headers.get('accept-encoding')).toBe('gzip')
    if (status !== 200) expect(answer.rpcStatus().code).toBe(3)
  })

  test('a bomb is 413 once it passes the limit, as is a plain body of that size', async () => {
    const small = await openWorld({ bodyBytesMax: 1_000_000, compressedBytesMax: 10_000 })
    const large = Buffer.concat([field(5, Buffer.alloc(1_500_000))])
    const answers = [
      await small.post(large, { gzip: true }),
      await small.post(large),
      await small.post(Buffer.alloc(10_001), { encoding: 'gzip' }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([413, 413, 413])
    expect(answers.map((answer) => answer.rpcStatus().code)).toEqual([8, 8, 8])
    await small.close()
  })

  test('bodies beyond what all may hold together are 503, and room is given back', async () => {
    const small = await openWorld({ inFlightBytesMax: 1_000 })
    const refused = await small.post(field(5, Buffer.alloc(2_000)))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
    for (let i = 0; i < 20; i++) expect((await small.post(good)).status).toBe(200)
    await small.close()
  })
})

describe('bodies that do not end', () => {
  test('one that stalls is 408', async () => {
    const answer = await raw(`${head('Content-Length: 100')}\x0a`, false)
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
  })

  test.each<[string, string]>([
    ['a client that leaves half-way', `${head('Content-Length: 100')}\x0a`],
    ['a chunk size that is no number', `${head('Transfer-Encoding: chunked')}3\r\nabc\r\nzz\r\n`],
  ])('%s stores nothing', async (_, bytes) => {
    await raw(bytes, true)
    expect((await world.post(valid)).status).toBe(200)
    expect(world.stored.spans).toHaveLength(1)
  })
})

function head(framing: string): string {
  return `POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n${framing}\r\n\r\n`
}

/** Sends bytes on a socket of its own; what came back when the server closed it, or answered. */
function raw(bytes: string, leave: boolean): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(world.url).port), '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
      if (!leave) socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(text))
    socket.write(Buffer.from(bytes, 'latin1'), () => {
      if (leave) socket.end()
    })
  })
}

/** A length-delimited field. */
function field(number: number, inner: Buffer): Buffer {
  const bytes = [(number << 3) | 2]
  let rest = inner.length
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  bytes.push(rest)
  return Buffer.concat([Buffer.from(bytes), inner])
}
