// The HTTP server in front of chDB, judged by the official client: what ClickHouse's own interface would answer.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { type ClickHouseClient, createClient } from '@clickhouse/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { buildChild } from './build-child.ts'

const dir = mkdtempSync(join(tmpdir(), 'runledger-chdb-'))
let engine: Awaited<ReturnType<typeof startClickhouse>>
let client: ClickHouseClient

beforeAll(async () => {
  await buildChild()
  engine = await startClickhouse({ dir, log: () => {} })
  client = createClient({ url: engine.url, keep_alive: { idle_socket_ttl: 1000 } })
  await client.command({
    query:
      'CREATE TABLE t (a UInt64, b String, m Map(LowCardinality(String), String)) ENGINE = MergeTree ORDER BY a',
  })
})

afterAll(async () => {
  await client.close()
  await engine.stop()
  rmSync(dir, { recursive: true, force: true })
})

const slow = 'SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))'

async function rows(query: string, params: Record<string, unknown> = {}): Promise<unknown[]> {
  const result = await client.query({ query, query_params: params, format: 'JSONEachRow' })
  return result.json()
}

async function running(): Promise<number> {
  // Its text is kept in system.processes behind our tag; this query names itself too, and is left out by its own words.
  const found = await rows(
    `SELECT count() AS n FROM system.processes WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%system.processes%'`,
  )
  return Number((found[0] as { n: string }).n) // the one row of a count
}

async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setImmediate(resolve))
}

describe('the interface', () => {
  test('ping answers through the engine', async () => {
    expect(await client.ping()).toEqual({ success: true })
  })

  test('parameters of every type that we bind arrive as they were', async () => {
    const cases: [type: string, given: unknown, read: unknown][] = [
      [
        'String',
        "it's\ta \\ line\n end é 🦊 /* q1 */ -- ; DROP",
        "it's\ta \\ line\n end é 🦊 /* q1 */ -- ; DROP",
      ],
      ['UInt64', '18446744073709551615', '18446744073709551615'],
      ['Int64', -9007199254740993n, '-9007199254740993'],
      ['UInt32', 7, 7],
      ['Float64', 0.1, 0.1],
      ['Bool', true, true],
      ['Nullable(String)', null, null],
      ['Array(String)', ["a'b", 'c\\d', 'e,f'], ["a'b", 'c\\d', 'e,f']],
      ['Map(String, String)', { "k'": 'v' }, { "k'": 'v' }],
      ["DateTime64(9, 'UTC')", '2026-11-20 01:02:03.123456789', '2026-11-20 01:02:03.123456789'],
      ['DateTime', new Date('2026-11-20T01:02:03Z'), '2026-11-20 01:02:03'],
    ]
    for (const [type, given, read] of cases)
      expect(await rows(`SELECT {p:${type}} AS p`, { p: given }), type).toEqual([{ p: read }])
    expect(
      await rows('SELECT name FROM system.databases WHERE name = {d:String}', { d: 'system' }),
    ).toHaveLength(1)
    expect(await rows('SELECT count() AS n FROM {t:Identifier}', { t: 't' })).toHaveLength(1)
  })

  test('a parameter as large as a page of ids goes through', async () => {
    const ids = Array.from({ length: 5000 }, (_, i) => `id-${i}-${'x'.repeat(20)}`)
    expect(await rows('SELECT length({ids:Array(String)}) AS n', { ids })).toEqual([{ n: '5000' }])
  })

  test('parameters of calls that run at once do not mix', async () => {
    const all = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        rows('SELECT {x:UInt32} AS x, {y:String} AS y', { x: i, y: `y${i}` }),
      ),
    )
    expect(all).toEqual(Array.from({ length: 60 }, (_, i) => [{ x: i, y: `y${i}` }]))
  })

  test('insert, in objects, in Native and in RowBinary', async () => {
    await client.command({
      query: 'CREATE TABLE ins (a UInt64, b String) ENGINE = MergeTree ORDER BY a',
    })
    await client.insert({ table: 'ins', values: [{ a: 1, b: 'x\u0000y' }], format: 'JSONEachRow' })
    const rowBinary = Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 3, 0xff, 0, 0x0a])
    const sent = await client.exec({
      query: 'INSERT INTO ins FORMAT RowBinary',
      values: Readable.from([rowBinary]),
    })
    await text(sent.stream)
    const out = await client.exec({
      query: "SELECT 3 + toUInt64(0) AS a, unhex('fe00') AS b FORMAT Native",
    })
    const block: Buffer[] = []
    for await (const chunk of out.stream) block.push(chunk)
    const again = await client.exec({
      query: 'INSERT INTO ins FORMAT Native',
      values: Readable.from(block),
    })
    await text(again.stream)
    expect(await rows('SELECT a, hex(b) AS b FROM ins ORDER BY a')).toEqual([
      { a: '1', b: '780079' },
      { a: '2', b: 'FF000A' },
      { a: '3', b: 'FE00' },
    ])
  })

  test('an insert with nothing in it, or with a column the table does not have', async () => {
    const empty = await client.exec({
      query: 'INSERT INTO t FORMAT Native',
      values: Readable.from([]),
    })
    expect(await text(empty.stream)).toBe('')
    const wrong = client.insert({
      table: 't',
      values: [{ a: 1, zzz: 1 }],
      format: 'JSONEachRow',
      clickhouse_settings: { input_format_skip_unknown_fields: 0 },
    })
    await expect(wrong).rejects.toMatchObject({ code: '117', type: 'INCORRECT_DATA' })
    expect(readdirSync(join(dir, 'spill'))).toEqual([])
  })

  test('the same token twice stores once', async () => {
    await client.command({
      query: `CREATE TABLE once (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100`,
    })
    for (const token of ['t1', 't1', "t'2"])
      await client.insert({
        table: 'once',
        values: [{ a: 1 }],
        format: 'JSONEachRow',
        clickhouse_settings: { insert_deduplication_token: token },
      })
    expect(await rows('SELECT count() AS n FROM once')).toEqual([{ n: '2' }])
  })

  test('settings hold for their query, and an unknown one is refused by its name', async () => {
    const three = await client.query({
      query: `SELECT getSetting('max_threads') AS n`,
      format: 'JSONEachRow',
      clickhouse_settings: { max_threads: 3, wait_end_of_query: 1 },
    })
    expect(await three.json()).toEqual([{ n: 3 }])
    expect(await rows(`SELECT getSetting('max_threads') = 3 AS n`)).toEqual([{ n: 0 }])
    const unknown = client.query({
      query: 'SELECT 1',
      clickhouse_settings: JSON.parse('{"no_such_thing":1}'),
    })
    await expect(unknown).rejects.toMatchObject({ code: '115', type: 'UNKNOWN_SETTING' })
  })

  test('errors arrive with code and type', async () => {
    await expect(rows('SELECT FROM WHERE')).rejects.toMatchObject({
      code: '62',
      type: 'SYNTAX_ERROR',
    })
    await expect(rows('SELECT * FROM nowhere')).rejects.toMatchObject({
      code: '60',
      type: 'UNKNOWN_TABLE',
    })
    await expect(rows('SELECT {missing:String}')).rejects.toMatchObject({ code: '456' })
    await expect(
      client.command({ query: 'CREATE TABLE t (a Int8) ENGINE = Memory' }),
    ).rejects.toMatchObject({
      code: '57',
      type: 'TABLE_ALREADY_EXISTS',
    })
  })

  test('an error after the first rows is seen by who reads them', async () => {
    const late = rows('SELECT throwIf(number = 3000000) AS x FROM numbers(5000000)')
    await expect(late).rejects.toMatchObject({
      code: '395',
      type: 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO',
    })
  })

  test('formats with a head and a foot come whole, and SHOW and DESCRIBE answer', async () => {
    const json = await client.query({ query: 'SELECT number FROM numbers(100000)', format: 'JSON' })
    expect(await json.json()).toMatchObject({ rows: 100000 })
    const described = await client.query({ query: 'DESCRIBE TABLE t', format: 'JSONEachRow' })
    expect((await described.json()).length).toBe(3)
    expect(await rows('SHOW TABLES')).toContainEqual({ name: 't' })
    expect(await rows('EXISTS TABLE t')).toEqual([{ result: 1 }])
  })

  test('a long result streams, plain and gzipped', async () => {
    for (const response of [false, true]) {
      const own = createClient({ url: engine.url, compression: { response, request: response } })
      await own.insert({ table: 't', values: [{ a: 5, b: 'gz' }], format: 'JSONEachRow' })
      const result = await own.query({
        query: 'SELECT number FROM numbers(500000)',
        format: 'JSONEachRow',
      })
      let seen = 0
      for await (const some of result.stream()) seen += some.length
      expect(seen).toBe(500000)
      await own.close()
    }
  })

  test('twenty at once all answer', async () => {
    const sum = 'SELECT sum(number) AS s FROM numbers({n:UInt64})'
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, i) => rows(sum, { n: 1_000_000 + i })),
    )
    expect(all.map((found) => (found[0] as { s: string }).s)).toEqual(
      Array.from({ length: 20 }, (_, i) => String(((1_000_000 + i) * (999_999 + i)) / 2)),
    )
  })
})

describe('the guard', () => {
  test('a query lane writes nothing, reads no file and keeps its limits', async () => {
    const refused = [
      ["SELECT * FROM file('/etc/passwd', 'LineAsString')", '164'],
      ["SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", '164'],
      ['SELECT 1 SETTINGS max_threads = 7', '164'],
      ['WITH 1 AS x INSERT INTO t (a) SELECT x', '36'],
      ["SELECT 1 INTO OUTFILE '/tmp/x'", '497'],
      ["SELECT 1 into /* */ outfile '/tmp/x'", '497'],
      ['SELECT 1; DROP TABLE t', '62'],
    ] as const
    for (const [query, code] of refused) {
      const told = await client.exec({ query }).then(
        () => 'done',
        (error: { code?: string }) => error.code,
      )
      expect(told, query).toBe(code)
    }
    await expect(client.command({ query: 'KILL QUERY WHERE 1' })).rejects.toMatchObject({
      code: '497',
    })
    expect(await rows(`SELECT 'a; INTO OUTFILE' AS s -- ; KILL`)).toEqual([
      { s: 'a; INTO OUTFILE' },
    ])
  })

  test('what a statement sets is forgotten with it', async () => {
    await client.command({ query: 'SET max_block_size = 7' })
    expect(await rows(`SELECT getSetting('max_block_size') = 7 AS n`)).toEqual([{ n: 0 }])
  })

  test('without the password nothing is answered but ping', async () => {
    const address = new URL(engine.url)
    for (const auth of [undefined, 'runledger:wrong', 'default:']) {
      const status = await new Promise((resolve) =>
        http
          .get({
            host: address.hostname,
            port: address.port,
            path: '/?query=SELECT+1',
            ...(auth ? { auth } : {}),
          })
          .on('response', (res) => resolve(res.resume().statusCode)),
      )
      expect(status, String(auth)).toBe(403)
    }
  })
})

describe('a client that leaves', () => {
  test('stops its query in the engine, before and after the first row', async () => {
    const leave = new AbortController()
    const gone = client.query({ query: slow, abort_signal: leave.signal, format: 'JSONEachRow' })
    await until(async () => (await running()) === 1)
    leave.abort()
    await expect(gone).rejects.toThrow('aborted')
    await until(async () => (await running()) === 0)

    const result = await client.query({
      query: 'SELECT sipHash64(number) AS n FROM numbers(1000000000000)',
      format: 'JSONEachRow',
    })
    for await (const _ of result.stream()) break
    result.close()
    await until(async () => (await running()) === 0)
  })

  test('a scalar subquery does not hold the others, and is killed too', async () => {
    const leave = new AbortController()
    const gone = client.query({
      query: `SELECT (${slow}) AS x`,
      abort_signal: leave.signal,
      format: 'JSONEachRow',
    })
    await until(async () => (await running()) === 1)
    expect(await rows('SELECT 1 AS one')).toEqual([{ one: 1 }])
    leave.abort()
    await expect(gone).rejects.toThrow('aborted')
    await until(async () => (await running()) === 0)
  })

  test('heavy queries fill their own lanes only', async () => {
    const leave = new AbortController()
    const heavy = Array.from({ length: 4 }, () =>
      client
        .query({
          query: slow,
          abort_signal: leave.signal,
          http_headers: { 'X-Runledger-Lane': 'heavy' },
        })
        .catch((error: Error) => error.message),
    )
    await until(async () => (await running()) === 2)
    expect(await rows('SELECT 1 AS one')).toEqual([{ one: 1 }])
    leave.abort()
    expect(await Promise.all(heavy)).toEqual(Array(4).fill('The user aborted a request.'))
    await until(async () => (await running()) === 0)
  })

  test('in the middle of an insert leaves nothing behind', async () => {
    const leave = new AbortController()
    async function* half() {
      yield Buffer.from('{"a":99}\n')
      leave.abort()
      await new Promise(() => {})
    }
    const sent = client.exec({
      query: 'INSERT INTO t FORMAT JSONEachRow',
      values: Readable.from(half()),
      abort_signal: leave.signal,
    })
    await expect(sent).rejects.toThrow('aborted')
    await until(async () => readdirSync(join(dir, 'spill')).length === 0)
    expect(await rows('SELECT count() AS n FROM t WHERE a = 99')).toEqual([{ n: '0' }])
  })
})
