// The sandbox on every route: offline, the same answer to the same request, whole files that programs can open.

import { inflateSync } from 'node:zlib'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sandboxUpstream } from '../collectors/proxy/sandbox/sandbox.ts'
import { type ProxyWorld, startProxy } from './proxy-world.ts'

let world: ProxyWorld
let openai: OpenAI
beforeAll(async () => {
  world = await startProxy({ upstream: sandboxUpstream() })
  openai = new OpenAI({ apiKey: 'x', baseURL: world.baseUrl, maxRetries: 0 })
})
afterAll(() => world.end())
beforeEach(() => {
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const model = 'any-model'
const file = () => toFile(Buffer.from('a sound'), 'meeting.wav', { type: 'audio/wav' })

test.each<[string, object]>([
  ['/v1/completions', { prompt: 'def f(', suffix: 'return 1' }],
  ['/v1/completions', { prompt: 'def f(', stream: true }],
  ['/v1/embeddings', { input: ['a', 'b'], encoding_format: 'base64' }],
  ['/v1/audio/speech', { input: 'Hello there', voice: 'alloy' }],
  ['/v1/audio/speech', { input: 'Hello there', voice: 'alloy', stream_format: 'sse' }],
  ['/v1/images', { prompt: 'A fox', n: 2 }],
  ['/v1/images/generations', { prompt: 'A fox', stream: true }],
  ['/v1/images/edits', { prompt: 'A fox', images: [{ file_id: 'file_1' }], stream: true }],
  ['/v1/responses', { input: 'Hello' }],
])('%s answers the same twice, signed, named sandbox: %j', async (path, asked) => {
  const bodies: Buffer[] = []
  for (const _ of [1, 2]) {
    const answer = await world.postTo(path, { model, ...asked })
    expect([answer.status, answer.headers.get('x-batchin-provider')]).toEqual([200, 'sandbox'])
    expect(answer.headers.get('x-vaas-signature')).toMatch(/^ed25519:/)
    const bytes = Buffer.from(await answer.arrayBuffer())
    bodies.push(Buffer.from(bytes.toString('latin1').replace(/: vaas .*\n/, ''), 'latin1'))
  }
  expect(bodies[0]?.length).toBeGreaterThan(50)
  expect(bodies[0]?.equals(bodies[1]!)).toBe(true)
  await expect.poll(() => world.intake.rows.spans.length).toBe(2)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'ok' }, { status: 'ok' }])
})

test('completions echo, are cut, and stream what they say whole', async () => {
  const asked = { model, prompt: 'Once upon', echo: true, max_tokens: 12 }
  const whole = await openai.completions.create(asked)
  expect(whole).toMatchObject({ object: 'text_completion', choices: [{ finish_reason: 'length' }] })
  expect(whole.choices[0]?.text).toMatch(/^Once upon \[sandbox\] No model/)
  let text = ''
  for await (const it of await openai.completions.create({ ...asked, echo: false, stream: true }))
    text += it.choices[0]?.text ?? ''
  expect(`Once upon${text}`).toBe(whole.choices[0]?.text)
})

test('vectors have the size that was asked for and length one, and differ with the text', async () => {
  const input = ['one', 'two', 'one']
  const { data } = await openai.embeddings.create({ model, input, dimensions: 64 })
  const [one, two, again] = data.map(({ embedding }) => Array.from(embedding))
  expect(one).toHaveLength(64)
  expect(Math.hypot(...one!)).toBeCloseTo(1, 5)
  expect(again).toEqual(one)
  expect(two).not.toEqual(one)
  const floats = await openai.embeddings.create({
    model,
    input,
    dimensions: 64,
    encoding_format: 'float',
  })
  expect(floats.data[0]?.embedding[0]).toBeCloseTo(one![0]!, 6)
})

test('speech is a sound of the length of its text, in three formats; others are refused by name', async () => {
  const asked = { model, voice: 'alloy' as const, input: 'one two three four five six' }
  const bytesOf = async (response_format: 'mp3' | 'wav' | 'pcm') =>
    Buffer.from(
      await (await openai.audio.speech.create({ ...asked, response_format })).arrayBuffer(),
    )
  const wav = await bytesOf('wav')
  expect([wav.toString('latin1', 0, 4), wav.readUInt32LE(40) / wav.readUInt32LE(28)]).toEqual([
    'RIFF',
    2,
  ])
  expect((await bytesOf('pcm')).length).toBe(wav.length - 44)
  const mp3 = await bytesOf('mp3')
  for (let at = 0; at < mp3.length; at += 144) expect(mp3.readUInt16BE(at)).toBe(0xfffb)
  expect((mp3.length / 144) * 36).toBeGreaterThanOrEqual(2000)
  const refused = await world.postTo('/v1/audio/speech', { ...asked, response_format: 'opus' })
  expect([refused.status, (await refused.json()).error.message]).toEqual([
    400,
    '[sandbox] response_format must be mp3, wav or pcm.',
  ])
})

test('transcriptions name the file, in every form', async () => {
  const said = '[sandbox] No model was called. File: "meeting.wav" (7 bytes)'
  const make = async (response_format: string) =>
    openai.audio.transcriptions
      .create({ file: await file(), model, response_format: response_format as 'json' })
      .asResponse()
      .then((answer) => answer.text())
  expect(JSON.parse(await make('json')).text).toBe(said)
  expect(JSON.parse(await make('verbose_json'))).toMatchObject({ text: said, duration: 1 })
  expect(await make('text')).toBe(`${said}\n`)
  expect(await make('srt')).toContain(`00:00:01,000\n${said}`)
  expect(await make('vtt')).toMatch(/^WEBVTT/)
  let streamed = ''
  for await (const it of await openai.audio.transcriptions.create({
    file: await file(),
    model,
    stream: true,
  }))
    if (it.type === 'transcript.text.done') streamed = it.text
  expect(streamed).toBe(said)
})

test('pictures are PNG files, and another prompt has another colour', async () => {
  const colours = new Set<string>()
  for (const prompt of ['A fox', 'A hen']) {
    const { data } = await openai.images.generate({ model, prompt })
    const png = Buffer.from(data?.[0]?.b64_json ?? '', 'base64')
    expect(png.toString('latin1', 1, 4)).toBe('PNG')
    const at = png.indexOf('IDAT')
    const pixels = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)))
    expect(pixels.length).toBe(16 * (1 + 16 * 3))
    colours.add(pixels.toString('hex', 1, 4))
  }
  expect(colours.size).toBe(2)
  const changed = { model, prompt: 'A fox', n: 3, image: await file() }
  expect((await openai.images.edit(changed)).data).toHaveLength(3)
})

test('X-Sandbox plays errors and broken answers on other routes too', async () => {
  const asked = { model, input: 'Hello', voice: 'alloy' }
  const limited = await world.postTo('/v1/audio/speech', asked, { 'x-sandbox': 'error=429' })
  expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '1'])
  const broken = await world.postTo('/v1/embeddings', asked, { 'x-sandbox': 'truncate=20' })
  expect(broken.status).toBe(502)
})
