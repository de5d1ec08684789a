// Clients that take connections and give nothing for them: heads and bodies that trickle, requests whose answers nobody reads,
// and a caller whose key is revoked while it listens. None of them holds the server, and none is heard twice.

import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Listener, openListener } from '../src/http/listener.ts'
import { openMetrics } from '../src/metrics.ts'
import { answerOf, type MoneyWorld, startMoneyWorld } from './money-world.ts'
import { startProxy } from './proxy-world.ts'
import { delta, doneEvent, json, sse } from './upstream.ts'

let world: MoneyWorld
let quick: Listener
const sockets: Socket[] = []
beforeAll(async () => {
  world = await startMoneyWorld()
  quick = await openListener({ host: '127.0.0.1', port: 0 }, openMetrics(), {
    headersMs: 200,
    requestMs: 400,
    checkEveryMs: 50,
    keepAliveMs: 60_000,
    stalledMs: 60_000,
  })
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  await quick.close()
  await world.end()
})
beforeEach(() => {
  world.upstream.seen.length = 0
})

/** A connection, and all that came on it when it closed. */
function open(url: string): { socket: Socket; closed: Promise<string> } {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  sockets.push(socket)
  let text = ''
  socket
    .on('error', () => {})
    .on('data', (bytes) => {
      text += bytes.toString('latin1')
    })
  return { socket, closed: new Promise((resolve) => socket.on('close', () => resolve(text))) }
}

async function trickle(socket: Socket, piece: string): Promise<void> {
  while (!socket.destroyed) {
    socket.write(piece)
    await wait(20)
  }
}

const body = JSON.stringify({
  model: 'priced',
  max_tokens: 5,
  messages: [{ role: 'user', content: 'x' }],
})
const head = (more: string[] = []) =>
  [
    'POST /v1/chat/completions HTTP/1.1',
    'Host: a',
    `Authorization: Bearer ${world.key}`,
    'Content-Type: application/json',
    ...more,
    '',
    '',
  ].join('\r\n')
const whole = (more: string[] = []) => head([`Content-Length: ${body.length}`, ...more]) + body

describe('what trickles', () => {
  test('heads that never end are told so and closed, all of them, and others are served meanwhile', async () => {
    const many = Array.from({ length: 300 }, () => open(quick.url))
    for (const { socket } of many) {
      socket.write('POST /v1/chat/completions HTTP/1.1\r\n')
      void trickle(socket, 'X-A: b\r\n')
    }
    expect((await fetch(`${quick.url}/health`)).status).toBe(503) // nothing is served behind it, and it answers
    for (const { closed } of many) expect(await closed).toMatch(/^HTTP\/1.1 408 /)
  })

  test('a body that never ends is told so and closed', async () => {
    const { socket, closed } = open(quick.url)
    socket.write(head(['Content-Length: 100000']))
    void trickle(socket, 'x')
    expect(await closed).toMatch(/^HTTP\/1.1 (408|503) /)
  })
})

describe('requests in a row on one connection', () => {
  test('are answered in their order', async () => {
    world.upstream.play(async (res, seen) => {
      const number = Number(/"content":"(\d)"/.exec(String(seen.body))?.[1])
      // The first takes longest.
      await wait((8 - number) * 15)
      await json(answerOf(number, 1))(res, seen)
    })
    const { socket, closed } = open(world.url)
    const numbers = [1, 2, 3, 4, 5, 6, 7, 8]
    const close = (number: number) => (number === 8 ? ['Connection: close'] : [])
    socket.write(
      numbers
        .map((number) => whole(close(number)).replace('"content":"x"', `"content":"${number}"`))
        .join(''),
    )
    const counts = [...(await closed).matchAll(/"prompt_tokens":(\d+)/g)].map(([, n]) => Number(n))
    expect(counts).toEqual(numbers)
  })

  test('whose answers nobody reads are not made without end: the connection is closed', async () => {
    world.upstream.play(json({ ...answerOf(1, 1), more: 'x'.repeat(100_000) }))
    const { socket, closed } = open(world.url)
    socket.pause()
    socket.write(whole().repeat(1_000))
    // A paused socket does not hear that it was closed.
    await expect
      .poll(
        async () => {
          socket.write('x')
          return socket.destroyed
        },
        { timeout: 20_000 },
      )
      .toBe(true)
    await closed
    expect(world.upstream.seen.length).toBeLessThanOrEqual(32)
    world.upstream.play(json(answerOf(1, 1)))
    expect((await world.chat(world.key)).status).toBe(200)
  })

  test('end with their connection, also those whose turn had not come', async () => {
    world.upstream.play((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      // More than an answer that is not being sent takes, and no end.
      res.write(delta({ content: 'x'.repeat(100_000) }))
    })
    const { id, key } = await world.newKey({ monthly_budget_cents: 100 })
    const stream = body.replace('{', '{"stream":true,')
    const streamed = whole()
      .replace(body, stream)
      .replace(`Content-Length: ${body.length}`, `Content-Length: ${stream.length}`)
    const { socket, closed } = open(world.url)
    socket.write((whole() + streamed + streamed).replaceAll(world.key, key))
    await expect.poll(() => world.upstream.seen.length).toBe(3)
    socket.destroy()
    await closed
    const wereStopped = await Promise.all(world.upstream.seen.map((seen) => seen.closed))
    expect(wereStopped).toEqual([true, true, true])
    const statuses = async () =>
      (await world.get(`/v1/usage/logs?key_id=${id}`)).map((row: { status: string }) => row.status)
    await expect.poll(statuses).toEqual(['client_closed', 'client_closed', 'client_closed'])
  })
})

describe('what is no call', () => {
  test('a tunnel is refused and gone, also for a client that keeps its own end open', async () => {
    const own = await openListener({ host: '127.0.0.1', port: 0 }, openMetrics())
    const socket = connect({ port: Number(new URL(own.url).port), allowHalfOpen: true })
    sockets.push(socket)
    const heard = new Promise<string>((resolve) =>
      socket.on('error', () => {}).once('data', (bytes) => resolve(String(bytes))),
    )
    socket.write('CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(await heard).toMatch(/^HTTP\/1.1 405 /)
    await own.close()
  })

  test('a tunnel behind a request is not told in place of its answer', async () => {
    const own = await openListener({ host: '127.0.0.1', port: 0 }, openMetrics())
    const asked = new Promise<void>((resolve) => own.serve(() => resolve()))
    const { socket, closed } = open(own.url)
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await asked
    socket.write('CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(await closed).toBe('')
    await own.close()
  })

  test('a strange expectation with a body that breaks is answered once', async () => {
    const { socket, closed } = open(quick.url)
    socket.write(head(['Transfer-Encoding: chunked', 'Expect: tea']) + 'no chunk\r\n')
    const text = await closed
    expect(text.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 417'])
  })
})

test('a stream goes on when its key is revoked meanwhile, and has its row; the next call is refused', async () => {
  let goOn = () => {}
  const revoked = new Promise<void>((resolve) => {
    goOn = resolve
  })
  world.upstream.play(async (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.write(delta({ content: 'Hello' }))
    await revoked
    res.end(delta({ content: ' again' }, 'stop') + doneEvent)
  })
  const key = await world.newKey({ monthly_budget_cents: 1 })
  const answer = await world.chat(key.key, { stream: true })
  const removed = await fetch(`${world.url}/v1/keys/${key.id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${world.key}` },
  })
  expect(removed.status).toBe(204)
  expect((await world.chat(key.key)).status).toBe(401)
  goOn()
  expect(await answer.text()).toMatch(/again[\s\S]*: vaas .*\ndata: \[DONE\]/)
  const rows = await world.rowsOf(`key_id=${key.id}`, 1)
  expect(rows).toMatchObject([{ status: 'ok', usage_estimated: true }])
})

test('a clock that goes back in the middle of a call bends no duration, and no record ends before it began', async () => {
  let now = Date.now()
  const proxy = await startProxy({ nowMs: () => now })
  try {
    for (const stream of [false, true]) {
      now = Date.now()
      proxy.upstream.play((res, seen) => {
        now -= 3_600_000
        const script = stream
          ? sse([delta({ content: 'Hello' }, 'stop'), doneEvent])
          : json(answerOf(1, 1))
        return script(res, seen)
      })
      const messages = [{ role: 'user', content: 'x' }]
      const answer = await proxy.post({ model: 'm', stream, messages })
      expect([answer.status, (await answer.text()).length > 0]).toEqual([200, true])
    }
    expect(proxy.intake.rows.spans).toHaveLength(2)
    for (const { duration_ns: duration } of proxy.intake.rows.spans) {
      expect(Number(duration)).toBeGreaterThan(0)
      expect(Number(duration)).toBeLessThan(60e9)
    }
    for (const { canonical } of proxy.intake.rows.records) {
      const { started_at: from, completed_at: to } = JSON.parse(String(canonical))
      if (to) expect(Date.parse(to)).toBeGreaterThanOrEqual(Date.parse(from))
    }
  } finally {
    await proxy.end()
  }
})
