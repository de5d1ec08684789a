// Discovery over several processes on one Postgres: one looks at its calls at a time, and who comes next knows what it knew.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { newId } from '../schemas/ids.ts'
import type { SeenCall } from '../schemas/prompt.ts'
import { type Discovering, openDiscovering } from '../src/registry/discovering.ts'
import { openRegistry, type Registry } from '../src/registry/registry.ts'
import { openStoredCalls } from '../src/registry/stored-calls.ts'
import type { Postgres } from '../src/stores/postgres.ts'
import { newWorkspace, type OwnPostgres, startOwnPostgres } from './own-stores.ts'
import { startWorld, type World } from './world.ts'

let own: OwnPostgres
let workspace: string
let postgres: Postgres
let registry: Registry

beforeAll(async () => {
  own = await startOwnPostgres()
  postgres = own.sql
  await postgres.migrate()
  workspace = await newWorkspace(postgres)
  registry = await openRegistry({ postgres, counters: { count() {} }, log: () => {} })
})

afterAll(async () => {
  await registry.close()
  await own.end()
})

function open(over: Partial<Postgres> = {}): Discovering {
  // No run is stored here, so there is none to tell.
  const runs = { query: async () => [], change: async () => {} }
  const counters = { count() {} }
  const stored = openStoredCalls({
    rows: runs,
    storedSpans: { ofSpans: async () => [] },
    loadedBefore: () => 0n,
  })
  const log = () => {}
  const sql = { ...postgres, ...over }
  return openDiscovering({
    ...{ postgres: sql, runs, registry, counters, log, stored, redact: undefined },
  })
}

let calls = 0
function call(rule: string, more: Partial<SeenCall> = {}): SeenCall {
  const who = ['Ada', 'Bo', 'Carla', 'Emil'][calls++ % 4]
  const content = `You are the night porter of the Grand Hotel.\nGuest: ${who} ${calls}th\nAnswer politely.\n${rule}`
  return {
    workspace,
    ref: newId(),
    messages: [{ role: 'system', content }],
    tools: undefined,
    responseFormat: undefined,
    temperature: undefined,
    slug: undefined,
    version: undefined,
    user: '',
    redact: undefined,
    atMs: 1_770_000_000_000 + calls * 1_000,
    ...more,
  }
}

async function see(by: Discovering, one: SeenCall): Promise<string | undefined> {
  let late: string | undefined
  const known = by.see(one, (versionId) => {
    late = versionId
    return true
  })
  await by.settled()
  return known ?? late
}

test('one leads, the other takes over what it knew, and no name is given twice', async () => {
  const [first, second] = [open(), open()]
  await expect.poll(() => first.leads() || second.leads(), { timeout: 10_000 }).toBe(true)
  expect([first.leads(), second.leads()].filter(Boolean)).toHaveLength(1)
  const [leader, other] = first.leads() ? [first, second] : [second, first]
  for (let i = 0; i < 200; i++) leader.see(call('Keep the keys.'), () => true)
  const id = await see(leader, call('Keep the keys.'))
  expect(id).toMatch(/@v1$/)
  expect(other.see(call('Keep the keys.'), () => true)).toBeUndefined()

  await leader.close()
  await expect.poll(() => other.leads(), { timeout: 10_000 }).toBe(true)
  expect(await see(other, call('Keep the keys.'))).toBe(id)
  for (let i = 0; i < 200; i++) other.see(call('Give the keys away.'), () => true)
  expect(await see(other, call('Give the keys away.'))).toBe(id!.replace('v1', 'v2'))
  await other.close()

  const versions = await registry.listVersions({ workspace, registry: id!.split('@')[0]! })
  expect(versions.map((one) => one.version)).toEqual(['v1', 'v2'])
  expect(await registry.checkHistory({ workspace, registry: id!.split('@')[0]! })).toMatchObject({
    brokenAt: null,
    matches: true,
  })
})

test('what was written down and cannot be read costs knowledge: a version is found again, never under the name of another', async () => {
  const [before] = await postgres.query<{ registry_id: string }>(
    'SELECT registry_id FROM prompt_registries WHERE workspace = $1',
    [workspace],
  )
  await postgres.query('UPDATE discovery_snapshots SET snapshot = $1', [Buffer.from('no snapshot')])
  const again = open()
  await expect.poll(() => again.leads(), { timeout: 10_000 }).toBe(true)
  for (let i = 0; i < 200; i++) again.see(call('Give the keys away.'), () => true)
  const id = await see(again, call('Give the keys away.'))
  expect([`${before!.registry_id}@v2`, `${before!.registry_id}@v3`]).toContain(id)
  await again.close()
})

test.each(['FROM discovery_snapshots', 'FROM prompt_versions'])(
  'one that fails to begin, at its question %s, keeps neither the lock nor the lead: the next attempt leads',
  async (question) => {
    let failed = 0
    const one = open({
      async query(text, params) {
        if (!text.includes(question) || failed > 0) return postgres.query(text, params)
        failed++
        throw new Error('cut off')
      },
    })
    const leads = async () => {
      await one.settled()
      return one.leads()
    }
    await expect.poll(leads, { timeout: 10_000 }).toBe(true)
    expect(failed).toBe(1)
    await one.close()
  },
)

test('one that loses the lock while it begins does not lead', async () => {
  const lost = new AbortController()
  let begun = 0
  const one = open({
    async tryLock() {
      begun++
      return begun === 1 ? { lost: lost.signal, release: async () => {} } : undefined
    },
    async query(text, params) {
      if (text.includes('FROM discovery_snapshots')) lost.abort()
      return postgres.query(text, params)
    },
  })
  await one.settled()
  expect(begun).toBeGreaterThan(0)
  expect(one.leads()).toBe(false)
  await one.close()
})

test('what a slot held in one call is not written to the registry', async () => {
  const rows = await postgres.query<{ content: unknown }>(
    'SELECT content FROM prompt_versions WHERE workspace = $1',
    [workspace],
  )
  const text = JSON.stringify(rows)
  expect(text).toContain('Keep the keys.')
  expect(text).not.toMatch(/Ada|Bo \d|Carla|Emil/)
})

test('a run that was posted is told the version that its prompt turns out to have', async () => {
  const world: World = await startWorld()
  const headers = { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' }
  const metrics = async () => (await fetch(`${world.url}/metrics`, { headers })).text()
  await expect.poll(metrics, { timeout: 10_000 }).toContain('runledger_prompt_discovery_leads 1')
  const at = new Date().toISOString()
  const runs = Array.from({ length: 60 }, () => ({
    model: 'm',
    started_at: at,
    ended_at: at,
    input: call('Mind the lift.').messages,
    output: 'Yes.',
  }))
  const posted = await fetch(`${world.url}/v1/runs`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ runs }),
  })
  expect(posted.status).toBe(200)
  const listed = async () =>
    ((await (await fetch(`${world.url}/v1/prompts`, { headers })).json()) as { items: unknown[] }) // our own API
      .items
  await expect
    .poll(listed, { timeout: 20_000 })
    .toEqual([expect.objectContaining({ total_runs: 60 })])
  await world.end()
})
