// The one door outward: where it may go, how long it waits, how much it takes.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { isPublicAddress } from '../collectors/proxy/addresses.ts'
import {
  createOutbound,
  type OutboundCall,
  type OutboundHandler,
  type OutboundRequest,
} from '../collectors/proxy/outbound.ts'
import {
  hangBeforeHead,
  raw,
  resetBeforeHead,
  type ScriptedUpstream,
  startUpstream,
} from './upstream.ts'

let upstream: ScriptedUpstream
const outbound = createOutbound()
beforeAll(async () => {
  upstream = await startUpstream()
})
afterAll(async () => {
  await outbound.close(0)
  await upstream.close()
})

test('what a handler throws at the end of an answer comes back to it as an error', async () => {
  upstream.play(raw('ok'))
  const told = await new Promise<string>((resolve) => {
    outbound.dispatch(
      {
        origin: new URL(upstream.baseUrl).origin,
        path: '/v1/x',
        method: 'GET',
        headers: [],
        body: undefined,
        headTimeoutMs: 10_000,
        idleTimeoutMs: 10_000,
        bodyBytesMax: 100,
        trusted: true,
      },
      {
        onHead() {},
        onData() {},
        onEnd() {
          throw new Error('a defect')
        },
        onError: (error) => resolve(error.kind),
      },
    )
  })
  expect(told).toBe('broken')
})

/** What a handler was told, in order. */
function ask(
  more: Partial<OutboundRequest> = {},
  handlerOf?: (call: () => OutboundCall) => OutboundHandler,
): { told: Promise<string[]>; call: OutboundCall } {
  const told: string[] = []
  let call: OutboundCall | undefined
  const done = new Promise<string[]>((resolve) => {
    call = outbound.dispatch(
      {
        origin: new URL(upstream.baseUrl).origin,
        path: '/v1/x',
        method: 'POST',
        headers: ['x-a', '1'],
        body: Buffer.from('body'),
        headTimeoutMs: 300,
        idleTimeoutMs: 300,
        bodyBytesMax: 100,
        trusted: true,
        ...more,
      },
      handlerOf?.(() => call!) ?? {
        onHead: (status) => told.push(`head ${status}`),
        onData: (chunk) => told.push(`data ${chunk.length}`),
        onEnd: () => resolve([...told, 'end']),
        onError: (error) => resolve([...told, `error ${error.kind}`]),
      },
    )
    told.push('returned')
  })
  return { told: done, call: call! }
}

test('an answer is told in order', async () => {
  upstream.play(raw('hello'))
  expect(await ask().told).toEqual(['returned', 'head 200', 'data 5', 'end'])
  expect(upstream.seen.at(-1)?.body.toString()).toBe('body')
})

test('answers that come at once, and wait, bring the bytes of each and of no other', async () => {
  const letters = [...'abcdef']
  const bodyBytes = 600_000
  upstream.play((res, seen) => raw(seen.body.toString().repeat(bodyBytes))(res, seen))
  const bodies = letters.map(
    (letter) =>
      new Promise<string>((resolve) => {
        const chunks: Buffer[] = []
        ask(
          { body: Buffer.from(letter), bodyBytesMax: bodyBytes, idleTimeoutMs: 10_000 },
          (call) => ({
            onHead() {},
            onData(chunk) {
              chunks.push(chunk)
              call().pause()
              setImmediate(() => call().resume())
            },
            onEnd: () => resolve(Buffer.concat(chunks).toString()),
            onError: (error) => resolve(error.kind),
          }),
        )
      }),
  )
  const read = await Promise.all(bodies)
  expect(read.map((body) => [body[0], body.length])).toEqual(letters.map((it) => [it, bodyBytes]))
  expect(read.every((body) => body === body[0]!.repeat(bodyBytes))).toBe(true)
})

test('a redirect is an answer like any other', async () => {
  upstream.play(raw('', 302, { location: 'http://127.0.0.1:1/' }))
  expect(await ask().told).toEqual(['returned', 'head 302', 'end'])
})

test('a body above its limit is an error, and the socket is closed', async () => {
  upstream.play(raw('x'.repeat(101)))
  expect(await ask().told).toEqual(['returned', 'head 200', 'error too_large'])
})

test.each([
  ['no head in time', hangBeforeHead, 'error head_timeout'],
  ['a reset', resetBeforeHead, 'error broken'],
])('%s is told by its kind', async (_what, script, expected) => {
  upstream.play(script)
  expect((await ask().told).at(-1)).toBe(expected)
})

test('nobody listening is told as such, never before dispatch has returned', async () => {
  expect(await ask({ origin: 'http://127.0.0.1:1' }).told).toEqual(['returned', 'error connect'])
  expect(await ask({ headers: ['bad header', 'x'] }).told).toEqual(['returned', 'error broken'])
})

test('an aborted call closes its socket and tells its handler nothing more', async () => {
  upstream.play(hangBeforeHead)
  const before = upstream.seen.length
  const { call, told } = ask()
  while (upstream.seen.length === before) await new Promise(setImmediate)
  call.abort()
  expect(await upstream.seen.at(-1)?.closed).toBe(true)
  expect(
    await Promise.race([told, new Promise((resolve) => setTimeout(resolve, 50, 'silent'))]),
  ).toBe('silent')
})

test.each([
  'http://127.0.0.1:1',
  'http://[::1]:1',
  'http://0x7f.1:1',
  'http://localhost:1',
  'http://169.254.169.254',
])('%s is refused when it came through the API', async (origin) => {
  expect((await ask({ origin, trusted: false }).told).at(-1)).toBe('error address_refused')
})

test('public addresses are told from all others', () => {
  const isPublic = ['8.8.8.8', '1.1.1.1', '2606:4700:4700::1111', '172.32.0.1', '100.128.0.1']
  const isNot = [
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '169.254.169.254',
    '0.0.0.0',
    '127.9.9.9',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '64:ff9b::7f00:1',
    'fe80::1',
    'fd00::1',
    'ff02::1',
    '2002:7f00:1::',
    '2001:db8::1',
    'not an address',
  ]
  expect(isPublic.filter((address) => !isPublicAddress(address))).toEqual([])
  expect(isNot.filter((address) => isPublicAddress(address))).toEqual([])
})
