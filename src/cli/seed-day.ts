// A believable day of traffic, made from a seed: several services and models, two prompts of two versions, errors, slow calls,
// and one agent that takes two hundred steps. Pure: it only says what happened and when.

import { makeAgentTrace } from './seed-agent.ts'
import { hex, latencyOf, pick, type Random, randomOf } from './seed-random.ts'
import { answers, calls, modelSpan, questions, type SeedSpan, spanOf } from './seed-spans.ts'

export type SeedRun = Record<string, unknown>
export type SeedDay = { traces: SeedSpan[][]; runs: SeedRun[] }

const dayMs = 86_400_000
const tracesOfDay = 600
const runsOfDay = 240

/** The day that ends at `endMs`. The same seed and end give the same day. */
export function makeDay(seed: number, endMs: number): SeedDay {
  const random = randomOf(seed)
  const traces = Array.from({ length: tracesOfDay }, () =>
    makeTrace(random, momentOf(random, endMs)),
  )
  traces.push(makeAgentTrace(random, endMs - 20 * 60_000))
  const runs = Array.from({ length: runsOfDay }, () => makeRun(random, momentOf(random, endMs)))
  return { traces, runs }
}

// Working hours are busier: two draws, the one nearer to the middle of the day more often.
function momentOf(random: Random, endMs: number): number {
  const back = (random() + random()) / 2
  return endMs - Math.floor(back * dayMs) - 1_000
}

function makeTrace(random: Random, startMs: number): SeedSpan[] {
  const call = pick(random, calls)
  const traceId = hex(random, 16)
  const modelMs = latencyOf(random)
  const fails = random() < 0.04
  const root = spanOf(random, {
    traceId,
    service: call.service,
    name: call.route,
    kind: 2,
    startMs,
    durationMs: modelMs + 18 + random() * 30,
  })
  root.attributes = {
    'http.request.method': call.route.split(' ')[0] ?? 'POST',
    'http.response.status_code': fails ? 502 : 200,
    'user.id': `user-${Math.floor(random() * 40)}`,
    'session.id': `s-${Math.floor(random() * 120)}`,
  }
  if (fails) root.error = 'upstream failed'
  const lookup = spanOf(random, {
    traceId,
    service: call.service,
    name: 'SELECT orders',
    kind: 3,
    startMs: startMs + 4,
    durationMs: 2 + random() * 9,
  })
  lookup.parentSpanId = root.spanId
  lookup.attributes = {
    'db.system.name': 'postgresql',
    'db.operation.name': 'SELECT',
    'db.collection.name': 'orders',
  }
  const model = modelSpan(random, { call, traceId, startMs: startMs + 14, durationMs: modelMs })
  model.parentSpanId = root.spanId
  if (fails)
    model.error = pick(random, [
      'rate limited by the provider',
      'the provider timed out',
      'context length exceeded',
    ])
  return [root, lookup, model]
}

function makeRun(random: Random, startMs: number): SeedRun {
  const durationMs = latencyOf(random)
  const fails = random() < 0.05
  const [question, answer] = [pick(random, questions), pick(random, answers)]
  return {
    model: pick(random, ['gpt-4o-mini', 'claude-sonnet-4-5', 'llama-3.3-70b']),
    provider: pick(random, ['openai', 'anthropic', 'groq']),
    name: 'nightly summary',
    environment: 'production',
    started_at: new Date(startMs).toISOString(),
    ended_at: new Date(startMs + durationMs).toISOString(),
    ttft_ms: Math.round(durationMs * 0.35),
    input: [{ role: 'user', content: question }],
    ...(fails
      ? { status: 'error', error: { code: 'overloaded', message: 'The provider is overloaded.' } }
      : { output: [{ role: 'assistant', content: answer }] }),
    usage: {
      input_tokens: 30 + Math.floor(random() * 500),
      output_tokens: fails ? 0 : 10 + Math.floor(random() * 160),
    },
    prompt: { id: 'support', version: random() < 0.6 ? 'v1' : 'v2' },
    session_id: `s-${Math.floor(random() * 120)}`,
    tags: ['batch'],
  }
}
