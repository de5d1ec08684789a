// One conversation with a model, told by each instrumentation in its own words. Runs in a folder of its own, where record.mjs has
// installed the packages; writes one OTLP/JSON request for each emitter.

import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { SpanKind } from '@opentelemetry/api'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { JsonTraceSerializer } from '@opentelemetry/otlp-transformer'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node'

const [, , only, out] = process.argv

// What the model is asked, and always answers: with cached and reasoning tokens, so that accounting has work to do.
const call = {
  model: 'gpt-4o-mini',
  messages: [
    { role: 'system', content: 'You answer briefly.' },
    { role: 'user', content: 'Where is my parcel 4711?' },
  ],
  temperature: 0.5,
}
const completion = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1_790_000_000,
  model: 'gpt-4o-mini-2024-07-18',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'It arrives on Friday.', refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: {
    prompt_tokens: 100,
    completion_tokens: 30,
    total_tokens: 130,
    prompt_tokens_details: { cached_tokens: 40, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 10,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  },
  system_fingerprint: 'fp_1',
}

async function startModel() {
  const server = createServer(async (req, res) => {
    for await (const _ of req);
    res.writeHead(200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(completion))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, baseURL: `http://127.0.0.1:${server.address().port}/v1` }
}

/** Emitter name → what runs under its instrumentation, given a tracer provider and the model's address. */
const emitters = {
  async 'otel-genai'({ provider, baseURL }) {
    process.env.OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT = 'true'
    const { OpenAIInstrumentation } = await import('@opentelemetry/instrumentation-openai')
    await chatThroughSdk(
      new OpenAIInstrumentation({ captureMessageContent: true }),
      provider,
      baseURL,
    )
  },
  async openinference({ provider, baseURL }) {
    const { OpenAIInstrumentation } = await import('@arizeai/openinference-instrumentation-openai')
    await chatThroughSdk(new OpenAIInstrumentation(), provider, baseURL)
  },
  async openllmetry({ provider, baseURL }) {
    const { OpenAIInstrumentation } = await import('@traceloop/instrumentation-openai')
    await chatThroughSdk(new OpenAIInstrumentation({ traceContent: true }), provider, baseURL)
  },
  async 'vercel-ai'({ provider, baseURL }) {
    const { generateText } = await import('ai')
    const { createOpenAI } = await import('@ai-sdk/openai')
    await generateText({
      model: createOpenAI({ baseURL, apiKey: 'k' }).chat(call.model),
      system: call.messages[0].content,
      prompt: call.messages[1].content,
      temperature: call.temperature,
      experimental_telemetry: {
        isEnabled: true,
        tracer: provider.getTracer('ai'),
        metadata: { sessionId: 'session-1', userId: 'user-1' },
      },
    })
  },
  async langfuse({ exporter, resource, baseURL }) {
    const { setLangfuseTracerProvider, propagateAttributes, startActiveObservation } = await import(
      '@langfuse/tracing'
    )
    const { observeOpenAI } = await import('@langfuse/openai')
    const { default: OpenAI } = await import('openai')
    const { LangfuseSpanProcessor } = await import('@langfuse/otel')
    // Session and user reach the spans through Langfuse's own processor alone.
    const own = new NodeTracerProvider({
      resource,
      spanProcessors: [new LangfuseSpanProcessor({ exporter, exportMode: 'immediate' })],
    })
    setLangfuseTracerProvider(own)
    await propagateAttributes({ sessionId: 'session-1', userId: 'user-1' }, () =>
      startActiveObservation('answer', async () => {
        const openai = observeOpenAI(new OpenAI({ baseURL, apiKey: 'k' }))
        await openai.chat.completions.create(call)
      }),
    )
  },
  /** Before gen_ai.input.messages: one attribute a message and member. */
  async 'openllmetry-indexed'({ provider, baseURL }) {
    const { OpenAIInstrumentation } = await import('@traceloop/instrumentation-openai')
    await chatThroughSdk(new OpenAIInstrumentation({ traceContent: true }), provider, baseURL)
  },
  async 'vercel-ai-4'({ provider, baseURL }) {
    const { generateText } = await import('ai')
    const { createOpenAI } = await import('@ai-sdk/openai')
    await generateText({
      model: createOpenAI({ baseURL, apiKey: 'k' }).chat(call.model),
      system: call.messages[0].content,
      prompt: call.messages[1].content,
      temperature: call.temperature,
      experimental_telemetry: { isEnabled: true, tracer: provider.getTracer('ai') },
    })
  },
  async 'vercel-ai-7'({ provider, baseURL }) {
    const { generateText, registerTelemetry } = await import('ai')
    const { createOpenAI } = await import('@ai-sdk/openai')
    const { OpenTelemetry } = await import('@ai-sdk/otel')
    registerTelemetry(new OpenTelemetry({ tracer: provider.getTracer('ai') }))
    await generateText({
      model: createOpenAI({ baseURL, apiKey: 'k' }).chat(call.model),
      system: call.messages[0].content,
      prompt: call.messages[1].content,
      temperature: call.temperature,
      experimental_telemetry: { isEnabled: true },
    })
  },
}

async function chatThroughSdk(instrumentation, provider, baseURL) {
  registerInstrumentations({ instrumentations: [instrumentation], tracerProvider: provider })
  const sdk = createRequire(import.meta.url)('openai')
  const client = new sdk.OpenAI({ baseURL, apiKey: 'k' })
  const tracer = provider.getTracer('app')
  await tracer.startActiveSpan('POST /answer', { kind: SpanKind.SERVER }, async (root) => {
    await client.chat.completions.create(call)
    root.end()
  })
}

const emit = emitters[only]
if (!emit) throw new Error(`emitters: ${Object.keys(emitters).join(', ')}`)
const exporter = new InMemorySpanExporter()
const resource = resourceFromAttributes({ 'service.name': `emitter-${only}` })
const provider = new NodeTracerProvider({
  resource,
  spanProcessors: [new SimpleSpanProcessor(exporter)],
})
provider.register()
const { server, baseURL } = await startModel()
await emit({ provider, exporter, resource, baseURL })
// Some end their spans behind the answer.
await new Promise((resolve) => setTimeout(resolve, 300))
await provider.forceFlush()
server.close()
server.closeAllConnections()
const spans = exporter.getFinishedSpans()
if (spans.length < 2) throw new Error(`${only} told of ${spans.length} spans`)
const request = JSON.parse(Buffer.from(JsonTraceSerializer.serializeRequest(spans)).toString())
mkdirSync(out, { recursive: true })
writeFileSync(`${out}/${only}.json`, `${JSON.stringify(request, null, 2)}\n`)
