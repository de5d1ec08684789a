// Stopping: new calls are told to come back, running streams finish until a deadline, and every receipt is written.

import { afterEach, expect, test } from 'vitest'
import { readSettings } from '../schemas/settings.ts'
import { type Plane, startPlane } from '../src/plane.ts'
import { newDataDir, removeDataDir, testKey } from './product.ts'

const planes: Plane[] = []
const dataDirs: string[] = []

afterEach(async () => {
  for (const plane of planes.splice(0)) await plane.stop(AbortSignal.abort())
  for (const dataDir of dataDirs.splice(0)) removeDataDir(dataDir)
}, 60_000)

async function start(dataDir: string): Promise<Plane> {
  const settings = readSettings({
    PORT: '0',
    RUNLEDGER_DATA_DIR: dataDir,
    RUNLEDGER_BOOTSTRAP_KEY: testKey,
  })
  const signal = new AbortController().signal
  const plane = await startPlane(settings, { log: () => {}, signal })
  planes.push(plane)
  return plane
}

const authorization = `Bearer ${testKey}`
const traceparent = '00-5709000000000000000000000000abcd-00f067aa0ba902b7-01'

/** A stream of the sandbox: a word every so often; resolves with its first words. */
async function startStream(url: string, paceMs: number) {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization,
      traceparent,
      'content-type': 'application/json',
      'x-sandbox': `pace=${paceMs}`,
    },
    body: JSON.stringify({
      model: 'm',
      stream: true,
      messages: [{ role: 'user', content: 'one two three four five six' }],
    }),
  })
  const reader = answer.body!.getReader()
  const first = await reader.read()
  return {
    recordId: answer.headers.get('x-vaas-record-id'),
    async rest() {
      let text = Buffer.from(first.value ?? []).toString()
      for (let next = await reader.read(); !next.done; next = await reader.read())
        text += Buffer.from(next.value).toString()
      return text
    },
  }
}

const statusOf = (url: string, init?: RequestInit) =>
  fetch(url, init).then(
    async (answer) => [answer.status, answer.headers.get('retry-after')],
    () => ['refused', null],
  )

test('while a stream finishes, new calls and health are answered 503; then everything has its receipt', async () => {
  const dataDir = newDataDir()
  dataDirs.push(dataDir)
  const plane = await start(dataDir)
  const running = await startStream(plane.url, 250)
  const stopped = plane.stop()
  expect(await statusOf(`${plane.url}/v1/traces`, { headers: { authorization } })).toEqual([
    503,
    '1',
  ])
  expect((await statusOf(`${plane.url}/health`))[0]).toBe(503)
  const text = await running.rest()
  expect(text).toMatch(/: vaas \{.*"status":"completed".*\}\ndata: \[DONE\]\n\n$/)
  await stopped
  expect((await statusOf(`${plane.url}/health`))[0]).toBe('refused')
}, 60_000)

test('a stream that takes too long is ended with an error event and its receipt, and is found interrupted', async () => {
  const dataDir = newDataDir()
  dataDirs.push(dataDir)
  const plane = await start(dataDir)
  const running = await startStream(plane.url, 2_000)
  await plane.stop(AbortSignal.abort())
  const text = await running.rest()
  expect(text).toContain('"status":"interrupted"')
  expect(text).toContain('"message":"The server is stopping."')
  expect(text).not.toContain('[DONE]')

  const again = await start(dataDir)
  const trace = await fetch(`${again.url}/v1/traces/5709000000000000000000000000abcd`, {
    headers: { authorization },
  })
  const { spans } = await trace.json()
  expect(spans.map(({ status }: { status: string }) => status)).toEqual(['interrupted'])
  const record = await fetch(`${again.url}/v1/vaas/${running.recordId}/verify`)
  expect([record.status, (await record.json()).valid]).toEqual([200, true])
}, 60_000)

test('a call that waits for its upstream is answered 503 with a signature that says interrupted', async () => {
  const dataDir = newDataDir()
  dataDirs.push(dataDir)
  const plane = await start(dataDir)
  const waiting = fetch(`${plane.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json', 'x-sandbox': 'latency=60000' },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x' }] }),
  })
  await expect
    .poll(async () => (await fetch(`${plane.url}/metrics`)).text(), { interval: 10 })
    .toContain('runledger_proxy_live_answers 1')
  await plane.stop(AbortSignal.abort())
  const answer = await waiting
  expect([answer.status, answer.headers.get('x-vaas-phase')]).toEqual([503, 'final'])
}, 60_000)
