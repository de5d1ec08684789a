// A route that caches: the same request is answered again without asking the upstream, as a run of its own that costs nothing.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { answerOf, type MoneyWorld, startMoneyWorld } from './money-world.ts'
import { doneEvent, helloEvents, json, sse, usageChunk } from './upstream.ts'

let world: MoneyWorld
beforeAll(async () => {
  world = await startMoneyWorld({
    config: {
      routes: [
        { id: 'cached', models: ['priced'], targets: [{ provider: 'scripted' }], cache: 60 },
        { id: 'plain', models: ['*'], targets: [{ provider: 'scripted' }] },
      ],
    },
  })
})
afterAll(() => world.end())

const asked = () => world.upstream.seen.length
let questions = 0
// Long enough for the hundred tokens that the upstream says it has: more than a request can hold is not charged.
const newQuestion = () => ({
  messages: [{ role: 'user', content: `${'Why? '.repeat(100)} ${++questions}` }],
})
const isHit = (answer: Response) => answer.headers.get('x-batchin-cache') === 'hit'

test('the same request is answered again, under its own run and receipt, for nothing', async () => {
  const key = await world.newKey({ monthly_budget_cents: 1 })
  world.upstream.play(json(answerOf(100, 50)))
  const question = newQuestion()
  const before = asked()
  const first = await world.chat(key.key, question)
  const second = await world.chat(key.key, { ...question, user: 'somebody else' })
  expect([isHit(first), isHit(second), asked() - before]).toEqual([false, true, 1])
  expect(await second.json()).toEqual(await first.json())
  const ids = ['x-batchin-run-id', 'x-vaas-record-id', 'x-vaas-signature']
  for (const id of ids) expect(second.headers.get(id)).not.toBe(first.headers.get(id))
  expect(second.headers.get('x-batchin-provider')).toBe('scripted')

  const logs = await world.rowsOf(`key_id=${key.id}`, 2)
  expect(logs).toMatchObject([
    { status: 'cache_hit', cost_cents: 0, input_tokens: 0, output_tokens: 0 },
    { status: 'ok', cost_cents: 0.02, input_tokens: 100, output_tokens: 50 },
  ])
  const record = second.headers.get('x-vaas-record-id')
  const shown = await world.get(`/v1/vaas/${record}`)
  expect(shown).toMatchObject({ status: 'cache_hit' })
  expect((await world.get(`/v1/vaas/${record}/verify`)).valid).toBe(true)
})

test('after a deletion the upstream is asked again, because the answer may quote what was deleted', async () => {
  world.upstream.play(json(answerOf(100, 50)))
  const question = newQuestion()
  const first = await world.chat(world.key, question)
  expect(isHit(await world.chat(world.key, question))).toBe(true)
  await first.text()
  const gone = await fetch(`${world.url}/v1/data?user_id=somebody`, {
    method: 'DELETE',
    headers: { Authorization: `Bearer ${world.key}` },
  })
  expect(gone.ok).toBe(true)
  expect(isHit(await world.chat(world.key, question))).toBe(false)
})

test('a stream is given again event by event, with its own receipt in the last', async () => {
  world.upstream.play(sse([...helloEvents, usageChunk, doneEvent]))
  const question = { ...newQuestion(), stream: true }
  const before = asked()
  const first = await (await world.chat(world.key, question)).text()
  const second = await (await world.chat(world.key, question)).text()
  expect(asked() - before).toBe(1)
  const comment = /^: vaas (.*)$/m
  expect(second.replace(comment, '')).toBe(first.replace(comment, ''))
  expect(JSON.parse(comment.exec(second)?.[1] ?? '')).toMatchObject({ status: 'cache_hit' })
  expect(JSON.parse(comment.exec(first)?.[1] ?? '')).toMatchObject({ status: 'completed' })
})

test('another question, temperature, prompt or workspace is another answer', async () => {
  world.upstream.play(json(answerOf(1, 1)))
  const question = newQuestion()
  await world.chat(world.key, question)
  const before = asked()
  const others = [
    await world.chat(world.key, newQuestion()),
    await world.chat(world.key, { ...question, temperature: 0.5 }),
    await world.chat(world.key, { ...question, stop: ['x'] }),
    await world.chat(world.key, question, { 'x-batchin-prompt-version': 'support@v2' }),
  ]
  expect(others.map(isHit)).toEqual([false, false, false, false])
  expect(asked() - before).toBe(4)
  const post = (path: string, body: object) =>
    fetch(world.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }).then((answer) => answer.json())
  const user = await post('/v1/users', {
    email: 'c@example.com',
    name: 'C',
    password: 'long enough',
  })
  const theirs = await post('/v1/keys', { user_id: user.id })
  expect(isHit(await world.chat(theirs.key, question))).toBe(false)
  expect(isHit(await world.chat(world.key, question))).toBe(true)
})

test('a failure is not given again, and a route that does not ask for it never caches', async () => {
  const question = newQuestion()
  world.upstream.play(json({ error: { message: 'no', type: 'server_error' } }, 500))
  expect((await world.chat(world.key, question)).status).toBe(500)
  world.upstream.play(json(answerOf(1, 1)))
  expect(isHit(await world.chat(world.key, question))).toBe(false)
  const plain = { ...newQuestion(), model: 'unpriced' }
  await world.chat(world.key, plain)
  expect(isHit(await world.chat(world.key, plain))).toBe(false)
})

test('a picture is no video, and a job is never given twice', async () => {
  const post = async (path: string): Promise<string> => {
    const answer = await fetch(world.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'priced', prompt: 'A fox' }),
    })
    const body = await answer.json()
    return body.id ?? body.data[0].url
  }
  let jobs = 0
  world.upstream.play((res, seen) =>
    seen.path.endsWith('/videos')
      ? json({ id: `video_${++jobs}`, object: 'video', status: 'queued' })(res, seen)
      : json({ created: 1, data: [{ url: 'https://x.example/a.png' }] })(res, seen),
  )
  const before = asked()
  const paths = ['/v1/images', '/v1/images', '/v1/videos', '/v1/videos']
  const answers: string[] = []
  for (const path of paths) answers.push(await post(path))
  expect(answers).toEqual([
    'https://x.example/a.png',
    'https://x.example/a.png',
    'video_1',
    'video_2',
  ])
  expect(asked() - before).toBe(3)
})
