// Experiments on the whole plane: labelled traffic, replays over our own /v1, a decision and what becomes of the candidate. The
// same laws hold whatever keeps the jobs; a file for each says where they are kept.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
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
import { completion } from './upstream.ts'

// Far beyond what they take: a busy machine is no defect.
vi.setConfig({ testTimeout: 240_000 })
const patience = { timeout: 60_000 }

let world: ExperimentWorld

const first = 'You are the support desk of a shop.\nRefunds are allowed within 30 days.'
const second = 'You are the friendly support desk of a shop.\nRefunds are allowed within 30 days.'
const negated = 'You are the support desk of a shop.\nRefunds are not allowed within 30 days.'

/** A model that does as its prompt says. */
const obedient = (messages: { role: string; content: string }[]) => {
  const rule = messages[0]?.content.split('\n')[1] ?? ''
  return `${rule} About "${messages[1]?.content}": please send us your order number.`
}

async function traffic(
  registry: string,
  versions: [string, string][],
  count: number,
  ask = (i: number) => `Question ${i} of ${registry}: may I send it back?`,
) {
  for (const [version, system] of versions) {
    for (let i = 0; i < count; i++) {
      await chat(world, {
        system,
        user: ask(i),
        label: `${registry}@${version}`,
      })
    }
  }
}

/** Says the laws, on a plane with these further settings; they are asked for when the tests begin. */
export function holdExperimentLaws(startStore: () => Promise<Record<string, string>>): void {
  beforeAll(async () => {
    world = await startExperimentWorld(await startStore())
  })
  afterAll(() => world.end())

  describe('a version that traffic names', () => {
    test('is replayed, holds on every sample and becomes the promoted one', async () => {
      playModel(world.upstream, obedient)
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
      const replays = await get(
        world,
        `/v1/traces?session_id=${experiment.experiment_id}&limit=100`,
      )
      expect(replays.items).toHaveLength(8 * 3 + 2)
    })

    test('keeps no word of a run that was deleted, nor does its replay; what was decided stays', async () => {
      const question = 'Question 3 of support'
      const experiment = await experimentOf(world, 'support@v2', isDecided)
      const at = `/v1/prompt-regressions/${experiment.regression_id}`
      const everything = async () =>
        JSON.stringify([await get(world, at), await get(world, '/v1/otlp/export?limit=10000')])
      expect((await everything()).split(question).length).toBeGreaterThan(6)
      const { items } = await get(world, `/v1/traces?q=${encodeURIComponent(`"${question}"`)}`)
      expect(items).toHaveLength(2)
      const drop = async ({ trace_id }: Json) => {
        const deleted = await fetch(`${world.url}/v1/traces/${trace_id}`, {
          method: 'DELETE',
          headers: { Authorization: `Bearer ${world.key}` },
        })
        // A busy machine promises first and deletes then.
        expect([200, 202]).toContain(deleted.status)
      }
      await Promise.all(items.map(drop))
      const isLeft = async () => {
        const left = await everything()
        return [left.includes(question), left.includes('Question 4 of support')]
      }
      await expect.poll(isLeft, patience).toEqual([false, true])
      expect(await experimentOf(world, 'support@v2', isDecided)).toEqual(experiment)
      const { samples } = await get(world, at)
      expect(samples.filter(({ pass }: Json) => pass)).toHaveLength(8)
    })

    test('is failed when its rule was negated', async () => {
      playModel(world.upstream, obedient)
      await chat(world, { system: first, user: 'The first one.', label: 'rules@v1' })
      await get(world, '/v1/prompts')
      await patch(world, '/v1/prompts/rules', {
        policy: { webhook_url: 'http://127.0.0.1:9/hook' },
      })
      await traffic(
        'rules',
        [
          ['v1', first],
          ['v2', negated],
        ],
        60,
        // Every third of them asks in French: a part of the traffic that is tested by itself.
        (i) =>
          i % 3 === 0
            ? `Question ${i}: est-ce que je peux vous renvoyer la commande que vous avez envoyée?`
            : `Question ${i} of rules: may I send it back?`,
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
      expect(regression.frame).toMatchObject({
        conversations: 61,
        units: 61,
        keptShare: 1,
        note: null,
      })
      expect(regression.slices).toEqual([
        { stratum: 'gpt-4o-mini-2024-07-18, no tools, short', sample_count: 25, delta: -1 },
        expect.objectContaining({ stratum: 'language fr', delta: -1 }),
      ])
      expect(regression.registration.policy.slices).toEqual(['language fr'])
      await expect
        .poll(
          async () =>
            (await get(world, `/v1/prompt-regressions/${experiment.regression_id}`)).webhooks,
          patience,
        )
        .toMatchObject([{ event: 'regression_open', status: 'given_up', attempts: 1 }])
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

  describe('an experiment by hand', () => {
    const start = (body: unknown) => post(world, '/v1/prompt-regressions', body)

    test('is estimated first, then runs as asked for, and its samples can be labelled', async () => {
      const ask = { registry_id: 'support', baseline: 'v1', candidate: 'support@v2', max_pairs: 5 }
      const estimate = await start({ ...ask, dry_run: true })
      expect(estimate).toMatchObject({
        status: 200,
        body: {
          dry_run: true,
          replayable: 5,
          call_count_max: 17,
          cost_usd_max: null,
          evidence: 'threshold',
        },
      })
      const made = await start(ask)
      expect(made).toMatchObject({ status: 201, body: { status: 'queued', n_max: null } })
      const { regression_id: id } = made.body
      await expect
        .poll(
          async () => (await get(world, `/v1/prompt-regressions/${id}`)).promotion_status,
          patience,
        )
        .not.toBe('pending')
      const done = await get(world, `/v1/prompt-regressions/${id}?check=1`)
      expect(done).toMatchObject({ status: 'passed', sample_count: 5, check: { matches: true } })
      const path = `/v1/prompt-regressions/${id}/samples/3/label`
      expect(await get(world, path)).toEqual({ index: 3, label: null, note: null })
      const labelled = await post(world, path, { label: 'same', note: 'Only friendlier.' })
      expect(labelled.body).toEqual({ index: 3, label: 'same', note: 'Only friendlier.' })
      expect((await post(world, path, { label: 'good' })).status).toBe(400)
      expect((await post(world, path.replace('/3/', '/99/'), { label: 'same' })).status).toBe(404)
      expect((await post(world, `/v1/experiments/${id}/cancel`, {})).status).toBe(409)
    })

    test('is refused for what is not there, with the name of it', async () => {
      const rows: [unknown, number, string][] = [
        [{ registry_id: 'nobody', candidate: 'v2' }, 404, 'nobody'],
        [{ registry_id: 'support', candidate: 'v9' }, 404, 'support@v9'],
        [{ registry_id: 'support', candidate: 'rules@v2' }, 400, 'rules@v2'],
        [{ registry_id: 'support', baseline: 'v2', candidate: 'v2' }, 400, 'no other version'],
        [
          { registry_id: 'support', candidate: 'v2', max_pairs: 0, budget_usd: -1 },
          400,
          'budget_usd',
        ],
      ]
      for (const [body, status, says] of rows) {
        const answer = await start(body)
        expect(answer.status).toBe(status)
        expect(answer.body.error.message).toContain(says)
      }
      expect((await get(world, '/v1/experiments/pexp_0')).error.code).toBe('not_found')
    })

    test('stops when it is cancelled, and promotes nothing', async () => {
      // Nothing is answered before the cancellation, however late this looks.
      let release = () => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      world.upstream.play(async (res) => {
        await released
        res.writeHead(200, { 'content-type': 'application/json' })
        res.end(JSON.stringify(completion('Refunds are allowed.')))
      })
      const made = await start({ registry_id: 'rules', baseline: 'v1', candidate: 'v2' })
      const path = `/v1/prompt-regressions/${made.body.regression_id}`
      await expect.poll(async () => (await get(world, path)).status, patience).toBe('replaying')
      expect((await post(world, `${path}/cancel`, {})).status).toBe(200)
      await expect.poll(async () => (await get(world, path)).status, patience).toBe('cancelled')
      const calls = world.upstream.seen.length
      release()
      const after = await get(world, path)
      expect(after).toMatchObject({
        promotion_status: 'not_promoted',
        decision_reason: 'cancelled',
      })
      expect(world.upstream.seen.length - calls).toBeLessThanOrEqual(6)
    })
  })
}
