// Webhooks over a real socket: what is sent, how it is signed, and where it is never sent.

import { generateKeyPairSync, verify } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createOutbound, type Outbound } from '../collectors/proxy/outbound.ts'
import { sendWebhook } from '../src/experiments/webhook-send.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const key = { keyId: 'k1', privateKey }
const nowMs = () => 1_800_000_000_500
const seen: { headers: IncomingHttpHeaders; body: string }[] = []
let status = 200

const server = createServer(async (req, res) => {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk)
  seen.push({ headers: req.headers, body: Buffer.concat(chunks).toString() })
  res.writeHead(status, { location: '/elsewhere' }).end()
})
let outbound: Outbound
let url: string
beforeAll(async () => {
  outbound = createOutbound()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` // listening on TCP
})
afterAll(async () => {
  await outbound.close(100)
  server.closeAllConnections()
  server.close()
})

const send = (isTrusted: boolean) => {
  const deps = { outbound, nowMs, isTrusted, signal: new AbortController().signal }
  return sendWebhook(deps, { id: 'msg-1', url, body: '{"type":"regression_open"}' }, key)
}

test('a webhook is signed over its id, its time and its bytes', async () => {
  status = 204
  expect(await send(true)).toEqual({ outcome: 'delivered' })
  const { headers, body } = seen.at(-1)!
  const signature = Buffer.from(String(headers['webhook-signature']).slice('v1a,'.length), 'base64')
  expect(headers).toMatchObject({
    'webhook-id': 'msg-1',
    'webhook-timestamp': '1800000000',
    'webhook-key-id': 'k1',
  })
  expect(verify(null, Buffer.from(`msg-1.1800000000.${body}`), publicKey, signature)).toBe(true)
  expect(verify(null, Buffer.from(`msg-1.1800000001.${body}`), publicKey, signature)).toBe(false)
})

test.each([
  [500, 'later'],
  [429, 'later'],
  [302, 'later'],
  [404, 'later'],
  [410, 'dead'],
])('an answer of %i is %s', async (answered, outcome) => {
  status = answered
  const before = seen.length
  expect(await send(true)).toMatchObject({ outcome })
  expect(seen.length).toBe(before + 1)
})

test('a private address that came through the API is never connected to', async () => {
  const before = seen.length
  expect(await send(false)).toMatchObject({ outcome: 'dead' })
  expect(seen.length).toBe(before)
})
