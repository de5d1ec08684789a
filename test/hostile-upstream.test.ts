// What an upstream may send: no count of it is believed that cannot be true, no frame of it harms a caller, and every answer has
// its row and its receipt.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { answerOf, type MoneyWorld, startMoneyWorld } from './money-world.ts'
import { chunk, completion, delta, doneEvent, json, type Script, sse } from './upstream.ts'

let world: MoneyWorld
beforeAll(async () => {
  world = await startMoneyWorld()
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
})

type Row = {
  run_id: string
  status: string
  input_tokens: number
  output_tokens: number
  cached_tokens: number
  reasoning_tokens: number
  usage_estimated: boolean
  cost_cents: number
}

/** The one call of a fresh key: its answer, its row, and what the key has spent as far as it is written. */
async function callOf(script: Script, more: object = {}) {
  world.upstream.play(script)
  const key = await world.newKey({ monthly_budget_cents: 1 })
  const answer = await world.chat(key.key, more)
  const text = await answer.text()
  const rows: Row[] = await world.rowsOf(`key_id=${key.id}`, 1)
  const spent = async () =>
    (await world.get('/v1/keys')).find((row: { id: string }) => row.id === key.id).month_spent_cents
  expect(rows).toHaveLength(1)
  expect(rows[0]?.run_id).toBe(answer.headers.get('x-batchin-run-id'))
  return { answer, text, row: rows[0]!, spent }
}

describe.each([false, true])('counts that cannot be true (streamed: %s)', (stream) => {
  const answering = (usage: unknown): Script =>
    stream
      ? sse([delta({ content: 'Hello there' }, 'stop'), chunk([], { usage }), doneEvent])
      : json(completion('Hello there', { usage }))
  const counts = (input: unknown, output: unknown) => ({
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: 1,
  })

  test.each<[string, unknown]>([
    ['negative', counts(-5, 10)],
    ['of a trillion', counts(10, 1e12)],
    ['beyond what a number holds', counts(10, 2 ** 60)],
    ['in strings', counts('5', '10')],
    ['that are no numbers', counts(null, {})],
    ['broken', counts(1.5, 2.5)],
    ['absent', undefined],
    ['a list', [1, 2]],
    ['of nothing, for an answer', counts(9, 0)],
  ])('%s are estimated, and say so', async (_what, usage) => {
    const { row } = await callOf(answering(usage), { stream })
    expect(row).toMatchObject({ status: 'ok', usage_estimated: true })
    expect(row.output_tokens).toBeGreaterThan(0)
    expect(row.output_tokens).toBeLessThan(20)
    expect(row.cost_cents).toBeGreaterThan(0)
  })

  test('parts are never more than their whole', async () => {
    const usage = {
      ...counts(10, 5),
      prompt_tokens_details: { cached_tokens: 1e9 },
      completion_tokens_details: { reasoning_tokens: 1e9 },
    }
    const { row } = await callOf(answering(usage), { stream })
    expect(row).toMatchObject({ cached_tokens: 10, reasoning_tokens: 5, usage_estimated: false })
  })

  test('more than the call allowed costs no more than was reserved for it', async () => {
    const { row, spent } = await callOf(answering(counts(10, 4_000_000_000)), { stream })
    expect(row.cost_cents).toBeGreaterThan(0)
    expect(row.cost_cents).toBeLessThan(0.03)
    await expect.poll(spent, { timeout: 10_000 }).toBe(row.cost_cents)
  })
})

describe('a stream', () => {
  const last = delta({ content: 'Hello' }, 'stop')
  const used = (input: number, output: number) =>
    chunk([], {
      usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
    })
  const whole = [last, used(10, 5), doneEvent]
  const lines = (text: string) => whole.map((event) => event.replaceAll('\n', text))
  test.each<[string, string[]]>([
    ['that tells its usage twice', [last, used(3, 1), used(10, 5), doneEvent]],
    [
      'that tells no usage after it told it',
      [last, used(10, 5), chunk([], { usage: null }), doneEvent],
    ],
    ['with usage behind its end', [...whole, used(1000, 500)]],
    ['that ends twice', [...whole, doneEvent]],
    ['without a space behind the colon', whole.map((event) => event.replace('data: ', 'data:'))],
    ['with CRLF', lines('\r\n')],
    ['with CR alone', lines('\r')],
    ['with a byte order mark', [`\ufeff${last}`, used(10, 5), doneEvent]],
    [
      'with ids, names, comments and times to wait',
      whole.map((event) => `: hi\nid: 1\nevent: message\nretry: 5\n${event}`),
    ],
    [
      'whose event is on two lines',
      [
        'data: {"choices":[{"index":0,\ndata: "delta":{"content":"Hello"}}]}\n\n',
        used(10, 5),
        doneEvent,
      ],
    ],
    [
      'with parts at places that no list has',
      [
        chunk([
          { index: 0, delta: { content: 'Hello', tool_calls: [{ index: 2 ** 31, id: 'a' }] } },
        ]),
        chunk([{ index: 2 ** 31, delta: { content: 'x' } }]),
        chunk([{ index: -1, delta: { tool_calls: [{ index: -1, id: 'b' }] } }]),
        used(10, 5),
        doneEvent,
      ],
    ],
  ])('%s has one row, with what was told and no more', async (_what, pieces) => {
    const more = { stream: true, stream_options: { include_usage: true } }
    const { text, row } = await callOf(sse(pieces), more)
    expect(text.match(/: vaas /g)).toHaveLength(1)
    expect(row).toMatchObject({ status: 'ok', input_tokens: 10, output_tokens: 5 })
    expect([row.usage_estimated, row.cost_cents]).toEqual([false, 0.002])
  })
})

const hello = JSON.stringify(answerOf(5, 5))
/** Writes to the socket itself, as no server library would. */
const bytes =
  (head: string[], body: string | Buffer = hello): Script =>
  (res) => {
    const { socket } = res
    socket?.write(`${head.join('\r\n')}\r\n\r\n`)
    socket?.write(body)
    socket?.end()
  }
const ok = ['HTTP/1.1 200 OK', 'Content-Type: application/json']
const length = (text: string) => `Content-Length: ${Buffer.byteLength(text)}`

describe('frames', () => {
  test.each<[string, Script]>([
    [
      'early hints before it',
      bytes(['HTTP/1.1 103 Early Hints', 'Link: </x>\r\n', ...ok, length(hello)]),
    ],
    ['a word of progress before it', bytes(['HTTP/1.1 102 Processing\r\n', ...ok, length(hello)])],
    [
      'trailers behind it',
      bytes(
        [...ok, 'Transfer-Encoding: chunked', 'Trailer: X-After'],
        `${Buffer.byteLength(hello).toString(16)}\r\n${hello}\r\n0\r\nX-After: 1\r\nSet-Cookie: a=b\r\n\r\n`,
      ),
    ],
    ['no length but the end', bytes([...ok, 'Connection: close'])],
    [
      'cookies, CORS and names of its own',
      bytes([
        ...ok,
        length(hello),
        'Set-Cookie: a=b',
        'Access-Control-Allow-Origin: *',
        'X-BatchIn-Run-Id: run_theirs',
        'X-VaaS-Signature: ed25519:theirs',
        'Server-Timing: theirs',
      ]),
    ],
  ])(
    'an answer with %s is the answer, and nothing else of it comes through',
    async (_what, script) => {
      const { answer, text } = await callOf(script)
      expect([answer.status, text]).toEqual([200, hello])
      for (const name of ['set-cookie', 'access-control-allow-origin', 'link', 'trailer'])
        expect(answer.headers.get(name)).toBeNull()
      expect(answer.headers.get('x-batchin-run-id')).toMatch(/^run_[0-9A-Z]{26}$/)
      expect(answer.headers.get('x-vaas-signature')).not.toContain('theirs')
    },
  )

  test.each<[string, Script]>([
    ['a length that is too long', bytes([...ok, `Content-Length: ${hello.length + 10}`])],
    ['two lengths', bytes([...ok, 'Content-Length: 5', 'Content-Length: 9'])],
    ['a head of 100 KB', bytes([...ok, `X-A: ${'a'.repeat(100_000)}`, length(hello)])],
    ['chunks that are none', bytes([...ok, 'Transfer-Encoding: chunked'], 'zz\r\nabc')],
    ['no HTTP', bytes(['SSH-2.0-OpenSSH_9.6'])],
    ['nothing', (res) => void res.socket?.end()],
    [
      'an upgrade',
      bytes(['HTTP/1.1 101 Switching Protocols', 'Upgrade: x', 'Connection: upgrade']),
    ],
    ['a status of 204', bytes(['HTTP/1.1 204 No Content'], '')],
    ['a status of 205', bytes(['HTTP/1.1 205 Reset Content', 'Content-Length: 0'], '')],
    ['a status of 304', bytes(['HTTP/1.1 304 Not Modified'], '')],
    ['a status of 999', bytes(['HTTP/1.1 999 What', length(hello)])],
    ['gzip', bytes([...ok, 'Content-Encoding: gzip', length(hello)])],
    ['Brotli', bytes([...ok, 'Content-Encoding: br', length(hello)])],
    ['an empty body', bytes([...ok, 'Content-Length: 0'], '')],
    [
      'a page',
      bytes(['HTTP/1.1 200 OK', 'Content-Type: text/html', 'Content-Length: 6'], '<html>'),
    ],
  ])('%s is a 502 of ours with a receipt, and costs nothing', async (_what, script) => {
    for (const stream of [false, true]) {
      const { answer, text, row } = await callOf(script, { stream })
      expect(answer.status).toBe(502)
      expect(JSON.parse(text).error).toMatchObject({ type: 'api_error', code: 'upstream_error' })
      expect(answer.headers.get('x-vaas-signature')).toMatch(/^ed25519:/)
      expect(row).toMatchObject({ status: 'error', cost_cents: 0 })
    }
  })

  test('an answer before the request was read, and a connection that goes at once, is an answer', async () => {
    const big = { messages: [{ role: 'user', content: 'x'.repeat(3_000_000) }], max_tokens: 1 }
    world.upstream.play(json(answerOf(5, 5)))
    const answer = await world.chat(world.key, big)
    expect([answer.status, (await answer.json()).usage.total_tokens]).toEqual([200, 10])
  })
})
