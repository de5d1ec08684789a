// Our tables in a real ClickHouse: made by the migrations, as schemas/tables.ts says, filled by the blocks the spool sends.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  F64Column,
  FixedColumn,
  I64Column,
  LowCardinalityColumn,
  MapColumn,
  NativeBlock,
  StringColumn,
  U8Column,
  U32Column,
} from '../collectors/spool/native.ts'
import { type TableName, tables } from '../schemas/tables.ts'
import { startClickhouse } from '../src/engines/clickhouse.ts'
import { packageRoot } from '../src/root.ts'
import { type Clickhouse, connectClickhouse } from '../src/stores/clickhouse.ts'
import { chunksOf } from '../src/stores/clickhouse-reply.ts'
import { migrateClickhouse } from '../src/stores/migrations.ts'
import { buildChild } from './build-child.ts'

const dir = mkdtempSync(join(tmpdir(), 'runledger-tables-'))
const schema = join(packageRoot(), 'schemas', 'clickhouse')
const names = Object.keys(tables) as TableName[] // its own keys
let engine: Awaited<ReturnType<typeof startClickhouse>>
let db: Clickhouse

beforeAll(async () => {
  await buildChild()
  engine = await startClickhouse({ dir: join(dir, 'engine'), log: () => {} })
  db = connectClickhouse(engine.url)
  await db.migrate(schema)
})

afterAll(async () => {
  await db.close()
  await engine.stop()
  rmSync(dir, { recursive: true, force: true })
})

/** Values that follow from a seed and a place, and the way a query shows them. */
function numberAt(seed: string): bigint {
  return createHash('sha256').update(seed).digest().readBigUInt64LE()
}

function textAt(seed: string): string {
  return `${seed} é 🦊 ' \\ \n \u0000 ${'x'.repeat(Number(numberAt(seed) % 300n))}`
}

/** Fills one row of a column, and says what will be read. */
function fill(column: unknown, seed: string): unknown {
  if (column instanceof StringColumn || column instanceof LowCardinalityColumn) {
    column.pushText(textAt(seed))
    return textAt(seed)
  }
  if (column instanceof FixedColumn) {
    const hex = createHash('sha512')
      .update(seed)
      .digest('hex')
      .slice(0, column.width * 2)
    column.pushHex(hex)
    return hex.toUpperCase()
  }
  if (column instanceof U8Column) {
    column.push(Number(numberAt(seed) % 256n))
    return Number(numberAt(seed) % 256n)
  }
  if (column instanceof U32Column) {
    column.push(Number(numberAt(seed) % 2n ** 32n))
    return Number(numberAt(seed) % 2n ** 32n)
  }
  if (column instanceof I64Column) {
    column.pushBig(numberAt(seed) % 2n ** 62n)
    return String(numberAt(seed) % 2n ** 62n)
  }
  if (column instanceof MapColumn) {
    const read: Record<string, unknown> = {}
    for (let i = 0; i < Number(numberAt(seed) % 4n); i++) {
      column.key.pushText(`key.${i}`)
      read[`key.${i}`] = i / 3
      if (column.value instanceof F64Column) column.value.push(i / 3)
      else read[`key.${i}`] = fill(column.value, `${seed}.${i}`)
      column.count()
    }
    column.endRow()
    return read
  }
  throw new Error('a column of no known kind')
}

function blockOf(
  table: TableName,
  rows: number,
  seed = '',
): { block: NativeBlock<TableName>; read: Record<string, unknown>[] } {
  const block = new NativeBlock<TableName>(table)
  const read: Record<string, unknown>[] = []
  for (let row = 0; row < rows; row++) {
    const seen: Record<string, unknown> = {}
    for (const [name, column] of Object.entries(block.columns)) {
      if (name === 'ingest_seq' || name === 'ingested_at') continue
      seen[name] = fill(column, `${table}.${name}.${row}${seed}`)
    }
    block.endRow()
    read.push(seen)
  }
  return { block, read }
}

/** Each column as JSON can hold it: bytes as hex, times as counts. */
function shown(table: TableName): string {
  return Object.entries(tables[table])
    .map(([name, type]) => {
      if (type.startsWith('FixedString')) return `hex(${name}) AS ${name}`
      if (type.startsWith('DateTime64')) return `toUnixTimestamp64Nano(${name}) AS ${name}`
      return type === 'DateTime' ? `toUnixTimestamp(${name}) AS ${name}` : name
    })
    .join(', ')
}

describe('every table', () => {
  test.each(names)('%s has the columns that travel, in name, order and type', async (table) => {
    const found = await db.query<{ name: string; type: string }>({ sql: `DESCRIBE TABLE ${table}` })
    const stored = found.map(({ name, type }) => [
      name,
      type.replace("DateTime('UTC')", 'DateTime'),
    ])
    expect(stored).toEqual(Object.entries(tables[table]))
  })

  test.each(names)('%s gives back what blocks put in, once for their token', async (table) => {
    // A small block travels plain, larger ones with dictionaries, whose numbers are one byte wide and then two.
    const blocks = [7, 40, 700, 3].map((rows) => blockOf(table, rows, ` of ${rows}`))
    const read = blocks.flatMap((one) => one.read)
    const nowS = Math.floor(Date.now() / 1000)
    let seq = 1000
    const body = blocks.flatMap(({ block }) => {
      seq += block.rows
      return block.seal(BigInt(seq - block.rows), nowS)
    })
    for (let again = 0; again < 2; again++)
      await db.insertNative(table, body, { token: `v1:${table}` })
    const found = await db.query({
      sql: `SELECT ${shown(table)} FROM ${table} ORDER BY ingest_seq`,
    })
    expect(found).toEqual(
      read.map((row, i) => ({ ...row, ingest_seq: String(1000 + i), ingested_at: nowS })),
    )
  })

  test('takes several blocks behind one another as one insert', async () => {
    const first = blockOf('records', 3).block.seal(5000n, 1_800_000_000)
    const second = blockOf('records', 2).block.seal(6000n, 1_800_000_000)
    await db.insertNative('records', [...first, ...second], { token: 'v1:two' })
    const sql = 'SELECT count() AS n FROM records WHERE ingest_seq >= 5000'
    expect(await db.query({ sql })).toEqual([{ n: '5' }])
  })

  test('keeps, for a day of one workspace, to the granules of that day', async () => {
    await db.command(`INSERT INTO spans (workspace, start_time, service, type, model, ingested_at)
      SELECT 'w', toDateTime64('2026-11-01 00:00:00', 9, 'UTC') + INTERVAL number SECOND, 's', 'llm', 'm', now()
      FROM numbers(1000000)`)
    const plan = await db.query<{ explain: string }>({
      sql: `EXPLAIN indexes = 1 SELECT name FROM spans WHERE workspace = 'w'
        AND start_time >= toDateTime64('2026-11-05 00:00:00', 9, 'UTC')
        AND start_time < toDateTime64('2026-11-06 00:00:00', 9, 'UTC')`,
    })
    const granules = plan
      .map(({ explain }) => /Granules: (\d+)\/(\d+)/.exec(explain))
      .filter((match) => match !== null)
    const [, read, all] = granules.at(-1)!.map(Number) // the last index named is the primary key
    expect(all).toBeGreaterThan(100)
    expect(read).toBeLessThan(all! * 0.2)
  })
})

describe('the client', () => {
  test('streams rows and stops when the reader does', async () => {
    let seen = 0
    for await (const row of db.stream<{ n: string }>({
      sql: 'SELECT number AS n FROM numbers(1000000000)',
    })) {
      expect(row.n).toBe(String(seen))
      if (++seen === 100_000) break
    }
    expect(seen).toBe(100_000)
  })

  test('gives bytes as they are', async () => {
    const sql = "SELECT toUInt8(number) AS n, unhex('ff00') AS b FROM numbers({rows:UInt32})"
    const bytes = await db.queryBinary({ sql, params: { rows: 3 } }, 'RowBinary')
    expect(bytes.toString('hex')).toBe('0002ff000102ff000202ff00')
  })

  test('throws an error that came after the first bytes, whole and without its bytes in the data', async () => {
    const sql = 'SELECT toUInt8(throwIf(number = 3000000)) AS n FROM numbers(5000000)'
    await expect(db.queryBinary({ sql }, 'RowBinary')).rejects.toMatchObject({
      code: 395,
      transient: false,
    })
    const seen = { bytes: 0, other: 0 }
    const read = async () => {
      for await (const chunk of db.streamBinary({ sql }, 'RowBinary')) {
        seen.bytes += chunk.length
        seen.other += chunk.filter((byte) => byte !== 0).length
      }
    }
    await expect(read()).rejects.toThrow('Value passed to')
    expect(seen.bytes).toBeGreaterThan(0)
    expect(seen.other).toBe(0)
  })

  test('finds that error wherever the network cuts the body', async () => {
    const says = 'Code: 241. DB::Exception: too much (MEMORY_LIMIT_EXCEEDED)\n'
    const data = 'abc\r\n__exception__\r\nnot the tag\r\n'
    const body = Buffer.from(
      `${data}\r\n__exception__\r\ntag\r\n${says}${says.length} tag\r\n__exception__\r\n`,
    )
    const how = { tag: 'tag', signal: new AbortController().signal, purpose: 'read' } as const
    for (let cut = 0; cut <= body.length; cut++) {
      const stream = Readable.from([body.subarray(0, cut), body.subarray(cut)])
      let seen = ''
      const read = async () => {
        for await (const chunk of chunksOf(stream, how)) seen += chunk
      }
      await expect(read()).rejects.toMatchObject({
        code: 241,
        transient: true,
        message: says.trim(),
      })
      expect(data.startsWith(seen)).toBe(true)
    }
  })

  test('lets no question read or hold without end, and says that it is the question', async () => {
    const reads = 'SELECT count() FROM numbers(3000000000) WHERE NOT ignore(sipHash64(number))'
    await expect(db.query({ sql: reads })).rejects.toMatchObject({ code: 158, transient: false })
    const holds = 'SELECT number FROM numbers(2000000)'
    await expect(db.query({ sql: holds })).rejects.toMatchObject({ code: 396, transient: false })
  })

  test('keeps its deadline, and tells it from a refusal', async () => {
    const slow = 'SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))'
    await expect(
      db.query({ sql: slow, deadlineMs: 100, settings: { max_rows_to_read: 0 } }),
    ).rejects.toMatchObject({
      code: undefined,
      transient: true,
    })
    const gone = AbortSignal.timeout(100)
    await expect(
      db.query({ sql: slow, signal: gone, settings: { max_rows_to_read: 0 } }),
    ).rejects.toMatchObject({ transient: true })
    await expect(db.query({ sql: 'SELECT nope' })).rejects.toMatchObject({
      code: 47,
      transient: false,
    })
  })

  test('knows data that can never go in from a table that is not there yet', async () => {
    const damaged = db.insertNative('records', [Buffer.from('not a block at all')], {
      token: 'bad',
    })
    await expect(damaged).rejects.toMatchObject({
      name: 'ClickhouseError',
      code: expect.any(Number),
    })
    await db.command('RENAME TABLE envelopes TO envelopes_away')
    const { block } = blockOf('envelopes', 1)
    const early = db.insertNative('envelopes', block.seal(1n, 1), { token: 'early' })
    await expect(early).rejects.toMatchObject({ code: 60, transient: true })
    await db.command('RENAME TABLE envelopes_away TO envelopes')
    const unknown = Buffer.concat([
      Buffer.from([1, 1, 3]),
      Buffer.from('zzz'),
      Buffer.from([5]),
      Buffer.from('UInt8'),
      Buffer.from([1]),
    ])
    await expect(db.insertNative('records', [unknown], { token: 'skew' })).rejects.toMatchObject({
      code: 117,
      transient: false,
    })
  })

  test('calls a server that is not there transient', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo // listening on TCP
    await new Promise((resolve) => server.close(resolve))
    const away = connectClickhouse(`http://u:p@127.0.0.1:${port}/default`)
    await expect(away.query({ sql: 'SELECT 1' })).rejects.toMatchObject({
      code: undefined,
      transient: true,
    })
    const insert = away.insertNative('spans', [Buffer.from('x')], { token: 't' })
    await expect(insert).rejects.toMatchObject({ code: undefined, transient: true })
    expect(await away.ping()).toBe(false)
    await away.close()
  })

  test('gives up an insert and a command whose answer begins and never ends', async () => {
    const server = createServer((_, response) => {
      response.writeHead(200)
      response.flushHeaders()
    })
    const { instead, end } = await connectTo(server)
    const insert = instead.insertNative('spans', [Buffer.from('x')], {
      token: 't',
      deadlineMs: 200,
    })
    await expect(insert).rejects.toMatchObject({ code: undefined, transient: true })
    const command = instead.command('SYSTEM SYNC', { deadlineMs: 200 })
    await expect(command).rejects.toMatchObject({ code: undefined, transient: true })
    await end()
  })

  test('takes no insert for stored whose answer ends in an error, and tries again what a migration mends', async () => {
    const says = 'Code: 60. DB::Exception: Table default.spans does not exist (UNKNOWN_TABLE)\n'
    const server = createServer((_, response) => {
      response.writeHead(200, { 'X-ClickHouse-Exception-Tag': 'tag' })
      response.end(`\r\n__exception__\r\ntag\r\n${says}${says.length} tag\r\n__exception__\r\n`)
    })
    const { instead, end } = await connectTo(server)
    const insert = instead.insertNative('spans', [Buffer.from('x')], { token: 't' })
    await expect(insert).rejects.toMatchObject({ code: 60, transient: true })
    await end()
  })
})

/** Something that speaks HTTP in the place of ClickHouse. */
async function connectTo(server: Server): Promise<{ instead: Clickhouse; end(): Promise<void> }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP
  const instead = connectClickhouse(`http://u:p@127.0.0.1:${port}/default`)
  return {
    instead,
    async end() {
      await instead.close()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('migrations', () => {
  function folder(files: Record<string, string>): string {
    const path = mkdtempSync(join(dir, 'sql-'))
    for (const [name, sql] of Object.entries(files)) writeFileSync(join(path, name), sql)
    return path
  }

  async function inDatabase(name: string): Promise<Clickhouse> {
    await db.command(`CREATE DATABASE ${name}`)
    return connectClickhouse(engine.url.replace(/default$/, name))
  }

  const two = `CREATE TABLE a (x UInt8) ENGINE = MergeTree ORDER BY x; -- one; not two
    CREATE TABLE b (x UInt8) ENGINE = MergeTree ORDER BY x;`

  test('run once, and again without harm', async () => {
    await db.migrate(schema)
    const sql = 'SELECT count() AS n FROM runledger_migrations WHERE done = 1'
    const before = await db.query({ sql })
    await db.migrate(schema)
    expect(await db.query({ sql })).toEqual(before)
  })

  test('go on after a crash between a statement and its record', async () => {
    const store = await inDatabase('crashed')
    const path = folder({ '0001-first.sql': two })
    const dies = {
      query: store.query,
      async command(sql: string) {
        await store.command(sql)
        if (sql.startsWith('CREATE TABLE b')) throw new Error('killed here')
      },
    }
    await expect(migrateClickhouse(dies, path)).rejects.toThrow('killed here')
    await store.migrate(path)
    expect(await store.query({ sql: 'EXISTS TABLE b' })).toEqual([{ result: 1 }])
    await store.migrate(path)
    await store.close()
  })

  test("never take somebody else's table of the same name for ours", async () => {
    const store = await inDatabase('taken')
    await store.command('CREATE TABLE b (other String) ENGINE = MergeTree ORDER BY other')
    const path = folder({ '0001-first.sql': two })
    for (let again = 0; again < 2; again++)
      await expect(store.migrate(path)).rejects.toMatchObject({ code: 57 })
    await store.close()
  })

  test('refuse a database that is newer, and one that was made otherwise', async () => {
    const store = await inDatabase('newer')
    await store.migrate(
      folder({ '0001-first.sql': two, '0002-more.sql': 'ALTER TABLE a ADD COLUMN y UInt8' }),
    )
    await expect(store.migrate(folder({ '0001-first.sql': two }))).rejects.toThrow(
      'The ClickHouse database is at version 2, and this Runledger knows versions up to 1.',
    )
    const commented = folder({
      '0001-first.sql': `-- mended\n${two}`,
      '0002-more.sql': 'ALTER TABLE a ADD COLUMN y UInt8',
    })
    await store.migrate(commented)
    const other = folder({
      '0001-first.sql': two.replace('UInt8', 'UInt16'),
      '0002-more.sql': 'ALTER TABLE a ADD COLUMN y UInt8',
    })
    await expect(store.migrate(other)).rejects.toThrow('made with another 0001-first.sql')
    await store.close()
  })

  test('refuse a gap in the numbers', async () => {
    mkdirSync(join(dir, 'gap'))
    writeFileSync(join(dir, 'gap', '0002-second.sql'), two)
    await expect(db.migrate(join(dir, 'gap'))).rejects.toThrow('must have the number 1')
  })
})
