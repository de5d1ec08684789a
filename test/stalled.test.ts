// A client that takes nothing is let go, whatever door it came through; one that waits for a quiet answer is not.

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import Koa from 'koa'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Listener, openListener } from '../src/http/listener.ts'
import { type Metrics, openMetrics } from '../src/metrics.ts'

// Long enough for a connection and its request to come in on a machine that has other things to do.
const stalledMs = 500
const counted = 'runledger_http_clients_stalled_total 1\n'
const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

let listener: Listener
let metrics: Metrics
let socket: Socket
beforeEach(async () => {
  metrics = openMetrics()
  listener = await openListener({ host: '127.0.0.1', port: 0 }, metrics, {
    ...{ headersMs: 60_000, requestMs: 60_000, checkEveryMs: 60_000, keepAliveMs: 50 },
    stalledMs,
  })
})
afterEach(async () => {
  socket.destroy()
  await listener.close()
})

function ask(): void {
  socket = connect(Number(new URL(listener.url).port), '127.0.0.1')
  socket.on('error', () => {})
  socket.write(get)
}

/** The answer to the request, begun by the test. */
function asked(): Promise<ServerResponse> {
  return new Promise((resolve) => {
    listener.serve((_req, res) => resolve(res))
    ask()
  })
}

test('an answer that has nothing to give stays, however long it is quiet', async () => {
  const res = await asked()
  const quiet = once(res.socket!, 'timeout')
  res.write('first')
  await once(socket, 'data')
  await quiet
  expect(res.destroyed).toBe(false)
  res.write('second')
  expect(String((await once(socket, 'data'))[0])).toContain('second')
  expect(metrics.toText()).not.toContain('stalled')
})

test('an answer of which nothing is taken ends, and is counted', async () => {
  const res = await asked()
  socket.pause()
  while (res.write(Buffer.alloc(1024 * 1024)) || res.writableLength < 16 * 1024 * 1024);
  await once(res, 'close')
  expect(res.destroyed).toBe(true)
  expect(metrics.toText()).toContain(counted)
})

test('a page that nobody takes is let go with the stream that it was read from', async () => {
  const page = Readable.from(
    (function* () {
      for (;;) yield Buffer.alloc(1024 * 1024)
    })(),
  )
  const closed = new Promise((resolve) => page.on('error', () => {}).on('close', resolve))
  const app = new Koa()
  app.use((ctx) => {
    ctx.body = page
  })
  app.on('error', () => {})
  listener.serve(app.callback())
  ask()
  socket.pause()
  await closed
  expect(metrics.toText()).toContain(counted)
})

test('a connection that asks for nothing is ended as before, and is not a stalled one', async () => {
  const res = await asked()
  res.end('all')
  socket.resume()
  await once(socket, 'close')
  expect(metrics.toText()).not.toContain('stalled')
})
