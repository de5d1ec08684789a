// Traffic of two versions of a prompt through the proxy, over an upstream that answers by script, and the experiment it leads to.

import { expect, vi } from 'vitest'
import { completion, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

// biome-ignore lint/suspicious/noExplicitAny: answers are judged by what they say, not by a type of ours
export type Json = any

export type Target = { url: string; key: string }

export type ExperimentWorld = World & { upstream: ScriptedUpstream }

/** A plane whose calls and replays go to the scripted upstream. */
export async function startExperimentWorld(
  env: Record<string, string> = {},
): Promise<ExperimentWorld> {
  const upstream = await startUpstream()
  const world = await startWorld({
    ...{ OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-test' },
    ...env,
  })
  return {
    ...world,
    upstream,
    async end() {
      await world.end()
      await upstream.close()
    },
  }
}

export async function get(target: Target, path: string): Promise<Json> {
  const response = await fetch(target.url + path, {
    headers: { Authorization: `Bearer ${target.key}` },
  })
  return response.json()
}

export async function post(
  target: Target,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Json; headers: Headers }> {
  const response = await fetch(target.url + path, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${target.key}`,
      'Content-Type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(body),
  })
  return { status: response.status, body: await response.json(), headers: response.headers }
}

/** One call of a version, labelled when `label` is given. */
export async function chat(
  target: Target,
  call: {
    system: string
    user: string
    /** Who asks, as OpenAI's API has it. */
    by?: string
    label?: string
    headers?: Record<string, string>
  },
): Promise<void> {
  const answer = await post(
    target,
    '/v1/chat/completions',
    {
      model: 'gpt-4o-mini',
      temperature: 0.3,
      ...(call.by === undefined ? {} : { user: call.by }),
      messages: [
        { role: 'system', content: call.system },
        { role: 'user', content: call.user },
      ],
    },
    {
      ...(call.label === undefined ? {} : { 'X-BatchIn-Prompt-Version': call.label }),
      ...call.headers,
    },
  )
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}

/** Many calls, a few at a time. */
export async function chatAll(target: Target, calls: Parameters<typeof chat>[1][]): Promise<void> {
  for (let at = 0; at < calls.length; at += 10) {
    await Promise.all(calls.slice(at, at + 10).map((call) => chat(target, call)))
  }
}

/** Answers as a function of the request's messages; every call is counted by what it asked. */
export function playModel(
  upstream: ScriptedUpstream,
  answer: (messages: { role: string; content: string }[], calls: number) => string,
  latencyMs: (messages: { role: string; content: string }[]) => number = () => 0,
): Map<string, number> {
  const asked = new Map<string, number>()
  upstream.play((res, seen) => {
    const { messages } = JSON.parse(seen.body.toString())
    const key = JSON.stringify(messages)
    asked.set(key, (asked.get(key) ?? 0) + 1)
    const body = JSON.stringify(completion(answer(messages, asked.get(key) ?? 0)))
    setTimeout(() => {
      res.writeHead(200, { 'content-type': 'application/json' })
      res.end(body)
    }, latencyMs(messages))
  })
  return asked
}

// Far beyond what it takes: a machine that does ten things at once must not make a test red.
const decidedWithinMs = 200_000

/** The experiment of a candidate once it is in one of these states. */
export async function experimentOf(
  target: Target,
  candidate: string,
  isReady: (experiment: Json) => boolean,
): Promise<Json> {
  const [registry] = candidate.split('@')
  let last: Json
  const look = async () => {
    const { items } = await get(target, `/v1/experiments?registry_id=${registry}`)
    last = items.find((item: Json) => item.candidate_prompt_version_id === candidate)
    return last !== undefined && isReady(last)
  }
  await vi.waitUntil(look, { timeout: decidedWithinMs, interval: 100 }).catch((error) => {
    throw new Error(`${String(error)}\nlast seen: ${JSON.stringify(last)}`)
  })
  return last
}

export const isDecided = (experiment: Json): boolean =>
  experiment.promotion_status !== 'pending' && !['queued', 'replaying'].includes(experiment.status)

export async function patch(target: Target, path: string, body: unknown): Promise<Json> {
  const response = await fetch(target.url + path, {
    method: 'PATCH',
    headers: { Authorization: `Bearer ${target.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  expect(response.status, await response.clone().text()).toBe(200)
  return response.json()
}
