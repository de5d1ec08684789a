// OTLP in, over real sockets: encodings, answers, columns, and that a request is stored whole or not at all.

import { SpanKind } from '@opentelemetry/api'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtoExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { copyRows, newBatch } from '../collectors/otlp/aside.ts'
import { decodeRequest } from '../collectors/otlp/decode.ts'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { Tally } from '../collectors/otlp/tally.ts'
import { readNative } from './native-reader.ts'
import {
  diskFull,
  jsonRequest,
  jsonSpan,
  nowMs,
  nowNs,
  openWorld,
  oracle,
  protobufRequest,
  toOracle,
  type World,
  workspace,
} from './otlp-world.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())
beforeEach(() => {
  world.stored.spans.length = 0
  world.stored.payloads.length = 0
  world.stored.envelopes.length = 0
  world.counts.clear()
  world.failing = undefined
})

describe('answers', () => {
  test.each(['/v1/traces', '/v1/otlp/traces', '/v1/otlp/v1/traces'])(
    'a full success on %s is 200 with an empty message in the encoding of the request, gzip or not',
    async (path) => {
      for (const gzip of [false, true]) {
        const json = await world.post(JSON.stringify(jsonRequest(jsonSpan())), { path, gzip })
        expect([json.status, json.headers.get('content-type'), json.body.toString()]).toEqual([
          200,
          'application/json',
          '{}',
        ])
        const proto = await world.post(protobufRequest(jsonSpan()), { path, gzip })
        expect([proto.status, proto.headers.get('content-type'), proto.body.length]).toEqual([
          200,
          'application/x-protobuf',
          0,
        ])
      }
      expect(world.stored.spans).toHaveLength(4)
    },
  )

  test.each(['application/json; charset=utf-8', 'APPLICATION/JSON'])('%s is JSON', async (type) => {
    const answer = await world.post('{}', { type })
    expect([answer.status, answer.body.toString()]).toEqual([200, '{}'])
    expect(answer.headers.get('content-type')).toBe('application/json')
  })

  test.each([
    'application/protobuf',
    'application/x-protobuf; messageType="x"',
    'Application/X-Protobuf',
  ])('%s is protobuf, and the answer says application/x-protobuf', async (type) => {
    const answer = await world.post(protobufRequest(jsonSpan()), { type })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      'application/x-protobuf',
    ])
  })

  test('bad spans are rejected alone, and the partial success counts them in both encodings', async () => {
    const spans = [jsonSpan(), jsonSpan({ spanId: '' }), jsonSpan({ traceId: '00'.repeat(16) })]
    const json = await world.post(JSON.stringify(jsonRequest(...spans)))
    expect(json.status).toBe(200)
    expect(json.json()).toEqual({
      partialSuccess: {
        rejectedSpans: '2',
        errorMessage:
          '2 of 3 spans rejected (invalid_span_id 1, invalid_trace_id 1); first: span_id has 0 bytes, not 8',
      },
    })
    const proto = await world.post(protobufRequest(...spans))
    expect(oracle.decode('ExportTraceServiceResponse', proto.body)).toEqual({
      partialSuccess: {
        rejectedSpans: '2',
        errorMessage:
          '2 of 3 spans rejected (invalid_span_id 1, invalid_trace_id 1); first: span_id has 0 bytes, not 8',
      },
    })
    expect(world.stored.spans).toHaveLength(2)
    expect(world.counts.get('otlp_spans_rejected_total invalid_trace_id')).toBe(2)
  })

  test('a tolerated deviation is a warning with no rejected span, and rejects the span when strictness is asked', async () => {
    const body = JSON.stringify(jsonRequest(jsonSpan({ kind: 'SPAN_KIND_SERVER' })))
    const lenient = await world.post(body)
    expect(lenient.json()).toEqual({
      partialSuccess: { errorMessage: 'accepted, but not valid OTLP: enum_name 1' },
    })
    expect(world.stored.spans[0]?.kind).toBe(2)
    expect(world.counts.get('otlp_nonconformant_total enum_name')).toBe(1)
    const strict = await world.post(body, { query: '?strict=1' })
    expect([strict.status, strict.json().partialSuccess]).toEqual([
      200,
      {
        rejectedSpans: '1',
        errorMessage: '1 of 1 spans rejected (nonconformant 1); first: enum name is not OTLP',
      },
    ])
  })

  test('a disk that fails answers 503 with Retry-After, and the envelope is written again by the retry', async () => {
    world.failing = diskFull()
    const body = JSON.stringify({
      resourceSpans: [{ schemaUrl: 'https://once', scopeSpans: [{ spans: [jsonSpan()] }] }],
    })
    const refused = await world.post(body)
    expect([refused.status, refused.headers.get('retry-after'), refused.json()]).toEqual([
      503,
      '2',
      { code: 14, message: 'The disk is full.' },
    ])
    world.failing = new Error('what nobody foresaw, with a secret')
    const unknown = await world.post(protobufRequest(jsonSpan()))
    expect([unknown.status, unknown.headers.get('retry-after')]).toEqual([503, '1'])
    expect(unknown.rpcStatus().message).not.toContain('secret')
    world.failing = undefined
    await world.post(body)
    await world.post(body)
    expect(world.stored.spans).toHaveLength(2)
    expect(world.stored.envelopes).toHaveLength(2)
  })

  test('another method is 405 with Allow, another type 415, each as a google.rpc.Status', async () => {
    const got = await fetch(`${world.url}/v1/traces`, { method: 'GET' })
    expect([got.status, got.headers.get('allow'), (await got.json()).code]).toEqual([
      405,
      'POST',
      12,
    ])
    const typed = await world.post('x', { type: 'text/plain' })
    expect([typed.status, typed.headers.get('content-type'), typed.json().code]).toEqual([
      415,
      'application/json',
      3,
    ])
  })
})

describe('columns', () => {
  test('every search column of an LLM span follows from its attributes', async () => {
    const attributes = Object.entries({
      'gen_ai.operation.name': 'chat',
      'gen_ai.system': 'openai',
      'gen_ai.request.model': 'gpt-4o',
      'gen_ai.response.model': 'gpt-4o-2024-08-06',
      'gen_ai.prompt.name': 'Support Desk',
      'gen_ai.conversation.id': 's-1',
      'enduser.id': 'u-1',
      'gen_ai.input.messages': '[{"role":"user","content":"Where is \\"it\\"?"}]',
      'gen_ai.output.messages':
        '[{"role":"assistant","parts":[{"type":"text","content":"Here."}]}]',
      'deployment.environment': 'prod',
    }).map(([key, stringValue]) => ({ key, value: { stringValue } }))
    const span = jsonSpan({
      parentSpanId: 'EEE19B7EC3C1B173',
      status: { code: 2, message: 'broken' },
      attributes: [
        ...attributes,
        { key: 'gen_ai.prompt.version', value: { intValue: '3' } },
        { key: 'gen_ai.usage.input_tokens', value: { intValue: '120' } },
        { key: 'gen_ai.usage.output_tokens', value: { intValue: 30 } },
        { key: 'gen_ai.usage.cache_read.input_tokens', value: { intValue: '100' } },
        { key: 'gen_ai.usage.reasoning.output_tokens', value: { intValue: '10' } },
        { key: 'gen_ai.usage.cost', value: { doubleValue: 0.000123456 } },
        { key: 'gen_ai.response.time_to_first_chunk', value: { doubleValue: 0.25 } },
        { key: 'retried', value: { boolValue: true } },
        { key: 'twice', value: { stringValue: 'first' } },
        { key: 'twice', value: { stringValue: 'last' } },
      ],
    })
    for (const body of [JSON.stringify(jsonRequest(span)), protobufRequest(span)]) {
      world.stored.spans.length = 0
      expect((await world.post(body)).status).toBe(200)
      const { attr_str, attr_num, ingest_seq, ...row } = world.stored.spans[0]!
      expect(row).toEqual({
        workspace,
        trace_id: '5b8efff798038103d269b633813fc60c',
        span_id: 'eee19b7ec3c1b174',
        parent_span_id: 'eee19b7ec3c1b173',
        start_time: nowNs,
        duration_ns: 1_500_000n,
        name: 'op',
        service: 'shop',
        type: 'llm',
        kind: 2,
        status: 'error',
        status_message: 'broken',
        source: 'otlp',
        origin: '',
        environment: 'prod',
        provider: 'openai',
        model: 'gpt-4o-2024-08-06',
        route_id: '',
        route_label: '',
        prompt_registry: 'support-desk',
        prompt_version_id: 'support-desk@v3',
        session_id: 's-1',
        user_id: 'u-1',
        run_id: '0'.repeat(32),
        record_id: '0'.repeat(32),
        usage: 3,
        input_tokens: 120,
        output_tokens: 30,
        cached_tokens: 100,
        reasoning_tokens: 10,
        cost_nano_usd: 123_456n,
        ttft_ns: 250_000_000n,
        input_preview: 'Where is "it"?',
        output_preview: 'Here.',
        ingested_at: 1_790_000_000,
      })
      expect(ingest_seq).toBeGreaterThan(0n)
      expect(attr_str).toEqual(
        new Map([
          ...attributes
            .filter(({ key }) => !key.endsWith('.messages'))
            .map(({ key, value }): [string, string] => [key, value.stringValue]),
          ['twice', 'last'],
        ]),
      )
      expect(attr_num).toEqual(
        new Map([
          ['gen_ai.prompt.version', 3],
          ['gen_ai.usage.input_tokens', 120],
          ['gen_ai.usage.output_tokens', 30],
          ['gen_ai.usage.cache_read.input_tokens', 100],
          ['gen_ai.usage.reasoning.output_tokens', 10],
          ['gen_ai.usage.cost', 0.000123456],
          ['gen_ai.response.time_to_first_chunk', 0.25],
          ['retried', 1],
        ]),
      )
    }
  })

  test('the payload row holds the Span message as it came, byte for byte, and finds its envelopes', async () => {
    const span = oracle.encode('Span', toOracle(jsonSpan()))
    const unknown = Buffer.from([0xf8, 0x07, 0x01]) // field 127, varint 1
    const raw = Buffer.concat([span, unknown])
    const scope = Buffer.concat([
      Buffer.from([0x12, raw.length]),
      raw,
      Buffer.from('1a0173', 'hex'),
    ])
    const resource = Buffer.concat([Buffer.from([0x12, scope.length]), scope, unknown])
    const body = Buffer.concat([Buffer.from([0x0a, resource.length]), resource])
    expect((await world.post(body)).status).toBe(200)
    const payload = world.stored.payloads[0]!
    expect(payload.raw).toEqual(raw)
    const byHash = new Map(world.stored.envelopes.map(({ hash, raw }) => [hash, raw]))
    expect(byHash.get(payload.resource_hash!)).toEqual(unknown)
    expect(byHash.get(payload.scope_hash!)).toEqual(Buffer.from('1a0173', 'hex'))
  })

  test('a prompt on an MCP span is the server’s own and links to nothing; without a version it links to the latest', async () => {
    const named = { key: 'gen_ai.prompt.name', value: { stringValue: 'support' } }
    const mcp = { key: 'mcp.method.name', value: { stringValue: 'prompts/get' } }
    await world.post(
      JSON.stringify(
        jsonRequest(jsonSpan({ attributes: [named] }), jsonSpan({ attributes: [named, mcp] })),
      ),
    )
    expect(world.stored.spans.map((row) => row.prompt_version_id)).toEqual(['support@latest', ''])
  })

  test('a preview is the last text of the conversation, in JSON, structured, indexed or from an event', async () => {
    const structured = {
      arrayValue: {
        values: [
          {
            kvlistValue: {
              values: [
                { key: 'role', value: { stringValue: 'user' } },
                { key: 'content', value: { stringValue: 'last' } },
              ],
            },
          },
        ],
      },
    }
    const json = {
      stringValue:
        '[{"role":"system","content":"first"},{"role":"user","content":[{"type":"text","text":"l\\u0061st"}]}]',
    }
    const list = [
      jsonSpan({ attributes: [{ key: 'gen_ai.input.messages', value: structured }] }),
      jsonSpan({ attributes: [{ key: 'gen_ai.input.messages', value: json }] }),
      jsonSpan({
        attributes: [
          { key: 'gen_ai.prompt.0.content', value: { stringValue: 'first' } },
          { key: 'gen_ai.prompt.1.content', value: { stringValue: 'last' } },
        ],
      }),
      jsonSpan({
        events: [
          {
            timeUnixNano: '1',
            name: 'gen_ai.user.message',
            attributes: [{ key: 'content', value: { stringValue: 'last' } }],
          },
        ],
      }),
      jsonSpan({ attributes: [{ key: 'input.value', value: { stringValue: '[not json' } }] }),
    ]
    await world.post(protobufRequest(...list))
    expect(world.stored.spans.map((row) => row.input_preview)).toEqual([
      'last',
      'last',
      'last',
      'last',
      '[not json',
    ])
    for (const row of world.stored.spans.slice(0, 4)) expect(row.attr_str).toEqual(new Map())
  })

  test('a long value is cut at a rune for searching and whole in the payload', async () => {
    const long = `${'é'.repeat(511)}a€rest`
    const body = protobufRequest(
      jsonSpan({ attributes: [{ key: 'long', value: { stringValue: long } }] }),
    )
    await world.post(body)
    const cut = world.stored.spans[0]!.attr_str as Map<string, string>
    expect(cut.get('long')).toBe(`${'é'.repeat(511)}a`)
    expect((world.stored.payloads[0]!.raw as Buffer).includes(Buffer.from(long))).toBe(true)
  })
})

describe('large bodies', () => {
  test('a body that is decoded aside is stored whole, in order, with the loop free in between', async () => {
    const spans = Array.from({ length: 12_000 }, (_, i) =>
      jsonSpan({
        name: `op ${i}`,
        attributes: [
          { key: 'n', value: { intValue: String(i) } },
          { key: 't', value: { stringValue: 'x'.repeat(i % 50) } },
        ],
      }),
    )
    for (const body of [JSON.stringify(jsonRequest(...spans)), protobufRequest(...spans)]) {
      world.stored.spans.length = 0
      world.stored.payloads.length = 0
      let turns = 0
      const timer = setInterval(() => turns++, 1)
      const answer = await world.post(body, { gzip: true })
      clearInterval(timer)
      expect(answer.status).toBe(200)
      expect(world.stored.spans.map((row) => row.name)).toEqual(spans.map((span) => span.name))
      expect(
        world.stored.spans.map((row) => (row.attr_num as Map<string, number>).get('n')),
      ).toEqual(spans.map((_, i) => i))
      expect(world.stored.payloads).toHaveLength(12_000)
      expect(turns).toBeGreaterThan(5)
    }
  })

  test('rows copied into a batch that others write into keep their own attributes', async () => {
    const spans = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) =>
        jsonSpan({
          name: String(from + i),
          attributes: [{ key: `k${i % 7}`, value: { stringValue: String(from + i) } }],
        }),
      )
    const batch = newBatch()
    const later = newBatch()
    const decode = (into: typeof batch, ...from: ReturnType<typeof spans>) => {
      const notes = new EnvelopeBook().open(workspace)
      const body = protobufRequest(...from)
      const prompts = { link: () => '' }
      const tally = new Tally(false)
      for (const _ of decodeRequest({ body, workspace, prompts, notes, tally, nowMs }, into));
    }
    decode(batch, ...spans(0, 10))
    decode(later, ...spans(10, 20))
    copyRows(later, batch)
    decode(batch, ...spans(30, 5))
    const rows = readNative(Buffer.concat(batch.spans.seal(1n, 1)))
    expect(rows.map((row) => [...(row.attr_str as Map<string, string>).values()][0])).toEqual(
      rows.map((row) => row.name),
    )
    expect(rows).toHaveLength(35)
  })

  test('more than 100,000 spans in one request are 413 and nothing is stored', async () => {
    const spans = Buffer.alloc(200_002)
    for (let i = 0; i < spans.length; i += 2) spans[i] = 0x12
    const wrap = (tag: number, inner: Buffer) =>
      Buffer.concat([
        Buffer.from([
          tag,
          (inner.length & 0x7f) | 0x80,
          ((inner.length >>> 7) & 0x7f) | 0x80,
          inner.length >>> 14,
        ]),
        inner,
      ])
    const answer = await world.post(wrap(0x0a, wrap(0x12, spans)))
    expect([answer.status, answer.rpcStatus().code]).toEqual([413, 8])
    expect(world.stored.spans).toHaveLength(0)
  })
})

describe('the real exporters', () => {
  test.each([
    ['protobuf', ProtoExporter],
    ['JSON', JsonExporter],
  ] as const)(
    'the OpenTelemetry JavaScript %s exporter delivers its spans',
    async (_, Exporter) => {
      const exporter = new Exporter({ url: `${world.url}/v1/otlp/v1/traces` })
      const provider = new BasicTracerProvider({
        resource: resourceFromAttributes({ 'service.name': 'real' }),
        spanProcessors: [new SimpleSpanProcessor(exporter)],
      })
      const span = provider.getTracer('t', '1').startSpan('real span', {
        kind: SpanKind.CLIENT,
        startTime: new Date(Number(nowNs / 1_000_000n)),
        attributes: { 'http.request.method': 'GET', n: 7, tags: ['a', 'b'] },
      })
      span.addEvent('seen', { 'exception.type': 'none' })
      span.end(new Date(Number(nowNs / 1_000_000n) + 20))
      await provider.forceFlush()
      await provider.shutdown()
      expect(world.stored.spans).toHaveLength(1)
      const row = world.stored.spans[0]!
      expect([row.name, row.service, row.kind, row.type, row.duration_ns]).toEqual([
        'real span',
        'real',
        3,
        'http',
        20_000_000n,
      ])
      const stored = oracle.decode('Span', world.stored.payloads[0]!.raw as Buffer)
      expect(stored.traceId).toEqual(Buffer.from(span.spanContext().traceId, 'hex'))
      expect(stored.attributes).toHaveLength(3)
    },
  )
})
