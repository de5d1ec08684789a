// One pipeline for every kind of inference: each row's request, answer and stream is told apart, priced and kept.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Ask, Cost, Money } from '../collectors/proxy/money.ts'
import { Fault } from '../schemas/faults.ts'
import { type ProxyWorld, startProxy } from './proxy-world.ts'
import { doneEvent, hangBeforeHead, json, sse } from './upstream.ts'

const asked: Ask[] = []
const settled: (Cost | undefined)[] = []
let refusal: Fault | undefined

/** One nano-dollar a token; remembers what it was asked and told. */
const money: Money = {
  take(ask) {
    if (refusal) throw refusal
    asked.push(ask)
    return {
      headers: ['x-ratelimit-remaining-requests', '41'],
      cost: (usage) =>
        usage && { nanoUsd: BigInt(usage.inputTokens + usage.outputTokens), version: 'p1' },
      settle: (used) => void settled.push(used?.cost),
    }
  },
}

let world: ProxyWorld

beforeAll(async () => {
  world = await startProxy({ money })
})

afterAll(() => world.end())

beforeEach(() => {
  asked.length = 0
  settled.length = 0
  refusal = undefined
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const textAnswer = {
  id: 'cmpl-1',
  object: 'text_completion',
  created: 1,
  model: 'davinci-x',
  choices: [{ index: 0, text: ' world', finish_reason: 'stop', logprobs: null }],
  usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
}

test('a completion of text keeps its prompt and its text, and suffix passes as it came', async () => {
  world.upstream.play(json(textAnswer))
  const body = { model: 'davinci-002', prompt: 'hello', suffix: '!' }
  const answer = await world.postTo('/v1/completions', body)
  expect([answer.status, await answer.json()]).toEqual([200, textAnswer])
  const seen = world.upstream.seen.at(-1)
  expect([seen?.path, seen?.body.toString()]).toEqual(['/v1/completions', JSON.stringify(body)])
  expect(world.intake.rows.spans).toMatchObject([
    {
      name: 'text_completion davinci-002',
      input_tokens: 1,
      output_tokens: 2,
      input_preview: 'hello',
      output_preview: ' world',
      cost_nano_usd: 3n,
    },
  ])
})

test('a stream of text is put together again', async () => {
  const event = (text: string) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, text, finish_reason: null }] })}\n\n`
  world.upstream.play(sse([event('Good'), event(' day'), doneEvent]))
  const answer = await world.postTo('/v1/completions', { model: 'm', prompt: 'hi', stream: true })
  const text = await answer.text()
  expect(text).toMatch(/: vaas \{.*\}\ndata: \[DONE\]\n\n$/)
  expect(world.intake.rows.spans).toMatchObject([{ output_preview: 'Good day', status: 'ok' }])
})

test('embeddings count what they read, and no vector is kept in a row', async () => {
  const given = {
    object: 'list',
    model: 'e',
    data: [{ index: 0, object: 'embedding', embedding: [0.125, 2] }],
    usage: { prompt_tokens: 5, total_tokens: 5 },
  }
  world.upstream.play(json(given))
  const answer = await world.postTo('/v1/embeddings', { model: 'e', input: ['a', 'b'] })
  expect(await answer.json()).toEqual(given)
  expect(world.intake.rows.spans).toMatchObject([
    { type: 'embedding', input_tokens: 5, output_tokens: 0, output_preview: '' },
  ])
  expect(String(world.intake.rows.payloads[0]?.raw)).not.toContain('0.125')
  expect(world.intake.rows.records).toHaveLength(1)
})

test('what a route needs is asked for by name', async () => {
  for (const [path, param] of [
    ['/v1/chat/completions', 'messages'],
    ['/v1/completions', 'prompt'],
    ['/v1/embeddings', 'input'],
  ] as const) {
    const answer = await world.postTo(path, { model: 'm' })
    expect([answer.status, (await answer.json()).error.param]).toEqual([400, param])
  }
})

test('money is asked before the upstream, shown in the answer, and settled once with the cost of the run', async () => {
  world.upstream.play(json(textAnswer))
  const body = { model: 'm', prompt: 'hello', max_tokens: 7, n: 3 }
  const answer = await world.postTo('/v1/completions', body)
  await answer.arrayBuffer()
  expect(answer.headers.get('x-ratelimit-remaining-requests')).toBe('41')
  expect(asked).toMatchObject([
    { model: 'm', routeId: 'default-route', outputTokensMax: 21, origin: '' },
  ])
  expect(asked[0]?.inputTokensMax).toBe(JSON.stringify(body).length)
  expect(settled).toEqual([{ nanoUsd: 3n, version: 'p1' }])
  const [span] = world.intake.rows.spans
  expect(span?.attr_str).toMatchObject({ 'batchin.price.version': 'p1' })
})

test('an image counts for what an image may cost, not for the bytes of its data URL', async () => {
  world.upstream.play(json(textAnswer))
  const url = `data:image/png;base64,${'A'.repeat(1_000_000)}`
  const content = [{ type: 'image_url', image_url: { url } }]
  await (await world.post({ model: 'm', messages: [{ role: 'user', content }] })).arrayBuffer()
  expect(asked[0]?.inputTokensMax).toBeGreaterThan(16_000)
  expect(asked[0]?.inputTokensMax).toBeLessThan(17_000)
})

test('a call that money refuses reaches no upstream and is signed by nobody', async () => {
  refusal = new Fault('payment_required')
  const before = world.upstream.seen.length
  const answer = await world.post({ model: 'm', messages: [] })
  expect([answer.status, answer.headers.get('x-vaas-signature')]).toEqual([402, null])
  expect([world.upstream.seen.length, world.intake.rows.records]).toEqual([before, []])
})

test('what was reserved is settled once on every way out', async () => {
  const messages = [{ role: 'user', content: 'hi' }]
  world.upstream.play(json({ error: { message: 'no', type: 'x' } }, 400))
  await (await world.post({ model: 'm', messages })).arrayBuffer()
  expect(settled).toEqual([undefined])

  world.intake.refusing = true
  world.upstream.play(json(textAnswer))
  expect((await world.postTo('/v1/completions', { model: 'm', prompt: 'x' })).status).toBe(503)
  world.intake.refusing = false
  expect(settled).toEqual([undefined, { nanoUsd: 3n, version: 'p1' }])

  const leaving = new AbortController()
  world.upstream.play((res, seen) => {
    hangBeforeHead(res, seen)
    leaving.abort()
  })
  const gone = fetch(`${world.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', messages }),
    signal: leaving.signal,
  })
  await expect(gone).rejects.toThrow()
  await expect.poll(() => settled.length).toBe(3)
  expect(settled[2]?.nanoUsd).toBeGreaterThan(0n)
})
