// Streams through the proxy, over sockets: bytes as they came, a receipt before [DONE], and honest ends of every other kind.

import { once } from 'node:events'
import { request } from 'node:http'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { outputHashOf, type ProxyWorld, startProxy, until } from './proxy-world.ts'
import {
  breakAfter,
  byteByByte,
  chunk,
  delta,
  doneEvent,
  flood,
  hangAfter,
  helloEvents,
  json,
  sse,
  usageChunk,
} from './upstream.ts'

let world: ProxyWorld
beforeAll(async () => {
  world = await startProxy({ idleTimeoutMs: 300 })
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
  world.intake.gate = undefined
  world.intake.refusing = false
})

const asked = {
  model: 'gpt-4o-mini',
  stream: true,
  stream_options: { include_usage: true },
  messages: [{ role: 'user', content: 'Say hello' }],
}
const unasked = { model: asked.model, stream: true, messages: asked.messages }

/** The closing comment of a stream, and the stream without it. */
function apart(text: string): { receipt: Record<string, unknown> | undefined; rest: string } {
  const line = /^: vaas (\{.*\})(\r\n|\r|\n)/m.exec(text)
  return {
    receipt: line ? JSON.parse(line[1]!) : undefined,
    rest: line ? text.replace(line[0], '') : text,
  }
}

const span = () => world.intake.rows.spans[0]
const finalRecord = () => {
  const row = world.intake.rows.records.find(({ phase }) => phase === 'final')
  return JSON.parse(String(row?.canonical))
}

test('a stream passes byte for byte, with one comment in the block of [DONE], directly before it', async () => {
  const events = [...helloEvents, usageChunk]
  world.upstream.play(sse([...events, doneEvent]))
  const response = await world.post(asked)
  const text = await response.text()
  const { receipt, rest } = apart(text)
  expect(rest).toBe([...events, doneEvent].join(''))
  expect(text).toMatch(/\n\n: vaas \{[^\n]*\}\ndata: \[DONE\]\n\n$/)
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(response.headers.get('x-accel-buffering')).toBe('no')
  expect(response.headers.get('x-vaas-phase')).toBe('begin')
  expect(receipt).toMatchObject({
    record_id: response.headers.get('x-vaas-record-id'),
    phase: 'final',
    status: 'completed',
    output_hash: finalRecord().output_hash,
    key_id: response.headers.get('x-vaas-key-id'),
  })
  expect(world.intake.rows.records.map(({ phase }) => phase)).toEqual(['begin', 'final'])
})

test('the run of a stream has its text, its usage and the time to its first token', async () => {
  world.upstream.play(sse([...helloEvents, usageChunk, doneEvent]))
  await (await world.post(asked)).text()
  expect(span()).toMatchObject({
    status: 'ok',
    usage: 1,
    input_tokens: 9,
    output_tokens: 2,
    output_preview: 'Hello wörld ✓',
    model: 'gpt-4o-mini-2024-07-18',
  })
  expect(Number(span()?.ttft_ns)).toBeGreaterThan(0)
  expect(Number(span()?.ttft_ns)).toBeLessThanOrEqual(Number(span()?.duration_ns))
})

test('a stream and a JSON answer of the same text are committed to as the same output', async () => {
  const choices = [
    { index: 0, message: { role: 'assistant', content: 'Hello wörld ✓' }, finish_reason: 'stop' },
  ]
  world.upstream.play(sse([...helloEvents, doneEvent]))
  await (await world.post(unasked)).text()
  const { record_id: recordId, output_hash: hash } = finalRecord()
  expect(hash).toBe(outputHashOf(recordId, { choices }))
})

test('usage is asked of the upstream, and its chunk is left out, when the client did not ask', async () => {
  world.upstream.play(sse([...helloEvents, usageChunk, doneEvent]))
  const text = await (await world.post(unasked)).text()
  expect(JSON.parse(String(world.upstream.seen[0]?.body)).stream_options).toEqual({
    include_usage: true,
  })
  expect(apart(text).rest).toBe([...helloEvents, doneEvent].join(''))
  expect(span()).toMatchObject({ usage: 1, output_tokens: 2 })
})

test('tool calls and several choices are put together', async () => {
  const call = (fields: object) =>
    chunk([{ index: 1, delta: { tool_calls: [{ index: 0, ...fields }] } }])
  world.upstream.play(
    sse([
      chunk([
        { index: 0, delta: { role: 'assistant', content: 'A' } },
        { index: 1, delta: { role: 'assistant', content: null } },
      ]),
      call({ id: 'call_1', type: 'function', function: { name: 'find', arguments: '' } }),
      call({ function: { arguments: '{"id":123456789' } }),
      call({ function: { arguments: '01234567890}' } }),
      chunk([{ index: 1, delta: {}, finish_reason: 'tool_calls' }]),
      doneEvent,
    ]),
  )
  await (await world.post(asked)).text()
  const raw = String(world.intake.rows.payloads[0]?.raw)
  expect(raw).toContain('{\\"id\\":12345678901234567890}')
  expect(raw).toContain('call_1')
  expect(span()).toMatchObject({ output_preview: 'A' })
})

const whole = `${[...helloEvents, usageChunk].join('')}${doneEvent}`

test.each([
  ['one byte at a time', byteByByte(whole), whole],
  ['with CRLF', byteByByte(whole.replaceAll('\n', '\r\n')), whole.replaceAll('\n', '\r\n')],
  ['with CR alone', byteByByte(whole.replaceAll('\n', '\r')), whole.replaceAll('\n', '\r')],
  [
    'with comments, ids and retry',
    sse([`: hello\n\nid: 1\nretry: 5\nevent: x\n${whole}`]),
    `: hello\n\nid: 1\nretry: 5\nevent: x\n${whole}`,
  ],
  [
    'without a space after the colon',
    sse([whole.replaceAll('data: ', 'data:')]),
    whole.replaceAll('data: ', 'data:'),
  ],
  [
    'with an id in the block of [DONE]',
    sse([whole.replace('data: [DONE]', 'id: 9\ndata: [DONE]')]),
    whole.replace('data: [DONE]', 'id: 9\ndata: [DONE]'),
  ],
  ['without a last line ending', sse([whole.trimEnd()]), whole.trimEnd()],
  [
    'with a twin [DONE] and data behind it',
    sse([`${whole}${doneEvent}data: x\n\n`]),
    `${whole}${doneEvent}data: x\n\n`,
  ],
  [
    'with one event of 1 MB',
    sse([delta({ content: 'é'.repeat(500_000) }), doneEvent]),
    delta({ content: 'é'.repeat(500_000) }) + doneEvent,
  ],
])('a stream %s is passed as it is and understood', async (_what, script, expected) => {
  world.upstream.play(script)
  const text = await (await world.post(asked)).text()
  expect(apart(text).rest).toBe(expected)
  expect(apart(text).receipt).toMatchObject({ status: 'completed' })
  expect(span()).toMatchObject({ status: 'ok' })
  expect(String(span()?.output_preview)).toMatch(/^(Hello wörld ✓|é+)$/)
})

test.each([
  ['ends without [DONE]', sse(helloEvents)],
  ['breaks', breakAfter(helloEvents)],
  ['breaks inside an event', breakAfter([...helloEvents, 'data: {"id":"chatcmpl-2","cho'])],
  ['goes silent', hangAfter(helloEvents)],
])(
  'an upstream that %s after the first byte ends in an error event with the receipt, and no [DONE]',
  async (_what, script) => {
    world.upstream.play(script)
    const text = await (await world.post(asked)).text()
    const { receipt, rest } = apart(text)
    const [, last] = /^data: (\{"error".*\})\n\n$/m.exec(rest) ?? []
    expect(rest.startsWith(helloEvents.join(''))).toBe(true)
    expect(rest.slice(helloEvents.join('').length)).toBe(`data: ${last}\n\n`)
    expect(JSON.parse(String(last)).error.code).toMatch(/^upstream_(error|timeout)$/)
    expect(text).toMatch(/\n\n: vaas [^\n]*\ndata: \{"error"/)
    expect(receipt).toMatchObject({ status: 'truncated' })
    expect(span()).toMatchObject({ status: 'truncated', usage: 5, output_preview: 'Hello wörld ✓' })
  },
)

test('an upstream that breaks before the first byte gives a JSON error with its real status', async () => {
  world.upstream.play(breakAfter([]))
  const response = await world.post(asked)
  expect([response.status, (await response.json()).error.code]).toEqual([502, 'upstream_error'])
  expect(response.headers.get('x-vaas-phase')).toBe('final')
  expect(span()).toMatchObject({ status: 'error' })
})

test('an upstream that refuses a stream is passed on as JSON', async () => {
  const body = {
    error: { message: 'slow down', type: 'rate_limit_error', param: null, code: 'rate' },
  }
  world.upstream.play(json(body, 429))
  const response = await world.post(asked)
  expect([response.status, await response.json()]).toEqual([429, body])
  expect(finalRecord()).toMatchObject({
    status: 'upstream_error',
    begin_sha256: expect.any(String),
  })
})

test('an error inside a stream is passed on, and the run is an error', async () => {
  const error =
    'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'
  world.upstream.play(sse([helloEvents[0]!, error, doneEvent]))
  const text = await (await world.post(asked)).text()
  expect(apart(text)).toMatchObject({
    rest: helloEvents[0] + error + doneEvent,
    receipt: { status: 'upstream_error' },
  })
  expect(span()).toMatchObject({ status: 'error', status_message: 'overloaded' })
})

test('an event without end is given up: the upstream is aborted and the client told', async () => {
  const counter = { sent: 0 }
  world.upstream.play(flood('x'.repeat(16_384), counter))
  const text = await (await world.post(asked)).text()
  expect(text).toMatch(/\n\n: vaas [^\n]*\ndata: \{"error"[^\n]*\}\n\n$/)
  expect(await world.upstream.seen[0]?.closed).toBe(true)
  expect(span()).toMatchObject({ status: 'truncated' })
})

test('nothing leaves before the opening record is durable', async () => {
  let open = () => {}
  world.intake.gate = new Promise((resolve) => {
    open = resolve
  })
  world.upstream.play(sse([...helloEvents, doneEvent]))
  let arrived = false
  const call = world.post(asked).then((response) => {
    arrived = true
    return response
  })
  await until('the upstream is asked', () => world.upstream.seen.length === 1)
  await world.upstream.seen[0]?.closed
  expect(arrived).toBe(false)
  world.intake.gate = undefined
  open()
  expect((await call).status).toBe(200)
})

test('a spool that refuses the opening record answers 503 and stops the upstream', async () => {
  world.intake.refusing = true
  world.upstream.play(hangAfter(helloEvents))
  const response = await world.post(asked)
  expect([response.status, (await response.json()).error.code]).toEqual([
    503,
    'service_unavailable',
  ])
  expect(response.headers.get('x-vaas-signature')).toBeNull()
})

test('a client that leaves stops the upstream within 100 ms; the run is kept with what was seen', async () => {
  const quiet = await startProxy()
  quiet.upstream.play(hangAfter(helloEvents))
  const tookMs: number[] = []
  // The fastest of three: the law is about this proxy, not about what else the machine was doing.
  for (let client = 0; client < 3; client++) {
    const abort = new AbortController()
    const response = await fetch(`${quiet.baseUrl}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(asked),
      signal: abort.signal,
    })
    await response.body!.getReader().read()
    const leftAt = performance.now()
    abort.abort()
    expect(await quiet.upstream.seen[client]?.closed).toBe(true)
    tookMs.push(performance.now() - leftAt)
  }
  expect(Math.min(...tookMs)).toBeLessThan(100)
  await until('the runs are stored', () => quiet.intake.rows.spans.length === 3)
  for (const span of quiet.intake.rows.spans) {
    expect(span).toMatchObject({ status: 'client_closed', usage: 5 })
    expect(String(span.output_preview)).toMatch(/^Hello/)
  }
  await quiet.end()
})

test('a client that reads slowly holds the upstream back, not this process', async () => {
  const counter = { sent: 0 }
  world.upstream.play(flood(delta({ content: 'x'.repeat(1000) }), counter))
  const call = request(`${world.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  })
  call.end(JSON.stringify(asked))
  const [response] = await once(call, 'response')
  response.pause()
  const before = process.memoryUsage().arrayBuffers
  let last = -1
  let stillFor = 0
  await until('the upstream has stopped sending', () => {
    stillFor = counter.sent === last ? stillFor + 1 : 0
    last = counter.sent
    return stillFor > 30
  })
  expect(counter.sent).toBeLessThan(40_000_000)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(30_000_000)

  // Another stream beside it is not held up.
  world.upstream.play(sse([...helloEvents, doneEvent]))
  const beside = await (await world.post(asked)).text()
  expect(apart(beside).receipt).toMatchObject({ status: 'completed' })
  world.intake.rows.spans.length = 0
  call.destroy()
  await until('the run is stored', () => world.intake.rows.spans.length === 1)
  expect(span()).toMatchObject({ status: 'client_closed' })
})
