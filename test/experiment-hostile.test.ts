// Experiments over answers that were not written for them: each comes to a decision, and every page of it can be read.

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import {
  chat,
  type ExperimentWorld,
  experimentOf,
  get,
  isDecided,
  type Json,
  patch,
  playModel,
  post,
  startExperimentWorld,
} from './experiment-world.ts'

// Far beyond what they take: a busy machine is no defect.
vi.setConfig({ testTimeout: 240_000 })

const answers: Record<string, string> = {
  nul: 'Refunds: 30\u0000 days, \ud800 or so.',
  deep: '['.repeat(2_000) + ']'.repeat(2_000),
  fence: `\`\`\`json\n${' \n'.repeat(50_000)}{`,
}

let world: ExperimentWorld
beforeAll(async () => {
  world = await startExperimentWorld()
  playModel(world.upstream, ([system]) => {
    const [, kind, registry = ''] =
      /the (friendly )?desk of (\w+)/.exec(system?.content ?? '') ?? []
    const text = answers[registry] ?? 'Fine.'
    return kind === undefined ? text : `${text} 31`
  })
})
afterAll(() => world.end())

async function decided(registry: string): Promise<Json> {
  for (const version of ['v1', 'v2']) {
    for (let i = 0; i < 5; i++) {
      await chat(world, {
        system: `You are the ${version === 'v1' ? '' : 'friendly '}desk of ${registry}.`,
        user: `Question ${i}?`,
        label: `${registry}@${version}`,
      })
    }
  }
  return experimentOf(world, `${registry}@v2`, isDecided)
}

// At once: most of an experiment is waiting for traffic to stand still.
test.concurrent.for(Object.keys(answers))(
  'an answer of %s is judged, and its samples can be looked at',
  async (name, { expect }) => {
    const experiment = await decided(name)
    expect(experiment.sample_count, experiment.summary).toBe(5)
    const path = `/v1/prompt-regressions/${experiment.regression_id}?check=1`
    const shown = await get(world, path)
    expect(shown, JSON.stringify(shown).slice(0, 500)).toMatchObject({ check: { matches: true } })
    expect(shown.samples).toHaveLength(5)
    expect(shown.slices).toHaveLength(1)
  },
)

test('a schema that cannot be checked is refused when it is declared', async () => {
  await chat(world, { system: 'You are it.', user: 'Hello', label: 'schemed@v1' })
  await get(world, '/v1/prompts')
  const ask = patch(world, '/v1/prompts/schemed', {
    policy: { expectations: { schema: { type: 'strnig' } } },
  })
  await expect(ask).rejects.toThrow('policy.expectations.schema')
})

test('a word that a database cannot keep is refused with its place, never with a 500', async () => {
  const nul = 'a\u0000b'
  const rows: [string, unknown][] = [
    ['/v1/prompts', { registry_id: 'odd', messages: [{ role: 'system', content: nul }] }],
    [
      '/v1/prompts',
      { registry_id: 'odd', note: nul, messages: [{ role: 'system', content: 'a' }] },
    ],
    ['/v1/prompts/nul/promote', { version: 'v1', expected_promoted_version: null, reason: nul }],
    ['/v1/prompts/nul/pin', { version: 'v1', reason: nul }],
    ['/v1/prompts/nul/rollback', { reason: nul }],
  ]
  for (const [path, body] of rows) {
    const answer = await post(world, path, body)
    expect(answer.status, `${path} ${JSON.stringify(answer.body)}`).toBeLessThan(500)
  }
  const [experiment] = (await get(world, '/v1/experiments?registry_id=nul')).items
  const label = `/v1/prompt-regressions/${experiment.regression_id}/samples/0/label`
  expect((await post(world, label, { label: 'same', note: nul })).status).toBeLessThan(500)
})
