// Stores of a test's own: a Postgres alone, or with a ClickHouse beside it for planes that share them. `end` leaves nothing behind.

import { newId, toUuid } from '../schemas/ids.ts'
import type { Sql } from '../src/accounts/keys.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { type PostgresConfig, startPostgres } from '../src/engines/postgres.ts'
import { connectPostgres, type Postgres } from '../src/stores/postgres.ts'
import { newDataDir, removeDataDir } from './product.ts'

const log = () => {}

export type OwnPostgres = {
  sql: Postgres
  config: PostgresConfig
  /** The settings by which a plane keeps what it knows here. */
  env: { DATABASE_URL: string; RUNLEDGER_MASTER_KEY: string }
  end(): Promise<void>
}

/** Without any table: a plane makes them when it starts, and `sql.migrate` does where there is none. */
export async function startOwnPostgres(): Promise<OwnPostgres> {
  const dir = newDataDir()
  const engine = await startPostgres({ dir, log })
  const { user, host, port, database } = engine.config
  const sql = connectPostgres(engine.config, { log })
  return {
    sql,
    config: engine.config,
    env: {
      DATABASE_URL: `postgres://${user}@${encodeURIComponent(host)}:${port}/${database}`,
      RUNLEDGER_MASTER_KEY: '7'.repeat(64),
    },
    async end() {
      await sql.close()
      await engine.stop()
      removeDataDir(dir)
    },
  }
}

export type SharedStores = Omit<OwnPostgres, 'env'> & {
  clickhouseUrl: string
  env: OwnPostgres['env'] & { CLICKHOUSE_URL: string }
}

/** Both stores, for several planes. */
export async function startSharedStores(): Promise<SharedStores> {
  const dir = newDataDir()
  const [clickhouse, postgres] = await Promise.all([
    startClickhouse({ dir, log }),
    startOwnPostgres(),
  ])
  return {
    ...postgres,
    clickhouseUrl: clickhouse.url,
    env: { ...postgres.env, CLICKHOUSE_URL: clickhouse.url },
    async end() {
      await Promise.all([clickhouse.stop(), postgres.end()])
      removeDataDir(dir)
    },
  }
}

/** A workspace that nothing else knows of: the user whom it belongs to. */
export async function newWorkspace(sql: Sql): Promise<string> {
  const id = toUuid(newId())
  await sql.query('INSERT INTO users (id, email, name) VALUES ($1, $2, $2)', [id, id])
  return id
}
