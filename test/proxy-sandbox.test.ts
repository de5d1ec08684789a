// The sandbox provider: always the same answer to the same request, never to be taken for a model, and what it can simulate.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sandboxUpstream } from '../collectors/proxy/sandbox/sandbox.ts'
import { type ProxyWorld, startProxy, until } from './proxy-world.ts'

let world: ProxyWorld
beforeAll(async () => {
  world = await startProxy({ upstream: sandboxUpstream() })
})
afterAll(() => world.end())
beforeEach(() => {
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const asked = {
  model: 'gpt-4o-mini',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'What is the sea?' },
  ],
}

test('the same request has the same answer, byte for byte; another has another', async () => {
  const texts = await Promise.all(
    [asked, asked, { ...asked, seed: 1 }].map(async (body) => (await world.post(body)).text()),
  )
  expect(texts[0]).toBe(texts[1])
  expect(texts[0]).not.toBe(texts[2])
  const answer = JSON.parse(texts[0]!)
  expect(answer.choices[0].message.content).toBe(
    '[sandbox] No model was called. Instructions: "Be brief." Message: "What is the sea?"',
  )
  expect(answer).toMatchObject({ object: 'chat.completion', system_fingerprint: 'sandbox' })
})

test('it is named in the headers, in the record and in the span', async () => {
  const response = await world.post(asked)
  expect(response.headers.get('x-batchin-provider')).toBe('sandbox')
  expect(JSON.parse(String(world.intake.rows.records[0]?.canonical)).provider).toBe('sandbox')
  expect(world.intake.rows.spans).toMatchObject([{ provider: 'sandbox', status: 'ok' }])
})

test('its counts are the bytes of the text divided by four, four more a message', async () => {
  const { usage, choices } = await (await world.post(asked)).json()
  const bytes = 'Be brief.'.length + 'What is the sea?'.length
  expect(usage.prompt_tokens).toBe(Math.ceil(bytes / 4) + 2 * 4)
  expect(usage.completion_tokens).toBe(Math.ceil(choices[0].message.content.length / 4))
  expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens)
})

test('a stream says what the whole answer says', async () => {
  const whole = (await (await world.post(asked)).json()).choices[0].message.content
  const text = await (await world.post({ ...asked, stream: true })).text()
  const events = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, json]) => JSON.parse(json!))
  expect(events[0].choices[0].delta.role).toBe('assistant')
  expect(events.map(({ choices }) => choices[0].delta.content ?? '').join('')).toBe(whole)
  expect(events.at(-1).choices[0].finish_reason).toBe('stop')
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
})

test('max_tokens cuts it, and says so; several choices are given', async () => {
  const { choices, usage } = await (await world.post({ ...asked, max_tokens: 3, n: 2 })).json()
  expect(choices).toMatchObject([
    { index: 0, message: { content: '[sandbox] No' }, finish_reason: 'length' },
    { index: 1 },
  ])
  expect(usage.completion_tokens).toBe(6)
})

test('an answer in JSON is JSON', async () => {
  const { choices } = await (
    await world.post({ ...asked, response_format: { type: 'json_object' } })
  ).json()
  expect(Object.keys(JSON.parse(choices[0].message.content))).toEqual(['sandbox'])
})

test.each([
  ['error=429', 429, 'sandbox_429'],
  ['error=500', 500, 'sandbox_500'],
  ['colour=blue', 400, 'sandbox_400'],
  ['error=200', 400, 'sandbox_400'],
])('X-Sandbox: %s is answered with %i', async (header, status, code) => {
  const response = await world.post(asked, { 'x-sandbox': header })
  expect([response.status, (await response.json()).error.code]).toEqual([status, code])
  expect(world.intake.rows.spans).toMatchObject([{ status: 'error' }])
})

test('X-Sandbox: truncate breaks a stream after so many events, and a JSON answer after so many bytes', async () => {
  const text = await (
    await world.post({ ...asked, stream: true }, { 'x-sandbox': 'truncate=3' })
  ).text()
  expect(text.match(/^data: \{"id"/gm)).toHaveLength(3)
  expect(text).toContain('data: {"error"')
  expect(text).not.toContain('[DONE]')
  const response = await world.post(asked, { 'x-sandbox': 'truncate=10' })
  expect(response.status).toBe(502)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'truncated' }, { status: 'error' }])
})

test('X-Sandbox: latency and ttft take that long, and show in the run', async () => {
  await (
    await world.post({ ...asked, stream: true }, { 'x-sandbox': 'latency=60, ttft=60' })
  ).text()
  expect(Number(world.intake.rows.spans[0]?.ttft_ns)).toBeGreaterThan(110e6)
  expect(Number(world.intake.rows.spans[0]?.ttft_ns)).toBeLessThan(2000e6)
})

test('a client that leaves while it waits is recorded as gone', async () => {
  const abort = new AbortController()
  const call = fetch(`${world.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-sandbox': 'latency=60000' },
    body: JSON.stringify(asked),
    signal: abort.signal,
  })
  const failed = expect(call).rejects.toThrow()
  setTimeout(() => abort.abort(), 50)
  await failed
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'client_closed' }])
})

test('it holds its stream back when it is told to, until the opening record is durable', async () => {
  let open = () => {}
  world.intake.gate = new Promise((resolve) => {
    open = resolve
  })
  let arrived = false
  const call = world.post({ ...asked, stream: true }).then((response) => {
    arrived = true
    return response.text()
  })
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(arrived).toBe(false)
  world.intake.gate = undefined
  open()
  expect(await call).toContain('data: [DONE]')
})
