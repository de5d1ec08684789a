// The stores, embedded or your own. A database that is not ours is asked for what the promises rest on: settings that an insert is
// sent with, windows in which a repeated one is recognised, commits that wait for the disk.

import { createRequire } from 'node:module'
import { tables } from '../../schemas/tables.ts'
import { findPrograms } from '../engines/postgres-files.ts'
import { connectClickhouse, insertSettings } from '../stores/clickhouse.ts'
import { connectPostgres } from '../stores/postgres.ts'
import { type Finding, failed } from './doctor-finding.ts'

const deadlineMs = 10_000
// Known to the HTTP interface alone, as long as there is one.
const ofHttp = 'wait_end_of_query'

export async function aboutClickhouse(url: string | undefined): Promise<Finding> {
  const name = 'clickhouse'
  if (url === undefined) {
    const require = createRequire(import.meta.url)
    try {
      const { version } = require('chdb/package.json')
      return { name, outcome: 'ok', says: `Embedded, chdb ${version}.` }
    } catch (error) {
      return failed(name, error)
    }
  }
  const clickhouse = connectClickhouse(url)
  const ask = <T>(sql: string, params = {}) => clickhouse.query<T>({ sql, params, deadlineMs })
  try {
    const [server] = await ask<{ version: string }>('SELECT version() AS version')
    const wanted = [...Object.keys(insertSettings), 'insert_deduplication_token'].filter(
      (setting) => setting !== ofHttp,
    )
    const known = await ask<{ name: string }>(
      'SELECT name FROM system.settings WHERE name IN {wanted:Array(String)}',
      { wanted },
    )
    const unknown = wanted.filter((setting) => !known.some((row) => row.name === setting))
    const windowless = await ask<{ name: string }>(
      `SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN {names:Array(String)}
       AND NOT match(engine_full, 'deduplication_window = [1-9]') AND engine NOT LIKE 'Replicated%'`,
      { names: Object.keys(tables) },
    )
    const wrong = [
      ...unknown.map((setting) => `it does not know the setting ${setting}`),
      ...windowless.map((table) => `table ${table.name} would store a repeated insert twice`),
    ]
    const says = `Your own, version ${server?.version}`
    if (wrong.length > 0) return { name, outcome: 'fail', says: `${says}: ${wrong.join('; ')}.` }
    return { name, outcome: 'ok', says: `${says}; it knows what inserts are sent with.` }
  } catch (error) {
    return failed(name, error)
  } finally {
    await clickhouse.close()
  }
}

export async function aboutPostgres(url: string | undefined): Promise<Finding> {
  const name = 'postgres'
  if (url === undefined) {
    try {
      findPrograms()
      return { name, outcome: 'ok', says: 'Embedded; its programs are there.' }
    } catch (error) {
      return failed(name, error)
    }
  }
  const postgres = connectPostgres(url, { log: () => {} })
  try {
    const [row] = await postgres.query<{ version: string; fsync: string; commit: string }>(
      `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
         current_setting('synchronous_commit') AS commit`,
    )
    const isSafe = row?.fsync === 'on' && row.commit !== 'off'
    const says = `Your own, version ${row?.version}`
    return isSafe
      ? { name, outcome: 'ok', says: `${says}; a commit waits for its disk.` }
      : {
          name,
          outcome: 'warn',
          says: `${says}: fsync is ${row?.fsync}, synchronous_commit ${row?.commit}, so a crash may lose keys and balances.`,
        }
  } catch (error) {
    return failed(name, error)
  } finally {
    await postgres.close()
  }
}
