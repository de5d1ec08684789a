// Bytes that no honest client sends to an inference route, over a raw socket: the right status, the upstream not asked,
// nothing stored half, and the process alive.

import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { completion, json, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

let upstream: ScriptedUpstream
let world: World

beforeAll(async () => {
  upstream = await startUpstream()
  upstream.play(json(completion('hi')))
  world = await startWorld({ OPENAI_BASE_URL: upstream.baseUrl })
}, 60_000)

afterAll(async () => {
  await world.end()
  await upstream.close()
})

beforeEach(() => {
  upstream.seen.length = 0
})

const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x' }] })

/** Everything the server sends until it closes. */
function raw(bytes: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(world.url)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(Number(port), hostname, () => socket.write(bytes))
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', () => {}) // a reset after the answer is a close too
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
    socket.setTimeout(8_000, () => {
      socket.destroy()
      reject(new Error(`Still open after: ${Buffer.concat(chunks).toString('latin1')}`))
    })
  })
}

const lines = (...headers: string[]) =>
  [
    'POST /v1/chat/completions HTTP/1.1',
    'Host: a',
    `Authorization: Bearer ${world.key}`,
    'Content-Type: application/json',
    'Connection: close',
    ...headers,
    '',
    '',
  ].join('\r\n')

const length = `Content-Length: ${Buffer.byteLength(body)}`

async function settledNothing(): Promise<void> {
  expect(upstream.seen).toEqual([])
  expect((await fetch(`${world.url}/health`)).status).toBe(200)
}

describe('framing', () => {
  const rows: [string, () => string, RegExp][] = [
    [
      'a length and chunks',
      () => lines(length, 'Transfer-Encoding: chunked') + body,
      /^HTTP\/1.1 400/,
    ],
    ['two lengths', () => lines(length, length) + body, /^HTTP\/1.1 400/],
    ['two lengths in one', () => lines('Content-Length: 5, 5') + body, /^HTTP\/1.1 400/],
    ['a length with a sign', () => lines('Content-Length: +5') + body, /^HTTP\/1.1 400/],
    ['a negative length', () => lines('Content-Length: -1') + body, /^HTTP\/1.1 400/],
    [
      'a length of twenty digits',
      () => lines(`Content-Length: ${'9'.repeat(20)}`),
      /^HTTP\/1.1 400/,
    ],
    [
      'an encoding nobody knows',
      () => `${lines('Transfer-Encoding: xchunked')}5\r\nabcde\r\n0\r\n\r\n`,
      /^HTTP\/1.1 (400|501)/,
    ],
    [
      'a chunk whose size overflows',
      () => `${lines('Transfer-Encoding: chunked')}fffffffffffffffff\r\n`,
      /^HTTP\/1.1 400/,
    ],
    [
      'a chunk extension of 20 KB',
      () => `${lines('Transfer-Encoding: chunked')}5;a=${'x'.repeat(20_000)}\r\nabcde\r\n0\r\n\r\n`,
      /^HTTP\/1.1 (400|413)/,
    ],
    ['a space before the colon', () => lines('Transfer-Encoding : chunked'), /^HTTP\/1.1 400/],
    ['a folded header', () => lines('X-A: b\r\n c'), /^HTTP\/1.1 400/],
    ['a NUL in a header', () => lines('X-A: \0'), /^HTTP\/1.1 400/],
    ['a bare CR in a header', () => lines('X-A: b\rX-B: c'), /^HTTP\/1.1 400/],
    ['no Host', () => lines(length).replace('Host: a\r\n', '') + body, /^HTTP\/1.1 400/],
    ['a head above 16 KiB', () => lines(`X-A: ${'x'.repeat(17_000)}`), /^HTTP\/1.1 431/],
    [
      'a target above 16 KiB',
      () => lines(length).replace('completions', 'x'.repeat(17_000)),
      /^HTTP\/1.1 431/,
    ],
    [
      'a method in small letters',
      () => lines(length).replace('POST', 'post') + body,
      /^HTTP\/1.1 400/,
    ],
    [
      'PUT',
      () => lines(length).replace('POST', 'PUT') + body,
      /^HTTP\/1.1 405[\s\S]*\r\nAllow: POST\r\n/i,
    ],
    ['TRACE', () => lines().replace('POST', 'TRACE'), /^HTTP\/1.1 405/],
    [
      'a tunnel',
      () => lines().replace('POST /v1/chat/completions', 'CONNECT a.example:443'),
      /^HTTP\/1.1 405[\s\S]*\r\nAllow: GET, HEAD, POST\r\n/i,
    ],
    ['another version of HTTP', () => lines(length).replace('1.1', '2.0') + body, /^HTTP\/1.1 400/],
    [
      'chunks in HTTP/1.0',
      () =>
        `${lines('Transfer-Encoding: chunked').replace('1.1', '1.0')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      /^HTTP\/1.1 400/,
    ],
    [
      'lines that end in LF alone',
      () => lines(length).replaceAll('\r', '') + body,
      /^HTTP\/1.1 400/,
    ],
    [
      'two keys that differ',
      () => lines(length, 'Authorization: Bearer other') + body,
      /^HTTP\/1.1 400/,
    ],
    ['a preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^HTTP\/1.1 400/],
    ['a TLS greeting', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', /^HTTP\/1.1 400/],
    [
      'a length beyond the limit, asked about first',
      () => lines('Content-Length: 30000000', 'Expect: 100-continue'),
      /^HTTP\/1.1 413/,
    ],
    [
      'an encoding not taken, asked about first',
      () => lines(length, 'Content-Encoding: br', 'Expect: 100-continue'),
      /^HTTP\/1.1 415/,
    ],
    ['a strange expectation', () => lines(length, 'Expect: tea') + body, /^HTTP\/1.1 417/],
    [
      'a path spelt with dots',
      () => lines(length).replace('/v1/', '/v1/%2e%2e/v1/') + body,
      /^HTTP\/1.1 404/,
    ],
    [
      'a path with a NUL',
      () => lines(length).replace('completions', 'completions%00') + body,
      /^HTTP\/1.1 404/,
    ],
    [
      'a method said in a header',
      () => lines('X-HTTP-Method-Override: POST').replace('POST', 'GET'),
      /^HTTP\/1.1 405/,
    ],
    [
      'a path said in a header',
      () => lines(length, 'X-Original-URL: /health').replace('chat/', 'cat/') + body,
      /^HTTP\/1.1 404/,
    ],
  ]
  test.each(rows)('%s is refused, in the envelope of every fault', async (_what, bytes, status) => {
    const answer = await raw(bytes())
    expect(answer).toMatch(status)
    const [head, text] = answer.split('\r\n\r\n')
    expect(head).toMatch(/\r\nX-Request-Id: req_[0-9A-Z]{26}(\r|$)/i)
    const { message, type, param, code } = JSON.parse(text ?? '').error
    expect([message, type, code]).toEqual([expect.any(String), 'invalid_request_error', code])
    expect([param, code]).toEqual([null, expect.stringMatching(/^[a-z_]+$/)])
    await settledNothing()
  })

  test('what breaks behind a request is not told in place of its answer', async () => {
    const { hostname, port } = new URL(world.url)
    let play = () => {}
    const asked = new Promise<void>((resolve) => {
      upstream.play(async (res, seen) => {
        resolve()
        await new Promise<void>((go) => {
          play = go
        })
        await json(completion('late'))(res, seen)
      })
    })
    const socket = connect(Number(port), hostname)
    let heard = ''
    socket
      .on('error', () => {})
      .on('data', (bytes) => {
        heard += String(bytes)
      })
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(lines(length).replace('Connection: close\r\n', '') + body)
    await asked
    socket.write('no HTTP at all\r\n\r\n')
    await closed
    play()
    upstream.play(json(completion('hi')))
    expect(heard).toBe('')
  })

  test('a body that is asked about first is asked for, and answered', async () => {
    const { hostname, port } = new URL(world.url)
    const text = await new Promise<string>((resolve) => {
      let seen = ''
      const socket = connect(Number(port), hostname, () =>
        socket.write(lines(length, 'Expect: 100-continue')),
      )
      socket.on('data', (chunk) => {
        const isFirst = seen === ''
        seen += chunk.toString('latin1')
        if (isFirst) socket.write(body)
      })
      socket.on('close', () => resolve(seen))
    })
    expect(text).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n/)
  })

  test('a header called __proto__ is a header', async () => {
    expect(await raw(lines(length, '__proto__: x') + body)).toMatch(/^HTTP\/1.1 200/)
  })
})

describe('keys', () => {
  test.each([
    ['a word alone', 'Bearer'],
    ['another scheme', 'Basic YTpi'],
    ['two spaces', 'Bearer  x'],
    ['a tab', 'Bearer\tx'],
    ['SQL', "Bearer ' OR 1=1--"],
    ['a megabyte, nearly', `Bearer ${'x'.repeat(15_000)}`],
    ['a checksum that is wrong', 'Bearer batchin_api_abc_def00000000'],
  ])('%s is 401, and says how', async (_what, given) => {
    const head = lines(length).replace(/Authorization: .*\r\n/, `Authorization: ${given}\r\n`)
    const answer = await raw(head + body)
    expect(answer).toMatch(/^HTTP\/1.1 401/)
    expect(answer).toMatch(/\r\nWWW-Authenticate: Bearer\r\n/i)
    await settledNothing()
  })
})

describe('what a body says', () => {
  const ask = (more: object) =>
    fetch(`${world.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'm', messages: [], ...more }),
    })

  test.each([
    ['n', 1000],
    ['n', 0],
    ['n', 1.5],
    ['max_tokens', 1e12],
    ['max_tokens', -1],
    ['max_completion_tokens', '12'],
    ['temperature', 'NaN'],
    ['top_p', {}],
    ['stream', 'true'],
    ['model', 'gpt-4\r\nX: y'],
    ['model', 'x'.repeat(10_000)],
  ])(
    '%s of %j is refused by its name, before anything is asked of money or the upstream',
    async (name, value) => {
      const answer = await ask({ [name]: value })
      expect([answer.status, (await answer.json()).error.param]).toEqual([400, name])
      await settledNothing()
    },
  )

  test.each(['../admin', '__proto__', 'constructor', 'a'.repeat(256)])(
    'a model called %s is a name like any other',
    async (model) => {
      const answer = await ask({ model })
      expect(answer.status).toBe(200)
      expect(upstream.seen.map(({ path }) => path)).toEqual(['/v1/chat/completions'])
    },
  )
})

describe('trace context', () => {
  const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const seenOf = async (...headers: string[]) => {
    await raw(lines(length, ...headers) + body)
    const { traceparent, tracestate } = upstream.seen[0]!.headers
    return { traceparent: String(traceparent), tracestate }
  }

  test('the caller’s trace goes on, as ours; the lists of vendors are put together in their order', async () => {
    const seen = await seenOf(
      `TraceParent: ${parent}`,
      'tracestate: a=1,b=2',
      'TraceState: c=3, ,a=9',
    )
    expect(seen.traceparent).toMatch(
      /^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/,
    )
    expect(seen.tracestate).toBe('a=1,b=2,c=3')
  })

  test('a header that is there twice begins a new trace, without the vendors', async () => {
    const seen = await seenOf(`traceparent: ${parent}`, `traceparent: ${parent}`, 'tracestate: a=1')
    expect(seen.traceparent).toMatch(
      /^00-(?!0af7651916cd43dd8448eb211c80319c)[0-9a-f]{32}-[0-9a-f]{16}-03$/,
    )
    expect(seen.tracestate).toBeUndefined()
  })

  test.each([
    [
      'the caller’s, with its flags',
      `${parent.slice(0, -2)}02`,
      /^00-0af7651916cd43dd8448eb211c80319c-.*-02$/,
    ],
    ['of a later version', `cc${parent.slice(2)}-x`, /^00-0af7651916cd43dd8448eb211c80319c-.*-01$/],
    ['of zeros', `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`, /^00-.*-03$/],
    ['with a span of zeros', `${parent.slice(0, 36)}${'0'.repeat(16)}-01`, /^00-(?!0af7).*-03$/],
  ])('a refusal stands in a trace too: %s', async (_what, given, expected) => {
    for (const authorization of [`Bearer ${world.key}`, 'Bearer wrong']) {
      const answer = await fetch(`${world.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization, traceparent: given, 'content-type': 'application/json' },
        body: '{}',
      })
      const told = answer.headers.get('traceparent') ?? ''
      expect(told).toMatch(
        /^00-(?!0{32})[0-9a-f]{32}-(?!0{16}|b7ad6b7169203331)[0-9a-f]{16}-0[0-3]$/,
      )
      expect(told).toMatch(expected)
    }
  })

  test('a later version is read as far as it is known, and goes on as ours', async () => {
    const later = `cc${parent.slice(2)}-what-comes-then`
    expect((await seenOf(`traceparent: ${later}`)).traceparent).toMatch(
      /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/,
    )
  })
})
