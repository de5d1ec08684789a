// POST /v1/responses over an upstream that has the route: bytes as they came, and the receipt in the closing event's block.

import { createHash } from 'node:crypto'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { toOutputObject } from '../schemas/commit.ts'
import { outputHashOf, type ProxyWorld, startProxy, workspace } from './proxy-world.ts'
import { event, message, response, streamOf } from './responses-events.ts'
import { breakAfter, byteByByte, json, raw, type Script, sse } from './upstream.ts'

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
})

const model = 'gpt-4o-mini'
const asked = { model, input: 'Say hello' }
const stream = () => world.postTo('/v1/responses', { ...asked, stream: true })
const finalRecord = () => {
  const row = world.intake.rows.records.find(({ phase }) => phase === 'final')
  return JSON.parse(String(row?.canonical))
}

/** The closing comment of a stream, and the stream without it. */
function apart(text: string): { receipt: Record<string, unknown> | undefined; rest: string } {
  const line = /^: vaas (\{.*\})(\r\n|\r|\n)/m.exec(text)
  return {
    receipt: line ? JSON.parse(line[1]!) : undefined,
    rest: line ? text.replace(line[0], '') : text,
  }
}

test('a response passes byte for byte, and becomes a run with what was asked, answered and used', async () => {
  const body = JSON.stringify(response([message('hi ✓')]), null, 1)
  world.upstream.play(raw(body))
  const answer = await world.postTo('/v1/responses', {
    ...asked,
    instructions: 'Be short',
    temperature: 0.5,
  })
  expect(await answer.text()).toBe(body)
  expect(world.upstream.seen[0]?.path).toBe('/v1/responses')
  expect(answer.headers.get('x-vaas-phase')).toBe('final')
  expect(world.intake.rows.spans).toMatchObject([
    {
      name: 'chat gpt-4o-mini',
      status: 'ok',
      model: 'gpt-4o-mini-2024-07-18',
      input_preview: 'Say hello',
      output_preview: 'hi ✓',
      usage: 1,
      input_tokens: 9,
      cached_tokens: 2,
      output_tokens: 4,
      reasoning_tokens: 1,
    },
  ])
})

test.each([
  ['LF', (text: string) => text],
  ['CRLF', (text: string) => text.replaceAll('\n', '\r\n')],
  ['no event lines', (text: string) => text.replaceAll(/^event: .*\n/gm, '')],
])(
  'a stream passes byte for byte, cut at every byte, its comment before the closing data: %s',
  async (_name, form) => {
    const text = form(`: keep-alive\n\n${streamOf('Hé 🌍').join('')}`)
    world.upstream.play(byteByByte(text))
    const whole = await (await stream()).text()
    const { receipt, rest } = apart(whole)
    expect(rest).toBe(text)
    expect(whole).toMatch(
      /(^|\n)(event: response\.completed\r?\n)?: vaas \{.*\}\r?\ndata: \{"type":"response\.completed"/,
    )
    expect(receipt).toMatchObject({ phase: 'final', status: 'completed' })
    expect(receipt?.output_hash).toBe(finalRecord().output_hash)
    expect(world.intake.rows.spans).toMatchObject([
      { status: 'ok', output_preview: 'Hé 🌍', input_tokens: 9, output_tokens: 4 },
    ])
  },
)

test('media are kept by their hash wherever a response has them, and never in a row', async () => {
  const bytes = Buffer.from(
    'a picture that a tool made, or was given; long enough to be told from a word',
  )
  const base64 = bytes.toString('base64')
  const url = `data:image/png;base64,${base64}`
  const made = [
    { type: 'image_generation_call', id: 'ig_1', status: 'completed', result: base64 },
    { type: 'code_interpreter_call', id: 'ci_1', outputs: [{ type: 'image', url }] },
    message('Here it is'),
  ]
  world.upstream.play(json(response(made)))
  const answer = await world.postTo('/v1/responses', {
    model,
    input: [
      { role: 'user', content: [{ type: 'input_image', image_url: url }] },
      { role: 'user', content: [{ type: 'input_file', filename: 'a.pdf', file_data: base64 }] },
      {
        role: 'user',
        content: [
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: base64 } },
        ],
      },
      {
        type: 'computer_call_output',
        call_id: 'c',
        output: { type: 'computer_screenshot', image_url: url },
      },
    ],
    tools: [{ type: 'image_generation', input_image_mask: { image_url: url } }],
  })
  expect((await answer.json()).output).toEqual(made)
  await world.media.flush()
  const rows = Object.values(world.intake.rows).flat()
  const texts = rows.flatMap((row) =>
    Object.values(row).map((value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString() : String(value),
    ),
  )
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  expect(texts.join('\n').split(sha256).length - 1).toBeGreaterThanOrEqual(7)
  expect(texts.join('\n')).not.toContain(base64.slice(0, 40))
  expect(await world.media.find(workspace, sha256)).toBeDefined()
})

test('a closing event of a megabyte is held whole, and passes unchanged', async () => {
  const long = response([message('x'.repeat(1024 * 1024))])
  const text = event('response.created', { sequence_number: 0, response: response([]) })
  const closing = event('response.completed', { sequence_number: 1, response: long })
  world.upstream.play(sse([text, closing]))
  const { receipt, rest } = apart(await (await stream()).text())
  expect(rest === text + closing).toBe(true)
  expect(receipt?.status).toBe('completed')
})

test('a stream and a whole answer of the same response are committed to as the same output', async () => {
  const output = [message('same')]
  world.upstream.play(json(response(output)))
  await (await world.postTo('/v1/responses', asked)).text()
  world.upstream.play(sse(streamOf('same')))
  await (await stream()).text()
  const finals = world.intake.rows.records.filter(({ phase }) => phase === 'final')
  const payloads = finals.map(({ canonical }) => JSON.parse(String(canonical)))
  expect(payloads).toHaveLength(2)
  for (const { record_id: recordId, output_hash: hash } of payloads) {
    expect(hash).toBe(outputHashOf(recordId, toOutputObject(response(output))))
  }
})

test('the SDK reads a stream to its final response', async () => {
  world.upstream.play(sse(streamOf('Hello')))
  const runner = openai.responses.stream({ model, input: 'Say hello' })
  let text = ''
  for await (const it of runner) if (it.type === 'response.output_text.delta') text += it.delta
  const final = await runner.finalResponse()
  expect([text, final.output_text, final.usage?.total_tokens]).toEqual(['Hello', 'Hello', 13])
})

test('an incomplete response is no error, and says why it ended', async () => {
  const closing = response([message('cut')], {
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
  })
  world.upstream.play(sse(streamOf('cut', closing)))
  const { receipt } = apart(await (await stream()).text())
  expect(receipt?.status).toBe('completed')
  expect(world.intake.rows.spans).toMatchObject([{ status: 'ok' }])
  expect(String(world.intake.rows.payloads[0]?.raw)).toContain('length')
})

test('a failed response passes, and its run is an error', async () => {
  const error = { code: 'server_error', message: 'because' }
  const closing = response([], { status: 'failed', error })
  world.upstream.play(sse(streamOf('', closing)))
  const { receipt } = apart(await (await stream()).text())
  expect(receipt?.status).toBe('upstream_error')
  expect(world.intake.rows.spans).toMatchObject([{ status: 'error', status_message: 'because' }])
})

test.each<[string, Script, string]>([
  ['ends early', sse(streamOf('Hello').slice(0, 6)), 'truncated'],
  ['breaks', breakAfter([...streamOf('Hello').slice(0, 6), 'event: resp']), 'truncated'],
  [
    'says error and ends',
    sse([
      ...streamOf('Hello').slice(0, 6),
      event('error', { code: 'server_error', message: 'no', param: null, sequence_number: 6 }),
    ]),
    'upstream_error',
  ],
])('a stream that %s tells the SDK so, and keeps what came', async (_name, script, status) => {
  world.upstream.play(script)
  const text = await (await stream()).text()
  expect(text).toMatch(/event: error\n: vaas .*\ndata: \{"type":"error",.*\n\n$/)
  expect(apart(text).receipt?.status).toBe(status)
  expect(world.intake.rows.spans).toMatchObject([{ output_preview: 'He', usage: 5 }])
  world.upstream.play(script)
  const failing = async () => {
    for await (const _ of await openai.responses.create({ ...asked, stream: true }));
  }
  await expect(failing()).rejects.toThrow()
})

test('a stream that fails before its first byte is a JSON error with its real status', async () => {
  world.upstream.play(json({ error: { message: 'no', type: 't', param: 'input', code: 'c' } }, 400))
  const answer = await stream()
  expect([answer.status, (await answer.json()).error.code]).toEqual([400, 'c'])
  expect(answer.headers.get('x-vaas-signature')).toMatch(/^ed25519:/)
})

test('input is asked for by name; what an upstream keeps may stand for it', async () => {
  const none = await world.postTo('/v1/responses', { model })
  expect([none.status, (await none.json()).error.param]).toEqual([400, 'input'])
  world.upstream.play(json(response([message('hi')])))
  for (const member of [
    { prompt: { id: 'pmpt_1' } },
    { previous_response_id: 'resp_0' },
    { conversation: 'conv_1' },
  ]) {
    const answer = await world.postTo('/v1/responses', { model, ...member })
    expect(answer.status).toBe(200)
    expect(JSON.parse(String(world.upstream.seen.at(-1)?.body))).toEqual({ model, ...member })
  }
})

test('a key without streaming gets a 409 for a stream, unsigned, and whole answers', async () => {
  const other = await startProxy({ caller: { responsesStreaming: false } })
  const sdk = new OpenAI({ apiKey: 'x', baseURL: other.baseUrl, maxRetries: 0 })
  const refused = await other.postTo('/v1/responses', { ...asked, stream: true })
  expect([refused.status, (await refused.json()).error.code]).toEqual([
    409,
    'responses_streaming_disabled',
  ])
  expect([refused.headers.get('x-vaas-signature'), other.upstream.seen.length]).toEqual([null, 0])
  other.upstream.play(json(response([message('whole')])))
  expect((await sdk.responses.create(asked)).output_text).toBe('whole')
  await other.end()
})
