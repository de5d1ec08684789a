// What real instrumentations export of one and the same call (test/dialects, recorded by record.mjs), read back from the plane:
// the same model, the same words, the same tokens, counted once however many spans report them.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { packageRoot } from '../src/root.ts'
import { get, type Json } from './clients.ts'
import { startWorld, type World } from './world.ts'

const folder = join(packageRoot(), 'test/dialects')
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -5))

// What an emitter leaves out cannot be read from it.
const withoutMessages = new Set(['otel-genai'])
const withoutCached = new Set(['otel-genai', 'openllmetry', 'openllmetry-indexed', 'vercel-ai-4'])
const withoutReasoning = new Set([...withoutCached, 'vercel-ai-7'])
const withSession = new Set(['langfuse', 'vercel-ai'])

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.end())

async function send(name: string): Promise<string> {
  const body = readFileSync(join(folder, `${name}.json`), 'utf8')
  const response = await fetch(`${world.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
    body,
  })
  expect([response.status, await response.text()]).toEqual([200, '{}'])
  return JSON.parse(body).resourceSpans[0].scopeSpans[0].spans[0].traceId
}

describe.each(names)('%s', (name) => {
  let trace: Json
  let spans: Json[]
  beforeAll(async () => {
    const traceId = await send(name)
    trace = (await get(world, `/v1/traces/${traceId}?include=payload`)).body
    spans = trace.spans
  })

  test('the trace counts the tokens of the call once', () => {
    expect(trace).toMatchObject({ input_tokens: 100, output_tokens: 30 })
  })

  test('the span that made the call is a call of a model, by the name that answered', () => {
    const models = spans.filter(({ type }) => type === 'llm')
    expect(models).toHaveLength(1)
    expect(models[0]).toMatchObject({
      model_id: 'gpt-4o-mini-2024-07-18',
      // By one name, whether it came as OpenAI, openai.chat or openai; Langfuse does not say.
      provider: name === 'langfuse' ? null : 'openai',
      input_tokens: 100,
      output_tokens: 30,
      cached_tokens: withoutCached.has(name) ? 0 : 40,
      reasoning_tokens: withoutReasoning.has(name) ? 0 : 10,
    })
  })

  test.skipIf(withoutMessages.has(name))('its words are a conversation, with its roles', () => {
    const model = spans.find(({ type }) => type === 'llm')
    const said = JSON.stringify([model.input, model.output])
    expect(said).toContain('You answer briefly.')
    expect(said).toContain('Where is my parcel 4711?')
    expect(said).toContain('It arrives on Friday.')
  })

  test.runIf(withSession.has(name))('session and user are those of the application', () => {
    expect(trace).toMatchObject({ session_id: 'session-1', user_id: 'user-1' })
  })
})
