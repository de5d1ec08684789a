// Serve mode on the whole plane: a passed candidate goes through the shadow and shares of live traffic to all of it, and back when
// it does harm there; what a person decides is never undone.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { experimentOf, get, type Json, patch, playModel, post } from './experiment-world.ts'
import { completion, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

let upstream: ScriptedUpstream
let world: World
beforeAll(async () => {
  upstream = await startUpstream()
  world = await startWorld({ OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-test' })
})
afterAll(async () => {
  await world.end()
  await upstream.close()
})

const answer = () => 'Refunds are allowed within 30 days. Send us your order number.'
let asked = 0

/** Served calls, each a conversation of its own. */
async function serve(registry: string, count = 20): Promise<void> {
  const call = () => {
    asked++
    return post(
      world,
      '/v1/chat/completions',
      {
        model: 'gpt-4o-mini',
        messages: [{ role: 'user', content: `Question ${asked}: may I send it back?` }],
        prompt: { id: registry, variables: { shop: 'Acme' } },
      },
      { 'X-BatchIn-Session-Id': `session-${asked}` },
    )
  }
  await Promise.all(Array.from({ length: count }, call))
}

async function declare(registry: string, role: string): Promise<void> {
  const messages = [{ role: 'system', content: `You are the ${role} of {{shop}}.` }]
  const made = await post(world, '/v1/prompts', { registry_id: registry, messages })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
}

async function begin(registry: string, policy: object): Promise<void> {
  await declare(registry, 'support desk')
  await patch(world, `/v1/prompts/${registry}`, {
    mode: 'serve',
    policy: { auto_promote: 'threshold', guardrails: ['hard_failures'], ...policy },
  })
  await serve(registry)
  await declare(registry, 'friendly support desk')
}

/** Serves until the experiment is as wanted; returns every status it was seen in. */
async function serveUntil(registry: string, isReady: (experiment: Json) => boolean) {
  const seen = new Set<string>()
  const last = await experimentOf(world, `${registry}@v2`, () => true)
  let experiment = last
  const deadline = performance.now() + 200_000
  while (performance.now() < deadline && !isReady(experiment)) {
    await serve(registry, 5)
    experiment = await experimentOf(world, `${registry}@v2`, () => true)
    seen.add(experiment.status)
  }
  expect(
    isReady(experiment),
    `${experiment.status} ${JSON.stringify(experiment.live)} ${experiment.call_count} ${experiment.summary} ${world.log.join('\n')}`,
  ).toBe(true)
  return { experiment, seen }
}

const promotedOf = async (registry: string) =>
  (await get(world, `/v1/prompts/${registry}`)).promoted_version_id

test('a candidate goes through shadow and canary to all traffic, and back when its calls fail', async () => {
  playModel(upstream, answer)
  await begin('desk', { canary_steps: [0.3, 0.6], watch_minutes: 1 })
  const { seen } = await serveUntil('desk', (one) => one.promotion_status === 'promoted')
  expect(seen).toContain('shadow')
  expect(seen).toContain('canary')
  expect(await promotedOf('desk')).toBe('desk@v2')

  upstream.play((res, request) => {
    const isNew = request.body.toString().includes('friendly')
    res.writeHead(isNew ? 500 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(isNew ? { error: { message: 'no' } } : completion(answer())))
  })
  const { experiment } = await serveUntil('desk', (one) => one.promotion_status === 'rolled_back')
  expect(experiment.summary).toContain('hard_failures')
  expect(await promotedOf('desk')).toBe('desk@v1')
  const { items } = await get(world, '/v1/prompts/desk/history')
  const back = items.find((event: Json) => JSON.stringify(event).includes('rolled_back'))
  expect(JSON.stringify(back)).toContain('"kind":"machine"')
}, 600_000)

test('a share that a person takes away is not given again', async () => {
  playModel(upstream, answer)
  await begin('till', { canary_steps: [0.5], watch_minutes: 60 })
  await serveUntil('till', (one) => one.status === 'canary')
  const pinned = await post(world, '/v1/prompts/till/pin', {
    version: 'v1',
    reason: 'Not this week.',
  })
  expect(pinned.status, JSON.stringify(pinned.body)).toBe(200)
  const { experiment } = await serveUntil('till', (one) => one.promotion_status === 'held')
  expect(experiment).toMatchObject({ status: 'passed' })
  expect(await promotedOf('till')).toBe('till@v1')
}, 600_000)
