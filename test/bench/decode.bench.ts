// OTLP bytes to column bytes on one core: no socket, no gzip, no disk. Batches of 500 spans, as SDKs send them.

import { newBatch } from '../../collectors/otlp/aside.ts'
import { decodeRequest } from '../../collectors/otlp/decode.ts'
import { EnvelopeBook } from '../../collectors/otlp/envelopes.ts'
import { Tally } from '../../collectors/otlp/tally.ts'
import { WireWriter } from '../../collectors/otlp/wire-writer.ts'
import {
  type AttributesInput,
  encodeResourceEnvelope,
  encodeScopeEnvelope,
  encodeSpanMessage,
} from '../protobuf-writer.ts'

const batchSpans = 500
const secondsEach = 1.5
// About what a spool seals at once, and then fills again.
const blockBytesMax = 8 * 1024 * 1024

export const method =
  'Repeats one protobuf request of 500 spans for 1.5 s: walk, check, fill the Native columns of spans and payloads, seal them every 8 MiB. Per second of processor time.'

export type Figure = { name: string; figure: number; unit: string }

export async function run(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const [name, attributes] of [
    ['web span, 12 attributes', webAttributes],
    ['LLM span, 14 attributes, two texts', llmAttributes],
  ] as const) {
    const body = request(attributes)
    measure(body, secondsEach / 3)
    const { spansPerS, bytesPerS } = measure(body, secondsEach)
    figures.push({ name: `decode: ${name}`, figure: Math.round(spansPerS), unit: 'spans/s' })
    figures.push({ name: `decode: ${name}`, figure: Math.round(bytesPerS / 1e6), unit: 'MB/s' })
  }
  return figures
}

export function measure(body: Buffer, seconds: number): { spansPerS: number; bytesPerS: number } {
  const envelopes = new EnvelopeBook()
  const before = process.cpuUsage()
  const batch = newBatch()
  const blocks = [batch.spans, batch.payloads, batch.envelopes] as const
  const marks = blocks.map((block) => block.mark())
  let requests = 0
  let elapsedS = 0
  while (elapsedS < seconds) {
    const tally = new Tally(false)
    const notes = envelopes.open('0190aaaa-0000-7000-8000-000000000000')
    const prompts = { link: (_: string, slug: string, version = 'v1') => `${slug}@${version}` }
    const steps = decodeRequest(
      {
        body,
        workspace: '0190aaaa-0000-7000-8000-000000000000',
        prompts,
        notes,
        tally,
        nowMs: Date.now(),
      },
      batch,
    )
    for (const _ of steps);
    if (tally.rejected > 0) throw new Error(tally.message())
    notes.keep()
    requests += 1
    if (batch.spans.size + batch.payloads.size > blockBytesMax)
      blocks.forEach((block, i) => {
        block.seal(1n, 1)
        block.rewind(marks[i]!)
      })
    if (requests % 20 !== 0) continue
    // Time of the processor, not of the wall: the machine may have other work. Collecting garbage counts.
    const { user, system } = process.cpuUsage(before)
    elapsedS = (user + system) / 1e6
  }
  return {
    spansPerS: (requests * batchSpans) / elapsedS,
    bytesPerS: (requests * body.length) / elapsedS,
  }
}

/** One resource, one scope, 500 spans whose ids and times differ. */
export function request(attributesOf: (index: number) => AttributesInput): Buffer {
  const writer = new WireWriter()
  const resource = writer.begin(1)
  writer.raw(
    encodeResourceEnvelope([
      ['service.name', 'checkout'],
      ['deployment.environment.name', 'production'],
      ['telemetry.sdk.language', 'nodejs'],
    ]),
  )
  const scope = writer.begin(2)
  writer.raw(encodeScopeEnvelope('@opentelemetry/instrumentation-http', '0.223.1'))
  const start = BigInt(Date.now()) * 1_000_000n
  for (let i = 0; i < batchSpans; i++) {
    const id = i.toString(16).padStart(4, '0')
    writer.bytesMember(
      2,
      encodeSpanMessage({
        traceId: `5b8efff798038103d269b633813f${id}`,
        spanId: `eee19b7ec3c1${id}`,
        parentSpanId: 'eee19b7ec3c1b173',
        name: 'GET /v1/orders/{id}',
        kind: 2,
        startUnixNano: start + BigInt(i),
        endUnixNano: start + BigInt(i * 1_001),
        attributes: attributesOf(i),
        status: { code: i % 50 === 0 ? 2 : 0 },
        flags: 257,
      }),
    )
  }
  writer.end(scope)
  writer.end(resource)
  return writer.finish()
}

export function webAttributes(index: number): AttributesInput {
  return [
    ['http.request.method', 'GET'],
    ['url.full', `https://shop.example.com/v1/orders/${index}?expand=lines`],
    ['http.response.status_code', index % 50 === 0 ? 500 : 200],
    ['server.address', 'shop.example.com'],
    ['server.port', 443],
    ['network.peer.address', '10.20.30.40'],
    ['network.protocol.version', '1.1'],
    ['user_agent.original', 'okhttp/4.12.0'],
    ['http.route', '/v1/orders/{id}'],
    ['thread.id', 40 + (index % 8)],
    ['app.tenant', `tenant-${index % 20}`],
    ['app.cache.hit', index % 3 === 0],
  ]
}

export function llmAttributes(index: number): AttributesInput {
  const text = `Order ${index} has not arrived. Please find out where it is and tell the customer kindly. `
  return [
    ['gen_ai.operation.name', 'chat'],
    ['gen_ai.provider.name', 'openai'],
    ['gen_ai.request.model', 'gpt-4o-mini'],
    ['gen_ai.response.model', 'gpt-4o-mini-2024-07-18'],
    ['gen_ai.usage.input_tokens', 420 + index],
    ['gen_ai.usage.output_tokens', 60 + (index % 40)],
    ['gen_ai.request.temperature', 0.2],
    ['gen_ai.response.id', `chatcmpl-${index}`],
    ['gen_ai.prompt.name', 'support'],
    ['gen_ai.prompt.version', 'v2'],
    ['session.id', `session-${index % 30}`],
    ['user.id', `user-${index % 90}`],
    ['gen_ai.input.messages', JSON.stringify([{ role: 'user', content: text.repeat(20) }])],
    ['gen_ai.output.messages', JSON.stringify([{ role: 'assistant', content: text.repeat(10) }])],
  ]
}
