// How long the stores keep what was traced: the tables' own time to live, brought to what the configuration says.

import type { Clickhouse } from '../stores/clickhouse.ts'

// Old enough that few merges are left to come: what is packed tightly from then on is packed about once.
const packed = ', ingested_at + toIntervalDay(1) RECOMPRESS CODEC(ZSTD(1))'
// Days more than the spans': an envelope is written again daily, and one more for clocks.
const tables: Readonly<Record<string, { column: string; more: number; also?: string }>> = {
  spans: { column: 'ingested_at', more: 0, also: packed },
  payloads: { column: 'ingested_at', more: 0, also: packed },
  briefs: { column: 'ingested_at', more: 0, also: packed },
  traces: { column: 'ingested_at', more: 0 },
  arrivals: { column: 'ingested_at', more: 0 },
  rolled: { column: 'rolled_at', more: 0 },
  rollups: { column: 'rolled_at', more: 0 },
  envelopes: { column: 'ingested_at', more: 2 },
}

/** Alters the tables whose time to live is another. What is already past it leaves with the merges that follow. */
export async function keepFor(
  store: Pick<Clickhouse, 'query' | 'command'>,
  days: number,
): Promise<string[]> {
  const found = await store.query<{ name: string; engine: string }>({
    sql: 'SELECT name, engine_full AS engine FROM system.tables WHERE database = currentDatabase() AND name IN {names:Array(String)}',
    params: { names: Object.keys(tables) },
  })
  const altered: string[] = []
  for (const { name, engine } of found) {
    const { column, more, also = '' } = tables[name]!
    const wanted = `${column} + toIntervalDay(${days + more})${also}`
    if (engine.includes(`TTL ${wanted}`)) continue
    await store.command(`ALTER TABLE ${name} MODIFY TTL ${wanted} SETTINGS mutations_sync = 0`)
    altered.push(name)
  }
  return altered
}
