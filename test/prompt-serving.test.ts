// Prompts as the gateway serves them, over the wire: rendered, sent upstream, labelled; and what is refused, each thing by name.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Json } from './clients.ts'
import { completion, json, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

let world: World
let upstream: ScriptedUpstream

beforeAll(async () => {
  upstream = await startUpstream()
  upstream.play(json(completion('It is on its way.')))
  world = await startWorld({ OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-test' })
  await post('/v1/prompts', {
    registry_id: 'support',
    messages: [
      { role: 'system', content: 'You help {{name}} with {{topic}}.' },
      { role: 'assistant', content: 'Hello {{name}}.' },
    ],
    model: 'gpt-4o-mini',
    params: { temperature: 0.2, max_tokens: 99 },
    tools: [{ type: 'function', function: { name: 'find_order', parameters: { type: 'object' } } }],
  })
  await post('/v1/prompts', {
    registry_id: 'support',
    messages: [{ role: 'system', content: 'Be kind to {{name}}.' }],
  })
})

afterAll(async () => {
  await world.end()
  await upstream.close()
})

type Answer = { status: number; body: Json; headers: Headers }

async function send(method: string, path: string, body: unknown, headers = {}): Promise<Answer> {
  const answer = await fetch(`${world.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${world.key}`,
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(body),
  })
  return { status: answer.status, body: await answer.json(), headers: answer.headers }
}

const post = (path: string, body: unknown, headers = {}) => send('POST', path, body, headers)
const chat = (body: Json, headers = {}) => post('/v1/chat/completions', body, headers)
const sent = (): Json => JSON.parse(upstream.seen.at(-1)!.body.toString())
const ask = { role: 'user', content: 'Where is it?' }
const variables = { name: 'Ada', topic: { order: 17 } }
const versionOf = ({ headers }: Answer) => headers.get('x-batchin-prompt-version')

describe('a declared prompt', () => {
  test('is rendered before the caller’s messages, with its model, parameters and tools', async () => {
    const answer = await chat({ prompt: { id: 'support', version: 'v1', variables } })
    expect([answer.status, versionOf(answer)]).toEqual([200, 'support@v1'])
    expect(sent()).toEqual({
      model: 'gpt-4o-mini',
      temperature: 0.2,
      max_tokens: 99,
      tools: [
        { type: 'function', function: { name: 'find_order', parameters: { type: 'object' } } },
      ],
      messages: [
        { role: 'system', content: 'You help Ada with {"order":17}.' },
        { role: 'assistant', content: 'Hello Ada.' },
      ],
    })
  })

  test('leaves what the caller chose as it is', async () => {
    await send('PATCH', '/v1/prompts/support', { mode: 'serve' })
    await chat({
      model: 'gpt-4o',
      temperature: 1,
      messages: [ask],
      prompt: { id: 'support', version: 'v1', variables },
    })
    expect(sent()).toMatchObject({ model: 'gpt-4o', temperature: 1, max_tokens: 99 })
    expect(sent().messages.at(-1)).toEqual(ask)
    expect(sent().prompt).toBeUndefined()
  })

  test('answers by its promoted version once it is served, also where only a header names it', async () => {
    await send('PATCH', '/v1/prompts/support', { mode: 'serve' })
    const prompt = { id: 'support', variables: { name: 'Bo' } }
    await post('/v1/prompts/support/promote', { version: 'v2', reason: 'Kinder.' })
    const named = await chat({ model: 'gpt-4o-mini', messages: [ask], prompt })
    expect(versionOf(named)).toBe('support@v2')
    const byHeader = await chat(
      { model: 'gpt-4o-mini', messages: [ask], prompt },
      { 'x-batchin-prompt': 'support' },
    )
    expect(versionOf(byHeader)).toBe('support@v2')
    expect(sent().messages).toEqual([{ role: 'system', content: 'Be kind to Bo.' }, ask])
  })

  test('is only a label in a header while it is observed', async () => {
    await send('PATCH', '/v1/prompts/support', { mode: 'observe' })
    const answer = await chat(
      { model: 'gpt-4o-mini', messages: [ask] },
      { 'x-batchin-prompt-version': 'support@v1' },
    )
    expect(versionOf(answer)).toBe('support@v1')
    expect(sent().messages).toEqual([ask])
  })

  test('is rendered for responses in the words of that API', async () => {
    await post('/v1/responses', {
      input: 'Where is it?',
      prompt: { id: 'support', version: 'v1', variables },
    })
    const { input, messages } = sent()
    // An upstream without that route is asked through chat; either way the prompt comes first.
    expect((input ?? messages)[0]).toMatchObject({ role: 'system' })
    expect(JSON.stringify(input ?? messages)).toContain('You help Ada with')
  })
})

describe('what cannot be served', () => {
  test.each([
    { prompt: { id: 'nothing' }, status: 404, says: 'There is no prompt nothing.' },
    {
      prompt: { id: 'support', version: 'v9' },
      status: 404,
      says: 'There is no declared version support@v9.',
    },
    { prompt: { id: 'support', version: 'v1' }, status: 400, says: 'missing name, topic' },
    {
      prompt: { id: 'support', version: 'v1', variables: { name: 'Ada', colour: 'red' } },
      status: 400,
      says: 'missing topic; no such variable colour',
    },
    {
      prompt: { id: 'support', version: 'v1', variables: { name: null, topic: 'x' } },
      status: 400,
      says: 'null for name',
    },
    {
      prompt: {
        id: 'support',
        version: 'v1',
        variables: { name: 'x'.repeat(1_100_000), topic: 'x' },
      },
      status: 400,
      says: 'has more than 1048576 characters',
    },
    {
      prompt: {
        id: 'support',
        version: 'v1',
        variables: JSON.parse('{"__proto__": "x", "name": "y"}'),
      },
      status: 400,
      says: 'no such variable __proto__',
    },
  ])('is refused by name: $says', async ({ prompt, status, says }) => {
    const before = upstream.seen.length
    const answer = await chat({ model: 'gpt-4o-mini', prompt })
    expect(answer.status).toBe(status)
    expect(answer.body.error.message).toContain(says)
    expect(upstream.seen.length).toBe(before)
  })

  test('a value is never read as a template, and the run keeps what was said', async () => {
    const answer = await chat({
      model: 'gpt-4o-mini',
      prompt: { id: 'support', version: 'v1', variables: { name: '{{topic}}', topic: 'x' } },
    })
    expect(sent().messages[0].content).toBe('You help {{topic}} with x.')
    const traceId = answer.headers.get('traceparent')!.slice(3, 35)
    const found = await fetch(`${world.url}/v1/traces/${traceId}?include=payload`, {
      headers: { authorization: `Bearer ${world.key}` },
    })
    const { spans, prompt_version_id }: Json = await found.json()
    expect(prompt_version_id).toBe('support@v1')
    expect(JSON.stringify(spans)).toContain('You help {{topic}} with x.')
  })
})
