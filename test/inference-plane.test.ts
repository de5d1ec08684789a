// Every inference route of the started product, by the real SDK: answered, recorded, verifiable, and closed to other workspaces.

import { createHash } from 'node:crypto'
import type OpenAI from 'openai'
import { toFile } from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { get, type Json, openai } from './clients.ts'
import { startWorld, type World } from './world.ts'

let world: World
let sdk: OpenAI
beforeAll(async () => {
  world = await startWorld()
  sdk = openai(world)
})
afterAll(() => world.end())

const model = 'any-model'
const picture = `data:image/png;base64,${Buffer.from('a picture').toString('base64')}`
const file = () => toFile(Buffer.from('a sound'), 'a.wav', { type: 'audio/wav' })

/** The record behind an answer, once it is final, judged by the plane itself. */
async function verdictOf(headers: Headers): Promise<Json> {
  const id = headers.get('x-vaas-record-id')
  await expect
    .poll(async () => (await get(world, `/v1/vaas/${id}`)).status, { timeout: 10_000 })
    .toBe(200)
  const [record, verdict] = await Promise.all([
    get(world, `/v1/vaas/${id}`),
    get(world, `/v1/vaas/${id}/verify`),
  ])
  return { valid: verdict.body.valid, status: record.body.status }
}

const asks: [string, () => Promise<{ response: Response }>][] = [
  [
    'chat',
    () =>
      sdk.chat.completions
        .create({ model, messages: [{ role: 'user', content: 'hi' }] })
        .withResponse(),
  ],
  ['responses', () => sdk.responses.create({ model, input: 'hi' }).withResponse()],
  [
    'completions',
    () => sdk.completions.create({ model, prompt: 'hi', suffix: '!' }).withResponse(),
  ],
  ['embeddings', () => sdk.embeddings.create({ model, input: 'hi' }).withResponse()],
  ['speech', () => sdk.audio.speech.create({ model, input: 'hi', voice: 'alloy' }).withResponse()],
  [
    'transcriptions',
    async () => sdk.audio.transcriptions.create({ model, file: await file() }).withResponse(),
  ],
  ['images', () => sdk.images.generate({ model, prompt: 'hi' }).withResponse()],
]

test.each(asks)('%s answers through the SDK, and its record verifies', async (_name, ask) => {
  const { response } = await ask()
  expect(response.headers.get('x-batchin-provider')).toBe('sandbox')
  expect(await verdictOf(response.headers)).toEqual({ valid: true, status: 'completed' })
})

test('a stream of responses ends with its receipt, and its record verifies', async () => {
  const { data: stream, response } = await sdk.responses
    .create({ model, input: 'hi', stream: true })
    .withResponse()
  const types: string[] = []
  for await (const event of stream) types.push(event.type)
  expect(types.at(-1)).toBe('response.completed')
  expect(await verdictOf(response.headers)).toEqual({ valid: true, status: 'completed' })
})

test('a video is a job: open until it is seen, then closed once; its file is here', async () => {
  const { data, response } = await sdk.videos
    .create({ model: 'sora-2', prompt: 'A fox', seconds: '8' })
    .withResponse()
  const job: Json = data
  expect(job).toMatchObject({ object: 'video.generation', status: 'queued', duration_seconds: 8 })
  const record = response.headers.get('x-vaas-record-id')
  expect((await get(world, `/v1/vaas/${record}`)).status).toBe(202)
  const runs = async () => {
    const { body } = await get(world, '/metrics')
    return Number(/proxy_runs_total\{provider="sandbox",status="ok"\} (\d+)/.exec(body)?.[1] ?? 0)
  }
  const before = await runs()
  const looks = await Promise.all([1, 2, 3].map(() => get(world, `/v1/videos/${job.id}`)))
  expect(looks.map(({ body }) => body.status)).toEqual(['completed', 'completed', 'completed'])
  expect(await verdictOf(response.headers)).toEqual({ valid: true, status: 'completed' })
  expect((await runs()) - before).toBe(1)
  const runId = response.headers.get('x-batchin-run-id')
  const { body } = await get(world, '/v1/traces?limit=100')
  expect(body.items.filter((item: Json) => item.run_id === runId)).toHaveLength(1)
  for (const path of [job.output_url, `/v1/videos/${job.id}/content`]) {
    const content = await fetch(world.url + path, {
      headers: { authorization: `Bearer ${world.key}` },
    })
    expect([content.status, content.headers.get('content-type')]).toEqual([200, 'video/mp4'])
    expect(await content.text()).toContain('ftyp')
  }
})

test('media in a call are given back by their hash, to their own workspace only; so are jobs', async () => {
  const content = [{ type: 'image_url' as const, image_url: { url: picture } }]
  const { response } = await sdk.chat.completions
    .create({ model, messages: [{ role: 'user', content }] })
    .withResponse()
  const traceId = response.headers.get('traceparent')?.split('-')[1]
  const trace = await get(world, `/v1/traces/${traceId}?include=payload`)
  const text = JSON.stringify(trace.body)
  expect(text).not.toContain('base64')
  const [, sha256] = /"sha256\\*":\\*"([0-9a-f]{64})/.exec(text) ?? []
  const bytes = await fetch(`${world.url}/v1/media/${sha256}`, {
    headers: { authorization: `Bearer ${world.key}` },
  })
  expect([bytes.status, await bytes.text()]).toEqual([200, 'a picture'])
  expect(bytes.headers.get('content-disposition')).toMatch(/^attachment/)

  const job: Json = await sdk.videos.create({ model: 'sora-2', prompt: 'A fox' })
  const other = { url: world.url, key: await keyOfSomebodyElse() }
  for (const path of [
    `/v1/media/${sha256}`,
    `/v1/videos/${job.id}`,
    `/v1/videos/${job.id}/content`,
    job.output_url,
  ]) {
    expect((await get(world, path)).status).toBe(200)
    expect((await get(other, path)).status).toBe(404)
    expect((await get({ url: world.url, key: 'none' }, path)).status).toBe(401)
  }
})

test('who is forgotten leaves no picture and no job; others keep theirs', async () => {
  const say = async (user: string, bytes: string): Promise<string> => {
    const url = `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`
    await sdk.chat.completions.create({
      model,
      user,
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }],
    })
    return createHash('sha256').update(bytes).digest('hex')
  }
  const [theirs, others] = [await say('ada', 'of ada'), await say('grace', 'of grace')]
  const create = (user: string) =>
    fetch(`${world.url}/v1/videos`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'sora-2', prompt: `By ${user}`, user }),
    }).then((answer): Promise<Json> => answer.json())
  const [job, otherJob] = [await create('ada'), await create('grace')]
  const statuses = async () =>
    Promise.all(
      [
        `/v1/media/${theirs}`,
        `/v1/media/${others}`,
        `/v1/videos/${job.id}`,
        `/v1/videos/${otherJob.id}`,
      ].map(async (path) => (await get(world, path)).status),
    )
  expect(await statuses()).toEqual([200, 200, 200, 200])
  const erased = await fetch(`${world.url}/v1/data?user_id=ada`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${world.key}` },
  })
  expect((await erased.json()).status).toBe('deleted')
  expect(await statuses()).toEqual([404, 200, 404, 200])
})

async function keyOfSomebodyElse(): Promise<string> {
  const post = async (path: string, body: object): Promise<Json> => {
    const answer = await fetch(world.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return answer.json()
  }
  const user = await post('/v1/users', {
    email: 'b@x.example',
    name: 'B',
    password: 'correct horse battery',
  })
  const key = await post('/v1/keys', { name: 'theirs', user_id: user.id })
  return key.key
}
