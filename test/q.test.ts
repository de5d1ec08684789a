// The language of `q`: what it finds in stored spans, and that whatever it cannot understand is refused with its place.

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { parseQ } from '../src/q/syntax.ts'
import { get, type Json } from './clients.ts'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
  await sendAll()
})
afterAll(() => world.end())

// One span a trace, named by what is sent.
const spans = {
  checkout: {
    service: 'shop',
    lastsMs: 900,
    attributes: { tenant: 'acme', retries: 3, 'http.route': '/v1/pay', paid: true },
  },
  refund: {
    service: 'shop',
    lastsMs: 120,
    status: 2,
    attributes: { tenant: 'umbrella corp', paid: false },
  },
  answer: {
    service: 'chat',
    lastsMs: 2_000,
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.response.model': 'gpt-4o-mini',
      'gen_ai.usage.input_tokens': 150,
      'gen_ai.usage.output_tokens': 30,
      'gen_ai.usage.cost': 0.02,
      'gen_ai.prompt.name': 'support',
      'gen_ai.prompt.version': 'v2',
      'user.id': 'u-1',
      'input.value': 'where is my parcel, said the "owl"',
    },
  },
} as const
const ids = Object.fromEntries(Object.keys(spans).map((name) => [name, randomHex(16)]))

function toValue(value: string | number | boolean): Json {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

async function sendAll(): Promise<void> {
  const startMs = Date.now() - 5_000
  const nanos = (ms: number) => (BigInt(ms) * 1_000_000n).toString()
  const resourceSpans = Object.entries(spans).map(([name, span]) => ({
    resource: { attributes: [{ key: 'service.name', value: toValue(span.service) }] },
    scopeSpans: [
      {
        spans: [
          {
            traceId: ids[name],
            spanId: randomHex(8),
            name,
            kind: 1,
            startTimeUnixNano: nanos(startMs),
            endTimeUnixNano: nanos(startMs + span.lastsMs),
            status: 'status' in span ? { code: span.status, message: 'card refused' } : {},
            attributes: Object.entries(span.attributes).map(([key, value]) => ({
              key,
              value: toValue(value),
            })),
          },
        ],
      },
    ],
  }))
  const response = await fetch(`${world.url}/v1/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ resourceSpans }),
  })
  expect(response.status).toBe(200)
}

async function found(q: string): Promise<string[]> {
  const { body } = await get(world, `/v1/traces?q=${encodeURIComponent(q)}`)
  return body.items.map((item: Json) => item.name).sort()
}

describe('q finds the traces with a span that meets all of it', () => {
  test.each<[string, string[]]>([
    ['', ['answer', 'checkout', 'refund']],
    ['parcel', ['answer']],
    ['PARCEL where', ['answer']],
    ['"is my parcel"', ['answer']],
    ['"my is parcel"', []],
    ['"the \\"owl\\""', ['answer']],
    ['card', ['refund']],
    ['service:shop', ['checkout', 'refund']],
    ['service:shop status:error', ['refund']],
    ['service:shop AND status:ok', ['checkout']],
    ['service:shop -status:error', ['checkout']],
    ['NOT service:shop', ['answer']],
    ['service:s*', ['checkout', 'refund']],
    ['service:chat OR status:error', ['answer', 'refund']],
    ['(service:chat OR status:error) latency:<1000', ['refund']],
    ['service:chat OR status:error latency:<1000', ['answer', 'refund']],
    ['-(service:chat OR status:error)', ['checkout']],
    ['latency:>500', ['answer', 'checkout']],
    ['latency:100..1000', ['checkout', 'refund']],
    ['latency:>=900 latency:<=900', ['checkout']],
    ['tokens:100..200', ['answer']],
    ['tokens:<100', []],
    ['cost:>0.01', ['answer']],
    ['model:gpt-4o-mini prompt:support prompt_version_id:support@v2', ['answer']],
    ['prompt_version_id:default', ['checkout', 'refund']],
    ['user_id:u-1', ['answer']],
    ['attr.tenant:acme', ['checkout']],
    ['attr.tenant:"umbrella corp"', ['refund']],
    ['attr.tenant:*', ['checkout', 'refund']],
    ['attr.tenant:umb*', ['refund']],
    // Between quotes a star is a star; a key that is not there is not empty.
    ['attr.tenant:"umb*"', []],
    ['attr.tenant:"*"', []],
    ['service:"s*"', []],
    ['attr.tenant:""', []],
    ['attr.retries:>2', ['checkout']],
    ['attr.retries:3', ['checkout']],
    ['attr.paid:true', ['checkout']],
    ['attr.http.route:/v1/pay', ['checkout']],
    ['%', []],
    ["' OR 1=1 --", []],
  ])('%s', async (q, names) => {
    expect(await found(q)).toEqual(names)
  })

  test('the id of a trace as a bare word', async () => {
    expect(await found(String(ids.refund))).toEqual(['refund'])
    expect(await found(`trace_id:${ids.refund}`)).toEqual(['refund'])
  })
})

describe('filters', () => {
  test.each<[string, string[]]>([
    ['from=1960-01-01T00:00:00Z&to=9999-12-31T23:59:59Z', ['answer', 'checkout', 'refund']],
    ['service=shop&to=9999-12-31T23:59:59Z', ['checkout', 'refund']],
    ['from=2400-01-01T00:00:00Z', []],
    ['to=1960-01-01T00:00:00Z', []],
    ['attr.tenant=', []],
  ])('mean what they say at their limits: %s', async (query, names) => {
    const listed = await get(world, `/v1/traces?${query}`)
    expect(listed.body.items.map((item: Json) => item.name).sort()).toEqual(names)
    const exported = await get(world, `/v1/otlp/export?${query}`)
    expect(exported.status).toBe(200)
    const spans = exported.body.resourceSpans
      .flatMap((one: Json) => one.scopeSpans)
      .flatMap((one: Json) => one.spans)
    expect(spans.map((span: Json) => span.name).sort()).toEqual(names)
  })

  test('name a trace in the list as in the export, and one of each is all there can be', async () => {
    const { body } = await get(world, `/v1/traces?trace_id=${ids.refund}`)
    expect(body.items.map((item: Json) => item.name)).toEqual(['refund'])
    for (const query of ['service=shop&service=chat', 'trace_id=12', 'format=json'])
      expect((await get(world, `/v1/traces?${query}`)).status).toBe(400)
  })
})

describe('q that cannot be understood is 400, and its place is said', () => {
  test.each([
    ['service:', 9],
    ['a (b', 3],
    ['a b)', 4],
    ['a OR', 5],
    ['OR a', 1],
    ['()', 2],
    ['say "so', 5],
    ['colour:red', 1],
    ['a https://example.com', 3],
    ['latency:fast', 1],
    ['x latency:>fast', 3],
    ['service:>5', 1],
    ['trace_id:12', 1],
    ['NOT', 4],
    [Array.from({ length: 41 }, () => 'a').join(' '), 81],
    [`${'('.repeat(20)}a${')'.repeat(20)}`, 14],
  ])('%s', async (q, place) => {
    const { status, body } = await get(world, `/v1/traces?q=${encodeURIComponent(q)}`)
    expect([status, body.error.param, /at character (\d+)/.exec(body.error.message)?.[1]]).toEqual([
      400,
      'q',
      String(place),
    ])
  })

  test('whatever is typed, it is an answer or a place inside the text', () => {
    const pieces = fc.constantFrom(
      'a',
      '"',
      '(',
      ')',
      '-',
      ' ',
      ':',
      'OR',
      'NOT',
      '..',
      '>',
      'latency:',
      'attr.x:',
      '\\',
      '*',
      '%',
      "'",
      '{q:String}',
      '5',
      'é',
      '😀',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (typed) => {
        const text = typed.join('')
        try {
          parseQ(text)
        } catch (error) {
          const place = /at character (\d+)\.$/.exec(String(error))?.[1]
          expect(Number(place)).toBeGreaterThanOrEqual(1)
          expect(Number(place)).toBeLessThanOrEqual(text.length + 1)
        }
      }),
      { numRuns: 2_000, seed: 7 },
    )
  })

  test('whatever is typed, the engine can run what it became', async () => {
    const typed = fc.sample(
      fc.array(
        fc.constantFrom(
          'a',
          '-b',
          '(c OR d)',
          'latency:>1',
          'attr.x:*',
          'attr.y:1..2',
          "attr.':'",
          'status:e*',
          'NOT',
          '"\\\\"',
          'cost:0.1',
          'ttft:<9',
          '{q0:String}',
          '\\',
          '%_',
        ),
        { minLength: 1, maxLength: 6 },
      ),
      { numRuns: 40, seed: 11 },
    )
    for (const words of typed) {
      const { status } = await get(world, `/v1/traces?q=${encodeURIComponent(words.join(' '))}`)
      expect([200, 400], words.join(' ')).toContain(status)
    }
  })
})

describe('attributes', () => {
  const keys = async (query: string) =>
    (await get(world, `/v1/attributes?${query}`)).body.items.map((item: Json) => [
      item.key ?? item.value,
      item.spans,
    ])

  test('are named by their beginning, the most frequent first', async () => {
    const all = await keys('')
    expect(all[0]).toEqual(['paid', 2])
    expect(await keys('prefix=ten')).toEqual([['tenant', 2]])
    expect(await keys('prefix=re')).toEqual([['retries', 1]])
    expect(await keys('prefix=nothing')).toEqual([])
  })

  test('have values, texts and numbers', async () => {
    expect(await keys('key=tenant')).toEqual([
      ['acme', 1],
      ['umbrella corp', 1],
    ])
    expect(await keys('key=tenant&prefix=umb')).toEqual([['umbrella corp', 1]])
    expect(await keys('key=retries')).toEqual([['3', 1]])
  })

  test.each(['limit=501', 'prefx=a'])('asked for with %s are refused', async (query) => {
    expect((await get(world, `/v1/attributes?${query}`)).status).toBe(400)
  })
})
