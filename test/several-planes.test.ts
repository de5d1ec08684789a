// Several planes on one ClickHouse and one Postgres: each takes spans, and a reader in ingest order gets all of them once.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import type { Json } from './clients.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { type SharedStores, startSharedStores } from './own-stores.ts'
import { startWorld, type World } from './world.ts'

let stores: SharedStores
let planes: World[]
beforeAll(async () => {
  stores = await startSharedStores()
  const { env } = stores
  const first = await startWorld(env)
  // The second has its media where the first has them.
  planes = [first, await startWorld({ ...env, RUNLEDGER_MEDIA_DIR: `${first.dataDir}/media` })]
})
afterAll(async () => {
  await Promise.all(planes.map((plane) => plane.end()))
  await stores.end()
})

async function send(plane: World): Promise<string> {
  const spanId = randomHex(8)
  const span = jsonSpan({ traceId: randomHex(16), spanId })
  const response = await fetch(`${plane.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${plane.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(jsonRequest(span)),
  })
  expect(response.status).toBe(200)
  return spanId
}

/** One page of the export behind a cursor: the ids on it, and the next cursor. */
async function readOn(plane: World, cursor: string): Promise<{ ids: string[]; cursor: string }> {
  const response = await fetch(`${plane.url}/v1/otlp/export?limit=7&cursor=${cursor}`, {
    headers: { Authorization: `Bearer ${plane.key}` },
  })
  const body = (await response.json()) as Json
  const ids = body.resourceSpans.flatMap((resource: Json) =>
    resource.scopeSpans.flatMap((scope: Json) => scope.spans.map((span: Json) => span.spanId)),
  )
  return { ids, cursor: response.headers.get('x-next-cursor') ?? '' }
}

test('an export that follows two planes while both take spans passes over none and repeats none', async () => {
  const sent: string[] = []
  const read: string[] = []
  let cursor = ''
  for (let round = 0; round < 40; round++) {
    const [one, other] = planes as [World, World]
    sent.push(await send(other), await send(one))
    const page = await readOn(one, cursor)
    read.push(...page.ids)
    cursor = page.cursor
  }
  await vi.waitFor(
    async () => {
      const page = await readOn(planes[0]!, cursor)
      read.push(...page.ids)
      cursor = page.cursor
      expect(read.length).toBeGreaterThanOrEqual(sent.length)
    },
    { timeout: 20_000, interval: 100 },
  )
  expect([...read].sort()).toEqual([...sent].sort())
})

test('media that one plane took another gives, when they share a folder; what neither has is told as such', async () => {
  const [one, other] = planes as [World, World]
  for (const [taker, giver] of [
    [one, other],
    [other, one],
  ] as const) {
    const bytes = Buffer.from(`a picture at ${taker.url}`)
    const image = `data:image/png;base64,${bytes.toString('base64')}`
    const content = [{ type: 'image_url', image_url: { url: image } }]
    const call = await fetch(`${taker.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${taker.key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] }),
    })
    expect(call.status).toBe(200)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const read = async () => {
      const found = await fetch(`${giver.url}/v1/media/${sha256}`, {
        headers: { Authorization: `Bearer ${giver.key}` },
      })
      return [found.status, await found.text()]
    }
    await expect.poll(read, { timeout: 10_000 }).toEqual([200, bytes.toString()])
  }
  const missing = await fetch(`${one.url}/v1/media/${'ab'.repeat(32)}`, {
    headers: { Authorization: `Bearer ${one.key}` },
  })
  expect([missing.status, (await missing.json()).error.message]).toEqual([
    404,
    expect.stringContaining('RUNLEDGER_MEDIA_DIR'),
  ])
})

test('a deletion asked of one plane reaches what another still has on its disk', async () => {
  const [one, other] = planes as [World, World]
  const traceId = randomHex(16)
  const take = async (plane: World) => {
    const span = jsonSpan({ traceId, spanId: randomHex(8) })
    const response = await fetch(`${plane.url}/v1/otlp/traces`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${plane.key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(jsonRequest(span)),
    })
    expect(response.status).toBe(200)
  }
  await take(one)
  await take(other)
  const deleted = await fetch(`${one.url}/v1/traces/${traceId}`, {
    method: 'DELETE',
    headers: { Authorization: `Bearer ${one.key}` },
  })
  // 202 where the other plane takes longer than an answer waits: it is written down, and done.
  expect([200, 202]).toContain(deleted.status)
  await vi.waitFor(
    async () => {
      for (const plane of [one, other]) {
        const found = await fetch(`${plane.url}/v1/traces/${traceId}`, {
          headers: { Authorization: `Bearer ${plane.key}` },
        })
        expect(found.status).toBe(404)
        // Raw bytes of the id, as rows hold it: in no segment of either plane.
        expect(filesHolding(`${plane.dataDir}/spool`, Buffer.from(traceId, 'hex'))).toEqual([])
      }
    },
    { timeout: 40_000, interval: 200 },
  )
})

function filesHolding(dir: string, bytes: Buffer): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => `${dir}/${name}`)
    .filter((path) => statSync(path).isFile() && readFileSync(path).includes(bytes))
}
