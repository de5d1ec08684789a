// The exchange: types, encodings, sizes, methods, connections.

import { gzipSync } from 'node:zlib'
import { protobufRequest } from '../otlp-messages.ts'
import { type Fresh, field, oneSpan, type Row, span, validJson } from './row.ts'

const mib = 1024 * 1024
const good = (fresh: Fresh) => protobufRequest(span(fresh))

const paths = ['/v1/traces', '/v1/otlp/traces', '/v1/otlp/v1/traces'].map(
  (path): Row => ({
    id: 'H1',
    what: `POST ${path}`,
    level: path === '/v1/traces' ? 'MUST' : 'ours',
    ...oneSpan(),
    ...(path === '/v1/traces' ? {} : { send: { path }, oursOnly: true }),
    expect: { status: 200, stored: 1 },
  }),
)

const typed = (encoding: 'json' | 'protobuf', types: string[]): Row[] =>
  types.map((type) => ({
    id: 'B052 H3 T36',
    what: `Content-Type: ${type}`,
    level: type.includes('application/x-protobuf') || encoding === 'json' ? 'MUST' : 'ours',
    [encoding]: encoding === 'json' ? validJson : good,
    plainOnly: true,
    send: { headers: { 'content-type': type } },
    expect: { status: 200, stored: 1 },
  }))

const types: Row[] = [
  ...typed('json', ['application/json; charset=utf-8', 'APPLICATION/JSON']),
  ...typed('protobuf', [
    'application/protobuf',
    'application/x-protobuf; messageType="x"',
    'Application/X-Protobuf',
  ]),
  ...['text/plain', 'application/xml', ''].map(
    (type): Row => ({
      id: 'H12 T36',
      what: type === '' ? 'no Content-Type' : `Content-Type: ${type}`,
      level: 'SHOULD',
      json: validJson,
      plainOnly: true,
      send: { headers: { 'content-type': type } },
      expect: { status: 415 },
    }),
  ),
  {
    id: 'H2',
    what: 'JSON and protobuf on one port',
    level: 'SHOULD',
    by: async (client, fresh) => {
      const json = await client.send(validJson(fresh), 'json')
      return json.status === 200 ? client.send(good(fresh), 'protobuf') : json
    },
    expect: { status: 200 },
  },
  {
    id: 'H3 H10 H4',
    what: 'full success: 200, an empty message, the request’s exact content type',
    level: 'MUST',
    ...oneSpan(),
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'H11',
    what: 'a warning: nothing rejected, and a message',
    level: 'ours',
    json: (fresh) => validJson(fresh).replace('"kind":2', '"kind":"SPAN_KIND_SERVER"'),
    expect: { status: 200, form: 'warning', stored: 1 },
  },
]

const errors: Row[] = [
  {
    id: 'H12',
    what: 'no key: 401 with a Status',
    level: 'MUST',
    ...oneSpan(),
    plainOnly: true,
    send: { bare: true },
    expect: { status: 401 },
  },
  ...['PUT', 'PATCH', 'DELETE'].map(
    (method): Row => ({
      id: 'T37',
      what: `${method} is 405 with Allow`,
      level: 'SHOULD',
      by: (client, fresh) => client.send(validJson(fresh), 'json', { method }),
      expect: { status: 405, form: 'any', headers: { allow: /POST/ } },
    }),
  ),
  {
    id: 'T37',
    what: 'GET of a path that only takes spans is 405 with Allow',
    level: 'SHOULD',
    oursOnly: true,
    by: (client) => client.send('', 'json', { method: 'GET', path: '/v1/otlp/traces' }),
    expect: { status: 405, form: 'any', headers: { allow: /POST/ } },
  },
  {
    id: 'H15 H14',
    what: 'no room for another large body: 503 with Retry-After of seconds, and room again later',
    level: 'SHOULD',
    oursOnly: true,
    by: async (client) => {
      // Bodies that were announced and never come; what is announced is held from the first moment.
      const type = 'Content-Type: application/x-protobuf\r\n'
      const held = await Promise.all(
        Array.from({ length: 4 }, () => client.hold(`${type}Content-Length: ${60 * mib}\r\n\r\n`)),
      )
      try {
        return await client.send(field(5, Buffer.alloc(20 * mib)), 'protobuf')
      } finally {
        for (const end of held) end()
      }
    },
    expect: { status: 503, headers: { 'retry-after': /^[1-3]$/ } },
  },
]

const tooLarge = Buffer.alloc(65 * mib)
const sizes: Row[] = [
  {
    id: 'H6 H7 B063 B067 T34',
    what: '65 MiB, plain or unpacked from 64 KiB of gzip: 413',
    level: 'MUST',
    json: () => `{"x":"${'a'.repeat(65 * mib)}"}`,
    protobuf: () => field(5, tooLarge),
    expect: { status: 413 },
  },
  {
    id: 'H7 T35',
    what: '65 MiB in chunks, without a length: 413',
    level: 'MUST',
    protobuf: () => field(5, tooLarge),
    plainOnly: true,
    send: { chunked: true },
    expect: { status: 413 },
  },
  {
    id: 'T35',
    what: 'a small body in chunks, without a length',
    level: 'MUST',
    ...oneSpan(),
    send: { chunked: true },
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'B032 T18',
    what: '60 MiB of valid protobuf in one attribute',
    level: 'ours',
    protobuf: (fresh) =>
      protobufRequest(
        span(fresh, {
          attributes: [{ key: 'k', value: { bytesValue: tooLarge.subarray(0, 60 * mib) } }],
        }),
      ),
    plainOnly: true,
    expect: { status: 200 },
  },
  {
    id: 'B032',
    what: '16 MiB of JSON is taken while others are answered',
    level: 'ours',
    by: async (client, fresh) => {
      const attributes = [{ key: 'k', value: { stringValue: 'x'.repeat(1_000) } }]
      const one = JSON.stringify(span(fresh, { attributes }))
      const list = Array.from({ length: Math.floor((16 * mib) / one.length) }, () => one).join(',')
      const sent = client.send(`{"resourceSpans":[{"scopeSpans":[{"spans":[${list}]}]}]}`, 'json')
      let isSent = false
      let slowestMs = 0
      const done = sent.finally(() => {
        isSent = true
      })
      while (client.isOurs && !isSent) {
        const at = performance.now()
        await client.get('/health')
        slowestMs = Math.max(slowestMs, performance.now() - at)
      }
      const answer = await done
      return {
        ...answer,
        headers: { ...answer.headers, 'slowest-other': slowestMs < 1_000 ? 'quick' : 'slow' },
      }
    },
    expect: { status: 200, headers: { 'slowest-other': /quick/ } },
  },
]

const compression: Row[] = [
  ...(
    [
      ['B060 T33', 'plain bytes called gzip', good, 'gzip', 400],
      ['B061', 'truncated gzip', (f) => zip(f).subarray(0, -9), 'gzip', 400],
      ['B061', 'a wrong checksum', (f) => spoil(zip(f)), 'gzip', 400],
      [
        'B061',
        'garbage after the end',
        (f) => Buffer.concat([zip(f), Buffer.from('garbage')]),
        'gzip',
        400,
      ],
      ['B066', 'an empty body called gzip', () => Buffer.alloc(0), 'gzip', 400],
      ['T33', 'gzip that is not called so', zip, '', 400],
      ['B063 T33', 'gzip in gzip, called so once', (f) => gzipSync(zip(f)), 'gzip', 400],
      ['B064 T33', 'gzip twice', (f) => gzipSync(zip(f)), 'gzip, gzip', 415],
      ['B065 T33', 'brotli', zip, 'br', 415],
      ['B065', 'zstd', zip, 'zstd', 415],
      ['B065', 'deflate', zip, 'deflate', 415],
      ['B065', 'snappy', zip, 'snappy', 415],
      [
        'B062',
        'two members',
        (f) => Buffer.concat([gzipSync(good(f).subarray(0, 20)), gzipSync(good(f).subarray(20))]),
        'gzip',
        200,
      ],
      ['B065 T33', 'GZIP', zip, 'GZIP', 200],
      ['B065 H4 T33', 'identity', good, 'identity', 200],
    ] as [string, string, (fresh: Fresh) => Buffer, string, number][]
  ).map(
    ([id, what, protobuf, encoding, status]): Row => ({
      id,
      what: `Content-Encoding ${encoding || 'absent'}: ${what}`,
      level: status === 415 || encoding === 'GZIP' ? 'ours' : 'MUST',
      protobuf,
      plainOnly: true,
      send: { headers: encoding === '' ? {} : { 'content-encoding': encoding } },
      expect: {
        status,
        stored: status === 200 ? 1 : 0,
        ...(status === 415 ? { headers: { 'accept-encoding': /^gzip$/ } } : {}),
      },
    }),
  ),
  {
    id: 'H5',
    what: 'an answer is not compressed unless that was asked for',
    level: 'MUST',
    ...oneSpan(),
    plainOnly: true,
    expect: { status: 200, headers: { 'content-encoding': /^$/ } },
  },
  {
    id: 'H5',
    what: 'with Accept-Encoding: gzip, plain or gzip that says so',
    level: 'MAY',
    ...oneSpan(),
    plainOnly: true,
    send: { headers: { 'accept-encoding': 'gzip' } },
    expect: {
      status: 200,
      headers: { 'content-encoding': /^(gzip)?$/ },
    },
  },
]

const connections: Row[] = [
  {
    id: 'H23',
    what: 'a connection is kept for a second request, and longer than balancers keep idle ones',
    level: 'SHOULD',
    ...oneSpan(),
    plainOnly: true,
    oursOnly: true,
    expect: { status: 200, headers: { 'keep-alive': /timeout=([6-9]\d|\d{3,})/ } },
  },
  {
    id: 'H24',
    what: 'HTTP/2 or gRPC on the same port',
    level: 'MAY',
    by: async () => undefined,
    expect: { status: 200 },
  },
  ...(
    [
      ['T38', 'a client that leaves half-way', 'Content-Length: 100\r\n\r\n\x0a'],
      [
        'T35',
        'a chunk size that is no number',
        'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n',
      ],
    ] as const
  ).map(
    ([id, what, rest]): Row => ({
      id,
      what: `${what}: the next request is answered`,
      level: 'MUST',
      by: async (client, fresh) => {
        await client.raw(`Content-Type: application/x-protobuf\r\n${rest}`, true)
        return client.send(good(fresh), 'protobuf')
      },
      expect: { status: 200, stored: 1 },
    }),
  ),
  {
    id: 'T35',
    what: 'Expect: 100-continue',
    level: 'MUST',
    ...oneSpan(),
    plainOnly: true,
    send: { headers: { expect: '100-continue' } },
    expect: { status: 200, stored: 1 },
  },
  {
    id: 'T37',
    what: 'HEAD and OPTIONS are answered without a 5xx',
    level: 'MUST',
    by: async (client) => {
      const options = await client.send('', 'json', { method: 'OPTIONS' })
      const head = await client.send('', 'json', { method: 'HEAD' })
      return { ...head, status: Math.max(head.status, options.status) < 500 ? 200 : 500 }
    },
    expect: { status: 200, form: 'any' },
  },
  {
    id: 'B031 T40',
    what: 'the same request twice at once: both are answered, its span shows once',
    level: 'ours',
    oursOnly: true,
    by: async (client, fresh) => {
      const [first] = await Promise.all([
        client.send(good(fresh), 'protobuf'),
        client.send(good(fresh), 'protobuf'),
      ])
      const { body } = await client.get(`/v1/traces/${fresh.traceId}`)
      return { ...first, headers: { ...first.headers, 'span-count': String(body.span_count) } }
    },
    expect: { status: 200, headers: { 'span-count': /^1$/ } },
  },
  {
    id: 'B068',
    what: 'a body that never ends: 408',
    level: 'ours',
    slow: 'a body has 60 s; otlp-bad-input.test.ts has the same with a shorter limit',
    by: async (client) => {
      const text = await client.raw(
        'Content-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f',
      )
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text ?? '')?.[1] ?? 0)
      return { status, headers: {}, body: Buffer.alloc(0) }
    },
    expect: { status: 408, form: 'any' },
  },
]

function zip(fresh: Fresh): Buffer {
  return gzipSync(good(fresh))
}

/** The checksum, eight bytes before the end, turned over. */
function spoil(zipped: Buffer): Buffer {
  const copy = Buffer.from(zipped)
  copy[copy.length - 8] = copy[copy.length - 8]! ^ 0xff
  return copy
}

export const httpRows: Row[] = [
  ...paths,
  ...types,
  ...errors,
  ...sizes,
  ...compression,
  ...connections,
]
