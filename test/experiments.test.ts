// Experiments on the whole plane: labelled traffic, replays over our own /v1, a decision and what becomes of the candidate.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  chat,
  experimentOf,
  get,
  isDecided,
  type Json,
  playModel,
  post,
} from './experiment-world.ts'
import { type ScriptedUpstream, startUpstream } from './upstream.ts'
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

const first = 'You are the support desk of a shop.\nRefunds are allowed within 30 days.'
const second = 'You are the friendly support desk of a shop.\nRefunds are allowed within 30 days.'
const negated = 'You are the support desk of a shop.\nRefunds are not allowed within 30 days.'

/** A model that does as its prompt says. */
const obedient = (messages: { role: string; content: string }[]) => {
  const rule = messages[0]?.content.split('\n')[1] ?? ''
  return `${rule} About "${messages[1]?.content}": please send us your order number.`
}

async function traffic(registry: string, versions: [string, string][], count: number) {
  for (const [version, system] of versions) {
    for (let i = 0; i < count; i++) {
      await chat(world, {
        system,
        user: `Question ${i} of ${registry}: may I send it back?`,
        label: `${registry}@${version}`,
      })
    }
  }
}

describe('a version that traffic names', () => {
  test('is replayed, holds on every sample and becomes the promoted one', async () => {
    playModel(upstream, obedient)
    await traffic(
      'support',
      [
        ['v1', first],
        ['v2', second],
      ],
      8,
    )
    const experiment = await experimentOf(world, 'support@v2', isDecided)
    expect(experiment, experiment.summary).toMatchObject({
      registry_id: 'support',
      baseline_prompt_version_id: 'support@v1',
      status: 'passed',
      promotion_status: 'promoted',
      evidence: 'threshold',
      judge: 'deterministic_replay',
      sample_count: 8,
      pass_count: 8,
      pass_rate: 1,
      self_agreement: 1,
      candidate_agreement: 1,
      duplicate_calls: 0,
      call_count: 8 * 3 + 2,
    })
    const { items } = await get(world, '/v1/prompts')
    const support = items.find((item: Json) => item.registry_id === 'support')
    expect(support.promoted_version_id).toBe('support@v2')
    expect(support.total_runs).toBe(16)
  })

  test('leaves replays out of what callers did: lists, figures, usage', async () => {
    const { items } = await get(world, '/v1/traces?limit=100')
    expect(items).toHaveLength(16)
    expect(
      (await get(world, '/v1/traces?model=gpt-4o-mini-2024-07-18&limit=100')).items,
    ).toHaveLength(16)
    expect((await get(world, '/v1/usage/logs?limit=100')).length).toBe(16)
    const [experiment] = (await get(world, '/v1/experiments?registry_id=support')).items
    const replays = await get(world, `/v1/traces?session_id=${experiment.experiment_id}&limit=100`)
    expect(replays.items).toHaveLength(8 * 3 + 2)
  })

  test('is failed when its rule was negated', async () => {
    playModel(upstream, obedient)
    await traffic(
      'rules',
      [
        ['v1', first],
        ['v2', negated],
      ],
      60,
    )
    const experiment = await experimentOf(world, 'rules@v2', isDecided)
    expect(experiment).toMatchObject({
      status: 'failed',
      promotion_status: 'not_promoted',
      evidence: 'proven',
    })
    const regression = await get(world, `/v1/prompt-regressions/${experiment.regression_id}`)
    expect(regression.samples[0]).toMatchObject({ direction: -1, pass: false, self_agrees: true })
    expect(JSON.stringify(regression.samples[0].findings)).toContain('critical_spans')
    expect(regression.samples[0].candidate.text).toContain('not allowed')
  })

  test('is no replay because a caller says so', async () => {
    const before = (await get(world, '/v1/usage/logs?limit=500')).length
    const headers = { 'X-BatchIn-Origin': 'replay' }
    await chat(world, { system: first, user: 'Not a replay.', headers })
    expect((await get(world, '/v1/usage/logs?limit=500')).length).toBe(before + 1)
    const forged = await post(
      { ...world, key: `internal_${'A'.repeat(43)}` },
      '/v1/chat/completions',
      {},
      headers,
    )
    expect(forged.status).toBe(401)
  })
})
