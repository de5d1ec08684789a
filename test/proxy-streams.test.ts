// Every stream of events, on every route that has one: bytes as they came however they were cut, one receipt directly before
// the last `data:` line, and an honest end when the upstream has none (C15 to C19, C26, C30, C39 to C41).

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ProxyWorld, startProxy, until } from './proxy-world.ts'
import { streamOf } from './responses-events.ts'
import {
  breakAfter,
  delta,
  doneEvent,
  hangAfter,
  hangBeforeHead,
  json,
  resetBeforeHead,
  type Script,
  sse,
} from './upstream.ts'

let world: ProxyWorld
beforeAll(async () => {
  world = await startProxy({ ttftTimeoutMs: 250, idleTimeoutMs: 250, responses: true })
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const typed = (type: string, members: object) => `data: ${JSON.stringify({ type, ...members })}\n\n`
const base64 = Buffer.from('a sound').toString('base64')
const text = 'Hé 🌍 ✓'
const model = 'a-model'

type Row = {
  name: string
  ask: () => Promise<Response>
  /** The last one ends the stream. */
  events: string[]
  /** What the last `data:` line begins with. */
  last: string
}

const post = (path: string, body: object) => () => world.postTo(path, { model, ...body })

const rows: Row[] = [
  {
    name: 'chat',
    ask: post('/v1/chat/completions', {
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
      stream_options: { include_usage: true },
    }),
    events: [
      delta({ role: 'assistant', content: '', obfuscation: 'xyz' }),
      // Unknown members, integers that no double holds, and escapes: what another encoder would change.
      `data: {"id":"x","choices":[{"index":0,"delta":{"content":"${text}"}}],"n":9007199254740993,"e":"\\u00e9"}\n\n`,
      delta({}, 'stop'),
      doneEvent,
    ],
    last: 'data: [DONE]',
  },
  {
    name: 'completions',
    ask: post('/v1/completions', {
      prompt: 'hi',
      stream: true,
      stream_options: { include_usage: true },
    }),
    events: [
      `data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, text, finish_reason: null }] })}\n\n`,
      `data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, text: '', finish_reason: 'stop' }] })}\n\n`,
      doneEvent,
    ],
    last: 'data: [DONE]',
  },
  {
    name: 'responses',
    ask: post('/v1/responses', { input: 'hi', stream: true }),
    events: streamOf(text),
    last: 'data: {"type":"response.completed"',
  },
  {
    name: 'speech',
    ask: post('/v1/audio/speech', { input: 'hi', voice: 'alloy', stream_format: 'sse' }),
    events: [
      typed('speech.audio.delta', { audio: base64 }),
      typed('speech.audio.delta', { audio: base64 }),
      typed('speech.audio.done', { usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 } }),
    ],
    last: 'data: {"type":"speech.audio.done"',
  },
  {
    name: 'transcriptions',
    ask: () => {
      const body = new FormData()
      body.append('file', new Blob(['a sound']), 'a.wav')
      body.append('model', model)
      body.append('stream', 'true')
      return fetch(`${world.baseUrl}/audio/transcriptions`, { method: 'POST', body })
    },
    events: [
      typed('transcript.text.delta', { delta: text }),
      typed('transcript.text.done', { text }),
    ],
    last: 'data: {"type":"transcript.text.done"',
  },
  {
    name: 'images',
    ask: post('/v1/images/generations', { prompt: 'hi', stream: true }),
    events: [
      typed('image_generation.partial_image', { b64_json: base64 }),
      typed('image_generation.completed', { b64_json: base64 }),
    ],
    last: 'data: {"type":"image_generation.completed"',
  },
  {
    name: 'several images',
    ask: post('/v1/images', { prompt: 'hi', stream: true, n: 2 }),
    events: [
      typed('image_generation.completed', { b64_json: base64 }),
      typed('image_generation.completed', { b64_json: base64 }),
      doneEvent,
    ],
    last: 'data: [DONE]',
  },
]

/** The stream and its receipt; throws when there is not exactly one, directly before the last `data:` line. */
function apart(whole: string, row: Row): { rest: string; receipt: Record<string, unknown> } {
  const lines = [...whole.matchAll(/^: vaas (\{.*\})(\r\n|\r|\n)/gm)]
  if (lines.length !== 1) throw new Error(`${lines.length} receipts`)
  const [line, receipt, eol] = lines[0]!
  const after = whole.slice(lines[0]!.index + line.length)
  if (!after.startsWith(row.last)) throw new Error(`before ${after.slice(0, 60)}`)
  if (whole.includes('\r') && eol !== '\r\n' && eol !== '\r') throw new Error('another line ending')
  return { rest: whole.replace(line, ''), receipt: JSON.parse(receipt!) }
}

/** Each way a stream may be spelled and cut. */
const ways: [string, (events: string[]) => Buffer[]][] = [
  [
    'one byte a write',
    (events) => Array.from(Buffer.from(events.join('')), (byte) => Buffer.of(byte)),
  ],
  ['CRLF', (events) => [Buffer.from(events.join('').replaceAll('\n', '\r\n'))]],
  ['CR', (events) => [Buffer.from(events.join('').replaceAll('\n', '\r'))]],
  [
    'cut inside a character of four bytes',
    (events) => {
      const bytes = Buffer.from(events.join(''))
      const at = Math.max(bytes.indexOf('🌍'), 0) + 2
      return [bytes.subarray(0, at), bytes.subarray(at)]
    },
  ],
  [
    'comments and other lines',
    (events) => [
      Buffer.from(
        `: hello\n\nretry: 10\n\n${events.map((it) => `: x\nid: 7\n${it}`).join(': keep-alive\n\n')}`,
      ),
    ],
  ],
  [
    'an event of a megabyte',
    (events) => [
      Buffer.from(`data: {"type":"x","pad":"${'y'.repeat(1024 * 1024)}"}\n\n${events.join('')}`),
    ],
  ],
  ['no blank line at the end', (events) => [Buffer.from(events.join('').replace(/\n\n$/, '\n'))]],
]

describe.each(rows)('$name', (row) => {
  test.each(ways)('passes byte for byte: %s', async (_name, cut) => {
    const pieces = cut(row.events)
    world.upstream.play(sse(pieces))
    const answer = await row.ask()
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      'text/event-stream; charset=utf-8',
    ])
    const { rest, receipt } = apart(Buffer.from(await answer.arrayBuffer()).toString(), row)
    expect(rest === Buffer.concat(pieces).toString()).toBe(true)
    expect(receipt).toMatchObject({ phase: 'final', status: 'completed' })
    await until('the run is stored', () => world.intake.rows.spans.length === 1)
    expect(world.intake.rows.spans).toMatchObject([{ status: 'ok' }])
  })

  test('leaves at once, uncompressed, unbuffered, with the opening signature', async () => {
    world.upstream.play(sse(row.events))
    const answer = await row.ask()
    const { headers } = answer
    await answer.text()
    await until('the run is stored', () => world.intake.rows.spans.length === 1)
    expect([headers.get('x-vaas-phase'), headers.get('content-encoding')]).toEqual(['begin', null])
    expect([headers.get('x-accel-buffering'), headers.get('cache-control')]).toEqual([
      'no',
      'no-cache',
    ])
  })

  const begun = row.events.slice(0, 1)
  test.each<[string, Script]>([
    ['omits its end', sse(begun)],
    ['is cut off inside an event', breakAfter([...begun, 'data: {"hal'])],
    ['is reset after its head', breakAfter(begun)],
    ['hangs in the middle', hangAfter(begun)],
  ])(
    'one that %s ends with an error and a receipt, never as if it were whole',
    async (_name, script) => {
      world.upstream.play(script)
      const whole = await (await row.ask()).text()
      expect(whole.startsWith(begun[0]!)).toBe(true)
      expect(whole).toMatch(
        /: vaas \{.*"status":"truncated".*\}\ndata: \{.*"error":\{"message":".*\n\n$/,
      )
      expect(whole).not.toContain(row.last)
      await until('the run is stored', () => world.intake.rows.spans.length === 1)
      expect(world.intake.rows.spans).toMatchObject([{ status: 'truncated' }])
    },
  )

  test('one with an error inside passes it, and its run is an error', async () => {
    const error =
      'data: {"error":{"message":"full","type":"api_error","code":"overloaded","param":null}}\n\n'
    world.upstream.play(sse([...begun, error]))
    const whole = await (await row.ask()).text()
    expect(whole.startsWith(begun.join('') + error)).toBe(true)
    expect(whole).toMatch(/: vaas \{.*"status":"upstream_error"/)
    await until('the run is stored', () => world.intake.rows.spans.length === 1)
    expect(world.intake.rows.spans).toMatchObject([{ status: 'error', status_message: 'full' }])
  })

  test.each<[string, Script, number]>([
    ['hangs before its head', hangBeforeHead, 504],
    ['is reset before its head', resetBeforeHead, 502],
    ['ends before its first event', sse([]), 502],
    ['is refused', json({ error: { message: 'no', type: 't', param: 'p', code: 'c' } }, 422), 422],
  ])('one that %s is JSON with its real status, signed', async (_name, script, status) => {
    world.upstream.play(script)
    const answer = await row.ask()
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      status,
      'application/json',
    ])
    expect(Object.keys((await answer.json()).error).sort()).toEqual([
      'code',
      'message',
      'param',
      'type',
    ])
    expect(answer.headers.get('x-vaas-signature')).toMatch(/^ed25519:/)
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/)
  })
})
