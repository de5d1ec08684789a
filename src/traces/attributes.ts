// Which attributes the spans of a workspace have, for those who are about to filter by one: read from a sample of the newest.

import { between, inWorkspace, type Where } from './trace-query.ts'
import type { Rows } from './traces.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const aheadMs = dayMs
// The newest spans tell best; further back it looks only for what these do not have, or when they are few.
const windowsMs = [hourMs, dayMs, 7 * dayMs, 20_000 * dayMs] as const
const sampleMax = 100_000
const sampleEnough = 5_000

export type AttributeKey = { key: string; type: 'string' | 'number'; spans: number }
export type AttributeValue = { value: string; spans: number }

export type AttributeNames = ReturnType<typeof openAttributeNames>

export function openAttributeNames(rows: Rows, nowMs: () => number) {
  async function look<T>(
    workspace: string,
    ask: (sample: Where) => Where,
  ): Promise<{ found: T[]; sampled: number }> {
    const now = nowMs()
    let last: { found: T[]; sampled: number } = { found: [], sampled: 0 }
    for (const ms of windowsMs) {
      const where = between(inWorkspace(workspace), now - ms, now + aheadMs)
      const { sql, params } = ask({
        sql: `SELECT attr_str, attr_num FROM spans WHERE ${where.sql} LIMIT ${sampleMax}`,
        params: where.params,
      })
      const found = await rows.query<T & { sampled: string }>({ sql, params })
      last = { found, sampled: Number(found[0]?.sampled ?? 0) }
      if (last.sampled >= sampleEnough) break
    }
    return last
  }

  /** Keys that begin with `prefix`, the most frequent first, and how many spans were looked at. */
  async function keys(workspace: string, prefix: string, limit: number) {
    const { found, sampled } = await look<AttributeKey>(workspace, (sample) => ({
      sql: `SELECT pair.1 AS key, pair.2 AS type, count() AS spans, any(total) AS sampled
        FROM (SELECT mapKeys(attr_str) AS texts, mapKeys(attr_num) AS numbers, count() OVER () AS total FROM (${sample.sql}))
        ARRAY JOIN arrayConcat(arrayMap(k -> (toString(k), 'string'), texts), arrayMap(k -> (toString(k), 'number'), numbers)) AS pair
        WHERE startsWith(key, {prefix:String}) GROUP BY key, type ORDER BY spans DESC, key LIMIT {limit:UInt32}`,
      params: { ...sample.params, prefix, limit },
    }))
    return {
      sampled,
      found: found.map(({ key, type, spans }) => ({ key, type, spans: Number(spans) })),
    }
  }

  /** Values of one key that begin with `prefix`, the most frequent first. Numbers come as text. */
  async function values(workspace: string, asked: { key: string; prefix: string; limit: number }) {
    const { found, sampled } = await look<AttributeValue>(workspace, (sample) => ({
      sql: `SELECT value, count() AS spans, any(total) AS sampled FROM (
          SELECT if(mapContains(attr_str, {key:String}), attr_str[{key:String}], toString(attr_num[{key:String}])) AS value, count() OVER () AS total
          FROM (${sample.sql}) WHERE mapContains(attr_str, {key:String}) OR mapContains(attr_num, {key:String}))
        WHERE startsWith(value, {prefix:String}) GROUP BY value ORDER BY spans DESC, value LIMIT {limit:UInt32}`,
      params: { ...sample.params, ...asked },
    }))
    return { sampled, found: found.map(({ value, spans }) => ({ value, spans: Number(spans) })) }
  }

  return { keys, values }
}
