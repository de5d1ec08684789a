// Experiments whose process is killed in the middle: the same decision as without, spend within the budget, and no call made
// again but those that were under way. KILLS=100 makes it long; what is on Redis runs where a redis-server is.

import { describe, expect, test } from 'vitest'
import { randomFrom } from './decision-world.ts'
import {
  chatAll,
  experimentOf,
  get,
  isDecided,
  type Json,
  patch,
  playModel,
} from './experiment-world.ts'
import { moneySettings } from './money-world.ts'
import { newDataDir, type Product, removeDataDir, startProduct } from './product.ts'
import { isRedisThere, startRedis } from './redis.ts'
import { startUpstream } from './upstream.ts'

const killsAsked = process.env.KILLS
const slots = 6
const seed = 20_261_120
const model = 'gpt-4o-mini'
const costUsd = (9 * 100 + 4 * 200) / 1e6

const first = 'You are the support desk.\nRefunds are allowed within 30 days.'
const negated = 'You are the support desk.\nRefunds are not allowed within 30 days.'

const config = {
  routes: [{ id: 'all', models: ['*'], targets: [{ provider: 'scripted' }] }],
  models: [{ id: model, pricing: { std_input: 100, std_output: 200, cached_input: 100 } }],
}

async function prepare(product: Product, registry: string, budgetUsd: number): Promise<void> {
  const calls = (version: string, system: string, count: number) =>
    Array.from({ length: count }, (_, i) => ({
      system,
      user: `Question ${i}: may I send it back?`,
      label: `${registry}@${version}`,
    }))
  await chatAll(product, calls('v1', first, 60))
  await patch(product, `/v1/prompts/${registry}`, {
    policy: { guardrails: [], auto_promote: 'off', budget_usd: budgetUsd, budget_usd_per_day: 1 },
  })
  await chatAll(product, calls('v2', negated, 3))
}

/** What must not depend on how often the process died. */
async function outcomeOf(product: Product, registry: string): Promise<Json> {
  const experiment = await experimentOf(product, `${registry}@v2`, isDecided)
  const path = `/v1/prompt-regressions/${experiment.regression_id}?check=1&limit=200`
  const regression = await get(product, path)
  expect(regression.check).toEqual({ matches: true })
  return regression
}

const comparable = ({ status, evidence, sample_count, fail_count, delta, e_value_fail }: Json) => ({
  ...{ status, evidence, sample_count, fail_count, delta, e_value_fail },
})

const stores = [
  { name: 'Postgres', isThere: true, kills: Number(killsAsked ?? 3) },
  { name: 'Redis', isThere: isRedisThere, kills: Number(killsAsked ?? 1) },
]

// Both at once: most of it is waiting until what died is given up.
describe.concurrent.each(stores)('jobs on $name', ({ name, isThere, kills }) => {
  test.skipIf(!isThere)(
    `an experiment killed ${kills} times decides the same and spends no more`,
    async ({ expect }) => {
      const random = randomFrom(seed)
      const upstream = await startUpstream()
      const settings = moneySettings(upstream, config)
      const redis = name === 'Redis' ? await startRedis() : undefined
      const env: Record<string, string> = { ...settings.env }
      if (redis) env.REDIS_URL = redis.url
      const dataDir = newDataDir()
      let product = await startProduct({ dataDir, env })
      try {
        const says = (messages: { content: string }[]) =>
          `${messages[0]?.content.split('\n')[1]} Send us your order number.`
        playModel(upstream, says)
        await prepare(product, 'calm', 1)
        const calm = await outcomeOf(product, 'calm')
        expect(calm).toMatchObject({ status: 'failed', evidence: 'proven', duplicate_calls: 0 })

        playModel(upstream, says, () => 120)
        // What is lost with a process keeps its reservation, which is twice what such a call cost before.
        const budget = costUsd * (25 * 3 + 2 + 2 * (slots * kills + slots) + 5)
        await prepare(product, 'rough', budget)
        await experimentOf(product, 'rough@v2', ({ status }) => status !== 'queued')
        const before = upstream.seen.length
        for (let kill = 0; kill < kills; kill++) {
          const at = before + Math.floor(((kill + random()) / kills) * 70)
          await expect
            .poll(() => upstream.seen.length >= at || isOver(product, 'rough'), {
              timeout: 120_000,
              interval: 5,
            })
            .toBeTruthy()
          await product.killFamily()
          product = await startProduct({ dataDir, env })
        }
        const rough = await outcomeOf(product, 'rough')
        expect(comparable(rough)).toEqual(comparable(calm))
        expect(rough.duplicate_calls).toBeLessThanOrEqual(slots * kills)
        expect(rough.cost_usd).toBeLessThanOrEqual(budget)
        const called = upstream.seen.length - before
        expect(called).toBeLessThanOrEqual(rough.call_count)
        expect(rough.call_count).toBeLessThanOrEqual(25 * 3 + 2 + rough.duplicate_calls)
        console.log(
          `${name}: ${kills} kills, ${called} calls, ${rough.duplicate_calls} of them again, $${rough.cost_usd} of $${budget}`,
        )
      } finally {
        await product.stop()
        removeDataDir(dataDir)
        await redis?.stop()
        await upstream.close()
        settings.end()
      }
    },
    300_000 + kills * 60_000,
  )
})

async function isOver(product: Product, registry: string): Promise<boolean> {
  const { items } = await get(product, `/v1/experiments?registry_id=${registry}`)
  return items.length > 0 && isDecided(items[0])
}
