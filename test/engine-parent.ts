// A plane with nothing but its data directory and its engines, for tests that kill it. Says once what it started.

import { openDataDir } from '../src/data-dir.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { startPostgres } from '../src/engines/postgres.ts'
import { connectClickhouse } from '../src/stores/clickhouse.ts'

const log = (line: string) => console.error(line)
const dataDir = await openDataDir(process.argv[2] ?? '')
const postgres = await startPostgres({ dir: dataDir.sub('postgres'), log })
const clickhouse = await startClickhouse({ dir: dataDir.sub('clickhouse'), log })

async function stop(): Promise<void> {
  // What a plane does between the signal and the end of its engines: its last insert must still find them.
  const client = connectClickhouse(clickhouse.url)
  const [row] = await client.query<{ n: number }>({ sql: 'SELECT 1 AS n' })
  await client.close()
  await clickhouse.stop()
  await postgres.stop()
  await dataDir.release()
  console.log(JSON.stringify({ stopped: row?.n }))
}

process.once('SIGINT', stop)
process.on('SIGTERM', () => {})
console.log(JSON.stringify({ url: clickhouse.url, config: postgres.config }))
