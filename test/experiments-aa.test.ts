// A/A through the whole stack: a scripted upstream that rewords, stalls and is sometimes wrong by itself, a candidate that differs
// in nothing that matters. AA=200 makes it the measure of the issue, on frames large enough that equal prompts are proven to hold;
// what was decided is printed either way.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { randomFrom } from './decision-world.ts'
import {
  chatAll,
  type ExperimentWorld,
  experimentOf,
  isDecided,
  type Json,
  patch,
  startExperimentWorld,
} from './experiment-world.ts'
import { completion } from './upstream.ts'

const asked = process.env.AA
const experiments = Number(asked ?? 2)
// Nineteen of twenty equal prompts are proven to hold on 175 conversations at this noise; 30 are for the everyday suite alone.
const conversations = Number(process.env.AA_UNITS ?? (asked === undefined ? 30 : 175))
const seed = Number(process.env.AA_SEED ?? 7_411)
// Half of the answers are worded otherwise, one in twenty gets a value wrong: two answers disagree one time in ten.
const rewordedShare = 0.5
const wrongShare = 0.05
// Half of the prompts answer so fast that the margin's 20 ms are much, half so slowly that they are little.
const mediansMs = [12, 150] as const
// Experiments at once: each waits for the traffic before it to stand still, and a busy machine is part of the question.
const atOnce = 5
const logSpread = 0.15

let world: ExperimentWorld
beforeAll(async () => {
  world = await startExperimentWorld()
  const random = randomFrom(seed)
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  world.upstream.play((res, request) => {
    const medianMs = mediansMs[String(request.body).includes('a patient desk') ? 1 : 0]
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
afterAll(() => world.end())

test(
  `of ${experiments} experiments between equal prompts at most one in a hundred gives an alarm, latency included`,
  async () => {
    const outcomes = new Map<string, number>()
    const alarms: string[] = []
    async function tryEqual(n: number): Promise<void> {
      const registry = `same-${n}`
      const system = n % 2 === 0 ? 'You are a quick desk.' : 'You are a patient desk.'
      const calls = (version: string, prompt: string, count: number) =>
        Array.from({ length: count }, (_, i) => ({
          system: prompt,
          user: `Question ${i}: may I send it back?`,
          label: `${registry}@${version}`,
        }))
      await chatAll(world, calls('v1', system, conversations))
      await patch(world, `/v1/prompts/${registry}`, { policy: { auto_promote: 'off' } })
      await chatAll(world, calls('v2', `${system} `, 3))
      const experiment = await experimentOf(world, `${registry}@v2`, isDecided)
      const { status, summary, guardrails } = experiment
      outcomes.set(status, (outcomes.get(status) ?? 0) + 1)
      const isWorse = guardrails.some(({ worse }: Json) => worse)
      if (status === 'failed' || isWorse || summary.includes('Latency rose')) alarms.push(summary)
    }
    for (let n = 0; n < experiments; n += atOnce) {
      const round = Array.from({ length: Math.min(atOnce, experiments - n) }, (_, i) => n + i)
      await Promise.all(round.map(tryEqual)).catch((error) => {
        throw new Error(`${String(error)}\n${world.log.slice(-20).join('\n')}`)
      })
    }
    console.log(
      `A/A: ${alarms.length} false alarms of ${experiments}; ${JSON.stringify([...outcomes])} ${alarms.join(' | ')}`,
    )
    expect(alarms.length, alarms.join('\n')).toBeLessThanOrEqual(Math.floor(experiments / 100))
    expect(outcomes.get('error')).toBeUndefined()
  },
  60_000 * experiments,
)
