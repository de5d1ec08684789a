// Bad input of OTLP as it shows inside: the columns, the counters and the limits that the conformance table, which asks from
// outside, cannot see.

import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { oddJson } from './conformance/json-rows.ts'
import { field } from './conformance/row.ts'
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

const fresh = {
  traceId: '5b8efff798038103d269b633813fc60c',
  spanId: 'eee19b7ec3c1b174',
  startNs: nowNs,
}
const valid = JSON.stringify(jsonRequest(jsonSpan()))
const attribute = (value: Plain, key = 'k') => jsonSpan({ attributes: [{ key, value }] })

/** What the odd JSON of the conformance table becomes: a column, and its value. */
const columns: Record<string, [string, unknown]> = {
  'a byte order mark': ['name', 'op'],
  'snake_case keys': ['start_time', nowNs],
  'a duplicate key': ['name', 'op'],
  'a duplicate key that ends absent': ['name', ''],
  'duplicate attributes': ['attr_num', new Map([['b', 1]])],
  'a time as a number, without loss': ['start_time', nowNs - 1n],
  'an unknown kind': ['kind', 99],
  'a kind in digits': ['kind', 3],
  'a kind by name': ['kind', 2],
  'a number for a name': ['name', '17'],
  'a time in two words': ['duration_ns', 7n],
  'bytes that are not base64': ['attr_str', new Map()],
  'the names of 2021': ['name', 'op'],
  'upper-case ids': ['trace_id', fresh.traceId],
  'end before start': ['duration_ns', 0n],
  'unknown fields of every form': ['kind', 2],
  'null everywhere': ['kind', 0],
  'an escaped key': ['name', 'op'],
  'an int of 2^63-1': ['attr_num', new Map([['k', 2 ** 63]])],
  'an int of 1e3': ['attr_num', new Map([['k', 1000]])],
  'a double of NaN': ['attr_num', new Map([['k', Number.NaN]])],
  'two members of a oneof': ['attr_str', new Map([['k', 's']])],
  'a span that is its own parent': ['parent_span_id', fresh.spanId],
  'control characters in a name': ['name', 'a b c'],
}

describe('odd but meant well: kept in its column, and counted where OTLP forbids it', () => {
  test.each(oddJson)('$what', async ({ what, json, deviation }) => {
    const [column, value] = columns[what] ?? ['no column is named for it', undefined]
    expect((await world.post(json(fresh))).status).toBe(200)
    expect(world.stored.spans.map((row) => row[column as keyof typeof row])).toEqual([value]) // names above are columns
    const counted = [...world.counts.keys()].filter((key) => key.startsWith('otlp_nonconformant'))
    expect(counted).toEqual(deviation ? [`otlp_nonconformant_total ${deviation}`] : [])
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

describe('sizes', () => {
  const good = protobufRequest(jsonSpan())

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
