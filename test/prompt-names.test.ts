// Names of prompts as calls bring them, on a real Postgres: whoever else writes the same rows at the same time, nobody is refused.

import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { Sql } from '../src/accounts/keys.ts'
import { changeRegistry } from '../src/registry/history.ts'
import { openPrompts, type Prompts } from '../src/registry/prompts.ts'
import type { Postgres } from '../src/stores/postgres.ts'
import { newWorkspace, type OwnPostgres, startOwnPostgres } from './own-stores.ts'

let own: OwnPostgres
let postgres: Postgres
let workspace: string
const opened: Prompts[] = []

beforeAll(async () => {
  own = await startOwnPostgres()
  postgres = own.sql
  await postgres.migrate()
})
afterAll(async () => {
  for (const prompts of opened) await prompts.close()
  await own.end()
})
beforeEach(async () => {
  workspace = await newWorkspace(postgres)
})

/** The names as one plane learns them. No run was stored yet. */
async function openPlane(): Promise<Prompts> {
  const rows = { query: async () => [] }
  const prompts = await openPrompts({
    ...{ sql: postgres, rows, counters: { count() {} } },
    log: () => {},
  })
  opened.push(prompts)
  return prompts
}

async function name(sql: Sql, registry: string, version: string): Promise<void> {
  await sql.query(
    `INSERT INTO prompt_versions (workspace, registry_id, version) VALUES ($1, $2, $3)
     ON CONFLICT (workspace, registry_id, version) DO UPDATE SET conflict = false`,
    [workspace, registry, version],
  )
}

function untilWaiting(count: number): Promise<void> {
  const waiting = async () => {
    const [found] = await postgres.query<{ count: number }>(
      "SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid != pg_backend_pid()",
    )
    expect(found?.count).toBe(count)
  }
  return vi.waitFor(waiting, { timeout: 20_000, interval: 10 })
}

const versionsOf = async (prompts: Prompts) =>
  (await prompts.list(workspace)).flatMap(({ versions }) => versions.map((one) => one.version_id))

test('a version that discovery finds in the moment in which a call names it is registered once, and neither waits for ever', async () => {
  const plane = await openPlane()
  plane.link(workspace, 'support', 'v1')
  await plane.registered()
  let named: Promise<void> | undefined
  await changeRegistry(postgres, { workspace, registry: 'support' }, async ({ sql, tell }) => {
    plane.link(workspace, 'support', 'v2')
    named = plane.registered()
    await untilWaiting(1)
    await name(sql, 'support', 'v2')
    await tell(
      { type: 'renamed', displayName: 'Support' },
      { actor: { kind: 'machine', id: 'test' }, reason: 'A test.' },
    )
  })
  await named
  expect(await versionsOf(plane)).toEqual(['support@v1', 'support@v2'])
})

test('two planes that learn the same names in opposite order both register them', async () => {
  const [one, other] = [await openPlane(), await openPlane()]
  for (const slug of ['a', 'b', 'c']) one.link(workspace, slug, 'v1')
  await one.registered()
  let named: Promise<unknown> | undefined
  await postgres.transaction(async (sql) => {
    // Both stop in the middle of their names, each with what the other wants next.
    await name(sql, 'b', 'v2')
    for (const slug of ['a', 'b', 'c']) one.link(workspace, slug, 'v2')
    for (const slug of ['c', 'b', 'a']) other.link(workspace, slug, 'v2')
    named = Promise.all([one.registered(), other.registered()])
    await untilWaiting(2)
  })
  await named
  const names = ['a', 'b', 'c'].flatMap((slug) => [`${slug}@v1`, `${slug}@v2`])
  expect(await versionsOf(one)).toEqual(names)
  expect(await versionsOf(other)).toEqual(names)
})

test('versions of names that have no number keep the order in which calls brought them', async () => {
  const plane = await openPlane()
  for (const version of ['winter', 'autumn', 'spring']) plane.link(workspace, 'shop', version)
  await plane.registered()
  expect(await versionsOf(plane)).toEqual(['shop@winter', 'shop@autumn', 'shop@spring'])
})
