// Two planes on one ClickHouse and one Postgres, and calls that reach them: through the proxy, and as spans of OpenTelemetry's own
// tracer in the dialects of its instrumentations.

import { SpanKind } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { leaderLock } from '../src/registry/discovering.ts'
import { get, type Json, type Target } from './clients.ts'
import { startSharedStores } from './own-stores.ts'
import { startWorld, type World } from './world.ts'

export type Pair = {
  planes: World[]
  /** The one that leads discovery, and the other. */
  leaderFirst(): Promise<[World, World]>
  /** Ends the session of the lock by which one leads: it is over at once, and writes nothing down. */
  cutLeader(): Promise<void>
  end(): Promise<void>
}

export async function startPair(): Promise<Pair> {
  const stores = await startSharedStores()
  const planes = [await startWorld(stores.env), await startWorld(stores.env)]
  return {
    planes,
    async leaderFirst() {
      for (;;) {
        const [first, second] = planes as [World, World] // two were started
        if (await leads(first)) return [first, second]
        if (await leads(second)) return [second, first]
      }
    },
    async cutLeader() {
      const cut = await stores.sql.query(
        `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = ${leaderLock}`,
      )
      if (cut.length !== 1) throw new Error(`${cut.length} lead`)
    },
    async end() {
      await Promise.all(planes.map((plane) => plane.end()))
      await stores.end()
    },
  }
}

async function leads(plane: World): Promise<boolean> {
  return (await figure(plane, 'prompt_discovery_leads')) === 1
}

/** A series of /metrics; 0 while it is not there. */
export async function figure(plane: Target, series: string): Promise<number> {
  const { body } = await get(plane, '/metrics')
  const line = String(body)
    .split('\n')
    .find((one) => one.startsWith(`runledger_${series} `))
  return Number(line?.split(' ').at(-1) ?? 0)
}

/** Attributes of one model call whose system prompt is `system`, as an instrumentation has them. */
export const dialectOf: Record<string, (system: string) => Record<string, string>> = {
  genai: (system) => ({
    'gen_ai.operation.name': 'chat',
    'gen_ai.request.model': 'gpt-4o-mini',
    'gen_ai.input.messages': JSON.stringify([
      { role: 'system', parts: [{ type: 'text', content: system }] },
      { role: 'user', parts: [{ type: 'text', content: 'Where is my invoice?' }] },
    ]),
  }),
  openinference: (system) => ({
    'openinference.span.kind': 'LLM',
    'llm.model_name': 'gpt-4o-mini',
    'llm.input_messages.0.message.role': 'system',
    'llm.input_messages.0.message.content': system,
    'llm.input_messages.1.message.role': 'user',
    'llm.input_messages.1.message.content': 'Where is my invoice?',
  }),
  openllmetry: (system) => ({
    'llm.request.type': 'chat',
    'gen_ai.request.model': 'gpt-4o-mini',
    'gen_ai.prompt.0.role': 'system',
    'gen_ai.prompt.0.content': system,
    'gen_ai.prompt.1.role': 'user',
    'gen_ai.prompt.1.content': 'Where is my invoice?',
  }),
  vercel: (system) => ({
    'operation.name': 'ai.generateText.doGenerate',
    'ai.operationId': 'ai.generateText.doGenerate',
    'ai.model.id': 'gpt-4o-mini',
    'ai.prompt.messages': JSON.stringify([
      { role: 'system', content: system },
      { role: 'user', content: [{ type: 'text', text: 'Where is my invoice?' }] },
    ]),
  }),
  langfuse: (system) => ({
    'langfuse.observation.type': 'generation',
    'langfuse.observation.model.name': 'gpt-4o-mini',
    'langfuse.observation.input': JSON.stringify([
      { role: 'system', content: system },
      { role: 'user', content: 'Where is my invoice?' },
    ]),
  }),
}

/** A trace for each list of attributes, in one request; the ids of the traces. */
export async function exportCalls(
  to: Target,
  calls: readonly Record<string, string>[],
): Promise<string[]> {
  const memory = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'shop' }),
    spanProcessors: [new SimpleSpanProcessor(memory)],
  })
  const tracer = provider.getTracer('test')
  for (const attributes of calls)
    tracer.startSpan('chat gpt-4o-mini', { kind: SpanKind.CLIENT, attributes }).end()
  await provider.forceFlush()
  const spans = memory.getFinishedSpans()
  const exporter = new OTLPTraceExporter({
    url: `${to.url}/v1/otlp/v1/traces`,
    headers: { Authorization: `Bearer ${to.key}` },
  })
  await new Promise<void>((resolve, reject) =>
    exporter.export(spans, ({ error }) => (error ? reject(error) : resolve())),
  )
  await Promise.all([exporter.shutdown(), provider.shutdown()])
  return spans.map((span) => span.spanContext().traceId)
}

export async function chat(
  to: Target,
  system: string,
  headers: Record<string, string> = {},
): Promise<void> {
  const answer = await fetch(`${to.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${to.key}`,
      'Content-Type': 'application/json',
      ...headers,
    },
    body: JSON.stringify({
      model: 'gpt-4o-mini',
      messages: [
        { role: 'system', content: system },
        { role: 'user', content: 'Where is my invoice?' },
      ],
    }),
  })
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`)
  await answer.arrayBuffer()
}

/** Runs of each version of each registry. */
export async function counted(of: Target): Promise<Record<string, number>> {
  const { items } = (await get(of, '/v1/prompts')).body
  const versions: Json[] = items.flatMap((item: Json) => item.versions)
  return Object.fromEntries(versions.map((one) => [one.version_id, one.total_runs]))
}
