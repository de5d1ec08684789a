// Real clients of the public doors: the OpenAI SDK, the OpenTelemetry exporters, fetch.

import { setTimeout as wait } from 'node:timers/promises'
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BasicTracerProvider,
  SimpleSpanProcessor,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base'
import OpenAI from 'openai'

const storedDeadlineMs = 20_000

export type Target = { url: string; key: string }

// biome-ignore lint/suspicious/noExplicitAny: answers are judged field by field against the contract, not trusted by type
export type Json = any

export async function get(
  target: Target,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Json; headers: Headers }> {
  const response = await fetch(target.url + path, {
    headers: { Authorization: `Bearer ${target.key}`, ...headers },
  })
  const text = await response.text()
  return {
    status: response.status,
    body: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text,
    headers: response.headers,
  }
}

/** What was accepted a moment ago is read a moment later on a machine that is busy elsewhere; only that is waited for. */
export async function getStored(target: Target, path: string): Promise<Json> {
  const deadline = performance.now() + storedDeadlineMs
  for (;;) {
    const { status, body } = await get(target, path)
    if (status === 200) return body
    if (status !== 404 || performance.now() > deadline)
      throw new Error(`GET ${path} answered ${status}: ${JSON.stringify(body)}`)
    await wait(50)
  }
}

export function openai(target: Target): OpenAI {
  return new OpenAI({ baseURL: `${target.url}/v1`, apiKey: target.key, maxRetries: 0 })
}

/** Three spans of one trace by a real exporter; the trace id. */
export async function exportTrace(
  target: Target,
  encoding: 'json' | 'protobuf',
  path = '/v1/otlp/v1/traces',
): Promise<string> {
  const options = { url: target.url + path, headers: { Authorization: `Bearer ${target.key}` } }
  const results: number[] = []
  const exporter = watched(
    encoding === 'json' ? new JsonExporter(options) : new ProtobufExporter(options),
    results,
  )
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': `shop-${encoding}`,
      'deployment.environment.name': 'test',
    }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  })
  const tracer = provider.getTracer('journey', '1.0.0')
  const root = tracer.startSpan('POST /orders', {
    kind: SpanKind.SERVER,
    attributes: { 'http.response.status_code': 201 },
  })
  const inRoot = trace.setSpan(context.active(), root)
  const model = tracer.startSpan(
    'chat gpt-4o-mini',
    {
      kind: SpanKind.CLIENT,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'openai',
        'gen_ai.request.model': 'gpt-4o-mini',
        'gen_ai.usage.input_tokens': 12,
        'gen_ai.usage.output_tokens': 5,
        'gen_ai.prompt.name': 'support',
        'gen_ai.prompt.version': 'v1',
      },
    },
    inRoot,
  )
  model.addEvent('retry', { attempt: 2 })
  model.end()
  const failing = tracer.startSpan('SELECT stock', { kind: SpanKind.CLIENT }, inRoot)
  failing.setStatus({ code: SpanStatusCode.ERROR, message: 'no such table' })
  failing.end()
  root.end()
  await provider.forceFlush()
  await provider.shutdown()
  if (results.some((code) => code !== 0))
    throw new Error(`the ${encoding} exporter failed: ${results}`)
  return root.spanContext().traceId
}

// The exporter as it is, but for a note of each result code.
function watched(exporter: SpanExporter, results: number[]): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        results.push(result.code)
        done(result)
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  }
}
