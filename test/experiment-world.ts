// Traffic of two versions of a prompt through the proxy, over an upstream that answers by script, and the experiment it leads to.

import { expect } from 'vitest'
import type { ScriptedUpstream } from './upstream.ts'
import { completion } from './upstream.ts'

// biome-ignore lint/suspicious/noExplicitAny: answers are judged by what they say, not by a type of ours
export type Json = any

export type Target = { url: string; key: string }

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
  call: { system: string; user: string; label?: string; headers?: Record<string, string> },
): Promise<void> {
  const answer = await post(
    target,
    '/v1/chat/completions',
    {
      model: 'gpt-4o-mini',
      temperature: 0.3,
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

/** Answers as a function of the request's messages; every call is counted by what it asked. */
export function playModel(
  upstream: ScriptedUpstream,
  answer: (messages: { role: string; content: string }[], calls: number) => string,
): Map<string, number> {
  const asked = new Map<string, number>()
  upstream.play((res, seen) => {
    const { messages } = JSON.parse(seen.body.toString())
    const key = JSON.stringify(messages)
    asked.set(key, (asked.get(key) ?? 0) + 1)
    res.writeHead(200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(completion(answer(messages, asked.get(key) ?? 0))))
  })
  return asked
}

/** The experiment of a candidate once it is in one of these states. */
export async function experimentOf(
  target: Target,
  candidate: string,
  isReady: (experiment: Json) => boolean,
): Promise<Json> {
  let last: Json
  await expect
    .poll(
      async () => {
        const { items } = await get(target, '/v1/experiments')
        last = items.find((item: Json) => item.candidate_prompt_version_id === candidate)
        return last !== undefined && isReady(last)
      },
      { timeout: 50_000, interval: 100 },
    )
    .toBe(true)
    .catch((error) => {
      throw new Error(`${String(error)}\nlast seen: ${JSON.stringify(last)}`)
    })
  return last
}

export const isDecided = (experiment: Json): boolean =>
  experiment.promotion_status !== 'pending' && !['queued', 'replaying'].includes(experiment.status)
