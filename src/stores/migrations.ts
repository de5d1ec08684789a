// Numbered SQL files brought into a store, each once. A database that is newer than this program is refused, never guessed at.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { splitStatements, tokensOf } from '../engines/sql-text.ts'

export type Migration = {
  version: number
  name: string
  sql: string
  statements: string[]
  /** Of the statements' words, so that a comment may still be mended. */
  hash: string
}

/** What a migration needs of each store; the clients offer more. */
type ClickhouseStore = {
  query<T>(q: { sql: string; params?: Record<string, unknown> }): Promise<T[]>
  command(sql: string): Promise<void>
}
type PostgresStore = {
  query<T>(text: string, params?: readonly unknown[]): Promise<T[]>
}

/** The files NNNN-name.sql of a folder, in order. Throws when a number is missing or there twice. */
export function readMigrations(dir: string): Migration[] {
  const names = readdirSync(dir)
    .filter((name) => /^\d{4}-[a-z0-9-]+\.sql$/.test(name))
    .sort()
  return names.map((name, i) => {
    const version = Number(name.slice(0, 4))
    if (version !== i + 1)
      throw new Error(`${join(dir, name)}: the next migration must have the number ${i + 1}.`)
    const sql = readFileSync(join(dir, name), 'utf8')
    const statements = splitStatements(sql)
    return { version, name, sql, statements, hash: hashOf(statements) }
  })
}

/** Runs what is missing in Postgres, each file in a transaction with its record. The caller holds the store's lock. */
export async function migratePostgres(
  dir: string,
  transaction: <R>(work: (sql: PostgresStore) => Promise<R>) => Promise<R>,
): Promise<void> {
  const migrations = readMigrations(dir)
  const applied = await transaction(async (sql) => {
    await sql.query(`CREATE TABLE IF NOT EXISTS runledger_migrations (version integer PRIMARY KEY, name text NOT NULL,
      hash text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`)
    return sql.query<{ version: number; hash: string }>(
      'SELECT version, hash FROM runledger_migrations',
    )
  })
  const known = new Map(applied.map((row) => [row.version, row.hash]))
  for (const { version, name, hash, sql: text } of missingOf('Postgres', migrations, known))
    await transaction(async (sql) => {
      await sql.query(text)
      await sql.query(
        'INSERT INTO runledger_migrations (version, name, hash) VALUES ($1, $2, $3)',
        [version, name, hash],
      )
    })
}

// ClickHouse has no transactions, so every statement is recorded before and after. A statement that was begun and not recorded
// as done may have taken effect before a crash: then, and only then, "it is already so" is success. Rewriting the statements
// to IF NOT EXISTS was refused: it would take any table of that name for ours.
const alreadySo = new Set([
  57, // table already exists
  15, // duplicate column
  44, // column of that name exists
  10, // no such column any more
  60, // no such table any more
])

/** Runs what is missing in ClickHouse, statement by statement; safe to run again after a crash anywhere. */
export async function migrateClickhouse(store: ClickhouseStore, dir: string): Promise<void> {
  const migrations = readMigrations(dir)
  await store.command(`CREATE TABLE IF NOT EXISTS runledger_migrations (version UInt32, statement UInt32, hash String,
    done UInt8, at DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY (version, statement)
    SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`)
  const rows = await store.query<{
    version: number
    statement: number
    hash: string
    done: number
  }>({
    sql: 'SELECT version, statement, any(hash) AS hash, max(done) AS done FROM runledger_migrations GROUP BY version, statement',
  })
  const recorded = new Map(rows.map((row) => [`${row.version}.${row.statement}`, row]))
  const whole = migrations.filter(({ version, statements }) =>
    statements.every((_, i) => recorded.get(`${version}.${i}`)?.done === 1),
  )
  const newest = Math.max(0, ...rows.map((row) => row.version))
  const applied = new Map(
    whole.map(({ version }) => [version, recorded.get(`${version}.0`)?.hash ?? '']),
  )
  if (newest > migrations.length) applied.set(newest, '')
  for (const migration of missingOf('ClickHouse', migrations, applied))
    for (const [i, statement] of migration.statements.entries()) {
      const before = recorded.get(`${migration.version}.${i}`)
      if (before?.done === 1) continue
      if (!before) await record(store, migration, { statement: i, done: 0 })
      try {
        await store.command(statement)
      } catch (error) {
        if (!before || !isAlreadySo(error)) {
          // Refused, not cut off: it had no effect, and must not look begun to the next run.
          if (!before && isRefusal(error)) await forget(store, migration, i)
          throw error
        }
      }
      await record(store, migration, { statement: i, done: 1 })
    }
}

function record(
  store: ClickhouseStore,
  { version, hash }: Migration,
  { statement, done }: { statement: number; done: number },
): Promise<void> {
  // Numbers and hex digits of our own: nothing here needs binding.
  return store.command(
    `INSERT INTO runledger_migrations (version, statement, hash, done) VALUES (${version}, ${statement}, '${hash}', ${done})`,
  )
}

function forget(store: ClickhouseStore, { version }: Migration, statement: number): Promise<void> {
  return store.command(
    `DELETE FROM runledger_migrations WHERE version = ${version} AND statement = ${statement}`,
  )
}

function missingOf(
  store: string,
  migrations: Migration[],
  applied: ReadonlyMap<number, string>,
): Migration[] {
  const newest = Math.max(0, ...applied.keys())
  if (newest > migrations.length)
    throw new Error(
      `The ${store} database is at version ${newest}, and this Runledger knows versions up to ${migrations.length}. ` +
        'Start the newer Runledger that made it, or another database.',
    )
  for (const { version, name, hash } of migrations) {
    const then = applied.get(version)
    if (then !== undefined && then !== hash)
      throw new Error(
        `The ${store} database was made with another ${name} than this Runledger has. ` +
          'Start the Runledger that made it, or another database.',
      )
  }
  return migrations.filter(({ version }) => !applied.has(version))
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code !== undefined
}

function isAlreadySo(error: unknown): boolean {
  return error instanceof Error && 'code' in error && alreadySo.has(Number(error.code))
}

function hashOf(statements: string[]): string {
  const words = statements.map((statement) =>
    tokensOf(statement).map(({ start, end }) => statement.slice(start, end)),
  )
  return createHash('sha256').update(JSON.stringify(words)).digest('hex').slice(0, 32)
}
