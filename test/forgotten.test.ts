// Nothing of whoever was deleted is left anywhere: not on the disk of any plane, not in either store, not in what is kept to be
// given again. Two planes, one of which is asked; a mark stands in everything that is sent.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { type Clickhouse, connectClickhouse } from '../src/stores/clickhouse.ts'
import type { Postgres } from '../src/stores/postgres.ts'
import type { Json } from './clients.ts'
import { chatAll, experimentOf, isDecided, patch } from './experiment-world.ts'
import { answerOf, moneySettings } from './money-world.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { type SharedStores, startSharedStores } from './own-stores.ts'
import { removeDataDir } from './product.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { completion, json, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

const mark = 'Quetzalcoatlus-northropi-7731'
// As hostile as a name may be, beside ones that a careless match would take for it.
const user = `o'\\"; DROP TABLE spans; -- %_\t\n\u0001\u0000 zoë 🦊`
const others = [user.replaceAll(/\p{Cc}/gu, ' '), `${user}2`, user.toUpperCase(), '%']

let stores: SharedStores
let clickhouse: Clickhouse
let sql: Postgres
let upstream: ScriptedUpstream
let settings: ReturnType<typeof moneySettings>
let planes: [World, World]
let start: () => Promise<World>
beforeAll(async () => {
  stores = await startSharedStores()
  sql = stores.sql
  clickhouse = connectClickhouse(stores.clickhouseUrl)
  upstream = await startUpstream()
  const route = { id: 'all', models: ['*'], targets: [{ provider: 'scripted' }], cache: 60 }
  settings = moneySettings(upstream, { routes: [route] })
  start = () => startWorld({ ...settings.env, ...stores.env })
  planes = [await start(), await start()]
})
afterAll(async () => {
  await Promise.all(planes.map((plane) => plane.end()))
  await Promise.all([clickhouse.close(), upstream.close()])
  await stores.end()
  settings.end()
})

async function call(
  plane: World,
  path: string,
  given: { method?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<{ status: number; body: Json; headers: Headers }> {
  const { method = 'POST', body, headers } = given
  const response = await fetch(plane.url + path, {
    method,
    headers: {
      Authorization: `Bearer ${plane.key}`,
      'Content-Type': 'application/json',
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: text && JSON.parse(text), headers: response.headers }
}

function spanOf(of: string, says: string, more: Record<string, string> = {}): Json {
  const attributes = { 'user.id': of, note: says, 'gen_ai.input.messages': says, ...more }
  return jsonSpan({
    traceId: randomHex(16),
    spanId: randomHex(8),
    name: says,
    attributes: Object.entries(attributes).map(([key, stringValue]) => ({
      key,
      value: { stringValue },
    })),
  })
}

/** The same question each time: an answer to be kept, and one to be given again. */
const question = {
  model: 'priced',
  user,
  messages: [
    { role: 'system', content: `You are the helper of ACME.\nNote: ${mark}\nBe brief and kind.` },
    {
      role: 'user',
      content: [
        { type: 'text', text: `What of ${mark}?` },
        {
          type: 'image_url',
          image_url: {
            url: `data:image/png;base64,${Buffer.from(`${mark} `.repeat(60)).toString('base64')}`,
          },
        },
      ],
    },
  ],
}

/** A destination that refuses spans of the mark and quotes it. On this machine, where the API would not have one. */
async function pushTo(endpoint: Receiver): Promise<void> {
  endpoint.reply = ({ spans }) =>
    spans.some(({ name }) => name === mark)
      ? { status: 400, body: { code: 3, message: `I cannot read ${mark}.` } }
      : undefined
  const path = '/v1/otlp/destinations'
  const made = await call(planes[0], path, { body: { name: 'out', url: 'https://a.example/' } })
  expect(made.status).toBe(201)
  await sql.query('UPDATE destinations SET url = $1, is_trusted = true', [endpoint.url])
}

/** Everything that a plane takes, with the mark in it. */
async function use(plane: World): Promise<Json> {
  const asked = JSON.stringify(question.messages.slice(0, 1))
  const traced = jsonRequest(
    spanOf(user, mark),
    // Of a model call that an exporter reports: discovery meets it in the stores.
    spanOf(user, mark, { 'gen_ai.request.model': 'priced', 'gen_ai.input.messages': asked }),
  )
  const ran = {
    ...{ model: 'm', input: mark, output: mark, user_id: user, tags: [mark] },
    ...{ started_at: '2026-11-20T10:00:00Z', ended_at: '2026-11-20T10:00:01Z' },
    metadata: { note: mark },
  }
  upstream.play(json({ ...answerOf(5, 5), note: mark }))
  const headers = { 'Idempotency-Key': 'once' }
  const answers = [
    await call(plane, '/v1/otlp/traces', { body: traced }),
    await call(plane, '/v1/runs', { body: ran }),
    await call(plane, '/v1/chat/completions', { body: question, headers }),
    await call(plane, '/v1/chat/completions', { body: question }),
  ]
  for (const other of others) {
    const body = jsonRequest(spanOf(other, 'stays'))
    answers.push(await call(plane, '/v1/otlp/traces', { body }))
  }
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  return traced
}

/**
 * A version whose rule was negated, tried over what he said: his words are in the drawn conversations, in the answers of the
 * replays, in what the judges found, and in what a person noted; and a provider that refuses one replay quotes them.
 */
async function tryVersion(plane: World): Promise<void> {
  const sent = new Set<string>()
  upstream.play((res, { body }) => {
    const [system, asked] = JSON.parse(body.toString()).messages
    const isReplay = asked.content.startsWith('Question 3') && sent.has(body.toString())
    sent.add(body.toString())
    res.writeHead(isReplay ? 400 : 200, { 'content-type': 'application/json' })
    const text = `${system.content.split('\n')[1]} You asked: ${asked.content}`
    const error = { message: `I do not answer "${asked.content}".`, type: 'invalid_request_error' }
    res.end(JSON.stringify(isReplay ? { error } : completion(text)))
  })
  const traffic = (version: number, rule: string, count: number) =>
    chatAll(
      plane,
      Array.from({ length: count }, (_, i) => ({
        system: `You are the support desk.\n${rule}`,
        user: `Question ${i} of ${mark}: may I send it back?`,
        by: user,
        label: `desk@v${version}`,
        headers: { 'X-BatchIn-Session-Id': `${mark} ${i}` },
      })),
    )
  await traffic(1, 'Refunds are allowed within 30 days.', 1)
  await call(plane, '/v1/prompts', { method: 'GET' })
  await patch(plane, '/v1/prompts/desk', { policy: { webhook_url: 'https://a.example/hook' } })
  await traffic(1, 'Refunds are allowed within 30 days.', 30)
  await traffic(2, 'Refunds are not allowed within 30 days.', 30)
  const tried = await experimentOf(plane, 'desk@v2', isDecided)
  upstream.play(json(answerOf(5, 5)))
  expect(tried, tried.summary).toMatchObject({ status: 'failed' })
  const at = `/v1/prompt-regressions/${tried.regression_id}`
  const body = { label: 'worse', note: `He wrote ${mark}.` }
  expect((await call(plane, `${at}/samples/0/label`, { body })).status).toBe(200)
}

/** Where the mark is: files of the planes, tables of the stores. */
async function found(): Promise<string[]> {
  const places = planes.flatMap(({ dataDir }) => filesWith(dataDir))
  const tables = await sql.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
  )
  const hex = Buffer.from(mark).toString('hex')
  for (const { name } of tables) {
    const [row] = await sql.query<{ n: string }>(
      `SELECT count(*) AS n FROM "${name}" t WHERE position($1 IN t::text) > 0 OR position($2 IN t::text) > 0`,
      [mark, hex],
    )
    if (Number(row?.n) > 0) places.push(`postgres ${name}`)
  }
  if ((await snapshot()).includes(mark)) places.push('postgres discovery')
  for (const name of ['spans', 'payloads', 'envelopes', 'records', 'traces', 'briefs', 'rollups']) {
    const settings = { apply_deleted_mask: 0 }
    const rows = await clickhouse.queryBinary({ sql: `SELECT * FROM ${name}`, settings }, 'Native')
    if (rows.includes(mark)) places.push(`clickhouse ${name}`)
  }
  return places
}

function filesWith(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    const kind = statSync(path)
    if (kind.isDirectory()) return filesWith(path)
    if (!kind.isFile()) return []
    return readFileSync(path).includes(mark)
      ? [path.replaceAll(/.*runledger-product-\w+\//g, '')]
      : []
  })
}

async function snapshot(): Promise<Buffer> {
  const [row] = await sql.query<{ snapshot: Buffer }>('SELECT snapshot FROM discovery_snapshots')
  return row ? inflateRawSync(row.snapshot) : Buffer.alloc(0)
}

test('after the deletion of a user, whatever the name, a mark that stood in all of his data is found nowhere', async () => {
  const [first, second] = planes
  const traced = await use(first)
  await use(second)
  // A leader that stops writes down what discovery knows; who comes after it goes on from there.
  await first.plane.stop()
  await second.plane.stop()
  // As if the minutes had passed after which nobody waits any more for what these two may still have.
  await sql.query('DELETE FROM watermarks')
  planes = [await start(), await start()]
  removeDataDir(first.dataDir)
  removeDataDir(second.dataDir)
  const endpoint = await startReceiver()
  onTestFinished(() => endpoint.close())
  await pushTo(endpoint)
  for (const plane of planes) await use(plane)
  await tryVersion(planes[0])
  const places = ['segments', 'media', 'discovery', 'clickhouse spans', 'clickhouse payloads']
  places.push('postgres destinations', 'postgres dead_letters')
  places.push('postgres experiment_units', 'postgres experiment_calls')
  await vi.waitFor(
    async () => {
      const before = (await found()).join('\n')
      for (const place of places) expect(before).toContain(place)
    },
    { timeout: 60_000, interval: 500 },
  )

  const path = `/v1/data?user_id=${encodeURIComponent(user)}`
  const { status } = await call(planes[0], path, { method: 'DELETE' })
  expect([200, 202]).toContain(status)
  await vi.waitFor(async () => expect(await found()).toEqual([]), {
    timeout: 90_000,
    interval: 500,
  })

  const stays = await call(planes[0], '/v1/traces?limit=100', { method: 'GET' })
  const users = stays.body.items.map((item: Json) => item.user_id)
  for (const other of others) expect(users).toContain(other.replaceAll('\0', '\ufffd'))
  expect(users).not.toContain(user.replaceAll('\0', '\ufffd'))

  const repeated = await call(planes[0], '/v1/chat/completions', { body: question })
  expect(repeated.headers.get('x-batchin-cache')).not.toBe('hit')
  // Who sends again what was deleted wants it back, and is not told that it was there before.
  await call(planes[0], '/v1/otlp/traces', { body: traced })
  const traceId = traced.resourceSpans[0].scopeSpans[0].spans[0].traceId
  expect((await call(planes[0], `/v1/traces/${traceId}`, { method: 'GET' })).status).toBe(200)
}, 420_000)
