// What the spans of a seeded day are made of: the services, what people ask, and one model call.

import { hex, pick, type Random } from './seed-random.ts'

export type SeedSpan = {
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  service: string
  name: string
  kind: number
  startMs: number
  durationMs: number
  error: string | undefined
  attributes: Record<string, string | number | boolean | string[]>
}

export type Call = {
  service: string
  route: string
  model: string
  provider: string
  prompt: { slug: string; versions: [string, string] } | undefined
  system: string
}

export const calls: Call[] = [
  {
    service: 'support-bot',
    route: 'POST /tickets/{id}/reply',
    model: 'gpt-4o-mini',
    provider: 'openai',
    prompt: { slug: 'support', versions: ['v1', 'v2'] },
    system: 'You answer customers of a parcel service. Be brief, never promise a refund.',
  },
  {
    service: 'checkout-agent',
    route: 'POST /cart/assist',
    model: 'gpt-4.1',
    provider: 'openai',
    prompt: { slug: 'cart-helper', versions: ['v1', 'v2'] },
    system: 'You help a shopper finish an order. Prices come from the catalogue tool only.',
  },
  {
    service: 'search-api',
    route: 'GET /search',
    model: 'text-embedding-3-small',
    provider: 'openai',
    prompt: undefined,
    system: '',
  },
  {
    service: 'billing-worker',
    route: 'invoice.classify',
    model: 'mistral-small',
    provider: 'mistral',
    prompt: undefined,
    system: 'Classify the invoice line. Answer with one category.',
  },
]

export const questions = [
  'Where is my parcel?',
  'Can I change the delivery address?',
  'The box arrived open, what now?',
  'How long is the return window?',
  'Do you ship to Norway?',
  'My coupon does not work.',
]
export const answers = [
  'It left the depot this morning and arrives tomorrow.',
  'Yes, until it is on the van. I can do that for you.',
  'Please send a photo; we will check it today.',
  'Thirty days from delivery.',
  'We do; it takes four to six days.',
  'That coupon ended yesterday.',
]

export function spanOf(
  random: Random,
  at: {
    traceId: string
    service: string
    name: string
    kind: number
    startMs: number
    durationMs: number
  },
): SeedSpan {
  return {
    ...at,
    spanId: hex(random, 8),
    parentSpanId: undefined,
    error: undefined,
    attributes: {},
  }
}

export function modelSpan(
  random: Random,
  at: { call: Call; traceId: string; startMs: number; durationMs: number },
): SeedSpan {
  const { call } = at
  const embeds = call.model.includes('embedding')
  const span = spanOf(random, {
    traceId: at.traceId,
    service: call.service,
    name: `${embeds ? 'embeddings' : 'chat'} ${call.model}`,
    kind: 3,
    startMs: at.startMs,
    durationMs: at.durationMs,
  })
  const input = 40 + Math.floor(random() * 900)
  const output = 8 + Math.floor(random() * 220)
  const [question, answer] = [pick(random, questions), pick(random, answers)]
  span.attributes = {
    'gen_ai.operation.name': embeds ? 'embeddings' : 'chat',
    'gen_ai.provider.name': call.provider,
    'gen_ai.request.model': call.model,
    'gen_ai.response.model': call.model,
    'gen_ai.usage.input_tokens': input,
    'deployment.environment.name': 'production',
  }
  if (!embeds) {
    Object.assign(span.attributes, {
      'gen_ai.usage.output_tokens': output,
      'gen_ai.usage.cost': Math.round(input * 0.15 + output * 0.6) / 1e6,
      'gen_ai.request.temperature': 0.2,
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.response.time_to_first_chunk': Math.round(at.durationMs * 0.3) / 1e3,
      'gen_ai.input.messages': JSON.stringify([
        message('system', call.system),
        message('user', question),
      ]),
      'gen_ai.output.messages': JSON.stringify([
        { ...message('assistant', answer), finish_reason: 'stop' },
      ]),
    })
  }
  if (call.prompt) {
    span.attributes['gen_ai.prompt.name'] = call.prompt.slug
    span.attributes['gen_ai.prompt.version'] = pick(random, call.prompt.versions)
  }
  return span
}

function message(role: string, content: string) {
  return { role, parts: [{ type: 'text', content }] }
}
