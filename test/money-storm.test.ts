// Two hundred calls at once on one budget, half of them streams: callers leave at every stage, upstreams fail in every way. In the
// end nothing is held, the books say what the rows say, and every call has one row.

import { Agent, request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { answerOf, startMoneyOnPostgres } from './money-world.ts'
import { randomOf } from './spool-world.ts'
import {
  breakAfter,
  delta,
  doneEvent,
  hangAfter,
  hangBeforeHead,
  helloEvents,
  json,
  resetBeforeHead,
  type Script,
  sse,
  usageChunk,
} from './upstream.ts'

let world: Awaited<ReturnType<typeof startMoneyOnPostgres>>

beforeAll(async () => {
  world = await startMoneyOnPostgres()
}, 60_000)
afterAll(() => world?.end())

/** When a caller goes: while it sends its body, after so many milliseconds, after so many pieces of the answer, or never. */
type Leaving = { inBody?: boolean; afterMs?: number; afterPieces?: number }

const scripts: Script[] = [
  json(answerOf(100, 50)),
  sse([...helloEvents, usageChunk, doneEvent]),
  sse([...helloEvents, doneEvent]),
  breakAfter(helloEvents),
  hangAfter([delta({ content: 'Hello' })]),
  hangBeforeHead,
  resetBeforeHead,
  json({ error: { message: 'busy', type: 't' } }, 500),
  json({ error: { message: 'slow down', type: 't' } }, 429),
]
const hangs = new Set<Script | undefined>([scripts[4], scripts[5]])

/** The run of a call that was admitted and heard so. */
function call(
  key: string,
  agent: Agent,
  of: { script: number; stream: boolean; leaving: Leaving },
): Promise<string | undefined> {
  const body = JSON.stringify({
    model: 'priced',
    max_tokens: 50,
    stream: of.stream,
    messages: [{ role: 'user', content: `Hello ${of.script}` }],
  })
  return new Promise((resolve) => {
    let run: string | undefined
    const done = () => resolve(run)
    const sent = request(`${world.url}/v1/chat/completions`, {
      agent,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        authorization: `Bearer ${key}`,
      },
    })
    sent.on('error', done).on('close', done)
    sent.on('response', (response) => {
      run = response.headers['x-batchin-run-id']?.toString()
      let pieces = 0
      response
        .on('error', () => {})
        .on('data', () => {
          pieces += 1
          if (pieces === of.leaving.afterPieces) sent.destroy()
        })
    })
    const { inBody, afterMs } = of.leaving
    if (inBody) {
      sent.write(body.slice(0, 40))
      setTimeout(() => sent.destroy(), 20)
    } else sent.end(body)
    if (afterMs !== undefined) setTimeout(() => sent.destroy(), afterMs)
  })
}

test('after two hundred calls in every way they can end, the books are the rows, and nothing is held', async () => {
  const random = randomOf(17)
  const pick = (count: number) => Math.floor(random() * count)
  world.upstream.play(async (res, seen) => {
    const script = scripts[Number(/Hello (\d)/.exec(String(seen.body))?.[1])]!
    await wait(seen.body.length % 7)
    await script(res, seen)
  })
  const key = await world.newKey({ monthly_budget_cents: 2 })
  const agent = new Agent({ keepAlive: true, maxSockets: 200 })
  const heard = await Promise.all(
    Array.from({ length: 200 }, () => {
      const script = pick(scripts.length)
      const leaving: Leaving[] = [
        { inBody: true },
        { afterMs: pick(60) },
        { afterPieces: 1 + pick(3) },
        {},
      ]
      // Who waits for an upstream that hangs would wait for its deadline.
      const way = leaving[pick(hangs.has(scripts[script]) ? 2 : 4)]!
      return call(key.key, agent, { script, stream: random() < 0.5, leaving: way })
    }),
  )
  agent.destroy()
  const live = async () =>
    Number(/proxy_live_answers (\d+)/.exec(await (await fetch(`${world.url}/metrics`)).text())?.[1])
  await expect.poll(live, { timeout: 20_000 }).toBe(0)
  const rows = async (): Promise<{ run_id: string }[]> =>
    world.get(`/v1/usage/logs?limit=500&key_id=${key.id}`)
  const runs = async () => (await rows()).map((row) => row.run_id)
  const runsHeard = heard.filter((run) => run !== undefined)
  await expect.poll(runs, { timeout: 20_000 }).toEqual(expect.arrayContaining(runsHeard))
  const books = async () => {
    const [row] = await world.sql.query<{ spent: string; held: string }>(
      'SELECT spent_nano_usd::text AS spent, held_nano_usd::text AS held FROM purses WHERE purse = $1',
      [key.id],
    )
    return { spentCents: Number(row?.spent) / 1e7, held: row?.held }
  }
  const told = async (): Promise<number> =>
    (await world.get(`/v1/usage/summary?key_id=${key.id}`)).total_cost_cents
  // Both are written a moment after the last answer.
  const isSame = async () =>
    isDeepStrictEqual(await books(), { spentCents: await told(), held: '0' })
  await expect.poll(isSame, { timeout: 20_000 }).toBe(true)
  expect(await told()).toBeGreaterThan(0)
  expect(await told()).toBeLessThanOrEqual(2)
  const all = await runs()
  expect(new Set(all).size).toBe(all.length)
})

test('a key that cannot be looked up is 503, never 401; and it is let in once it can be', async () => {
  const [known, fresh] = [await world.newKey({}), await world.newKey({})]
  const ask = async (key: string) => {
    const headers = { authorization: `Bearer ${key}` }
    const answer = await fetch(`${world.url}/v1/traces/no-id`, { headers })
    return [answer.status, (await answer.json()).error.code]
  }
  const letIn = [400, 'invalid_request']
  expect(await ask(known.key)).toEqual(letIn)
  await world.sql.query('ALTER TABLE keys RENAME TO keys_away')
  try {
    expect(await ask(fresh.key)).toEqual([503, 'service_unavailable'])
    // What the checksum tells needs no store.
    expect(await ask(fresh.key.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).toEqual([
      401,
      'unauthorized',
    ])
  } finally {
    await world.sql.query('ALTER TABLE keys_away RENAME TO keys')
  }
  expect(await ask(fresh.key)).toEqual(letIn)
})
