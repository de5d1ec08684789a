// Sounds and pictures, in and out: bytes as they came, committed to by their hashes, kept in the media folder, never in rows.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { outputHashOf, type ProxyWorld, startProxy, until, workspace } from './proxy-world.ts'
import { completion, json, raw, type Script, sse } from './upstream.ts'

let world: ProxyWorld
let openai: OpenAI
beforeAll(async () => {
  world = await startProxy({ idleTimeoutMs: 300 })
  openai = new OpenAI({ apiKey: 'batchin_api_test', baseURL: world.baseUrl, maxRetries: 0 })
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
  world.intake.gate = undefined
  world.intake.refusing = false
})

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const sound = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251))
const speech = { model: 'tts-1', input: 'Guten Tag ✓', voice: 'alloy' } as const
const finalRecord = () => {
  const row = world.intake.rows.records.find(({ phase }) => phase === 'final')
  return row && JSON.parse(String(row.canonical))
}
const spanText = () => String(world.intake.rows.payloads.at(-1)?.raw)
const kept = async (sha256: string) => {
  await world.media.flush()
  const found = await world.media.find(workspace, sha256)
  return found && readFileSync(found.path)
}

/** Each piece is one write, a turn apart; then the end, or a broken connection. */
const bytesIn =
  (pieces: Buffer[], end: 'end' | 'break' = 'end'): Script =>
  async (res) => {
    res.writeHead(200, { 'content-type': 'audio/mpeg', 'x-request-id': 'req_upstream' })
    for (const piece of pieces) {
      res.write(piece)
      await new Promise(setImmediate)
    }
    if (end === 'end') res.end()
    else res.socket?.destroy()
  }
const inPieces = (bytes: Buffer, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  )

test('speech passes byte for byte under the opening signature, and its hash is what the record commits to', async () => {
  world.upstream.play(bytesIn(inPieces(sound, 7919)))
  const answer = await openai.audio.speech.create(speech)
  expect(Buffer.from(await answer.arrayBuffer()).equals(sound)).toBe(true)
  expect(answer.headers.get('content-type')).toBe('audio/mpeg')
  expect(answer.headers.get('x-vaas-phase')).toBe('begin')
  expect(world.upstream.seen[0]).toMatchObject({
    path: '/v1/audio/speech',
    headers: { accept: 'application/octet-stream' },
  })
  await until('the final record is stored', () => finalRecord() !== undefined)
  const { record_id: recordId, output_hash: hash, status } = finalRecord()
  const media = { sha256: hashOf(sound), bytes: sound.length, media_type: 'audio/mpeg' }
  expect([status, hash]).toEqual(['completed', outputHashOf(recordId, { media })])
  expect((await kept(media.sha256))?.equals(sound)).toBe(true)
  expect(world.intake.rows.spans).toMatchObject([
    { name: 'generate_content tts-1', status: 'ok', input_preview: speech.input, usage: 5 },
  ])
  expect(world.intake.rows.spans[0]?.attr_num).toMatchObject({ 'batchin.usage.characters': 11 })
  expect(spanText()).toContain(media.sha256)
})

test('a short sound is held, and leaves with the final signature', async () => {
  world.upstream.play(bytesIn([sound.subarray(0, 100)]))
  const answer = await openai.audio.speech.create(speech)
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(sound.subarray(0, 100))
  expect(answer.headers.get('x-vaas-phase')).toBe('final')
})

test('the last bytes wait for the final record; a spool that refuses it breaks the answer off', async () => {
  world.upstream.play(bytesIn(inPieces(sound, 50_000)))
  const answer = await openai.audio.speech.create(speech)
  world.intake.refusing = true
  await expect(answer.arrayBuffer()).rejects.toThrow()
  expect(
    world.counted.get('proxy_records_lost_total{"code":"service_unavailable"}'),
  ).toBeGreaterThan(0)
})

test('a sound that breaks off is never taken for a whole one', async () => {
  world.upstream.play(bytesIn(inPieces(sound, 50_000), 'break'))
  const answer = await openai.audio.speech.create(speech)
  await expect(answer.arrayBuffer()).rejects.toThrow()
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'truncated' }])
})

test.each([
  [
    'an error',
    json({ error: { message: 'no voice', type: 't', param: 'voice', code: 'c' } }, 400),
    400,
  ],
  ['JSON with a success', json({ detail: 'busy' }), 200],
  ['nothing', raw('', 200, { 'content-type': 'audio/mpeg' }), 502],
])('speech that is %s is answered whole, signed', async (_name, script, status) => {
  world.upstream.play(script)
  const answer = await world.postTo('/v1/audio/speech', speech)
  expect([answer.status, answer.headers.get('x-vaas-phase')]).toEqual([status, 'final'])
  expect(world.intake.rows.spans).toMatchObject([{ status: 'error' }])
})

test('a listener who leaves stops the upstream; what came is the run', async () => {
  let stopped: Promise<boolean> | undefined
  world.upstream.play(async (res, seen) => {
    stopped = seen.closed
    res.writeHead(200, { 'content-type': 'audio/mpeg' })
    while (!res.destroyed) {
      res.write(sound)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })
  const leaving = new AbortController()
  const answer = await openai.audio.speech.create(speech, { signal: leaving.signal })
  leaving.abort()
  await expect(answer.arrayBuffer()).rejects.toThrow()
  expect(await stopped).toBe(true)
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'client_closed' }])
})

test('speech as events passes, closes with its receipt, and is committed to as the sound it holds', async () => {
  const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`
  const events = [
    ...inPieces(sound, 60_000).map((bytes) =>
      event({ type: 'speech.audio.delta', audio: bytes.toString('base64') }),
    ),
    event({
      type: 'speech.audio.done',
      usage: { input_tokens: 5, output_tokens: 90, total_tokens: 95 },
    }),
  ]
  world.upstream.play(sse(events))
  const answer = await world.postTo('/v1/audio/speech', { ...speech, stream_format: 'sse' })
  const text = await answer.text()
  expect(text.replace(/^: vaas .*\n/m, '')).toBe(events.join(''))
  expect(text).toMatch(/\n: vaas \{.*"completed".*\}\ndata: \{"type":"speech\.audio\.done"/)
  expect(world.intake.rows.spans).toMatchObject([{ usage: 1, input_tokens: 5, output_tokens: 90 }])
  const { record_id: recordId, output_hash: hash } = finalRecord()
  const media = { sha256: hashOf(sound), bytes: sound.length, media_type: 'audio/mpeg' }
  expect(hash).toBe(outputHashOf(recordId, { media }))
  expect((await kept(media.sha256))?.equals(sound)).toBe(true)
})

const picture = Buffer.from('89504e470d0a1a0a0000', 'hex')
const imageAnswer = {
  created: 1_760_000_000,
  data: [{ b64_json: picture.toString('base64') }, { url: 'https://x.example/a.png' }],
  usage: { input_tokens: 7, output_tokens: 300, total_tokens: 307 },
}

test.each(['/v1/images', '/v1/images/generations'])(
  '%s gives back the pictures as they came; the run names them',
  async (path) => {
    world.upstream.play(json(imageAnswer))
    const answer = await world.postTo(path, { model: 'gpt-image-1', prompt: 'A fox', n: 2 })
    expect(await answer.json()).toEqual(imageAnswer)
    expect(world.upstream.seen[0]?.path).toBe('/v1/images/generations')
    expect(world.intake.rows.spans).toMatchObject([
      { input_preview: 'A fox', status: 'ok', usage: 1, input_tokens: 7, output_tokens: 300 },
    ])
    expect(world.intake.rows.spans[0]?.attr_num).toMatchObject({ 'batchin.usage.images': 2 })
    const { record_id: recordId, output_hash: hash } = finalRecord()
    const sha256 = hashOf(picture)
    const data = [{ b64_json: { sha256, bytes: picture.length } }, imageAnswer.data[1]]
    expect(hash).toBe(outputHashOf(recordId, { data }))
    expect(spanText()).toContain(sha256)
    expect(spanText()).not.toContain(imageAnswer.data[0]?.b64_json)
    expect(await kept(sha256)).toEqual(picture)
  },
)

test('the SDK makes images, whole and as events', async () => {
  world.upstream.play(json(imageAnswer))
  const whole = await openai.images.generate({ model: 'gpt-image-1', prompt: 'A fox' })
  expect(whole.data?.[0]?.b64_json).toBe(imageAnswer.data[0]?.b64_json)
  const event = (type: string, more: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, b64_json: picture.toString('base64'), ...more })}\n\n`
  world.upstream.play(
    sse([
      event('image_generation.partial_image', { partial_image_index: 0 }),
      event('image_generation.completed', { usage: imageAnswer.usage, output_format: 'png' }),
    ]),
  )
  const types: string[] = []
  for await (const it of await openai.images.generate({
    model: 'gpt-image-1',
    prompt: 'A fox',
    stream: true,
  }))
    types.push(it.type)
  expect(types).toEqual(['image_generation.partial_image', 'image_generation.completed'])
  expect(world.intake.rows.spans.at(-1)).toMatchObject({ status: 'ok', output_tokens: 300 })
})

test('the SDK has pictures changed, whole and as events; those of the form are kept by their hash', async () => {
  world.upstream.play(json(imageAnswer))
  const given = (name: string) => toFile(picture, name, { type: 'image/png' })
  const asked = { model: 'gpt-image-1', prompt: 'A fox', n: 2 }
  const image = [await given('a.png'), await given('b.png')]
  const whole = await openai.images.edit({ ...asked, image, mask: await given('m.png') })
  expect(whole.data?.[0]?.b64_json).toBe(imageAnswer.data[0]?.b64_json)
  const [seen] = world.upstream.seen
  expect(seen?.path).toBe('/v1/images/edits')
  expect(seen?.body.toString('latin1')).toMatch(
    /name="image\[\]"; filename="a.png"\r\nContent-Type: image\/png\r\n[\s\S]*name="image\[\]"; filename="b.png"[\s\S]*name="mask"/,
  )
  expect((await kept(hashOf(picture)))?.equals(picture)).toBe(true)
  expect(spanText()).toContain('"filename":"b.png"')
  expect(spanText()).not.toContain(picture.toString('base64'))

  const event = (type: string, more: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, b64_json: picture.toString('base64'), ...more })}\n\n`
  world.upstream.play(
    sse([
      event('image_edit.partial_image', { partial_image_index: 0 }),
      event('image_edit.completed', { usage: imageAnswer.usage, output_format: 'png' }),
    ]),
  )
  const types: string[] = []
  const one = { model: 'gpt-image-1', prompt: 'A fox', image: image[0]!, stream: true } as const
  for await (const it of await openai.images.edit(one)) types.push(it.type)
  expect(types).toEqual(['image_edit.partial_image', 'image_edit.completed'])
  expect(world.intake.rows.spans.at(-1)).toMatchObject({ status: 'ok', output_tokens: 300 })

  world.upstream.play(json(imageAnswer))
  const named = { ...asked, images: [{ file_id: 'file_1' }] }
  expect((await world.postTo('/v1/images/edits', named)).status).toBe(200)
  for (const [body, param] of [
    [asked, 'image'],
    [{ model: 'm', images: [] }, 'prompt'],
    [{ ...named, stream: 'yes' }, 'stream'],
  ] as const) {
    const refused = await world.postTo('/v1/images/edits', body)
    expect([refused.status, (await refused.json()).error.param]).toEqual([400, param])
  }
})

test('pictures inside messages are kept by their hash; the upstream and the record get them as they were sent', async () => {
  const url = `data:image/png;base64,${picture.toString('base64')}`
  const content = [
    { type: 'text' as const, text: 'What is this?' },
    { type: 'image_url' as const, image_url: { url } },
    {
      type: 'input_audio' as const,
      input_audio: { data: sound.toString('base64'), format: 'wav' as const },
    },
  ]
  world.upstream.play(json(completion('a fox')))
  await openai.chat.completions.create({ model: 'm', messages: [{ role: 'user', content }] })
  expect(JSON.parse(String(world.upstream.seen[0]?.body)).messages[0].content).toEqual(content)
  for (const [bytes, type] of [
    [picture, 'image/png'],
    [sound, 'audio/wav'],
  ] as const) {
    const ref = `"sha256":"${hashOf(bytes)}","bytes":${bytes.length},"media_type":"${type}"`
    expect(spanText()).toContain(ref)
    expect(spanText()).not.toContain(bytes.toString('base64').slice(0, 64))
    expect((await kept(hashOf(bytes)))?.equals(bytes)).toBe(true)
  }
  expect(world.intake.rows.spans).toMatchObject([{ input_preview: 'What is this?' }])
})

test('a call that asks for less to be kept leaves no media behind', async () => {
  const bytes = Buffer.from('never kept')
  const url = `data:text/plain;base64,${bytes.toString('base64')}`
  world.upstream.play(json(completion('ok')))
  const messages = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }]
  await (await world.post({ model: 'm', messages }, { 'x-batchin-capture': 'usage' })).text()
  world.upstream.play(bytesIn([bytes]))
  const answer = await world.postTo('/v1/audio/speech', speech, { 'x-batchin-capture': 'none' })
  await answer.arrayBuffer()
  expect(await kept(hashOf(bytes))).toBeUndefined()
})

test('the same bytes are kept once, closed to everybody else, and nothing half is left behind', async () => {
  world.upstream.play(bytesIn(inPieces(sound, 10_000)))
  const before = world.counted.get('media_stored_total{}') ?? 0
  for (const _ of [1, 2]) await (await openai.audio.speech.create(speech)).arrayBuffer()
  await world.media.flush()
  expect((world.counted.get('media_stored_total{}') ?? 0) - before).toBe(0)
  const folder = join(world.mediaDir, workspace, hashOf(sound).slice(0, 2))
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  expect(statSync(join(folder, hashOf(sound))).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(world.mediaDir, 'incoming'))).toEqual([])
})

const form = { model: 'whisper-1', response_format: 'json' as const }
const upload = () => toFile(sound, 'späti – 1.wav', { type: 'audio/wav' })

test('a transcription sends the form as it came, name and type of the file kept, in whatever order', async () => {
  world.upstream.play(json({ text: 'Guten Tag', usage: { type: 'duration', seconds: 3 } }))
  // The SDK puts the members in their order: the file before the model.
  const answer = await openai.audio.transcriptions.create({ file: await upload(), ...form })
  expect(answer.text).toBe('Guten Tag')
  const [seen] = world.upstream.seen
  expect(seen?.path).toBe('/v1/audio/transcriptions')
  expect(seen?.headers['content-type']).toMatch(/^multipart\/form-data; boundary=/)
  expect(seen?.headers['content-length']).toBe(String(seen?.body.length))
  expect(seen?.body.includes(sound)).toBe(true)
  expect(seen?.body.toString()).toMatch(/filename="sp.+ 1\.wav"\r\nContent-Type: audio\/wav/i)
  const ref = { sha256: hashOf(sound), bytes: sound.length, media_type: 'audio/wav' }
  expect(world.intake.rows.spans).toMatchObject([
    { name: 'generate_content whisper-1', output_preview: 'Guten Tag', status: 'ok' },
  ])
  expect(world.intake.rows.spans[0]?.attr_num).toMatchObject({ 'batchin.usage.audio_seconds': 3 })
  expect(spanText()).toContain(`"sha256":"${ref.sha256}"`)
  expect((await kept(ref.sha256))?.equals(sound)).toBe(true)
  await until(
    'the form is removed',
    () => readdirSync(join(world.mediaDir, 'incoming')).length === 0,
  )
})

test.each([
  ['text', 'text/plain; charset=utf-8', 'Guten Tag\n', 200],
  ['srt', 'application/x-subrip', '1\n00:00:00,000 --> 00:00:02,500\nGuten Tag\n', 2.5],
  ['vtt', 'text/vtt', 'WEBVTT\n\n00:00.000 --> 01:00:04.250\nGuten Tag\n', 3604.25],
  ['verbose_json', 'application/json', '{"text":"Guten Tag","duration":8.47,"segments":[]}', 8.47],
] as const)(
  'a transcription as %s passes byte for byte, and its seconds are known',
  async (format, type, body, seconds) => {
    world.upstream.play(raw(body, 200, { 'content-type': type }))
    const answer = await openai.audio.transcriptions
      .create({ file: await upload(), model: 'whisper-1', response_format: format as 'json' })
      .asResponse()
    expect([await answer.text(), answer.headers.get('content-type')]).toEqual([body, type])
    expect(answer.headers.get('x-vaas-phase')).toBe('final')
    expect(world.intake.rows.spans).toMatchObject([{ status: 'ok' }])
    // Plain text says nothing of its length: the file is at most so long.
    expect(world.intake.rows.spans[0]?.attr_num).toMatchObject({
      'batchin.usage.audio_seconds': seconds,
    })
  },
)

test('a transcription as events closes with its receipt', async () => {
  const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`
  const usage = { type: 'tokens', input_tokens: 14, output_tokens: 3, total_tokens: 17 }
  world.upstream.play(
    sse([
      event({ type: 'transcript.text.delta', delta: 'Guten ' }),
      event({ type: 'transcript.text.delta', delta: 'Tag' }),
      event({ type: 'transcript.text.done', text: 'Guten Tag', usage }),
    ]),
  )
  let text = ''
  for await (const it of await openai.audio.transcriptions.create({
    file: await upload(),
    model: 'gpt-4o-transcribe',
    stream: true,
  }))
    if (it.type === 'transcript.text.delta') text += it.delta
  expect(text).toBe('Guten Tag')
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(world.intake.rows.spans).toMatchObject([
    { status: 'ok', output_preview: 'Guten Tag', usage: 1, input_tokens: 14, output_tokens: 3 },
  ])
})

test('a target that knows the model by another name gets the same form with that name', async () => {
  const renaming = await startProxy({
    file: {
      routes: [
        {
          id: 'r',
          public_label: 'r',
          models: ['*'],
          targets: [{ provider: 'openai', model: 'a-longer-name' }],
        },
      ],
    },
  })
  const sdk = new OpenAI({ apiKey: 'x', baseURL: renaming.baseUrl, maxRetries: 0 })
  renaming.upstream.play(json({ text: 'ok' }))
  // A sound that holds what looks like the field.
  const tricky = Buffer.concat([
    sound,
    Buffer.from('\r\nContent-Disposition: form-data; name="model"\r\n\r\nx'),
  ])
  await sdk.audio.transcriptions.create({ file: await toFile(tricky, 'a.wav'), model: 'short' })
  const [seen] = renaming.upstream.seen
  expect(seen?.body.includes(tricky)).toBe(true)
  expect(seen?.body.toString('latin1')).toMatch(/name="model"\r\n\r\na-longer-name\r\n--/)
  expect(seen?.body.toString('latin1')).not.toMatch(/\r\nshort\r\n/)
  await renaming.end()
})

test.each([
  ['no file', { model: 'm' }, 400, 'file'],
  ['no model', { file: 'x' }, 400, 'model'],
  ['an empty file', { model: 'm', file: '' }, 400, 'file'],
] as const)('a form with %s is refused by name', async (_name, fields, status, param) => {
  const body = new FormData()
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'file') body.append(name, new Blob([value]), 'a.wav')
    else body.append(name, value)
  }
  const answer = await fetch(`${world.baseUrl}/audio/transcriptions`, { method: 'POST', body })
  expect([answer.status, (await answer.json()).error.param]).toEqual([status, param])
  expect(world.upstream.seen).toEqual([])
})

const part = (head: string, text: string) =>
  `--b\r\nContent-Disposition: form-data; ${head}\r\n\r\n${text}\r\n`
test.each([
  ['no boundary', 'multipart/form-data', part('name="model"', 'm'), 415],
  ['an empty boundary', 'multipart/form-data; boundary=""', part('name="model"', 'm'), 400],
  ['a boundary of a megabyte', `multipart/form-data; boundary=${'b'.repeat(9000)}`, '', 400],
  ['another type', 'application/json', '{}', 415],
  ['no end', 'multipart/form-data; boundary=b', part('name="model"', 'm'), 400],
  [
    'a head without end',
    'multipart/form-data; boundary=b',
    `--b\r\nX: ${'y'.repeat(100_000)}`,
    400,
  ],
  [
    'a field above its bound',
    'multipart/form-data; boundary=b',
    `${part('name="prompt"', 'x'.repeat(1_200_000))}--b--\r\n`,
    400,
  ],
  [
    'a thousand parts',
    'multipart/form-data; boundary=b',
    `${part('name="a"', '1').repeat(1000)}--b--\r\n`,
    400,
  ],
  [
    'a part without a name',
    'multipart/form-data; boundary=b',
    `${part('filename="a.wav"', 'x')}--b--\r\n`,
    400,
  ],
])('a form with %s is refused, and nothing of it stays', async (_name, type, body, status) => {
  const answer = await fetch(`${world.baseUrl}/audio/transcriptions`, {
    method: 'POST',
    headers: { 'content-type': type },
    body,
  })
  expect([answer.status, (await answer.json()).error.type]).toEqual([
    status,
    'invalid_request_error',
  ])
  await world.media.flush()
  expect(readdirSync(join(world.mediaDir, 'incoming'))).toEqual([])
})

test('a form that says it is too large is refused at once; one that is cut off leaves nothing', async () => {
  const post = (length: number) =>
    request(`${world.baseUrl}/audio/transcriptions`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b', 'content-length': length },
    })
  const large = post(200 * 1024 * 1024)
  const status = await new Promise((resolve) => {
    large.on('response', (res) => resolve(res.statusCode)).on('error', () => {})
    large.flushHeaders()
  })
  expect(status).toBe(413)
  large.destroy()
  const cut = post(1_000_000)
  cut.on('error', () => {})
  cut.write(
    `--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${'x'.repeat(100_000)}`,
  )
  await until('the form has begun', () => readdirSync(join(world.mediaDir, 'incoming')).length > 0)
  cut.destroy()
  await until('nothing is left', () => readdirSync(join(world.mediaDir, 'incoming')).length === 0)
})

test('a form goes to the disk as it comes; the upstream is asked when it is whole, however slowly it came', async () => {
  world.upstream.play(json({ text: 'ok' }))
  const head =
    part('name="model"', 'whisper-1') +
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
  const tail = '\r\n--b--\r\n'
  const mega = Buffer.alloc(1024 * 1024, 3)
  const call = request(`${world.baseUrl}/audio/transcriptions`, {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
  })
  const answered = once(call, 'response')
  call.write(head)
  for (let i = 0; i < 24; i++) if (!call.write(mega)) await once(call, 'drain')
  // The form itself, and the file in it for the media store.
  const onDisk = () =>
    readdirSync(join(world.mediaDir, 'incoming')).map((name) => {
      return statSync(join(world.mediaDir, 'incoming', name)).size
    })
  await until(
    'both are on the disk',
    () => onDisk().filter((size) => size >= 24 * mega.length).length === 2,
  )
  expect(world.upstream.seen).toEqual([])
  call.end(tail)
  const [response] = await answered
  response.resume()
  expect(response.statusCode).toBe(200)
  expect(world.upstream.seen[0]?.body.length).toBe(head.length + 24 * mega.length + tail.length)
  await until('the form is removed', () => onDisk().length === 0)
})

test('a listener who takes nothing holds the upstream back, not this process', async () => {
  let sent = 0
  world.upstream.play(async (res) => {
    res.writeHead(200, { 'content-type': 'audio/mpeg' })
    while (!res.destroyed) {
      sent += sound.length
      if (res.write(sound)) continue
      await new Promise<void>((resolve) => {
        const go = () => {
          res.off('drain', go).off('close', go)
          resolve()
        }
        res.on('drain', go).on('close', go)
      })
    }
  })
  const call = request(`${world.baseUrl}/audio/speech`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  })
  call.on('error', () => {}) // it is destroyed below
  call.end(JSON.stringify(speech))
  const [response] = await once(call, 'response')
  response.pause()
  let last = -1
  let stillFor = 0
  await until('the upstream has stopped sending', () => {
    stillFor = sent === last ? stillFor + 1 : 0
    last = sent
    return stillFor > 30
  })
  expect(sent).toBeLessThan(60_000_000)
  call.destroy()
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(world.intake.rows.spans).toMatchObject([{ status: 'client_closed' }])
})
