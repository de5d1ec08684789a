// The guard against drift on the whole plane: versions that each change a little are promoted one after the other, until together
// they have gone too far from where a person, or the beginning, had put the prompt.

import { afterAll, beforeAll, test, vi } from 'vitest'
import { dice } from '../replay/judges/similarity.ts'
import {
  chatAll,
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

vi.setConfig({ testTimeout: 600_000 })

// What each version says in other words than the one before; the rest of the answer stays.
const kept =
  'Thank you for writing to us. We have looked at your order and at what you told us about it. The parcel goes back to the shop ' +
  'with the label that came with it, and the money goes back to the card that it came from. That is all there is to do for you.'
const phrases = [
  ['We are glad to help you.', 'It is a joy to assist.'],
  ['Write again at any time.', 'Ask us whenever you like.'],
  ['The desk is open all day long.', 'Colleagues work until evening.'],
] as const
const answers = [1, 2, 3, 4, 5].map((version) =>
  [kept, ...phrases.map(([before, after], i) => (i + 1 < version ? after : before))].join(' '),
)

// What the desks of the till answer by their names.
const refunds = (are: string) => `Refunds are ${are} within 30 days. Send us your order number.`
const says = new Map(['one', 'two', 'three'].map((name) => [name, refunds('allowed')]))

let world: ExperimentWorld
beforeAll(async () => {
  world = await startExperimentWorld()
  playModel(world.upstream, ([system]) => {
    const [, till, version = 'i'] =
      /the (\w+) desk of the till|version (i+)\.$/.exec(system?.content ?? '') ?? []
    return (till === undefined ? answers[version.length - 1] : says.get(till)) ?? ''
  })
})
afterAll(() => world.end())

/** The version's traffic, and what became of it. */
async function bring(version: number): Promise<Json> {
  await chatAll(
    world,
    Array.from({ length: 6 }, (_, i) => ({
      system: `You are the support desk, version ${'i'.repeat(version)}.`,
      user: `Question ${i} of version ${version}: may I send it back?`,
      label: `desk@v${version}`,
    })),
  )
  return version === 1 ? undefined : experimentOf(world, `desk@v${version}`, isDecided)
}

// Both prompts at once: most of an experiment is waiting for traffic to stand still.
test.concurrent('three small losses in a row are stopped, each of which holds against the version before, until a person lets a version stand and so sets a new mark', async ({
  expect,
}) => {
  // The threshold asks for a similarity of 0.85; each step keeps it, and two of them do.
  const [first = '', , third = '', fourth = ''] = answers
  for (const [i, answer] of answers.slice(1).entries())
    expect(dice(answers[i] ?? '', answer)).toBeGreaterThan(0.87)
  expect(dice(first, third)).toBeGreaterThan(0.87)
  expect(dice(first, fourth)).toBeLessThan(0.83)
  await bring(1)
  const second = await bring(2)
  expect(second, second.summary).toMatchObject({
    ...{ status: 'passed', promotion_status: 'promoted', reference_prompt_version_id: null },
    call_count: 6 * 3 + 2,
  })
  expect(await bring(3)).toMatchObject({
    ...{ status: 'passed', promotion_status: 'promoted', live: null },
    baseline_prompt_version_id: 'desk@v2',
    reference_prompt_version_id: 'desk@v1',
    call_count: 6 * 3 + 2 + 6 * 3,
  })
  const stopped = await bring(4)
  expect(stopped).toMatchObject({
    ...{ status: 'inconclusive', promotion_status: 'held', live: null },
    ...{ baseline_prompt_version_id: 'desk@v3', reference_prompt_version_id: 'desk@v1' },
    // Of the comparison with v3, which all of them passed.
    ...{ sample_count: 6, pass_count: 6, duplicate_calls: 0 },
  })
  expect(stopped.summary).toContain('It holds against desk@v3, but not against desk@v1')
  expect(stopped.summary).toContain('6 of 6 samples are less alike than 0.85.')
  const registry = await get(world, '/v1/prompts/desk')
  expect(registry.promoted_version_id).toBe('desk@v3')
  const versions: Json[] = registry.versions
  expect(versions.find(({ version_id: id }) => id === 'desk@v4').status).toBe('inconclusive')

  const promoted = await post(world, '/v1/prompts/desk/promote', {
    ...{ version: 'v4', expected_promoted_version: 'v3', reason: 'It reads well.' },
  })
  expect(promoted.status, JSON.stringify(promoted.body)).toBe(200)
  expect(await bring(5)).toMatchObject({
    ...{ status: 'passed', promotion_status: 'promoted' },
    ...{ baseline_prompt_version_id: 'desk@v4', reference_prompt_version_id: null },
  })
})

test.concurrent('one that is proven worse than the mark is failed for it, and whoever listens is told', async ({
  expect,
}) => {
  const traffic = (version: number, name: string, count: number) =>
    chatAll(
      world,
      Array.from({ length: count }, (_, i) => ({
        system: `You are the ${name} desk of the till.`,
        user: `Question ${i} of ${name}: may I send it back?`,
        label: `till@v${version}`,
      })),
    )
  await traffic(1, 'one', 3)
  await get(world, '/v1/prompts')
  await patch(world, '/v1/prompts/till', { policy: { webhook_url: 'http://127.0.0.1:9/hook' } })
  await traffic(2, 'two', 25)
  expect(await experimentOf(world, 'till@v2', isDecided)).toMatchObject({
    promotion_status: 'promoted',
  })
  // What the first prompt answers with by now is not what the others say.
  says.set('one', refunds('not allowed'))
  await traffic(3, 'three', 3)
  const failed = await experimentOf(world, 'till@v3', isDecided)
  expect(failed, failed.summary).toMatchObject({
    ...{ status: 'failed', promotion_status: 'not_promoted', live: null },
    ...{ reference_prompt_version_id: 'till@v1', sample_count: 25, pass_count: 25 },
  })
  expect(failed.summary).toContain('not against till@v1')
  expect((await get(world, '/v1/prompts/till')).promoted_version_id).toBe('till@v2')
  const { webhooks } = await get(world, `/v1/prompt-regressions/${failed.regression_id}`)
  expect(webhooks).toMatchObject([{ event: 'regression_open' }])
})
