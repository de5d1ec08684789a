// What is left to chance when two act on an experiment at once, and which versions are tried against which: on Postgres alone.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { planPolicy } from '../replay/registration.ts'
import { findBaseline } from '../src/experiments/baseline.ts'
import { openCallLedger } from '../src/experiments/call-ledger.ts'
import { cancelExperiment } from '../src/experiments/cancelling.ts'
import { openCandidates } from '../src/experiments/candidates.ts'
import { stepLive } from '../src/experiments/live.ts'
import { beside, MovedMeanwhile } from '../src/experiments/live-moves.ts'
import { queueExperiment } from '../src/experiments/queueing.ts'
import { getUuid } from '../src/experiments/rows.ts'
import { openExperimentStore } from '../src/experiments/store.ts'
import { openRegistry, type Registry } from '../src/registry/registry.ts'
import type { Postgres } from '../src/stores/postgres.ts'
import { newWorkspace, type OwnPostgres, startOwnPostgres } from './own-stores.ts'

const rounds = 12
const person = { kind: 'person', id: 'key_1' } as const
const machine = { kind: 'machine', id: 'experiments' } as const
const by = { keyId: 'key_1', reason: undefined }

let own: OwnPostgres
let postgres: Postgres
let registry: Registry
let workspace: string

beforeAll(async () => {
  own = await startOwnPostgres()
  postgres = own.sql
  await postgres.migrate()
  registry = await openRegistry({ postgres, counters: { count() {} }, log: () => {} })
})
afterAll(async () => {
  await registry.close()
  await own.end()
})
beforeEach(async () => {
  workspace = await newWorkspace(postgres)
})

async function declare(name: string, version: string): Promise<void> {
  const messages = [{ role: 'system' as const, content: `You are ${version} of ${name}.` }]
  await registry.declare(
    { workspace, registry: name },
    { registry_id: name, version, messages, actor: person, reason: 'A test.' },
  )
}

/** An experiment of v2 against v1, brought to this status. */
async function experimentIn(name: string, status: 'replaying' | 'canary') {
  const at = { workspace, registry: name }
  await declare(name, 'v1')
  await declare(name, 'v2')
  if (status === 'canary') {
    await registry.change({ ...at, mode: 'serve', actor: person, reason: 'A test.' })
    const canary = { version: 'v2', share: 0.5 }
    await registry.setCanary({ ...at, canary, actor: machine, reason: 'A test.' })
  }
  const ask = { ...at, baseline: 'v1', candidate: 'v2', startedBy: 'machine', asked: {} }
  const queued = await queueExperiment({ postgres }, ask)
  const store = openExperimentStore(postgres, 'test')
  await postgres.query(
    'UPDATE experiments SET status = $2 WHERE workspace = $1 AND registry_id = $3',
    [workspace, status, name],
  )
  const row = await store.find(queued?.experimentId ?? '')
  if (row === undefined) throw new Error('It was queued a moment ago.')
  return { at, row, store, deps: { postgres, registry, store } }
}

describe('cancelling while the machine moves', () => {
  test('either takes the share away or comes too late: an experiment that was cancelled never promotes', async () => {
    for (let round = 0; round < rounds; round++) {
      const { at, row, store, deps } = await experimentIn(`live-${round}`, 'canary')
      const promote = registry.promote({
        ...{ ...at, version: 'v2', expected: null, actor: machine, reason: 'No harm.' },
        beside: beside(row, {
          status: 'passed',
          promotionStatus: 'promoted',
          reason: '',
          live: null,
        }),
      })
      const cancel = cancelExperiment(deps, row, by)
      const [promoted, cancelled] = await Promise.allSettled([promote, cancel])
      const isCancelled = cancelled.status === 'fulfilled' && cancelled.value
      if (isCancelled && promoted.status === 'rejected')
        expect(promoted.reason).toBeInstanceOf(MovedMeanwhile)
      const [now, found] = [await store.find(row.experimentId), await registry.findRegistry(at)]
      expect([
        now?.status,
        now?.promotionStatus,
        found?.state.promoted,
        found?.state.canary,
      ]).toEqual(
        isCancelled
          ? ['cancelled', 'not_promoted', null, null]
          : ['passed', 'promoted', 'v2', null],
      )
      expect((await registry.checkHistory(at)).matches).toBe(true)
    }
  })

  test('either stops the decision or is told that there is one', async () => {
    for (let round = 0; round < rounds; round++) {
      const { row, store, deps } = await experimentIn(`decided-${round}`, 'replaying')
      const [, isCancelled] = await Promise.all([
        store.conclude(row.experimentId, ({ stopped }) => {
          const status = stopped === 'cancelled' ? 'cancelled' : 'passed'
          return { status, decision: null as never, reason: '' } // what is decided does not matter here
        }),
        cancelExperiment(deps, row, by),
      ])
      const now = await store.find(row.experimentId)
      expect(now?.status).toBe(isCancelled ? 'cancelled' : 'passed')
    }
  })

  test('undoes a promotion that was made on what is no longer so', async () => {
    const { at, row, deps } = await experimentIn('late', 'canary')
    expect(await cancelExperiment(deps, row, { ...by, reason: 'The sale begins.' })).toBe(true)
    const promote = registry.promote({
      ...{ ...at, version: 'v2', actor: machine, reason: 'No harm.' },
      beside: beside(row, { status: 'passed', promotionStatus: 'promoted', reason: '' }),
    })
    await expect(promote).rejects.toThrow(MovedMeanwhile)
    expect((await registry.findRegistry(at))?.state.promoted).toBe(null)
    const last = (await registry.history(at, { limit: 2 })).find(
      ({ fact }) => fact.type === 'canary',
    )
    expect([last?.actor, last?.reason]).toEqual([
      person,
      'Cancelled with a share of live traffic: The sale begins.',
    ])
  })
})

describe('queueing', () => {
  test('leaves nothing behind when it dies halfway: the version is called a candidate when it is one', async () => {
    const at = { workspace, registry: 'half' }
    await declare('half', 'v1')
    await declare('half', 'v2')
    const ask = { ...at, baseline: 'v1', candidate: 'v2', startedBy: 'machine', asked: {} }
    const seen = async () => {
      const [{ count }] = (await postgres.query<{ count: number }>(
        'SELECT count(*)::int AS count FROM experiments WHERE workspace = $1',
        [workspace],
      )) as [{ count: number }] // a count is one row
      return [count, (await registry.findVersion({ ...at, version: 'v2' }))?.status]
    }
    await postgres.query(`CREATE FUNCTION refuse_status() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      RAISE EXCEPTION 'gone in the middle'; END $$`)
    await postgres.query(`CREATE TRIGGER refuse_status BEFORE UPDATE OF status ON prompt_versions FOR EACH ROW
      WHEN (NEW.workspace = '${workspace}') EXECUTE FUNCTION refuse_status()`)
    await expect(queueExperiment({ postgres }, ask)).rejects.toThrow('gone in the middle')
    expect(await seen()).toEqual([0, 'observed'])
    await postgres.query('DROP TRIGGER refuse_status ON prompt_versions')
    await queueExperiment({ postgres }, ask)
    expect(await seen()).toEqual([1, 'candidate'])
    expect((await registry.checkHistory(at)).matches).toBe(true)
  })
})

describe('a way into traffic that sees none', () => {
  const hourMs = 3_600_000
  test.each([
    { phase: 'shadow', seen: '0 of 12 conversations' },
    { phase: 'canary', seen: '0 of 25 pairs of calls' },
  ] as const)(
    'ends its $phase undecided when the policy says so, and not before',
    async ({ phase, seen }) => {
      const { at, row, store, deps } = await experimentIn(`quiet-${phase}`, 'canary')
      await registry.change({
        ...at,
        policy: { canary_hours: 5 },
        actor: person,
        reason: 'A test.',
      })
      const live =
        phase === 'shadow'
          ? { phase, sinceMs: 0 }
          : { phase, step: 0, share: 0.5, sinceMs: 0, stepSinceMs: 0 }
      const registration = { policy: planPolicy(100) }
      await postgres.query(
        `UPDATE experiments SET status = $2, live = $3, registration = $4, registration_hash = '' WHERE experiment_id = $1`,
        [getUuid(row.experimentId), phase, JSON.stringify(live), JSON.stringify(registration)],
      )
      const lookAt = async (nowMs: number) => {
        const now = await store.find(row.experimentId)
        if (now === undefined) throw new Error('It is there.')
        await stepLive(
          {
            ...{
              ...deps,
              rows: { query: async () => [] },
              flush: async () => {},
              nowMs: () => nowMs,
            },
            frames: { runs: async () => [], open: async () => async () => [] },
          },
          now,
        )
        return store.find(row.experimentId)
      }
      expect(await lookAt(5 * hourMs)).toMatchObject({ status: phase, live })
      expect(await lookAt(5 * hourMs + 1)).toMatchObject({
        ...{ status: 'inconclusive', promotionStatus: 'held', live: null },
        reason: `No harm was seen, but only ${seen} came in 5 hours: too few to go on.`,
      })
      const found = await registry.findRegistry(at)
      expect(found?.state).toMatchObject({ promoted: null, canary: null })
      const version = await registry.findVersion({ ...at, version: 'v2' })
      expect(version?.status).toBe('inconclusive')
    },
  )
})

describe('processes that find the same version at once', () => {
  test('try it once between them', async () => {
    for (let round = 0; round < rounds; round++) {
      const at = { workspace, registry: `twice-${round}` }
      await declare(at.registry, 'v1')
      await declare(at.registry, 'v2')
      const ask = { ...at, baseline: 'v1', candidate: 'v2', startedBy: 'machine', asked: {} }
      const queued = await Promise.all([1, 2, 3].map(() => queueExperiment({ postgres }, ask)))
      expect(queued.filter((one) => one !== undefined)).toHaveLength(1)
      const rows = await postgres.query<{ status: string }>(
        'SELECT status FROM experiments WHERE workspace = $1 AND registry_id = $2',
        [workspace, at.registry],
      )
      expect(rows).toEqual([{ status: 'queued' }])
    }
  })
})

describe('the budget of a day', () => {
  test('is kept for the whole workspace when several prompts set money aside at once', async () => {
    const perDay = 100
    // The workspace may spend five times that: of eight prompts that ask for all of theirs at once, five are answered.
    for (let round = 0; round < rounds; round++) {
      const rows = await Promise.all(
        Array.from(
          { length: 8 },
          async (_, i) => (await experimentIn(`day-${round}-${i}`, 'replaying')).row,
        ),
      )
      await postgres.query(
        `UPDATE experiments SET budget_per_day_nano_usd = $2, registration = '{"frame":{"units":9}}' WHERE workspace = $1`,
        [workspace, perDay],
      )
      const claims = await Promise.all(
        rows.map(({ experimentId }) =>
          openCallLedger(postgres, experimentId, 'test').claim(
            { unit: 0, arm: 'baseline', step: 0 },
            { leaseMs: 60_000, reserveNanoUsd: perDay },
          ),
        ),
      )
      expect(claims.map(({ kind }) => kind).sort()).toEqual([
        ...Array.from({ length: 5 }, () => 'mine'),
        ...Array.from({ length: 3 }, () => 'stopped'),
      ])
      const [day] = await postgres.query<{ spent: number }>(
        `DELETE FROM experiment_spend WHERE workspace = $1 AND registry_id = '' RETURNING spent_nano_usd AS spent`,
        [workspace],
      )
      expect(day?.spent).toBe(5 * perDay)
    }
  })
})

describe('versions by their numbers', () => {
  const named = (name: string, version: string) =>
    postgres.query(
      `INSERT INTO prompt_versions (workspace, registry_id, version, source) VALUES ($1, $2, $3, 'auto_backfill')`,
      [workspace, name, version],
    )
  /** Traffic that is there and stands still, and a clock that passes every pause. */
  async function candidatesOf(name: string): Promise<string[]> {
    let now = Date.now()
    const candidates = openCandidates({
      ...{ postgres, registry, flush: async () => {} },
      rows: { query: async () => [{ conversations: '50', runs: '50' }] as never }, // the one shape it asks for
      nowMs: () => (now += 100_000),
    })
    for (let look = 0; look < 3; look++) await candidates.look()
    const found = await postgres.query<{ pair: string }>(
      `SELECT candidate || ' against ' || baseline AS pair FROM experiments WHERE workspace = $1 AND registry_id = $2`,
      [workspace, name],
    )
    return found.map(({ pair }) => pair)
  }

  test.each([
    { came: ['v2', 'v1'], tried: ['v2 against v1'] },
    { came: ['v9', 'v10', 'v2'], tried: ['v10 against v2'] },
    { came: ['v1', 'v3', 'v2'], tried: ['v3 against v1'] },
    { came: ['default', 'v1'], tried: ['v1 against default'] },
  ])(
    'of $came the highest is tried against the lowest, however they came',
    async ({ came, tried }) => {
      await postgres.query(
        `INSERT INTO prompt_registries (workspace, registry_id, display_name, source) VALUES ($1, 'desk', 'desk', 'auto_backfill')`,
        [workspace],
      )
      for (const version of came) await named('desk', version)
      expect(await candidatesOf('desk')).toEqual(tried)
    },
  )

  test('a version that comes with a lower number than the one in force is not tried by itself', async () => {
    const at = { workspace, registry: 'desk' }
    await declare('desk', 'v2')
    expect((await registry.findRegistry(at))?.state.baseline).toBe('v2')
    await named('desk', 'v1')
    expect(await candidatesOf('desk')).toEqual([])
    expect(await findBaseline(postgres, at, { promoted: null, baseline: null })).toBe('v1')
    await named('desk', 'v3')
    expect(await candidatesOf('desk')).toEqual(['v3 against v2'])
  })
})
