// A/A through the whole stack: a scripted upstream that rewords, stalls and is sometimes wrong by itself, a candidate that differs
// in nothing that matters. AA=200 makes it the measure of the issue; the false alarms are printed either way.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomFrom } from './decision-world.ts'
import { chatAll, experimentOf, isDecided, patch } from './experiment-world.ts'
import { completion, type ScriptedUpstream, startUpstream } from './upstream.ts'
import { startWorld, type World } from './world.ts'

const experiments = Number(process.env.AA ?? 2)
const conversations = Number(process.env.AA_UNITS ?? 30)
const seed = 7_411
// Half of the answers are worded otherwise, one in twenty gets a value wrong: two answers disagree one time in ten.
const rewordedShare = 0.5
const wrongShare = 0.05
const medianMs = 12
const logSpread = 0.3

let upstream: ScriptedUpstream
let world: World
beforeAll(async () => {
  upstream = await startUpstream()
  world = await startWorld({ OPENAI_BASE_URL: upstream.baseUrl, OPENAI_API_KEY: 'sk-test' })
  const random = randomFrom(seed)
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  upstream.play((res) => {
    const days = random() < wrongShare ? 14 : 30
    const answer =
      random() < rewordedShare
        ? `You can return it within ${days} days. Please send us your order number.`
        : `Returns are possible within ${days} days, so please send the number of your order.`
    const body = JSON.stringify(completion(answer))
    setTimeout(
      () => {
        res.writeHead(200, { 'content-type': 'application/json' })
        res.end(body)
      },
      medianMs * Math.exp(logSpread * gaussian()),
    )
  })
})
afterAll(async () => {
  await world.end()
  await upstream.close()
})

test(
  `of ${experiments} experiments between equal prompts at most one in a hundred fails`,
  async () => {
    const outcomes = new Map<string, number>()
    for (let n = 0; n < experiments; n++) {
      const registry = `same-${n}`
      const calls = (version: string, system: string, count: number) =>
        Array.from({ length: count }, (_, i) => ({
          system,
          user: `Question ${i}: may I send it back?`,
          label: `${registry}@${version}`,
        }))
      await chatAll(world, calls('v1', 'You are the support desk.', conversations))
      await patch(world, `/v1/prompts/${registry}`, { policy: { auto_promote: 'off' } })
      await chatAll(world, calls('v2', 'You are the support desk. ', 3))
      const { status } = await experimentOf(world, `${registry}@v2`, isDecided)
      outcomes.set(status, (outcomes.get(status) ?? 0) + 1)
    }
    const failed = outcomes.get('failed') ?? 0
    console.log(`A/A: ${failed} false alarms of ${experiments}; ${JSON.stringify([...outcomes])}`)
    expect(failed).toBeLessThanOrEqual(Math.floor(experiments / 100))
    expect(outcomes.get('error')).toBeUndefined()
  },
  60_000 * experiments,
)
