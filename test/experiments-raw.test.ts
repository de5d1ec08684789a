// Nothing but traffic, on the started product: two versions of a system prompt, no header, no name. The registry appears, the
// regression runs, the experiment decides; a version that holds is promoted, one whose rule was negated is failed. PACE=300 also
// measures, at so many calls a minute of an upstream that takes its time, how long a new version waits for its verdict.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomFrom } from './decision-world.ts'
import {
  chat,
  chatAll,
  experimentOf,
  get,
  isDecided,
  type Json,
  playModel,
} from './experiment-world.ts'
import { type Product, removeDataDir, startProduct } from './product.ts'
import { type ScriptedUpstream, startUpstream } from './upstream.ts'

const pace = Number(process.env.PACE ?? 0)
const paceMinutes = Number(process.env.PACE_MINUTES ?? 4)
const paceSeed = 31
const verdictMinutesMax = 15

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

/** Calls of this prompt, evenly spread over time, until it is stopped; how many were sent. */
function callEvenly(target: Product, system: string, perMinute: number) {
  let sent = 0
  const open = new Set<Promise<void>>()
  const timer = setInterval(() => {
    sent++
    const user = `Question ${system.length}-${sent}: may I send it back?`
    const call = chat(target, { system, user, by: `user-${sent % 60}` })
    open.add(call)
    void call.finally(() => open.delete(call))
  }, 60_000 / perMinute)
  return {
    sent: () => sent,
    async stop() {
      clearInterval(timer)
      await Promise.all(open)
    },
  }
}

test.skipIf(pace === 0)(
  `at ${pace} calls a minute a new version has its verdict within ${verdictMinutesMax} minutes`,
  async () => {
    const random = randomFrom(paceSeed)
    const paced = await startProduct({
      env: { OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-test' },
    })
    const latencyMs = () => 250 + 300 * random()
    playModel(
      upstream,
      () => `Refunds are allowed within ${random() < 0.05 ? 14 : 30} days. Send us your number.`,
      latencyMs,
    )
    try {
      const before = callEvenly(paced, prompts.first, pace)
      await expect
        .poll(before.sent, { timeout: 60_000 * (paceMinutes + 1), interval: 500 })
        .toBeGreaterThanOrEqual(pace * paceMinutes)
      await before.stop()
      const startedAt = performance.now()
      const after = callEvenly(paced, prompts.kinder, pace)
      const { items } = await get(paced, '/v1/prompts')
      let last: Json
      await expect
        .poll(
          async () => {
            last = (await get(paced, '/v1/experiments')).items[0]
            return last !== undefined && isDecided(last)
          },
          { timeout: 60_000 * verdictMinutesMax, interval: 500 },
        )
        .toBe(true)
      const minutes = (performance.now() - startedAt) / 60_000
      await after.stop()
      console.log(
        `Verdict after ${minutes.toFixed(1)} minutes at ${pace} calls a minute: ${last.status} (${last.evidence}), ${last.sample_count} pairs of ${last.frame.units}, ${last.call_count} calls. ${last.summary}`,
      )
      expect(items).toHaveLength(1)
      expect(minutes).toBeLessThanOrEqual(verdictMinutesMax)
      expect(last.status).not.toBe('error')
    } finally {
      await paced.stop()
      removeDataDir(paced.dataDir)
    }
  },
  60_000 * (paceMinutes + verdictMinutesMax + 5),
)
