// Idempotency-Key: a call that is made again is answered again and not made again. Against the whole plane.

import { ConflictError } from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  answerOf,
  callersOf,
  type MoneyWorld,
  moneySettings,
  startMoneyWorld,
} from './money-world.ts'
import { newDataDir, removeDataDir } from './product.ts'
import { breakAfter, doneEvent, helloEvents, json, raw, sse, usageChunk } from './upstream.ts'
import { startWorld } from './world.ts'

let world: MoneyWorld
beforeAll(async () => {
  world = await startMoneyWorld()
})
afterAll(() => world.end())

let keys = 0
const newName = () => ({ 'idempotency-key': `order-${++keys}` })
const run = (answer: Response) => answer.headers.get('x-batchin-run-id')
const asked = () => world.upstream.seen.length

/** What a receipt and an answer are made of, without what belongs to the moment. */
async function whole(answer: Response) {
  const headers = Object.fromEntries(
    [...answer.headers].filter(
      ([name]) => !/^(x-request-id|server-timing|date|idempotent)/.test(name),
    ),
  )
  return { status: answer.status, headers, body: await answer.text() }
}

test('the same call gets the same answer, run and record, and the upstream is asked once', async () => {
  world.upstream.play(json(answerOf(10, 5)))
  const name = newName()
  const before = asked()
  const first = await world.chat(world.key, {}, name)
  expect([first.status, first.headers.get('idempotent-replayed')]).toEqual([200, null])
  const again = await world.chat(world.key, {}, { ...name, 'x-request-id': 'mine' })
  expect(again.headers.get('idempotent-replayed')).toBe('true')
  expect(again.headers.get('x-request-id')).toBe('mine')
  const kept = await whole(again)
  const { connection: _, 'keep-alive': __, ...headers } = (await whole(first)).headers
  expect(kept.headers).toMatchObject(headers)
  expect(JSON.parse(kept.body)).toEqual(answerOf(10, 5))
  expect(kept.headers['x-vaas-signature']).toMatch(/^ed25519:/)
  expect(asked()).toBe(before + 1)
})

test('a stream is given again event by event, receipt and all', async () => {
  world.upstream.play(sse([...helloEvents, usageChunk, doneEvent]))
  const name = newName()
  const first = await whole(await world.chat(world.key, { stream: true }, name))
  expect(first.body).toMatch(/: vaas \{.*\n.*data: \[DONE\]\n\n$/s)
  const before = asked()
  const again = await whole(await world.chat(world.key, { stream: true }, name))
  expect(again.body).toBe(first.body)
  expect(again.headers['content-type']).toBe(first.headers['content-type'])
  expect(again.headers['x-batchin-run-id']).toBe(first.headers['x-batchin-run-id'])
  expect(asked()).toBe(before)
  // The SDK reads it as it read the first.
  const stream = await world.sdk().chat.completions.create(
    {
      model: 'priced',
      messages: [{ role: 'user', content: 'Hello' }],
      max_tokens: 50,
      stream: true,
    },
    { headers: newName() },
  )
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  expect(text).toBe('Hello wörld ✓')
})

test('speech is given again byte for byte, whether it was held or passed', async () => {
  for (const bytes of [500, 300_000]) {
    const sound = Buffer.from(Uint8Array.from({ length: bytes }, (_, at) => at % 251))
    world.upstream.play(async (res) => {
      res.writeHead(200, { 'content-type': 'audio/mpeg' })
      for (let at = 0; at < bytes; at += 50_000) {
        res.write(sound.subarray(at, at + 50_000))
        await new Promise(setImmediate)
      }
      res.end()
    })
    const name = newName()
    const speak = () =>
      world
        .sdk()
        .audio.speech.create({ model: 'spoken', input: 'hi', voice: 'alloy' }, { headers: name })
    const [first, before] = [await speak(), asked()]
    expect(Buffer.from(await first.arrayBuffer()).equals(sound)).toBe(true)
    const again = await speak()
    expect(Buffer.from(await again.arrayBuffer()).equals(sound)).toBe(true)
    expect(again.headers.get('content-type')).toBe('audio/mpeg')
    expect([again.headers.get('idempotent-replayed'), run(again), asked()]).toEqual([
      'true',
      run(first),
      before,
    ])
  }
})

test('a form is the same form whatever its boundary is, and another with another file', async () => {
  world.upstream.play(json({ text: 'hello', usage: { type: 'duration', seconds: 2 } }))
  const name = newName()
  const transcribe = (sound: string) =>
    world
      .sdk()
      .audio.transcriptions.create(
        { model: 'heard', file: new File([sound], 'a.wav', { type: 'audio/wav' }) },
        { headers: name },
      )
      .withResponse()
  const first = await transcribe('a sound')
  const before = asked()
  const again = await transcribe('a sound')
  expect([again.data.text, run(again.response), asked()]).toEqual([
    'hello',
    run(first.response),
    before,
  ])
  await expect(transcribe('another sound')).rejects.toBeInstanceOf(ConflictError)
  expect(asked()).toBe(before)
})

test('pictures and a job are given again, and not made again', async () => {
  const pictures = { created: 1, data: [{ b64_json: Buffer.from('a picture').toString('base64') }] }
  const job = { id: 'video_once', object: 'video', status: 'queued', seconds: '4' }
  for (const [path, answer] of [
    ['/v1/images/generations', pictures],
    ['/v1/videos', job],
  ] as const) {
    world.upstream.play(json(answer))
    const name = newName()
    const ask = () =>
      fetch(world.url + path, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${world.key}`,
          'content-type': 'application/json',
          ...name,
        },
        body: JSON.stringify({ model: 'drawn', prompt: 'A fox' }),
      })
    const first = await ask()
    const before = asked()
    const again = await ask()
    expect([again.status, await again.json()]).toEqual([200, await first.json()])
    expect(again.headers.get('x-vaas-signature')).toBe(first.headers.get('x-vaas-signature'))
    expect([run(again), asked()]).toEqual([run(first), before])
  }
})

test('another body under the same key is a conflict, and so is another path', async () => {
  world.upstream.play(json(answerOf(1, 1)))
  const name = newName()
  await world.chat(world.key, {}, name)
  const other = await world.chat(world.key, { temperature: 1 }, name)
  expect([other.status, other.headers.get('x-should-retry')]).toEqual([409, 'false'])
  expect((await other.json()).error).toMatchObject({ code: 'conflict', param: 'Idempotency-Key' })
})

test('a call that still runs is not made a second time', async () => {
  const name = newName()
  let open = () => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  world.upstream.play(async (res, seen) => {
    await gate
    await json(answerOf(1, 1))(res, seen)
  })
  const before = asked()
  const first = world.chat(world.key, {}, name)
  await expect.poll(asked, { timeout: 20_000 }).toBe(before + 1)
  const others = await Promise.all([1, 2, 3].map(() => world.chat(world.key, {}, name)))
  expect(others.map(({ status }) => status)).toEqual([409, 409, 409])
  expect(others[0]?.headers.get('retry-after')).toBe('1')
  open()
  expect((await first).status).toBe(200)
  expect(run(await world.chat(world.key, {}, name))).toBe(run(await first))
  expect(asked()).toBe(before + 1)
})

test('two hundred at once with one key are one call', async () => {
  world.upstream.play(json(answerOf(1, 1)))
  const name = newName()
  const before = asked()
  const all = await Promise.all(Array.from({ length: 200 }, () => world.chat(world.key, {}, name)))
  const statuses = new Set(all.map(({ status }) => status))
  expect([...statuses].filter((status) => status !== 200 && status !== 409)).toEqual([])
  const runs = new Set(all.filter(({ status }) => status === 200).map(run))
  expect(runs.size).toBe(1)
  expect(asked()).toBe(before + 1)
})

test('a failure that may pass is not given again: the next call runs', async () => {
  for (const script of [
    json({ error: { message: 'busy', type: 'server_error' } }, 500),
    raw('not JSON'),
    // As some gateways say it.
    json({ error: { message: 'busy', code: 503 } }),
  ]) {
    const name = newName()
    world.upstream.play(script)
    await (await world.chat(world.key, {}, name)).text()
    world.upstream.play(json(answerOf(1, 1)))
    const next = await world.chat(world.key, {}, name)
    expect([next.status, next.headers.get('idempotent-replayed')]).toEqual([200, null])
  }
  const name = newName()
  world.upstream.play(breakAfter(helloEvents.slice(0, 2)))
  expect(await (await world.chat(world.key, { stream: true }, name)).text()).toContain('error')
  world.upstream.play(sse([...helloEvents, doneEvent]))
  expect(await (await world.chat(world.key, { stream: true }, name)).text()).toContain('[DONE]')
})

test('a refusal before admission takes no key: it is free for the call as it should be', async () => {
  const name = newName()
  const poor = await world.newKey({ monthly_budget_cents: 0 })
  expect((await world.chat(poor.key, {}, name)).status).toBe(402)
  expect((await world.chat(poor.key, {}, name)).status).toBe(402)
})

test('what one API key keeps is not another’s', async () => {
  world.upstream.play(json(answerOf(1, 1)))
  const name = newName()
  const other = await world.newKey({})
  const [mine, theirs] = [
    await world.chat(world.key, {}, name),
    await world.chat(other.key, { temperature: 0 }, name),
  ]
  expect([mine.status, theirs.status]).toEqual([200, 200])
  expect(run(theirs)).not.toBe(run(mine))
})

test('an answer too large to be kept is not made again; its run is named', async () => {
  world.upstream.play(json({ ...answerOf(1, 1), padding: 'x'.repeat(3 * 1024 * 1024) }))
  const name = newName()
  const first = await world.chat(world.key, {}, name)
  expect((await first.text()).length).toBeGreaterThan(3_000_000)
  const again = await world.chat(world.key, {}, name)
  expect(again.status).toBe(409)
  expect((await again.json()).error.message).toContain(run(first))
})

test.each([
  ['empty', ''],
  ['longer than 255 characters', 'x'.repeat(256)],
  ['not printable', 'ordér'],
])('a key that is %s is refused', async (_what, key) => {
  expect((await world.chat(world.key, {}, { 'idempotency-key': key })).status).toBe(400)
})

test('a kept answer outlives the process that gave it', async () => {
  const dataDir = newDataDir()
  const settings = moneySettings(world.upstream)
  world.upstream.play(json(answerOf(3, 2)))
  const name = newName()
  const env = { ...settings.env, RUNLEDGER_DATA_DIR: dataDir }
  const first = await startWorld(env)
  const answer = await callersOf(first).chat(first.key, {}, name)
  await first.plane.stop()
  const second = await startWorld(env)
  try {
    const before = asked()
    const again = await callersOf(second).chat(second.key, {}, name)
    expect([again.status, run(again)]).toEqual([200, run(answer)])
    expect(await again.json()).toEqual(await answer.json())
    expect(asked()).toBe(before)
  } finally {
    await second.plane.stop()
    removeDataDir(dataDir)
    settings.end()
  }
})
