// A plane with prices, limits and a scripted upstream: what a test of budgets needs, and nothing it has to say twice.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import OpenAI from 'openai'
import type { Postgres } from '../src/stores/postgres.ts'
import { startOwnPostgres } from './own-stores.ts'
import { completion, json, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

// 1000 nano-USD a token in, 2000 a token out.
const storedDeadlineMs = 20_000

export const priced = {
  id: 'priced',
  context_length: 1000,
  pricing: { std_input: 1, std_output: 2 },
}
export const unpriced = { id: 'unpriced' }

export type MoneyWorld = World & {
  upstream: ScriptedUpstream
  sdk(key?: string): OpenAI
  newKey(terms: object): Promise<{ id: string; key: string }>
  get(path: string, key?: string): Promise<ReturnType<typeof JSON.parse>>
  rowsOf(by: string, count: number): Promise<ReturnType<typeof JSON.parse>>
  chat(key: string, more?: object, headers?: Record<string, string>): Promise<Response>
}

/** The settings by which a plane has these prices, and the upstream at this address. */
export function moneySettings(upstream: ScriptedUpstream, more: object = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'runledger-config-'))
  const path = join(dir, 'runledger.json')
  const config = {
    providers: [{ id: 'scripted', base_url: upstream.baseUrl }],
    routes: [{ id: 'all', models: ['*'], targets: [{ provider: 'scripted' }] }],
    models: [priced, unpriced],
    ...more,
  }
  writeFileSync(path, JSON.stringify(config))
  return {
    env: { RUNLEDGER_CONFIG: path, OPENAI_BASE_URL: upstream.baseUrl },
    end: () => rmSync(dir, { recursive: true, force: true }),
  }
}

export async function startMoneyWorld(
  options: { config?: object; env?: Record<string, string> } = {},
): Promise<MoneyWorld> {
  const upstream = await startUpstream()
  const settings = moneySettings(upstream, options.config)
  const world = await startWorld({ ...settings.env, ...options.env })
  upstream.play(json(answerOf(100, 50)))
  const callers = callersOf(world)
  return {
    ...world,
    ...callers,
    upstream,
    async end() {
      await world.end()
      await upstream.close()
      settings.end()
    },
  }
}

/** The same on a Postgres that the test reads too. */
export async function startMoneyOnPostgres(
  options: Parameters<typeof startMoneyWorld>[0] = {},
): Promise<MoneyWorld & { sql: Postgres }> {
  const own = await startOwnPostgres()
  const world = await startMoneyWorld({ ...options, env: { ...own.env, ...options.env } })
  return {
    ...world,
    sql: own.sql,
    async end() {
      await world.end()
      await own.end()
    },
  }
}

/** Calls of a plane at this address; `key` is its owner's. */
export function callersOf({ url, key: owner }: { url: string; key: string }) {
  const headersOf = (key = owner) => ({ authorization: `Bearer ${key}` })
  const post = (path: string, body: object, headers: Record<string, string>) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
  const get = async (path: string, key?: string) => {
    const answer = await fetch(url + path, { headers: headersOf(key) })
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
    return answer.json()
  }
  return {
    get,
    /** The rows of so many calls: a read waits two seconds for what was stored before it, and on a busy machine that may take longer. */
    async rowsOf(by: string, count: number) {
      const deadline = performance.now() + storedDeadlineMs
      for (;;) {
        const rows = await get(`/v1/usage/logs?limit=500&offset=0&${by}`)
        if (rows.length >= count || performance.now() > deadline) return rows
        await wait(50)
      }
    },
    sdk: (key = owner) => new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 }),
    async newKey(terms: object) {
      const answer = await post('/v1/keys', terms, headersOf())
      if (answer.status !== 201) throw new Error(await answer.text())
      return (await answer.json()) as { id: string; key: string }
    },
    chat: (key: string, more: object = {}, headers: Record<string, string> = {}) =>
      post(
        '/v1/chat/completions',
        {
          model: 'priced',
          messages: [{ role: 'user', content: 'Hello' }],
          max_tokens: 50,
          ...more,
        },
        { ...headersOf(key), ...headers },
      ),
  }
}

/** A completion that reports so much usage. */
export function answerOf(input: number, output: number, more: object = {}): object {
  return completion('Hello there', {
    model: 'priced-2026-01-01',
    usage: {
      prompt_tokens: input,
      completion_tokens: output,
      total_tokens: input + output,
      ...more,
    },
  })
}
