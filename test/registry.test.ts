// The prompt registry on a real Postgres: versions are content, what is in force moves by compare-and-swap, history adds up.

import { hash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newId, toUuid } from '../schemas/ids.ts'
import type { WantedPrompt } from '../schemas/prompt.ts'
import { type Actor, hashedTextOf } from '../schemas/prompt-history.ts'
import type { Sql } from '../src/accounts/keys.ts'
import { writeEvent, writeLearned } from '../src/registry/discovered.ts'
import { listRegistries } from '../src/registry/prompt-list.ts'
import { openRegistry, type Registry, type StableVersion } from '../src/registry/registry.ts'
import { openServing } from '../src/registry/serving.ts'
import type { Postgres } from '../src/stores/postgres.ts'
import { newWorkspace, type OwnPostgres, startOwnPostgres } from './own-stores.ts'

const person: Actor = { kind: 'person', id: 'key_1' }
const machine: Actor = { kind: 'machine', id: 'experiments' }
let own: OwnPostgres
let postgres: Postgres
let registry: Registry
let workspace: string
let support: { workspace: string; registry: string }

beforeAll(async () => {
  own = await startOwnPostgres()
  postgres = own.sql
  await postgres.migrate()
  registry = await open()
})

afterAll(async () => {
  await registry.close()
  await own.end()
})

beforeEach(async () => {
  workspace = await newWorkspace(postgres)
  support = { workspace, registry: 'support' }
})

function open(): Promise<Registry> {
  return openRegistry({ postgres, counters: { count() {} }, log: () => {} })
}

async function declare(text: string, more: { version?: string; at?: typeof support } = {}) {
  const at = more.at ?? support
  const { version } = await registry.declare(at, {
    registry_id: at.registry,
    ...(more.version === undefined ? {} : { version: more.version }),
    messages: [{ role: 'system', content: text }],
    actor: person,
    reason: 'A test.',
  })
  return version
}

const by = (actor: Actor) => ({ ...support, actor, reason: 'A test.' })
const promotedOf = async () => (await registry.findRegistry(support))?.state.promoted

describe('versions', () => {
  test('are content: the same is the same version, another gets the next number', async () => {
    const first = await declare('Be brief.')
    const again = await declare('Be brief.')
    const next = await declare('Be kind.')
    expect([first.versionId, again.versionId, next.versionId]).toEqual([
      'support@v1',
      'support@v1',
      'support@v2',
    ])
    expect(first.hashes?.text).not.toBe(next.hashes?.text)
    expect(first.hashes?.tools).toBe(next.hashes?.tools)
  })

  test('are never changed: another content under the same name is refused', async () => {
    await declare('Be brief.', { version: 'v1' })
    await expect(declare('Be kind.', { version: 'v1' })).rejects.toMatchObject({ code: 'conflict' })
  })

  test('declared at once by several are one', async () => {
    const versions = await Promise.all(Array.from({ length: 6 }, () => declare('Be brief.')))
    expect(new Set(versions.map((one) => one.versionId))).toEqual(new Set(['support@v1']))
  })

  test('that take in another hold its text; one that names itself, or what is not there, is refused', async () => {
    const style = { workspace, registry: 'style' }
    await declare('Answer in {{language}}.', { at: style })
    const made = await declare('Be brief.\n{{> style@v1}}')
    expect(made.content).toMatchObject({
      messages: [{ role: 'system', content: 'Be brief.\nAnswer in {{language}}.' }],
    })
    await expect(declare('{{> style@v9}}')).rejects.toThrow(
      '{{> style@v9}} refers to a version that does not exist',
    )
    await expect(declare('{{> support@v7}}', { version: 'v7' })).rejects.toThrow('refers to itself')
  })

  test('are told to listeners once, the first as the baseline', async () => {
    const told: StableVersion[] = []
    const stop = registry.onStable((version) => told.push(version))
    await declare('Be brief.')
    await declare('Be brief.')
    await declare('Be kind.')
    stop()
    expect(told.map((one) => [one.versionId, one.isBaseline])).toEqual([
      ['support@v1', true],
      ['support@v2', false],
    ])
    const missed = await registry.unexamined(100)
    expect(missed.filter((one) => one.workspace === workspace).map((one) => one.versionId)).toEqual(
      ['support@v2'],
    )
  })
})

describe('what is in force', () => {
  beforeEach(async () => {
    for (const text of ['one', 'two', 'three']) await declare(text)
  })

  test('moves once when two promote at the same time', async () => {
    const moves = await Promise.all(
      ['v2', 'v3'].map((version) => registry.promote({ ...by(person), version, expected: null })),
    )
    expect(moves.map((move) => move.outcome).sort()).toEqual(['conflict', 'moved'])
    const won = moves.find((move) => move.outcome === 'moved')!.present
    expect(await promotedOf()).toBe(won)
    expect(moves.find((move) => move.outcome === 'conflict')!.present).toBe(won)
  })

  test('goes back step by step, and statuses say what became of each', async () => {
    await registry.promote({ ...by(person), version: 'v2' })
    await registry.promote({ ...by(person), version: 'v3' })
    expect(await registry.rollback(by(person))).toMatchObject({ outcome: 'moved', present: 'v2' })
    expect(await registry.rollback(by(person))).toMatchObject({ outcome: 'moved', present: 'v1' })
    expect(await registry.rollback(by(person))).toMatchObject({ outcome: 'refused' })
    const versions = await registry.listVersions(support)
    expect(versions.map((one) => one.status)).toEqual(['promoted', 'rolled_back', 'rolled_back'])
  })

  test('is held by a pin against everyone until it is taken out', async () => {
    await registry.pin({ ...by(person), version: 'v1' })
    expect(await registry.promote({ ...by(person), version: 'v2' })).toMatchObject({
      outcome: 'refused',
      why: expect.stringContaining('pinned to support@v1'),
    })
    await registry.pin({ ...by(person), version: null })
    expect(await registry.promote({ ...by(person), version: 'v2' })).toMatchObject({
      outcome: 'moved',
    })
  })

  test('is a person’s to decide: the machine undoes none of it', async () => {
    await registry.promote({ ...by(machine), version: 'v2' })
    await registry.rollback(by(person))
    expect(await registry.promote({ ...by(machine), version: 'v2' })).toMatchObject({
      outcome: 'refused',
      why: expect.stringContaining('by a person'),
    })
    await registry.promote({ ...by(person), version: 'v2' })
    expect(await registry.rollback(by(machine))).toMatchObject({ outcome: 'refused' })
    expect(await promotedOf()).toBe('v2')
  })

  test('is never a version that is not there, was replaced, or has nothing to serve', async () => {
    await expect(registry.promote({ ...by(person), version: 'v9' })).rejects.toMatchObject({
      code: 'not_found',
    })
    await expect(
      registry.promote({ ...by(person), registry: 'nothing', version: 'v1' }),
    ).rejects.toMatchObject({ code: 'not_found' })
    await registry.promote({ ...by(person), version: 'v2' })
    expect(await registry.promote({ ...by(person), version: 'v1' })).toMatchObject({
      outcome: 'refused',
      why: expect.stringContaining('retired'),
    })
  })
})

async function setEvent(column: 'reason' | 'hash', value: string): Promise<void> {
  await postgres.query('ALTER TABLE prompt_events DISABLE TRIGGER prompt_events_stay')
  await postgres.query(`UPDATE prompt_events SET ${column} = $2 WHERE workspace = $1 AND seq = 5`, [
    workspace,
    value,
  ])
  await postgres.query('ALTER TABLE prompt_events ENABLE TRIGGER prompt_events_stay')
}

describe('history', () => {
  test('replays to the present state, and a changed event is found', async () => {
    await declare('one')
    await declare('two')
    await registry.promote({
      ...by(person),
      version: 'v2',
      evidence: { passed: 41, of: 41, note: undefined },
    })
    await registry.rollback(by(person))
    await registry.change({ ...by(person), mode: 'serve', policy: { margin: 0.1 } })
    await registry.setCanary({ ...by(person), canary: { version: 'v2', share: 0.25 } })
    await registry.pin({ ...by(person), version: 'v1' })
    const check = await registry.checkHistory(support)
    expect(check).toEqual({ events: 10, brokenAt: null, matches: true })
    const events = await registry.history(support, { limit: 3 })
    expect(events.map((event) => event.fact.type)).toEqual(['pinned', 'canary', 'policy'])

    await expect(postgres.query(`UPDATE prompt_events SET reason = 'another'`)).rejects.toThrow(
      'only ever added',
    )
    await expect(postgres.query('DELETE FROM prompt_events')).rejects.toThrow('only ever added')
    await setEvent('reason', 'another')
    expect(await registry.checkHistory(support)).toMatchObject({ brokenAt: 5, matches: true })
    // With its own hash made to fit, the event after it tells.
    const changed = (await registry.history(support, { limit: 10 })).find(({ seq }) => seq === 5)!
    const fitting = hash('sha256', hashedTextOf(support, changed), 'hex')
    await setEvent('hash', `sha256:${fitting}`)
    expect(await registry.checkHistory(support)).toMatchObject({ brokenAt: 6, matches: true })
  })

  test('belongs to one workspace, and goes with it', async () => {
    await declare('one')
    const other = { ...support, workspace: toUuid(newId()) }
    expect(await registry.findRegistry(other)).toBeUndefined()
    await expect(
      registry.promote({ ...by(person), ...other, version: 'v1' }),
    ).rejects.toMatchObject({ code: 'not_found' })
    await postgres.query('DELETE FROM users WHERE id = $1', [workspace])
    expect(await registry.history(support, { limit: 10 })).toEqual([])
  })
})

test('a policy has a value for everything, by mode; a canary share is kept by whoever is in it', async () => {
  await declare('Hello {{name}}.')
  await declare('Good day {{name}}.')
  expect(await registry.policyOf(support)).toMatchObject({
    mode: 'observe',
    policy: { auto_promote: 'threshold', alpha: 0.01, margin: null, max_pairs: 2000 },
  })
  await registry.change({ ...by(person), mode: 'serve', policy: { alpha: 0.05 } })
  expect(await registry.policyOf(support)).toMatchObject({
    policy: { auto_promote: 'proven', alpha: 0.05 },
  })

  const answersOf = (share: number) =>
    Array.from({ length: 400 }, (_, i) => {
      const served = registry.resolve(workspace, {
        slug: 'support',
        version: undefined,
        variables: { name: 'Ada' },
        namedIn: 'header',
        mayPass: false,
        sticky: `session ${i}`,
      })
      return share > 0 && served?.versionId === 'support@v2'
    })
  await registry.setCanary({ ...by(machine), canary: { version: 'v2', share: 0.05 } })
  const few = answersOf(0.05)
  await registry.setCanary({ ...by(machine), canary: { version: 'v2', share: 0.5 } })
  const half = answersOf(0.5)
  const count = (list: boolean[]) => list.filter(Boolean).length
  expect(count(few)).toBeGreaterThan(5)
  expect(count(few)).toBeLessThan(45)
  expect(count(half)).toBeGreaterThan(160)
  expect(count(half)).toBeLessThan(240)
  expect(few.every((isIn, i) => !isIn || half[i])).toBe(true)
})

test('a flood of versions stops experiments until a person has looked, and is told once', async () => {
  await declare('one')
  await declare('two')
  const waits = async () =>
    (await registry.unexamined(100)).filter((one) => one.workspace === workspace).length
  expect(await waits()).toBe(1)
  const event = {
    type: 'registry_paused',
    workspace,
    registry: 'support',
    newVersions: 6,
    atMs: 0,
  } as const
  await writeEvent(postgres, event)
  await writeEvent(postgres, event)
  expect(await waits()).toBe(0)
  expect(await registry.policyOf(support)).toMatchObject({ flooded: true })
  await registry.resume(by(person))
  expect(await waits()).toBe(1)
  const facts = (await registry.history(support, { limit: 2 })).map((one) => one.fact.type)
  expect(facts).toEqual(['resumed', 'flooded'])
})

test('a prompt that was found in traffic has no registry until it has a version', async () => {
  const at = { ...support, atMs: 0 }
  const ids = async () =>
    (await listRegistries(postgres, workspace, { seen: [] })).map((item) => [
      item.registry_id,
      item.versions.map((one) => one.version_id),
    ])
  await writeEvent(postgres, {
    ...at,
    type: 'family_found',
    source: 'auto_backfill',
    explicit: false,
  })
  await writeEvent(postgres, {
    ...at,
    type: 'version_merged',
    from: 's@v2',
    into: 's@v1',
    reason: '',
  })
  expect(await ids()).toEqual([])
  const hashes = { content: 'c', text: 't', tools: '', responseFormat: '', params: '' }
  const event = {
    ...at,
    type: 'version_stable',
    shape: 'support#1',
    versionId: 'support@v1',
    hashes,
    runs: 30,
    firstSeenMs: 0,
    rendered: { checked: 0, equal: 0 },
  } as const
  await writeLearned(postgres, {
    event,
    template: undefined,
    tools: undefined,
    responseFormat: undefined,
  })
  expect(await ids()).toEqual([['support', ['support@v1']]])
})

const wanted: WantedPrompt = {
  slug: 'support',
  version: undefined,
  variables: {},
  namedIn: 'header',
  mayPass: false,
  sticky: '',
}

test('another process serves what was promoted here within seconds', async () => {
  const other = await open()
  await declare('one')
  await declare('two')
  await registry.change({ ...by(person), mode: 'serve' })
  await registry.promote({ ...by(person), version: 'v2' })
  const served = () => other.resolve(workspace, wanted)
  await expect.poll(() => served()?.versionId, { timeout: 5_000 }).toBe('support@v2')
  await other.close()
})

test('a reading that began before a promotion and comes after it does not bring back what was replaced', async () => {
  await declare('one')
  await declare('two')
  await registry.change({ ...by(person), mode: 'serve' })
  let letGo: (() => void) | undefined
  // The first reading of the versions after `slow` is held back until the test lets it go.
  let slow = false
  const sql: Sql = {
    async query<T>(text: string, params?: readonly unknown[]) {
      const rows = await postgres.query<T>(text, params)
      if (slow && text.includes('FROM prompt_versions')) {
        slow = false
        await new Promise<void>((resolve) => {
          letGo = resolve
        })
      }
      return rows
    },
  }
  const serving = await openServing({ sql, counters: { count() {} }, log: () => {} })
  const served = () => serving.resolve(workspace, wanted)?.versionId
  expect(served()).toBe('support@v1')
  slow = true
  const early = serving.refresh(support)
  await expect.poll(() => letGo).toBeDefined()
  await registry.promote({ ...by(person), version: 'v2' })
  await serving.refresh(support)
  expect(served()).toBe('support@v2')
  letGo?.()
  await early
  expect(served()).toBe('support@v2')
  await serving.close()
})
