// Nothing but traffic, on the started product: two versions of a system prompt, no header, no name. The registry appears, the
// regression runs, the experiment decides; a version that holds is promoted, one whose rule was negated is failed.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatAll, experimentOf, get, isDecided, type Json, playModel } from './experiment-world.ts'
import { type Product, removeDataDir, startProduct } from './product.ts'
import { type ScriptedUpstream, startUpstream } from './upstream.ts'

let upstream: ScriptedUpstream
let product: Product
beforeAll(async () => {
  upstream = await startUpstream()
  product = await startProduct({
    env: { OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-test' },
  })
})
afterAll(async () => {
  await product.stop()
  removeDataDir(product.dataDir)
  await upstream.close()
})

const lines = [
  'You are the support agent of Acme.',
  'Answer in the language of the customer.',
  'Refunds are allowed within 30 days of delivery.',
  'Ask for the number of the order.',
]
const prompts = {
  first: lines.join('\n'),
  kinder: lines.with(0, 'You are the friendly support agent of Acme.').join('\n'),
  negated: lines
    .with(0, 'You are the friendly support agent of Acme.')
    .with(2, 'Refunds are not allowed within 30 days of delivery.')
    .join('\n'),
}

const send = (system: string, count: number, from: number) =>
  chatAll(
    product,
    Array.from({ length: count }, (_, i) => ({
      system,
      user: `Question ${from + i}: may I send it back?`,
      by: `user-${i % 5}`,
    })),
  )

test('traffic alone leads to a registry, an experiment and a promoted version, and stops a negated rule', async () => {
  playModel(upstream, (messages) => `${messages[0]?.content.split('\n')[2]} Send us your number.`)
  await send(prompts.first, 90, 0)
  await send(prompts.kinder, 110, 100)
  const registryOf = async () => (await get(product, '/v1/prompts')).items[0]
  await expect.poll(async () => (await registryOf())?.versions.length, { timeout: 120_000 }).toBe(2)
  const { registry_id: registry, source } = await registryOf()
  expect(source).toBe('auto_backfill')
  expect(registry).toContain('support')
  const held = await experimentOf(product, `${registry}@v2`, isDecided)
  expect(held, held.summary).toMatchObject({ status: 'passed', promotion_status: 'promoted' })
  expect((await registryOf()).promoted_version_id).toBe(`${registry}@v2`)

  await send(prompts.negated, 110, 300)
  const failed = await experimentOf(product, `${registry}@v3`, isDecided)
  expect(failed, failed.summary).toMatchObject({
    status: 'failed',
    evidence: 'proven',
    promotion_status: 'not_promoted',
    baseline_prompt_version_id: `${registry}@v2`,
  })
  const { items } = await get(product, '/v1/prompts')
  // Replays are not traffic: they found nothing, and count as no run.
  expect(items).toHaveLength(1)
  const runs = items[0].versions.map((version: Json) => version.total_runs)
  expect(runs.reduce((sum: number, count: number) => sum + count, 0)).toBe(310)
}, 600_000)
