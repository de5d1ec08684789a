// The only way to Postgres, embedded or not: a bounded pool, a deadline on every call, transactions, migrations.

import { join } from 'node:path'
import pg from 'pg'
import { packageRoot } from '../root.ts'
import { migratePostgres } from './migrations.ts'

// Small rows by key: what takes longer than this is stuck behind a lock or a dead server.
const statementMs = 15_000
// The server's own limit comes first; this one is for a server that no longer answers at all.
const answerMs = statementMs + 5_000
const connectMs = 5_000
const idleMs = 30_000
const connectionsMax = 10
// Any number, ours alone: "runledge" in ASCII.
const migrationLock = '8247343400600396645'
const migrationMs = 600_000

export type Sql = {
  /** Rows of one statement. bigint comes as number and throws beyond 2^53; numeric comes as text; timestamps as Date. */
  query<T>(text: string, params?: readonly unknown[]): Promise<T[]>
}

export type Postgres = Sql & {
  /** Runs `work` in a transaction on one connection; what it throws rolls everything back. */
  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T>
  /** Brings the tables to the version of this program. Several processes may do it at once. */
  migrate(dir?: string): Promise<void>
  /** Runs `work` while no other process is in here: for what several may do at once when they start. */
  exclusively<T>(work: () => Promise<T>): Promise<T>
  /** Further connections for a library that speaks to the server itself, its tables in a schema of their own. The caller ends it. */
  openPool(options: { schema: string; connectionsMax: number }): pg.Pool
  /** Takes a lock that one process of all has at a time; undefined while another has it. Kept until released or lost. */
  tryLock(number: number): Promise<HeldLock | undefined>
  ping(): Promise<boolean>
  close(): Promise<void>
}

export type HeldLock = {
  /** Aborts when the connection, and the lock with it, is gone. */
  lost: AbortSignal
  release(): Promise<void>
}

/** A URL, or where the embedded server listens. Does not connect yet. */
export function connectPostgres(
  at: string | { host: string; port: number; user: string; database: string },
  options: { log?: (line: string) => void; connectionsMax?: number } = {},
): Postgres {
  const config = {
    ...(typeof at === 'string' ? { connectionString: at } : at),
    application_name: 'runledger',
    connectionTimeoutMillis: connectMs,
    types,
  }
  const pool = new pg.Pool({
    ...config,
    max: options.connectionsMax ?? connectionsMax,
    idleTimeoutMillis: idleMs,
    statement_timeout: statementMs,
    query_timeout: answerMs,
    idle_in_transaction_session_timeout: statementMs,
  })
  // An idle connection that breaks is replaced by the next call; unheard, its error would end the process.
  pool.on('error', (error) => options.log?.(`Postgres closed an idle connection: ${error.message}`))

  return {
    query: async <T>(text: string, params: readonly unknown[] = []) =>
      rowsOf<T>(pool, text, params),
    transaction: (work) => onConnection(pool, (client) => inTransaction(client, work)),
    migrate: (dir = join(packageRoot(), 'schemas', 'postgres')) =>
      holdingLock(config, (client) =>
        migratePostgres(dir, (transaction) => inTransaction(client, transaction)),
      ),
    exclusively: (work) => holdingLock(config, work),
    openPool({ schema, connectionsMax: max }) {
      const own = new pg.Pool({
        ...config,
        max,
        idleTimeoutMillis: idleMs,
        options: `-c search_path=${schema}`,
      })
      own.on('error', (error) =>
        options.log?.(`Postgres closed an idle connection: ${error.message}`),
      )
      return own
    },
    tryLock: (number) => takeLock(config, number),
    async ping() {
      return pool.query('SELECT 1').then(
        () => true,
        () => false,
      )
    },
    close: () => pool.end(),
  }
}

/** The five characters of an error of Postgres (appendix A of its manual), `23505` for a duplicate; undefined for others. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === pg.types.builtins.INT8 && format !== 'binary') return toSafeInteger
    return pg.types.getTypeParser(oid, format)
  },
}

// Counts, ordinals and amounts in micro-cents all stay below it. Losing digits in silence is the one thing not to do.
function toSafeInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value))
    throw new RangeError(`${text} from Postgres does not fit a number.`)
  return value
}

async function rowsOf<T>(
  on: pg.Pool | pg.ClientBase,
  text: string,
  params: readonly unknown[],
): Promise<T[]> {
  // Without parameters the simple protocol is used, which also takes several statements: migrations need that.
  const result = await (params.length === 0 ? on.query(text) : on.query(text, [...params]))
  return result.rows as T[] // the caller wrote the statement and names its rows
}

async function onConnection<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  const onError = (error: Error) => {
    broken = error
  }
  client.on('error', onError)
  try {
    return await work(client)
  } catch (error) {
    // Rolled back or not, its state is not known for sure: the pool makes a new one.
    if (!(error instanceof pg.DatabaseError))
      broken ??= error instanceof Error ? error : new Error(String(error))
    throw error
  } finally {
    client.off('error', onError)
    client.release(broken)
  }
}

async function inTransaction<T>(client: pg.ClientBase, work: (sql: Sql) => Promise<T>): Promise<T> {
  await client.query('BEGIN')
  try {
    const result = await work({ query: (text, params = []) => rowsOf(client, text, params) })
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
}

async function takeLock(options: pg.ClientConfig, number: number): Promise<HeldLock | undefined> {
  // The lock is the session's: a connection of its own, on which nothing else happens.
  const client = new pg.Client({ ...options, query_timeout: answerMs, keepAlive: true })
  const lost = new AbortController()
  client.on('error', () => lost.abort())
  client.on('end', () => lost.abort())
  const release = () => client.end()
  await client.connect()
  try {
    const taken = await client.query('SELECT pg_try_advisory_lock($1) AS is_ours', [number])
    if (taken.rows[0]?.is_ours === true) return { lost: lost.signal, release }
  } catch (error) {
    await release()
    throw error
  }
  await release()
  return undefined
}

async function holdingLock<T>(
  options: pg.ClientConfig,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  // A connection of its own, because a migration may take minutes. The lock is the session's, not a transaction's, because each
  // file has its own; a session that dies gives it back.
  const client = new pg.Client({
    ...options,
    statement_timeout: migrationMs,
    query_timeout: migrationMs,
  })
  client.on('error', () => {}) // the statement under way rejects with it
  await client.connect()
  try {
    await client.query('SELECT pg_advisory_lock($1)', [migrationLock])
    return await work(client)
  } finally {
    await client.end()
  }
}
