// `npm run seed`: sends a believable day through the public doors of a running plane, as any client would.

import { parseArgs } from 'node:util'
import { makeDay } from './seed-day.ts'
import { randomOf } from './seed-random.ts'
import type { SeedSpan } from './seed-spans.ts'

// One request carries this many traces; small enough to look like traffic, large enough to be over in a second.
const tracesPerRequest = 50
const runsPerRequest = 100
const liveCalls = 24
const requestDeadlineMs = 30_000

/** The command: `--url`, `--key`, `--seed`; the key else from RUNLEDGER_KEY or RUNLEDGER_BOOTSTRAP_KEY. */
export async function seedCommand(
  args: string[],
  env: Record<string, string | undefined>,
): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { url: { type: 'string' }, key: { type: 'string' }, seed: { type: 'string' } },
  })
  const key = values.key ?? env.RUNLEDGER_KEY ?? env.RUNLEDGER_BOOTSTRAP_KEY
  if (!key) throw new Error('Which key? Give --key batchin_api_… or set RUNLEDGER_KEY.')
  const url = (values.url ?? `http://127.0.0.1:${env.PORT ?? '4100'}`).replace(/\/$/, '')
  await seed({ url, key, seed: Number(values.seed ?? 1), endMs: Date.now(), log: console.log })
}

export type SeedTarget = {
  url: string
  key: string
  seed: number
  endMs: number
  log: (line: string) => void
}

/** Sends the day and says what was accepted. Throws on the first answer that is not a success. */
export async function seed(target: SeedTarget): Promise<void> {
  const day = makeDay(target.seed, target.endMs)
  for (let i = 0; i < day.traces.length; i += tracesPerRequest) {
    await post(target, '/v1/otlp/traces', toOtlp(day.traces.slice(i, i + tracesPerRequest).flat()))
  }
  for (let i = 0; i < day.runs.length; i += runsPerRequest) {
    await post(target, '/v1/runs', { runs: day.runs.slice(i, i + runsPerRequest) })
  }
  const spans = day.traces.reduce((sum, trace) => sum + trace.length, 0)
  target.log(
    `${day.traces.length} traces with ${spans} spans and ${day.runs.length} runs accepted.`,
  )
  await callLive(target)
  target.log(
    `${liveCalls} live calls made through /v1/chat/completions, every second one a stream.`,
  )
  target.log(`See them at ${target.url}/console/traces`)
}

async function callLive(target: SeedTarget): Promise<void> {
  const random = randomOf(target.seed + 1)
  for (let i = 0; i < liveCalls; i++) {
    const version = random() < 0.5 ? 'v1' : 'v2'
    const body = {
      model: 'gpt-4o-mini',
      stream: i % 2 === 1,
      messages: [
        { role: 'system', content: `You answer customers of a parcel service (${version}).` },
        { role: 'user', content: `Where is parcel ${1000 + i}?` },
      ],
    }
    const headers = {
      'X-BatchIn-Prompt-Version': `support@${version}`,
      'X-Sandbox': i % 8 === 7 ? 'error=429' : 'latency=40,ttft=20',
    }
    await post(target, '/v1/chat/completions', body, headers, i % 8 === 7 ? 429 : 200)
  }
}

async function post(
  target: SeedTarget,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
  expected = 200,
): Promise<void> {
  const response = await fetch(target.url + path, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${target.key}`,
      ...headers,
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(requestDeadlineMs),
  })
  const text = await response.text()
  // With a real upstream the sandbox's wishes are not heard, and a call that was to fail succeeds.
  if (response.status !== expected && response.status !== 200)
    throw new Error(`${path} answered ${response.status}: ${text.slice(0, 300)}`)
  if (text.includes('partialSuccess'))
    throw new Error(`${path} rejected some: ${text.slice(0, 300)}`)
}

function toOtlp(spans: SeedSpan[]) {
  const services = [...new Set(spans.map((span) => span.service))]
  return {
    resourceSpans: services.map((service) => ({
      resource: {
        attributes: toAttributes({
          'service.name': service,
          'service.version': '2.4.1',
          'deployment.environment.name': 'production',
        }),
      },
      scopeSpans: [
        {
          scope: { name: 'runledger-seed', version: '1' },
          spans: spans.filter((span) => span.service === service).map(toOtlpSpan),
        },
      ],
    })),
  }
}

function toOtlpSpan(span: SeedSpan) {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId ? { parentSpanId: span.parentSpanId } : {}),
    name: span.name,
    kind: span.kind,
    startTimeUnixNano: toNanos(span.startMs),
    endTimeUnixNano: toNanos(span.startMs + span.durationMs),
    attributes: toAttributes(span.attributes),
    status: span.error ? { code: 2, message: span.error } : {},
    ...(span.error
      ? {
          events: [
            {
              name: 'exception',
              timeUnixNano: toNanos(span.startMs + span.durationMs),
              attributes: toAttributes({
                'exception.type': 'UpstreamError',
                'exception.message': span.error,
              }),
            },
          ],
        }
      : {}),
  }
}

function toAttributes(attributes: SeedSpan['attributes']) {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: toValue(value) }))
}

function toValue(value: string | number | boolean | string[]): object {
  if (Array.isArray(value)) return { arrayValue: { values: value.map(toValue) } }
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

function toNanos(ms: number): string {
  return (BigInt(Math.round(ms * 1_000)) * 1_000n).toString()
}
