// Videos are jobs (C42): the answer names one, its run closes when its end is seen, and what it made is for its workspace alone.

import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Cost, Money } from '../collectors/proxy/money.ts'
import { redactionBy } from '../collectors/redact.ts'
import { newId } from '../schemas/ids.ts'
import { outputHashOf, type ProxyWorld, startProxy, until } from './proxy-world.ts'
import { json, raw, type Script } from './upstream.ts'

const settled: (Cost | undefined)[] = []
/** A thousand nano-dollars a second of video. */
const money: Money = {
  take: () => ({
    headers: [],
    cost: (_usage, pieces) => ({
      nanoUsd: BigInt((pieces?.videoSeconds ?? 0) * 1000),
      version: 'p1',
    }),
    settle: (used) => void settled.push(used?.cost),
  }),
}

let world: ProxyWorld
let openai: OpenAI
beforeAll(async () => {
  world = await startProxy({ money })
  openai = new OpenAI({ apiKey: 'batchin_api_test', baseURL: world.baseUrl, maxRetries: 0 })
})
afterAll(() => world.end())
beforeEach(() => {
  settled.length = 0
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const get = (path: string) => fetch(world.baseUrl + path)
const records = () =>
  world.intake.rows.records.map(({ canonical }) => JSON.parse(String(canonical)))
let count = 0
const newName = () => `video_${++count}`

/** As OpenAI answers. */
const openaiJob = (id: string, status: string, more: object = {}) => ({
  id,
  object: 'video',
  model: 'sora-2',
  status,
  progress: status === 'completed' ? 100 : 0,
  created_at: 1_760_000_000,
  completed_at: status === 'completed' ? 1_760_000_060 : null,
  expires_at: null,
  prompt: 'A fox',
  size: '1280x720',
  seconds: '8',
  remixed_from_video_id: null,
  error: null,
  ...more,
})
const withOurs = (job: { id: string }) => ({
  ...job,
  duration_seconds: 8,
  output_url: `/v1/videos/${job.id}/content`,
})

test('the SDK creates a job, sees it through and downloads it; one run is kept, closed when it was seen', async () => {
  const id = newName()
  let status = 'queued'
  const clip = Buffer.alloc(300_000, 7)
  world.upstream.play((res, seen) => {
    if (seen.path.endsWith('/content?variant=thumbnail'))
      return raw('a thumbnail', 200, { 'content-type': 'image/webp' })(res, seen)
    if (!seen.path.endsWith('/content'))
      return json(openaiJob(id, status), 200, { 'openai-poll-after-ms': '50' })(res, seen)
    res.writeHead(200, { 'content-type': 'video/mp4', 'content-length': clip.length })
    res.end(clip)
  })
  const { data: created, response } = await openai.videos
    .create({ model: 'sora-2', prompt: 'A fox', seconds: '8' })
    .withResponse()
  expect(created).toEqual(withOurs(openaiJob(id, 'queued')))
  expect(world.upstream.seen[0]?.path).toBe('/v1/videos')
  expect(world.upstream.seen[0]?.headers['content-type']).toMatch(/^multipart\/form-data/)
  expect(response.headers.get('x-vaas-phase')).toBe('begin')
  expect([records().map(({ phase }) => phase), world.intake.rows.spans]).toEqual([['begin'], []])

  expect((await openai.videos.retrieve(id)).status).toBe('queued')
  expect(world.intake.rows.spans).toEqual([])

  status = 'completed'
  const asked = await Promise.all([1, 2, 3].map(() => get(`/videos/${id}`)))
  expect(asked.map((answer) => answer.status)).toEqual([200, 200, 200])
  const seen = await get(`/videos/${id}`)
  expect(await seen.json()).toEqual(withOurs(openaiJob(id, 'completed')))
  expect(seen.headers.get('openai-poll-after-ms')).toBe('50')
  const names = [
    'x-batchin-run-id',
    'x-vaas-record-id',
    'x-batchin-provider',
    'x-batchin-route-id',
    'access-control-expose-headers',
    'traceparent',
  ]
  for (const name of names) expect(seen.headers.get(name)).toBe(response.headers.get(name))
  expect(seen.headers.get('x-vaas-phase')).toBe('final')
  expect(world.intake.rows.spans).toMatchObject([
    { name: 'generate_content sora-2', status: 'ok', input_preview: 'A fox', usage: 7 },
  ])
  expect(world.intake.rows.spans[0]?.attr_num).toMatchObject({ 'batchin.usage.video_seconds': 8 })
  const [begin, final, ...others] = records()
  expect([begin.phase, final.phase, final.status, others]).toEqual([
    'begin',
    'final',
    'completed',
    [],
  ])
  expect(final.output_hash).toBe(
    outputHashOf(final.record_id, withOurs(openaiJob(id, 'completed'))),
  )

  const content = await openai.videos.downloadContent(id)
  expect(content.headers.get('content-type')).toBe('video/mp4')
  expect(Buffer.from(await content.arrayBuffer()).equals(clip)).toBe(true)
  const thumbnail = await openai.videos.downloadContent(id, { variant: 'thumbnail' })
  expect(await thumbnail.text()).toBe('a thumbnail')
})

test('a video costs by its seconds, by the price of the moment it was asked for', async () => {
  const id = newName()
  for (const status of ['queued', 'completed']) {
    world.upstream.play(json(openaiJob(id, status)))
    if (status === 'queued') {
      await (
        await world.postTo('/v1/videos', { model: 'sora-2', prompt: 'A', seconds: '8' })
      ).json()
      expect(settled).toEqual([{ nanoUsd: 8000n, version: 'p1' }])
    } else await (await get(`/videos/${id}`)).json()
  }
  expect(world.intake.rows.spans).toMatchObject([{ status: 'ok', cost_nano_usd: 8000n }])
  expect(world.intake.rows.spans[0]?.attr_str).toMatchObject({ 'batchin.price.version': 'p1' })
  expect(settled).toHaveLength(1)
})

test('a job that has failed at once takes nothing from a budget', async () => {
  world.upstream.play(json(openaiJob(newName(), 'failed')))
  const asked = { model: 'sora-2', prompt: 'A fox', seconds: '8' }
  await (await world.postTo('/v1/videos', asked)).json()
  expect(settled).toEqual([undefined])
  expect(world.intake.rows.spans).toMatchObject([{ status: 'error', cost_nano_usd: 0n }])
})

test('a job that fails is an error that costs nothing, and says why', async () => {
  const id = newName()
  world.upstream.play(json(openaiJob(id, 'in_progress')))
  const asked = { model: 'sora-2', prompt: 'A fox', duration_seconds: 8 }
  await (await world.postTo('/v1/videos', asked)).json()
  const error = { code: 'moderation_blocked', message: 'no foxes' }
  world.upstream.play(json(openaiJob(id, 'failed', { error })))
  expect((await (await get(`/videos/${id}`)).json()).error).toEqual(error)
  expect(world.intake.rows.spans).toMatchObject([
    { status: 'error', status_message: 'no foxes', cost_nano_usd: 0n },
  ])
  expect(records().at(-1)).toMatchObject({ phase: 'final', status: 'upstream_error' })
})

test('a job of whose call no texts are kept fails with a code alone', async () => {
  const id = newName()
  world.upstream.play(json(openaiJob(id, 'in_progress')))
  const asked = { model: 'sora-2', prompt: 'A fox', seconds: '8' }
  await (await world.postTo('/v1/videos', asked, { 'x-batchin-capture': 'usage' })).json()
  const error = { code: 'moderation_blocked', message: 'no "A fox" here' }
  world.upstream.play(json(openaiJob(id, 'failed', { error })))
  expect((await (await get(`/videos/${id}`)).json()).error).toEqual(error)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'error', status_message: '' }])
})

test('what is kept out of rows is kept out of the record of a job too, whatever the upstream calls it', async () => {
  const redact = [{ pattern: 'film-of-\\w+', replacement: '[film]' }]
  const proxy = await startProxy({ redaction: redactionBy(() => ({ redact })) })
  try {
    proxy.upstream.play(json(openaiJob('film-of-ada', 'completed')))
    await (await proxy.postTo('/v1/videos', { model: 'sora-2', prompt: 'A fox' })).json()
    const [record] = proxy.intake.rows.records.slice(-1)
    expect(JSON.parse(String(record?.canonical)).upstream.response_id).toBe('[film]')
  } finally {
    await proxy.end()
  }
})

test.each(['/v1/videos', '/v1/video/generate'])(
  '%s in our words is asked again in OpenAI’s when the upstream knows only those',
  async (path) => {
    const id = newName()
    world.upstream.play((res, seen) => {
      const { duration_seconds: ours } = JSON.parse(String(seen.body))
      const error = {
        message: 'Unknown parameter: duration_seconds',
        type: 'invalid_request_error',
      }
      return json(
        ours === undefined ? openaiJob(id, 'queued') : { error },
        ours === undefined ? 200 : 400,
      )(res, seen)
    })
    const asked = { model: 'sora-2', prompt: 'A fox', duration_seconds: 8, aspect_ratio: '9:16' }
    const answer = await world.postTo(path, asked)
    expect(await answer.json()).toMatchObject({ id, status: 'queued', duration_seconds: 8 })
    const { duration_seconds: _, aspect_ratio: __, ...kept } = asked
    expect(world.upstream.seen.map(({ body }) => JSON.parse(String(body)))).toEqual([
      asked,
      { ...kept, seconds: '8', size: '720x1280' },
    ])
  },
)

test('a form in our words is asked again as JSON; one with a picture is not asked again without it', async () => {
  const id = newName()
  const error = { message: 'Unknown parameter: duration_seconds', type: 'invalid_request_error' }
  world.upstream.play((res, seen) =>
    String(seen.body).includes('duration_seconds')
      ? json({ error }, 400)(res, seen)
      : json(openaiJob(id, 'queued'))(res, seen),
  )
  const form = new FormData()
  const fields = { model: 'sora-2', prompt: 'A fox', duration_seconds: '8' }
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  const ask = () => fetch(`${world.baseUrl}/videos`, { method: 'POST', body: form })
  expect(await (await ask()).json()).toMatchObject({ id, duration_seconds: 8 })
  const again = world.upstream.seen[1]
  expect(again?.headers['content-type']).toBe('application/json')
  const { duration_seconds: seconds, ...kept } = fields
  expect(JSON.parse(String(again?.body))).toEqual({ ...kept, seconds })

  form.append('input_reference', new Blob(['a picture']), 'fox.png')
  const refused = await ask()
  expect([refused.status, (await refused.json()).error]).toEqual([400, error])
  expect(world.upstream.seen).toHaveLength(3)
})

test('a player gets the bytes it asks for, and is told where there are none', async () => {
  const id = newName()
  const clip = 'a whole clip'
  world.upstream.play((res, seen) => {
    if (!seen.path.endsWith('/content')) return json(openaiJob(id, 'completed'))(res, seen)
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(seen.headers.range ?? '') ?? []
    const head = { 'content-type': 'video/mp4', 'accept-ranges': 'bytes', etag: '"v1"' }
    const isStale = seen.headers['if-range'] !== undefined && seen.headers['if-range'] !== '"v1"'
    if (from === undefined || isStale) return raw(clip, 200, head)(res, seen)
    if (Number(from) >= clip.length)
      return raw('', 416, { 'content-range': `bytes */${clip.length}` })(res, seen)
    const range = { 'content-range': `bytes ${from}-${to}/${clip.length}` }
    return raw(clip.slice(Number(from), Number(to) + 1), 206, { ...head, ...range })(res, seen)
  })
  await (await world.postTo('/v1/videos', { model: 'sora-2', prompt: 'A fox' })).json()
  const read = async (headers: Record<string, string>) => {
    const answer = await fetch(`${world.baseUrl}/videos/${id}/content`, { headers })
    return [answer.status, answer.headers.get('content-range'), await answer.text()]
  }
  expect(await read({ range: 'bytes=2-6' })).toEqual([206, 'bytes 2-6/12', 'whole'])
  expect(await read({ range: 'bytes=2-6', 'if-range': '"v1"' })).toEqual([
    206,
    'bytes 2-6/12',
    'whole',
  ])
  expect(await read({ range: 'bytes=2-6', 'if-range': '"v0"' })).toEqual([200, null, clip])
  expect(await read({ range: 'lines=2-6' })).toEqual([200, null, clip])
  const [status, size, told] = await read({ range: 'bytes=99-100' })
  expect([status, size, JSON.parse(String(told)).error.code]).toEqual([
    416,
    'bytes */12',
    'range_not_satisfiable',
  ])
  const whole = await get(`/videos/${id}/content`)
  expect([whole.headers.get('accept-ranges'), whole.headers.get('etag')]).toEqual(['bytes', '"v1"'])
  // A part that nobody asked for would be taken for all of it.
  world.upstream.play(raw('whole', 206, { 'content-range': 'bytes 2-6/12' }))
  expect((await get(`/videos/${id}/content`)).status).toBe(502)
})

test('of several keys a job is asked about with the one that made it', async () => {
  const several = await startProxy()
  const world = await startProxy({
    file: {
      providers: [
        { id: 'two-keys', base_url: several.upstream.baseUrl, api_key_env: ['A', 'B', 'C'] },
      ],
      routes: [{ id: 'r', targets: [{ provider: 'two-keys' }] }],
    },
  })
  const made = new Map<string, string | undefined>()
  // As where each key is of a project of its own.
  several.upstream.play((res, seen) => {
    const { authorization } = seen.headers
    const [, id = newName(), content] = /\/videos\/([^/]+)(\/content)?$/.exec(seen.path) ?? []
    if (!made.has(id)) made.set(id, authorization)
    if (made.get(id) !== authorization) return json({ error: { message: 'none' } }, 404)(res, seen)
    return content ? raw('clip')(res, seen) : json(openaiJob(id, 'queued'))(res, seen)
  })
  const asked = { model: 'sora-2', prompt: 'A fox' }
  for (let round = 0; round < 3; round++) {
    const { id } = await (await world.postTo('/v1/videos', asked)).json()
    for (const path of [`/videos/${id}`, `/videos/${id}`, `/videos/${id}/content`])
      expect([path, (await fetch(world.baseUrl + path)).status]).toEqual([path, 200])
  }
  expect(new Set(made.values()).size).toBe(3)
  await world.end()
  await several.end()
})

test('an upstream that speaks our form passes, its file is ours to give, and an open address stays', async () => {
  const id = newName()
  const theirs = {
    id,
    object: 'video.generation',
    status: 'queued',
    duration_seconds: 6,
    output_url: 'https://api.upstream.example/v1/files/file_abc/content',
  }
  world.upstream.play((res, seen) =>
    seen.path.startsWith('/v1/files/')
      ? raw('the video', 200, { 'content-type': 'video/mp4' })(res, seen)
      : json(theirs)(res, seen),
  )
  const body = { model: 'wan-2.2', prompt: 'A teaser', duration_seconds: 6 }
  const answer = await world.postTo('/v1/videos', body)
  expect(await answer.json()).toEqual({ ...theirs, output_url: '/v1/files/file_abc/content' })
  const file = await get('/files/file_abc/content')
  expect([file.status, await file.text()]).toEqual([200, 'the video'])
  expect(file.headers.get('x-batchin-run-id')).toBe(answer.headers.get('x-batchin-run-id'))
  const open = { ...theirs, id: newName(), output_url: 'https://cdn.example/a.mp4' }
  world.upstream.play(json(open))
  expect(await (await world.postTo('/v1/videos', body)).json()).toEqual(open)
})

test('a job that is over at once closes with its answer', async () => {
  world.upstream.play(json(openaiJob(newName(), 'completed')))
  const answer = await world.postTo('/v1/videos', { model: 'sora-2', prompt: 'A fox' })
  expect(answer.headers.get('x-vaas-phase')).toBe('final')
  expect(world.intake.rows.spans).toMatchObject([{ status: 'ok' }])
  expect(records().map(({ phase }) => phase)).toEqual(['begin', 'final'])
})

test('ids are those of one workspace; whatever else is asked for does not exist', async () => {
  const id = newName()
  world.upstream.play(json(openaiJob(id, 'queued')))
  await (await world.postTo('/v1/videos', { model: 'sora-2', prompt: 'A fox' })).json()
  world.upstream.seen.length = 0
  for (const path of [
    '/videos/video_unknown',
    '/videos/video_unknown/content',
    '/files/file_x/content',
    '/videos/..%2Fmodels',
  ])
    expect((await get(path)).status).toBe(404)
  world.caller.workspace = String(newId())
  expect((await get(`/videos/${id}`)).status).toBe(404)
  expect(world.upstream.seen).toEqual([])
})

test.each<[string, Script, number]>([
  ['refuses our key', json({ error: { message: 'bad key' } }, 401), 502],
  ['knows it no more', json({ error: { message: 'gone', type: 'x' } }, 404), 404],
  ['redirects', raw('', 302, { location: 'https://cdn.example/a' }), 502],
  ['breaks', (res) => void res.socket?.destroy(), 502],
])('an upstream that %s is told as such, and the job stays open', async (_name, script, status) => {
  const id = newName()
  world.upstream.play(json(openaiJob(id, 'queued')))
  await (await world.postTo('/v1/videos', { model: 'sora-2', prompt: 'A fox' })).json()
  world.upstream.play(script)
  expect((await get(`/videos/${id}`)).status).toBe(status)
  expect((await get(`/videos/${id}/content`)).status).toBe(status)
  expect(records().map(({ phase }) => phase)).toEqual(['begin'])
})

test('a download that breaks off is never taken for a whole one, and one that is abandoned stops the upstream', async () => {
  const id = newName()
  world.upstream.play(json(openaiJob(id, 'queued')))
  await (await world.postTo('/v1/videos', { model: 'sora-2', prompt: 'A fox' })).json()
  world.upstream.play(async (res) => {
    res.writeHead(200, { 'content-type': 'video/mp4', 'content-length': 1_000_000 })
    res.write(Buffer.alloc(1000))
    await new Promise(setImmediate)
    res.socket?.destroy()
  })
  const broken = await get(`/videos/${id}/content`)
  await expect(broken.arrayBuffer()).rejects.toThrow()
  world.upstream.play((res) => {
    res.writeHead(200, { 'content-type': 'video/mp4' })
    res.write(Buffer.alloc(1000))
  })
  const leaving = new AbortController()
  await fetch(`${world.baseUrl}/videos/${id}/content`, { signal: leaving.signal })
  leaving.abort()
  await until('it was asked', () => world.upstream.seen.length > 0)
  expect(await world.upstream.seen.at(-1)?.closed).toBe(true)
})

test('a spool that refuses the opening record answers 503; a job that cannot be kept is one too', async () => {
  world.upstream.play(json(openaiJob(newName(), 'queued')))
  world.intake.refusing = true
  const answer = await world.postTo('/v1/videos', { model: 'sora-2', prompt: 'A fox' })
  world.intake.refusing = false
  expect([answer.status, answer.headers.get('x-vaas-signature')]).toEqual([503, null])
})
