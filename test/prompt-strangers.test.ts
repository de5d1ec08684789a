// What exporters send that is no call, or not ours to look at; whose calls they are; and what may become of those that are found.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { get, type Json, type Target } from './clients.ts'
import { counted, dialectOf, exportCalls, figure } from './following-world.ts'
import { jsonRequest, jsonSpan } from './otlp-messages.ts'
import { startWorld, type World } from './world.ts'

const dir = mkdtempSync(join(tmpdir(), 'runledger-strangers-'))
let world: World
beforeAll(async () => {
  const config = join(dir, 'runledger.json')
  const route = { id: 'some', models: ['gpt-*'], targets: [{ provider: 'sandbox' }] }
  writeFileSync(config, JSON.stringify({ routes: [route] }))
  world = await startWorld({ RUNLEDGER_CONFIG: config })
})
afterAll(async () => {
  await world.end()
  rmSync(dir, { recursive: true, force: true })
})

const eventually = { timeout: 50_000, interval: 200 }
const outcome = (name: string) => figure(world, `prompt_followed_calls_total{outcome="${name}"}`)

async function send(of: Target, spans: Json[]): Promise<void> {
  const response = await fetch(`${of.url}/v1/otlp/traces`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${of.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(jsonRequest(...spans)),
  })
  expect([response.status, await response.text()]).toEqual([200, '{}'])
}

function spanOf(attributes: Record<string, string>, over: Json = {}): Json {
  return jsonSpan({
    traceId: randomHex(16),
    spanId: randomHex(8),
    attributes: Object.entries(attributes).map(([key, stringValue]) => ({
      key,
      value: { stringValue },
    })),
    ...over,
  })
}

async function post(path: string, body: unknown): Promise<Json> {
  const response = await fetch(world.url + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  return response.json()
}

const porter = 'You are the night porter.\nMind the lift.\nGive no key to strangers.'

test('spans that are no calls, calls without words, the same span again, and calls on the way of a replay are not looked at', async () => {
  const call = dialectOf.genai!(porter)
  const told = spanOf(call)
  const outer = randomHex(16)
  const inner = randomHex(8)
  await send(world, [
    told,
    spanOf({ 'gen_ai.input.messages': porter }),
    spanOf({ 'gen_ai.request.model': 'gpt-4o-mini' }),
    spanOf(
      { ...call, 'gen_ai.input.messages': '[{"role":' },
      { startTimeUnixNano: '40000000000000000' },
    ),
    spanOf({ ...call, 'gen_ai.input.messages': '[]' }),
    spanOf({ ...call, 'batchin.origin': 'replay' }),
    spanOf({ ...call, 'gen_ai.operation.name': 'execute_tool' }),
    // One call, told by the framework around it and by the client within.
    spanOf(call, { traceId: outer, spanId: inner }),
    spanOf(call, { traceId: outer, spanId: randomHex(8), parentSpanId: inner }),
  ])
  await send(world, [told])
  await expect.poll(() => outcome('known'), eventually).toBe(1)
  // The one that is cut off is text, and somebody's first word.
  expect(await outcome('shown')).toBe(3)
  expect(await outcome('told_elsewhere')).toBe(1)
  expect(await counted(world)).toEqual({})
})

test('workspaces never mix: a prompt that two of them send is found in each, from its own calls', async () => {
  const user = await post('/v1/users', {
    email: 'other@example.com',
    name: 'other',
    password: 'a long password',
  })
  const scopes = ['ingest', 'proxy', 'read', 'admin']
  const { key } = await post('/v1/keys', { name: 'other', user_id: user.id, scopes })
  const other = { url: world.url, key }
  const calls = Array.from({ length: 60 }, () => dialectOf.langfuse!(porter))
  await exportCalls(other, calls)
  await expect.poll(() => counted(other), eventually).toEqual({ 'night-porter@v1': 60 })
  expect(await counted(world)).toEqual({})
})

test('a version that an exporter names is known under that name, and of its calls those may be replayed that have a route here', async () => {
  const named = (version: string, model: string, i: number) => ({
    ...dialectOf.genai!(`Be ${version === '1' ? 'brief' : 'kind'}.`),
    'gen_ai.request.model': model,
    'gen_ai.prompt.name': 'support',
    'gen_ai.prompt.version': version,
    'session.id': `session ${version} ${i}`,
    'gen_ai.output.messages': '[{"role":"assistant","parts":[{"type":"text","content":"Yes."}]}]',
  })
  const models = ['gpt-4o-mini', 'gpt-4o-mini', 'elsewhere-1']
  for (const version of ['1', '2'])
    await exportCalls(
      world,
      Array.from({ length: 12 }, (_, i) => named(version, models[i % 3]!, i)),
    )
  const contentOf = async (version: string) =>
    (await get(world, `/v1/prompts/support/versions/${version}`)).body.messages
  await expect
    .poll(() => contentOf('v2'), eventually)
    .toEqual([{ role: 'system', content: 'Be kind.' }])
  expect(await counted(world)).toEqual({ 'support@v1': 12, 'support@v2': 12 })
  const ask = { registry_id: 'support', baseline: 'v1', candidate: 'v2', dry_run: true }
  const { frame } = await post('/v1/prompt-regressions', ask)
  expect(frame).toMatchObject({ conversations: 12, rejected: { no_route: 4 } })
})
