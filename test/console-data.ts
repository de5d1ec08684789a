// Believable and hostile data for the console: a list that pages, an agent's trace, one of 50,000 spans, and everything that may not run.

import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { toMultikey, toPublicKeyText, toSignatureText } from '../schemas/encoding.ts'
import type { Evidence } from '../schemas/evidence.ts'
import { toJcsBytes } from '../schemas/jcs.ts'
import { toKeyId } from '../schemas/verify-key.ts'

export type SpanBody = Record<string, unknown> & {
  span_id: string
  parent_span_id: string | null
  name: string
  status: string
  start_unix_nano: string
  duration_ms: number
}
export type TraceBody = Record<string, unknown> & {
  trace_id: string
  name: string
  status: string
  spans: SpanBody[]
}

export const agentTraceId = 'a'.repeat(32)
export const hugeTraceId = 'b'.repeat(32)
export const hostileTraceId = 'c'.repeat(32)
export const brokenTraceId = 'd'.repeat(32)
export const recordId = 'vaas_01KADV7Q4ZJ8N5W2R6T9X3C1BE'
const runId = 'run_01KADV7Q4ZJ8N5W2R6T9X3C1BD'
const llmSpanId = '00000000000000a4'

/** Strings that would run, load or rearrange something if any part of the console let them (reliability notes B200–B205). */
export const hostile = [
  '<script>window.__owned=1</script>',
  '<img src=x onerror="window.__owned=2"><svg onload="window.__owned=3">',
  '<iframe srcdoc="<script>parent.__owned=4</script>"></iframe><style>@import "//evil.example/x.css";</style>',
  '</textarea></script><script>window.__owned=5</script>',
  '[click](javascript:window.__owned=6) ![](https://evil.example/?leak=1) <a href=//evil.example target=_blank>x</a>',
  '{{constructor.constructor("window.__owned=7")()}} #{window.__owned=8} id="__proto__" name="location"',
  '\u001b[31mred\u001b[0m get_\u202ereterces\u202c\u200b\u200bname \u2066x\u2069',
  'x}*{background:url(//evil.example/css)}',
  '=HYPERLINK("https://evil.example","open")',
]

const services = ['checkout-agent', 'support-bot', 'search-api', 'ingest-worker']
const models = ['gpt-4o-mini', 'qwen3-32b', 'claude-sonnet-4-5', 'llama-3.3-70b']
const names = [
  'POST /chat',
  'answer_ticket',
  'rank_results',
  'summarise_thread',
  'agent.run',
  'extract_invoice',
]
const versions = ['support@v3', 'support@v2', 'rank@v7', 'default', 'summary@2026-11-02']
const statuses = [
  'ok',
  'ok',
  'ok',
  'ok',
  'ok',
  'ok',
  'error',
  'client_closed',
  'truncated',
  'cache_hit',
]

/** A small repeatable generator: the same list on every run. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

export function manyTraces(count: number, nowMs: number): TraceBody[] {
  const next = random(7)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!
  return Array.from({ length: count }, (_, at) => {
    const status = pick(statuses)
    const input = 200 + Math.floor(next() * 4000)
    const output = Math.floor(next() * 900)
    const isModel = next() > 0.15
    const latency = Number((80 + next() ** 3 * 20_000).toFixed(3))
    return {
      ...item(at.toString(16).padStart(32, 'e'), nowMs - at * 47_000 - Math.floor(next() * 30_000)),
      name: pick(names),
      service: pick(services),
      status,
      model_id: isModel ? pick(models) : null,
      prompt_version_id: isModel ? pick(versions) : 'default',
      latency_ms: latency,
      ttft_ms: isModel ? Number((latency * 0.2).toFixed(3)) : null,
      input_tokens: isModel ? input : null,
      output_tokens: isModel ? output : null,
      cost_usd: isModel ? Number((input * 1.5e-7 + output * 6e-7).toFixed(9)) : null,
      span_count: 1 + Math.floor(next() * 40),
      run_count: isModel ? 1 : 0,
      error_count: status === 'error' ? 1 : 0,
    }
  })
}

export function item(traceId: string, startedMs: number): TraceBody {
  return {
    trace_id: traceId,
    customer_trace_id: traceId,
    run_id: null,
    record_id: null,
    route_id: 'default-route',
    public_route_label: 'managed-text',
    provider: 'openai',
    environment: 'production',
    prompt_version_id: 'default',
    model_id: null,
    name: 'request',
    service: 'support-bot',
    status: 'ok',
    started_at: new Date(startedMs).toISOString(),
    latency_ms: 1,
    ttft_ms: null,
    input_tokens: null,
    output_tokens: null,
    cost_usd: null,
    span_count: 1,
    run_count: 0,
    error_count: 0,
    session_id: null,
    user_id: null,
    spans: [],
  }
}

type Given = { id: string; parent?: string | null; name: string; at: number; ms: number } & Record<
  string,
  unknown
>

function toSpan(originMs: number, { id, parent = null, name, at, ms, ...more }: Given): SpanBody {
  const nano = BigInt(originMs) * 1_000_000n + BigInt(Math.round(at * 1e6))
  return {
    span_id: id.padStart(16, '0'),
    parent_span_id: parent === null ? null : parent.padStart(16, '0'),
    name,
    kind: 1,
    type: 'span',
    service: 'checkout-agent',
    status: 'ok',
    started_at: new Date(originMs + at).toISOString(),
    start_unix_nano: String(nano),
    duration_ms: ms,
    model_id: null,
    prompt_version_id: 'default',
    input_tokens: null,
    output_tokens: null,
    cost_usd: null,
    run_id: null,
    ...more,
  }
}

/** An agent at work: model calls, tools, a failed retry, a retriever, an orphan, a clock that runs ahead. */
export function agentTrace(nowMs: number): TraceBody {
  const at = nowMs - 95_000
  const llm = { type: 'llm', kind: 3, model_id: 'gpt-4o-mini', prompt_version_id: 'support@v3' }
  const spans = [
    toSpan(at, {
      id: 'a1',
      name: 'POST /support/answer',
      at: 0,
      ms: 4218.4,
      kind: 2,
      type: 'http',
      service: 'web',
    }),
    toSpan(at, {
      id: 'a2',
      parent: 'a1',
      name: 'invoke_agent support',
      at: 12.2,
      ms: 4180,
      type: 'agent',
    }),
    toSpan(at, {
      id: 'a3',
      parent: 'a2',
      name: 'retrieve knowledge base',
      at: 20,
      ms: 310,
      type: 'retriever',
      service: 'search-api',
    }),
    toSpan(at, {
      id: 'a5',
      parent: 'a3',
      name: 'embeddings text-embedding-3-small',
      at: 24,
      ms: 92,
      type: 'embedding',
      model_id: 'text-embedding-3-small',
      input_tokens: 48,
      output_tokens: 0,
      cost_usd: 0.00000096,
    }),
    toSpan(at, {
      id: 'a6',
      parent: 'a3',
      name: 'SELECT chunks',
      at: 122,
      ms: 201,
      type: 'db',
      kind: 3,
      service: 'postgres',
    }),
    toSpan(at, {
      id: 'a4',
      parent: 'a2',
      name: 'chat gpt-4o-mini',
      at: 350,
      ms: 1620,
      ...llm,
      input_tokens: 1284,
      output_tokens: 96,
      cost_usd: 0.00025,
      run_id: runId,
      record_id: recordId,
    }),
    toSpan(at, {
      id: 'a7',
      parent: 'a2',
      name: 'execute_tool lookup_order',
      at: 1985,
      ms: 640,
      type: 'tool',
      status: 'error',
      status_message: 'upstream orders-api: 503 Service Unavailable',
    }),
    toSpan(at, {
      id: 'a8',
      parent: 'a7',
      name: 'GET /orders/8812',
      at: 1990,
      ms: 632,
      kind: 3,
      type: 'http',
      status: 'error',
      service: 'orders-api',
    }),
    toSpan(at, {
      id: 'a9',
      parent: 'a2',
      name: 'execute_tool lookup_order (retry 1)',
      at: 2650,
      ms: 118,
      type: 'tool',
    }),
    toSpan(at, {
      id: 'b1',
      parent: 'a9',
      name: 'GET /orders/8812',
      at: 2610,
      ms: 140,
      kind: 3,
      type: 'http',
      service: 'orders-api',
    }),
    toSpan(at, {
      id: 'b2',
      parent: 'a2',
      name: 'chat gpt-4o-mini',
      at: 2790,
      ms: 1360,
      ...llm,
      input_tokens: 1502,
      output_tokens: 214,
      cost_usd: 0.000354,
    }),
    toSpan(at, {
      id: 'b3',
      parent: 'a2',
      name: 'guardrail pii-check',
      at: 4152,
      ms: 36,
      type: 'guardrail',
    }),
    toSpan(at, {
      id: 'b4',
      parent: 'ff12',
      name: 'audit.write',
      at: 4190,
      ms: 18,
      service: 'audit-sidecar',
    }),
  ]
  return {
    ...item(agentTraceId, at),
    name: 'POST /support/answer',
    service: 'web',
    latency_ms: 4218.4,
    ttft_ms: 412.5,
    model_id: 'gpt-4o-mini',
    prompt_version_id: 'support@v3',
    input_tokens: 2834,
    output_tokens: 310,
    cost_usd: 0.00060496,
    span_count: spans.length,
    run_count: 1,
    error_count: 2,
    run_id: runId,
    record_id: recordId,
    session_id: 'sess_8812',
    status: 'ok',
    spans,
  }
}

/** 50,000 spans in one trace: wide, deep, a few failures. */
export function hugeTrace(nowMs: number): TraceBody {
  const next = random(11)
  const at = nowMs - 300_000
  const spans: SpanBody[] = [
    toSpan(at, { id: '1', name: 'batch.run', at: 0, ms: 180_000, type: 'agent' }),
  ]
  for (let i = 2; i <= 50_000; i++) {
    const parent = i < 12 ? 1 : Math.max(1, Math.floor(i / (4 + next() * 8)))
    const failed = i % 4999 === 0
    spans.push(
      toSpan(at, {
        id: i.toString(16),
        parent: parent.toString(16),
        name: `${i % 3 === 0 ? 'chat' : 'step'} ${i}`,
        at: (i / 50_000) * 170_000 + next() * 400,
        ms: 4 + next() ** 4 * 9000,
        status: failed ? 'error' : 'ok',
        ...(i % 3 === 0
          ? {
              type: 'llm',
              model_id: 'qwen3-32b',
              input_tokens: 400 + (i % 900),
              output_tokens: i % 300,
            }
          : {}),
      }),
    )
  }
  return {
    ...item(hugeTraceId, at),
    name: 'batch.run',
    service: 'ingest-worker',
    latency_ms: 180_000,
    span_count: 50_000,
    run_count: 16_666,
    error_count: 10,
    spans,
  }
}

/** Parents in a circle, a parent of itself, doubled ids, orphans, a clock of 1970. */
export function brokenTrace(nowMs: number): TraceBody {
  const at = nowMs - 600_000
  const spans = [
    toSpan(at, { id: '1', name: 'root', at: 0, ms: 900 }),
    toSpan(at, { id: '2', parent: '4', name: 'circle one', at: 10, ms: 100 }),
    toSpan(at, { id: '3', parent: '2', name: 'circle two', at: 20, ms: 100 }),
    toSpan(at, { id: '4', parent: '3', name: 'circle three', at: 30, ms: 100 }),
    toSpan(at, { id: '5', parent: '5', name: 'its own parent', at: 40, ms: 50 }),
    toSpan(at, { id: '6', parent: '1', name: 'doubled id, first', at: 60, ms: 50 }),
    toSpan(at, { id: '6', parent: '1', name: 'doubled id, second', at: 70, ms: 50 }),
    toSpan(at, { id: '7', parent: 'dead', name: 'orphan one', at: 300, ms: 80 }),
    toSpan(at, { id: '8', parent: 'dead', name: 'orphan two', at: 320, ms: 90 }),
    {
      ...toSpan(at, { id: '9', parent: '1', name: 'clock never set', at: 0, ms: 40 }),
      start_unix_nano: '42000000',
    },
    toSpan(at, { id: 'a', parent: '1', name: 'starts before its parent', at: -120, ms: 60 }),
  ]
  return {
    ...item(brokenTraceId, at),
    name: 'broken parents',
    latency_ms: 900,
    span_count: spans.length,
    spans,
  }
}

export function hostileTrace(nowMs: number): TraceBody {
  const at = nowMs - 200_000
  const spans = hostile.map((text, i) =>
    toSpan(at, {
      id: (i + 1).toString(16),
      parent: i === 0 ? null : '1',
      name: text,
      at: i * 10,
      ms: i === 0 ? 200 : 15,
      service: text,
      type: i === 0 ? 'llm' : 'tool',
      model_id: text,
      status: i === 2 ? 'error' : 'ok',
      status_message: text,
      prompt_version_id: 'support@v3',
    }),
  )
  return {
    ...item(hostileTraceId, at),
    name: hostile[0]!,
    service: hostile[1]!,
    model_id: hostile[4]!,
    session_id: hostile[7]!,
    latency_ms: 200,
    span_count: spans.length,
    spans,
  }
}

/** One span, whole. The hostile trace carries its strings wherever a string may stand, and one answer of 10 MB. */
export function wholeSpan(trace: TraceBody, spanId: string): Record<string, unknown> | undefined {
  const span = trace.spans.find((one) => one.span_id === spanId)
  if (!span) return undefined
  const isLlm = span.span_id === llmSpanId
  const evil = trace.trace_id === hostileTraceId
  return {
    ...span,
    record_id: span.record_id ?? null,
    status_message: span.status_message ?? '',
    trace_state: 'vendor=1',
    flags: 257,
    attributes: evil
      ? hostile.map((text) => ({ key: text, value: { nested: [text] } }))
      : attributesOf(span),
    resource_attributes: [
      { key: 'service.name', value: span.service },
      { key: 'host.name', value: 'node-7f9c' },
      { key: 'telemetry.sdk.language', value: 'nodejs' },
    ],
    scope: { name: 'opentelemetry.instrumentation.openai', version: '0.49.1' },
    events: [
      {
        name: evil ? hostile[1] : 'gen_ai.first_token',
        time_unix_nano: String(BigInt(span.start_unix_nano) + 412_500_000n),
        attributes: [{ key: 'chunk', value: 1 }],
      },
    ],
    links: [],
    tools: isLlm
      ? [
          {
            type: 'function',
            function: {
              name: 'lookup_order',
              parameters: { type: 'object', properties: { id: { type: 'string' } } },
            },
          },
        ]
      : null,
    input: evil ? hostileMessages : isLlm ? input : null,
    output: evil ? [{ role: 'assistant', content: 'a'.repeat(10_000_000) }] : isLlm ? output : null,
  }
}

const input = [
  {
    role: 'system',
    content:
      'You are the support assistant of a shop. Answer in at most three sentences. Use lookup_order before you say anything about an order. Never invent a delivery date.',
  },
  {
    role: 'user',
    content: [
      {
        type: 'text',
        text: 'Hi, my order 8812 was due on Tuesday and is still not here. Can you find out where it is? I attach the label.',
      },
      { type: 'image_url', image_url: { url: 'https://evil.example/label.png' } },
    ],
  },
]
const output = [
  {
    role: 'assistant',
    content: 'I will look that up for you right away.',
    tool_calls: [
      {
        id: 'call_9fQ2',
        type: 'function',
        function: {
          name: 'lookup_order',
          arguments: '{"id":"8812","include":["shipment","events"]}',
        },
      },
    ],
  },
]
const hostileMessages = [
  ...hostile.map((text, i) => ({
    role: i % 2 === 0 ? 'user' : text,
    content: text,
    name: text,
    tool_calls: [{ id: text, function: { name: text, arguments: text } }],
  })),
  {
    role: 'user',
    content: [
      { type: 'image_url', image_url: { url: 'https://evil.example/pixel.png' } },
      { type: 'text', text: hostile[0] },
    ],
  },
]

function attributesOf(span: SpanBody): { key: string; value: unknown }[] {
  return [
    { key: 'gen_ai.operation.name', value: 'chat' },
    { key: 'gen_ai.request.model', value: span.model_id ?? null },
    { key: 'gen_ai.response.model', value: 'gpt-4o-mini-2024-07-18' },
    { key: 'gen_ai.request.temperature', value: 0.2 },
    { key: 'gen_ai.response.finish_reasons', value: ['tool_calls'] },
    { key: 'gen_ai.usage.cache_read.input_tokens', value: 1024 },
    { key: 'gen_ai.response.time_to_first_chunk', value: 0.4125 },
    { key: 'server.address', value: 'api.openai.com' },
    { key: 'http.response.status_code', value: 200 },
    { key: 'gen_ai.prompt.name', value: 'support' },
    { key: 'gen_ai.conversation.id', value: 'sess_8812' },
  ]
}

/** A pack that verifies, signed with keys of its own. */
export async function makeEvidence(nowMs: number): Promise<{ pack: Evidence; root: string }> {
  const root = newKey()
  const key = newKey()
  const keyId = await toKeyId(key.bytes)
  const days = (count: number) => new Date(nowMs + count * 86_400_000).toISOString()
  const certificate = {
    type: 'vaas.key/v1',
    key_id: keyId,
    public_key: toMultikey(key.bytes),
    purposes: ['record'],
    not_before: days(-30),
    not_after: days(60),
  }
  const payload = {
    type: 'vaas.record/v1',
    phase: 'final',
    record_id: recordId,
    run_id: runId,
    trace_id: agentTraceId,
    public_route_label: 'managed-text',
    environment: 'production',
    prompt_version_id: 'support@v3',
    model_id: 'gpt-4o-mini',
    route_id: 'default-route',
    provider: 'openai',
    status: 'completed',
    input_hash: `sha256:${'3f'.repeat(32)}`,
    output_hash: `sha256:${'9c'.repeat(32)}`,
    started_at: new Date(nowMs - 94_650).toISOString(),
    completed_at: new Date(nowMs - 93_030).toISOString(),
    usage: {
      input_tokens: 1284,
      cached_input_tokens: 1024,
      output_tokens: 96,
      reasoning_tokens: 0,
    },
    key_id: keyId,
  }
  const pack: Evidence = {
    record_id: recordId,
    run_id: runId,
    trace_id: agentTraceId,
    customer_trace_id: agentTraceId,
    route_id: 'default-route',
    public_route_label: 'managed-text',
    provider: 'openai',
    environment: 'production',
    prompt_version_id: 'support@v3',
    verification_method: 'Ed25519Signature2020',
    signature_input: 'rfc8785(payload)',
    public_key: toPublicKeyText(key.bytes),
    signature: signText(payload, key.secret),
    payload,
    payload_sha256: createHash('sha256').update(toJcsBytes(payload)).digest('hex'),
    begin: null,
    proof: null,
    key: {
      key_id: keyId,
      publicKeyMultibase: toMultikey(key.bytes),
      not_before: certificate.not_before,
      not_after: certificate.not_after,
      status: 'active',
      certificate: {
        payload: certificate,
        signature: signText(certificate, root.secret),
        root: toMultikey(root.bytes),
      },
    },
    inclusion: { status: 'pending', origin: null, promised_by: null },
  }
  return { pack, root: toMultikey(root.bytes) }
}

function newKey(): { bytes: Uint8Array; secret: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const { x } = publicKey.export({ format: 'jwk' })
  return { bytes: Buffer.from(x ?? '', 'base64url'), secret: privateKey }
}

function signText(value: unknown, secret: KeyObject): string {
  return toSignatureText(sign(null, toJcsBytes(value), secret))
}

export function prompts(nowMs: number): unknown {
  const seen = (hours: number) => new Date(nowMs - hours * 3_600_000).toISOString()
  const version = (id: string, status: string, runs: number, hours: number) => ({
    version_id: id,
    status,
    total_runs: runs,
    first_seen_at: seen(hours),
    last_seen_at: seen(hours / 40),
    content_hash: createHash('sha256').update(id).digest('hex'),
    conflict: id === 'rank@v6',
  })
  const registry = (
    id: string,
    mode: string,
    promoted: string | null,
    all: ReturnType<typeof version>[],
  ) => ({
    registry_id: id,
    display_name: id,
    source: mode === 'serve' ? 'declared' : 'auto_backfill',
    latest_version_id: all[0]?.version_id ?? null,
    promoted_version_id: promoted,
    total_runs: all.reduce((sum, one) => sum + one.total_runs, 0),
    mode,
    policy: {},
    versions: all,
  })
  return {
    status: 'ready',
    docs: '/docs/prompts',
    items: [
      registry('support', 'serve', 'support@v2', [
        version('support@v3', 'canary', 1284, 9),
        version('support@v2', 'promoted', 48_210, 400),
        version('support@v1', 'retired', 9120, 1200),
      ]),
      registry('rank', 'observe', 'rank@v7', [
        version('rank@v7', 'promoted', 20_411, 90),
        version('rank@v6', 'observed', 311, 200),
        version('rank@v5', 'failed', 87, 300),
      ]),
      registry('summary', 'observe', null, [version('summary@2026-11-02', 'observed', 640, 60)]),
    ],
  }
}
