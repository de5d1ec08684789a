// Serve mode on the whole plane: a passed candidate goes through the shadow and shares of live traffic to all of it, and back when
// it does harm there; what a person decides is never undone. The prompts live side by side, as they do in production.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { connectPostgres, type Postgres } from '../src/stores/postgres.ts'
import {
  chat,
  type ExperimentWorld,
  experimentOf,
  get,
  isDecided,
  type Json,
  patch,
  post,
  startExperimentWorld,
} from './experiment-world.ts'
import { completion } from './upstream.ts'

vi.setConfig({ testTimeout: 600_000 })
const deadlineMs = 200_000
const answer = 'Refunds are allowed within 30 days. Send us your order number.'

let world: ExperimentWorld
let sql: Postgres
/** Prompts whose new version the provider refuses to answer, and those that nobody answers yet. */
const failing = new Set<string>()
const waiting = new Map<string, Promise<void>>()

beforeAll(async () => {
  world = await startExperimentWorld()
  sql = connectPostgres({
    host: join(world.dataDir, 'postgres', 'run'),
    port: 5432,
    user: 'runledger',
    database: 'postgres',
  })
  world.upstream.play(async (res, request) => {
    const [, kind = '', registry = ''] =
      /You are the (\w* ?)desk of (\w+)/.exec(`${request.body}`) ?? []
    await waiting.get(registry)
    const isRefused = kind !== '' && failing.has(registry)
    res.writeHead(isRefused ? 500 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(isRefused ? { error: { message: 'no' } } : completion(answer)))
  })
})
afterAll(async () => {
  await sql.close()
  await world.end()
})

let asked = 0

/** One served call, a conversation of its own; the version that answered it. */
async function serveOne(registry: string): Promise<string | null> {
  asked++
  const { headers } = await post(
    world,
    '/v1/chat/completions',
    {
      model: 'gpt-4o-mini',
      messages: [{ role: 'user', content: `Question ${asked}: may I send it back?` }],
      prompt: { id: registry, variables: { shop: registry } },
    },
    { 'X-BatchIn-Session-Id': `session-${asked}` },
  )
  return headers.get('x-batchin-prompt-version')
}

async function serve(registry: string, count = 20): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => serveOne(registry)))
}

async function declare(registry: string, kind: string): Promise<void> {
  const messages = [{ role: 'system', content: `You are the ${kind}desk of {{shop}}.` }]
  const made = await post(world, '/v1/prompts', { registry_id: registry, messages })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
}

async function begin(registry: string, policy: object): Promise<void> {
  await declare(registry, '')
  await patch(world, `/v1/prompts/${registry}`, {
    mode: 'serve',
    policy: { auto_promote: 'threshold', guardrails: ['hard_failures'], ...policy },
  })
  await serve(registry)
  await declare(registry, 'friendly ')
}

/** Serves until the experiment is as wanted; returns every status it was seen in. */
async function serveUntil(candidate: string, isReady: (experiment: Json) => boolean) {
  const [registry = ''] = candidate.split('@')
  const seen = new Set<string>()
  let experiment: Json
  const look = async () => {
    experiment = await experimentOf(world, candidate, () => true)
    seen.add(experiment.status)
    if (isReady(experiment)) return true
    await serve(registry, 5)
    return false
  }
  // A few calls now and then: five prompts that call without a pause are a load that each of them waits behind.
  await vi.waitUntil(look, { timeout: deadlineMs, interval: 100 }).catch((error) => {
    throw new Error(
      `${String(error)}\n${experiment?.status} ${JSON.stringify(experiment?.live)} ${experiment?.summary} ${world.log.join('\n')}`,
    )
  })
  return { experiment, seen }
}

const promotedOf = async (registry: string) =>
  (await get(world, `/v1/prompts/${registry}`)).promoted_version_id

/** The database refuses, once, to write that this prompt's experiment has come so far. */
async function refuseOnce(registry: string, status: 'promoted' | 'rolled_back'): Promise<void> {
  const name = `${registry}_${status}`
  // A sequence is not rolled back with the transaction that took a number of it: the second attempt is let through.
  await sql.query(`CREATE SEQUENCE refused_${name}`)
  await sql.query(`CREATE FUNCTION refuse_${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('refused_${name}') = 1 THEN RAISE EXCEPTION 'refused once'; END IF; RETURN NEW; END $$`)
  await sql.query(`CREATE TRIGGER refuse_${name} BEFORE UPDATE OF promotion_status ON experiments FOR EACH ROW
    WHEN (NEW.registry_id = '${registry}' AND NEW.promotion_status = '${status}' AND OLD.promotion_status != '${status}')
    EXECUTE FUNCTION refuse_${name}()`)
}

/** The database never takes what came of one conversation of this prompt's experiments. */
async function refuseUnit(registry: string, unit: number): Promise<void> {
  await sql.query(`CREATE FUNCTION refuse_${registry}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT 1 FROM experiments e WHERE e.experiment_id = NEW.experiment_id AND e.registry_id = '${registry}')
    THEN RAISE EXCEPTION 'no room for it'; END IF; RETURN NEW; END $$`)
  await sql.query(`CREATE TRIGGER refuse_${registry} BEFORE UPDATE OF outcome ON experiment_units FOR EACH ROW
    WHEN (NEW.unit = ${unit}) EXECUTE FUNCTION refuse_${registry}()`)
}

describe.concurrent('a served prompt', () => {
  test('gives a candidate the shadow, shares, all traffic, and takes it back when its calls fail', async ({
    expect,
  }) => {
    await refuseOnce('till', 'promoted')
    await refuseOnce('till', 'rolled_back')
    await begin('till', { canary_steps: [0.3, 0.6], watch_minutes: 1 })
    const { seen } = await serveUntil('till@v2', (one) => one.promotion_status === 'promoted')
    expect(seen).toContain('shadow')
    expect(seen).toContain('canary')
    expect(await promotedOf('till')).toBe('till@v2')
    failing.add('till')
    const { experiment } = await serveUntil('till@v2', (one) => one.promotion_status !== 'promoted')
    expect(experiment).toMatchObject({ status: 'passed', promotion_status: 'rolled_back' })
    expect(experiment.summary).toContain('hard_failures')
    expect(await promotedOf('till')).toBe('till@v1')
    // What the database refused once was done once: the move and what the experiment says of it are one.
    const { items } = await get(world, '/v1/prompts/till/history?limit=100')
    const moves = items.filter(({ type }: Json) => type === 'promoted' || type === 'rolled_back')
    expect(moves.map(({ type, actor }: Json) => [type, actor.kind])).toEqual([
      ['rolled_back', 'machine'],
      ['promoted', 'machine'],
    ])
  })

  test('does not give a share again that a person took away', async ({ expect }) => {
    await begin('desk', { canary_steps: [0.5], watch_minutes: 60 })
    await serveUntil('desk@v2', (one) => one.status === 'canary')
    const pin = { version: 'v1', reason: 'Not this week.' }
    const pinned = await post(world, '/v1/prompts/desk/pin', pin)
    expect(pinned.status, JSON.stringify(pinned.body)).toBe(200)
    const { experiment } = await serveUntil('desk@v2', (one) => one.promotion_status === 'held')
    expect(experiment).toMatchObject({ status: 'passed' })
    expect(await promotedOf('desk')).toBe('desk@v1')
  })

  test('tries one candidate at a time; one that is cancelled on its way gives its share back', async ({
    expect,
  }) => {
    await begin('gate', { canary_steps: [0.5], watch_minutes: 60 })
    const { experiment: second } = await serveUntil('gate@v2', (one) => one.status === 'canary')
    await declare('gate', 'kind ')
    const third = await experimentOf(world, 'gate@v3', ({ summary }) => summary.includes('through'))
    expect(third).toMatchObject({ status: 'queued', summary: 'Waits until gate@v2 is through.' })

    const at = `/v1/experiments/${second.experiment_id}`
    const cancelled = await post(world, `${at}/cancel`, { reason: 'The sale begins.' })
    expect(cancelled).toMatchObject({
      status: 200,
      body: { status: 'cancelled', promotion_status: 'not_promoted', live: null },
    })
    expect(cancelled.body.summary).toContain(
      'Cancelled with a share of live traffic: The sale begins.',
    )
    const versions: Json[] = (await get(world, '/v1/prompts/gate')).versions
    expect(versions.find((one) => one.version_id === 'gate@v2').status).toBe('observed')
    const served = await Promise.all(Array.from({ length: 20 }, () => serveOne('gate')))
    expect(new Set(served)).toEqual(new Set(['gate@v1']))

    await serveUntil('gate@v3', (one) => one.status === 'shadow')
    const next = await experimentOf(world, 'gate@v3', () => true)
    const stopped = await post(world, `/v1/experiments/${next.experiment_id}/cancel`, {})
    expect(stopped).toMatchObject({ status: 200, body: { status: 'cancelled' } })
    expect((await post(world, `${at}/cancel`, {})).status).toBe(409)
    expect(await promotedOf('gate')).toBe(null)
  })
})

describe.concurrent('an observed prompt', () => {
  const calls = (registry: string, version: string, count: number) =>
    Array.from({ length: count }, (_, i) =>
      chat(world, {
        system: `You are the ${version === 'v1' ? '' : `${version} `}desk of ${registry}.`,
        user: `Question ${i}: may I send it back?`,
        label: `${registry}@${version}`,
      }),
    )

  test('queues the newest of the versions that come while one is tried, against what is in force then', async ({
    expect,
  }) => {
    await Promise.all(calls('mill', 'v1', 8))
    await Promise.all(calls('mill', 'v2', 3))
    let release = () => {}
    waiting.set('mill', new Promise((resolve) => (release = resolve)))
    await experimentOf(world, 'mill@v2', ({ status }) => status === 'replaying')
    const declared = async (version: string) => {
      const messages = [{ role: 'system', content: `You are the ${version} desk of mill.` }]
      await post(world, '/v1/prompts', { registry_id: 'mill', version, messages })
      return experimentOf(world, `mill@${version}`, ({ summary }) => summary.includes('through'))
    }
    await declared('v3')
    await declared('v4')
    const third = await experimentOf(world, 'mill@v3', isDecided)
    expect(third).toMatchObject({
      status: 'cancelled',
      promotion_status: 'not_promoted',
      call_count: 0,
    })
    release()
    const second = await experimentOf(world, 'mill@v2', isDecided)
    expect(second).toMatchObject({ status: 'passed', promotion_status: 'promoted' })
    const fourth = await experimentOf(
      world,
      'mill@v4',
      ({ baseline_prompt_version_id: id }) => id === 'mill@v2',
    )
    const events = (await get(world, `/v1/experiments/${fourth.experiment_id}`)).events
    expect(JSON.stringify(events)).toContain('Compared with mill@v2, which is in force by now.')
  })

  test('is held with an error when the engine fails at its experiment again and again', async ({
    expect,
  }) => {
    await refuseUnit('vault', 1)
    await Promise.all(calls('vault', 'v1', 4))
    await Promise.all(calls('vault', 'v2', 3))
    const at = () => experimentOf(world, 'vault@v2', () => true)
    // A conversation that is stored meanwhile would end the row of failures: the three others are, before it is counted.
    const alone = async () => {
      const [row] = await sql.query<{ fails: boolean; stored: number }>(
        `SELECT e.failures > 0 AS fails, (SELECT count(*)::int FROM experiment_units u
           WHERE u.experiment_id = e.experiment_id AND u.outcome IS NOT NULL) AS stored
         FROM experiments e WHERE e.registry_id = 'vault'`,
      )
      return row
    }
    await expect.poll(alone, { timeout: deadlineMs }).toEqual({ fails: true, stored: 3 })
    expect(await at()).toMatchObject({ status: 'replaying', promotion_status: 'pending' })
    // Half an hour of failures later: the pauses between them are over.
    await sql.query(
      `UPDATE experiments SET failures = 11, failed_until = now(), due_at = now() WHERE registry_id = 'vault'`,
    )
    const experiment = await experimentOf(world, 'vault@v2', isDecided)
    expect(experiment).toMatchObject({
      status: 'error',
      promotion_status: 'held',
      decision_reason: 'error',
    })
    expect(experiment.summary).toBe('The engine failed 12 times in a row: no room for it')
    expect(await promotedOf('vault')).toBe(null)
    const metrics = await (await fetch(`${world.url}/metrics`)).text()
    expect(metrics).toMatch(/runledger_experiment_failures_total\{job="unit"\} [1-9]/)
    expect(metrics).toContain('runledger_experiments_given_up_total 1')
  })
})
