// A call that needs nothing of the app goes past it. Whoever calls must not be able to tell. Against the whole plane: a query
// in the address leads through the app, none past it.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
  // The first call of a key is looked up, and so goes through the app.
  expect((await call(chat, hello)).status).toBe(200)
})
afterAll(() => world.end())

const chat = '/v1/chat/completions'
const hello = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }] })

function call(path: string, body: string, headers: Record<string, string> = {}) {
  return fetch(world.url + path, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${world.key}`,
      'Content-Type': 'application/json',
      ...headers,
    },
    body,
  })
}

/** What is the same for two calls that ask the same: all but the ids, hashes and times of each. */
async function shapeOf(response: Response) {
  const { 'content-length': _, ...headers } = Object.fromEntries(
    [...response.headers].map(([name, value]) => [
      name,
      /date|id$|signature|traceparent|server-timing/.test(name) ? 'its own' : value,
    ]),
  )
  const body = (await response.json()) as { error?: unknown; choices?: unknown }
  return { status: response.status, headers, told: body.error ?? body.choices }
}

const asks: [string, string, Record<string, string>][] = [
  ['an answer', hello, {}],
  ['a body that is no JSON', '{"model":', {}],
  ['a body of another type', hello, { 'Content-Type': 'text/plain' }],
  ['a parameter that is wrong', '{"model":"m","messages":[],"stream":"yes"}', {}],
  ['a header that is wrong', hello, { 'X-BatchIn-Capture': 'some' }],
  ['a route that is not there', hello, { 'X-BatchIn-Route': 'nowhere' }],
]

test.each(asks)(
  '%s is told in the same words on the short way and on the long one',
  async (_name, body, headers) => {
    const short = await shapeOf(await call(chat, body, headers))
    const long = await shapeOf(await call(`${chat}?long`, body, headers))
    expect(short).toEqual(long)
  },
)

test('a request id of the caller comes back on both ways, also with a refusal', async () => {
  for (const path of [chat, `${chat}?long`])
    for (const body of [hello, '{"model":']) {
      const { headers } = await call(path, body, { 'X-Request-Id': 'mine-1' })
      expect(headers.get('x-request-id')).toBe('mine-1')
    }
})

test('both ways are timed as one route, each call once', async () => {
  // Of a route that no other test here asks: a call is timed a moment after its answer is here.
  const route = '/v1/embeddings'
  for (const body of ['{"model":"m","input":"hi"}', '{"model":'])
    for (const query of ['', '?long']) await (await call(route + query, body)).text()
  const timed = async () => {
    const text = await (await fetch(`${world.url}/metrics`)).text()
    const name = `runledger_http_request_seconds_count{method="POST",route="${route}"}`
    return text.split('\n').find((line) => line.startsWith(name))
  }
  await expect.poll(timed).toMatch(/ 4$/)
})

test('a key that is revoked is refused on the short way too', async () => {
  const made = await fetch(`${world.url}/v1/keys`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
    body: '{"name":"short"}',
  })
  const { id, key } = (await made.json()) as { id: string; key: string }
  const asKey = { Authorization: `Bearer ${key}` }
  expect((await call(chat, hello, asKey)).status).toBe(200)
  expect((await call(chat, hello, asKey)).status).toBe(200)
  const revoked = await fetch(`${world.url}/v1/keys/${id}`, {
    method: 'DELETE',
    headers: { Authorization: `Bearer ${world.key}` },
  })
  expect(revoked.ok).toBe(true)
  expect((await call(chat, hello, asKey)).status).toBe(401)
})
