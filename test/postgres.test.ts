// The way to Postgres, on the real server: values as they are, transactions whole, migrations once however many start.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectPostgres, type Postgres, sqlState } from '../src/stores/postgres.ts'
import { type OwnPostgres, startOwnPostgres } from './own-stores.ts'

const dir = mkdtempSync(join(tmpdir(), 'runledger-postgres-'))
let own: OwnPostgres
let sql: Postgres

beforeAll(async () => {
  own = await startOwnPostgres()
  sql = own.sql
})

afterAll(async () => {
  await own.end()
  rmSync(dir, { recursive: true, force: true })
})

async function inDatabase(name: string): Promise<Postgres> {
  await sql.query(`CREATE DATABASE ${name}`)
  return connectPostgres({ ...own.config, database: name })
}

function folder(files: Record<string, string>): string {
  const path = mkdtempSync(join(dir, 'sql-'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text)
  return path
}

describe('values', () => {
  test('come back as they went in', async () => {
    const bytes = Buffer.from([0, 255, 10, 39])
    const at = new Date('2026-11-20T01:02:03.456Z')
    const [row] = await sql.query(
      `SELECT $1::bytea AS bytes, $2::timestamptz AS at, $3::bigint AS big, $4::text[] AS list, $5::jsonb AS json,
        $6::uuid AS id, $7::text AS text, NULL::text AS nothing, 1.50::numeric AS exact`,
      [
        bytes,
        at,
        2 ** 53 - 1,
        ["a'b", 'c,d'],
        { k: [1] },
        '0190a000-0000-7000-8000-000000000000',
        "it's é 🦊",
      ],
    )
    expect(row).toEqual({
      bytes,
      at,
      big: 2 ** 53 - 1,
      list: ["a'b", 'c,d'],
      json: { k: [1] },
      id: '0190a000-0000-7000-8000-000000000000',
      text: "it's é 🦊",
      nothing: null,
      exact: '1.50',
    })
  })

  test('a bigint that a number cannot hold is an error, not another number', async () => {
    await expect(sql.query('SELECT 9007199254740993::bigint AS n')).rejects.toThrow(
      '9007199254740993',
    )
    expect(await sql.query('SELECT 1 AS fine')).toEqual([{ fine: 1 }])
  })
})

describe('a transaction', () => {
  test('is all or nothing', async () => {
    await sql.query('CREATE TABLE whole (a int PRIMARY KEY)')
    const failed = sql.transaction(async (tx) => {
      await tx.query('INSERT INTO whole VALUES (1)')
      await tx.query('INSERT INTO whole VALUES (1)')
    })
    await expect(failed).rejects.toSatisfy((error) => sqlState(error) === '23505')
    const thrown = sql.transaction(async (tx) => {
      await tx.query('INSERT INTO whole VALUES (2)')
      throw new Error('changed my mind')
    })
    await expect(thrown).rejects.toThrow('changed my mind')
    const kept = await sql.transaction(async (tx) => {
      await tx.query('INSERT INTO whole VALUES (3)')
      return tx.query('SELECT a FROM whole')
    })
    expect(kept).toEqual([{ a: 3 }])
    expect(await sql.query('SELECT a FROM whole')).toEqual([{ a: 3 }])
  })

  test('more of them than connections wait for each other and all end', async () => {
    await sql.query('CREATE TABLE sums (id int PRIMARY KEY, n bigint NOT NULL)')
    await sql.query('INSERT INTO sums VALUES (1, 0)')
    await Promise.all(
      Array.from({ length: 50 }, () =>
        sql.transaction(async (tx) => {
          const [row] = await tx.query<{ n: number }>('SELECT n FROM sums WHERE id = 1 FOR UPDATE')
          await tx.query('UPDATE sums SET n = $1 WHERE id = 1', [row!.n + 1])
        }),
      ),
    )
    expect(await sql.query('SELECT n FROM sums')).toEqual([{ n: 50 }])
  })

  test('whose connection dies rejects, and the pool goes on', async () => {
    const cut = sql.transaction(async (tx) => {
      const [row] = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      await sql.query('SELECT pg_terminate_backend($1)', [row!.pid])
      await tx.query('SELECT 1')
    })
    await expect(cut).rejects.toThrow()
    expect(await sql.query('SELECT 1 AS fine')).toEqual([{ fine: 1 }])
  })
})

test('a server that is not there is an error within the deadline, and no end of the process', async () => {
  const away = connectPostgres({ ...own.config, host: join(dir, 'nowhere') })
  await expect(away.query('SELECT 1')).rejects.toThrow()
  expect(await away.ping()).toBe(false)
  await away.close()
})

describe('migrations', () => {
  test('of this program run, by three at once, and again', async () => {
    const first = await inDatabase('ours')
    const others = [1, 2].map(() => connectPostgres({ ...own.config, database: 'ours' }))
    await Promise.all([first, ...others].map((one) => one.migrate()))
    await first.migrate()
    const found = await first.query<{ table_name: string }>(
      `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1`,
    )
    expect(found.map((row) => row.table_name)).toContain('prompt_versions')
    await Promise.all([first, ...others].map((one) => one.close()))
  })

  test('that fail leave nothing of themselves, and all of those before', async () => {
    const store = await inDatabase('failing')
    const path = folder({
      '0001-a.sql': 'CREATE TABLE a (x int);',
      '0002-b.sql': 'CREATE TABLE b (x int); SELECT 1 / 0;',
    })
    await expect(store.migrate(path)).rejects.toThrow('division by zero')
    const found = await store.query(
      `SELECT to_regclass('a') IS NULL AS a, to_regclass('b') IS NULL AS b`,
    )
    expect(found).toEqual([{ a: false, b: true }])
    writeFileSync(join(path, '0002-b.sql'), 'CREATE TABLE b (x int);')
    await store.migrate(path)
    expect(await store.query('SELECT version FROM runledger_migrations ORDER BY 1')).toEqual([
      { version: 1 },
      { version: 2 },
    ])
    await store.close()
  })

  test('refuse a database that is newer, and one that was made otherwise', async () => {
    const store = await inDatabase('newer')
    await store.migrate(
      folder({ '0001-a.sql': 'CREATE TABLE a (x int)', '0002-b.sql': 'CREATE TABLE b (x int)' }),
    )
    await expect(store.migrate(folder({ '0001-a.sql': 'CREATE TABLE a (x int)' }))).rejects.toThrow(
      'The Postgres database is at version 2, and this Runledger knows versions up to 1.',
    )
    const changed = folder({
      '0001-a.sql': 'CREATE TABLE a (x text)',
      '0002-b.sql': 'CREATE TABLE b (x int)',
    })
    await expect(store.migrate(changed)).rejects.toThrow('made with another 0001-a.sql')
    await store.close()
  })

  test('what is done exclusively is never done by two', async () => {
    let inside = 0
    let most = 0
    await Promise.all(
      Array.from({ length: 4 }, () =>
        sql.exclusively(async () => {
          most = Math.max(most, ++inside)
          await sql.query('SELECT 1')
          inside -= 1
        }),
      ),
    )
    expect(most).toBe(1)
  })
})
