// The only way to ClickHouse, embedded or a cluster: the same client over the same interface, with a deadline on every call.

import { Readable } from 'node:stream'
import {
  type ClickHouseClient,
  ClickHouseLogLevel,
  type ClickHouseSettings,
  createClient,
} from '@clickhouse/client'
import { type TableName, tables } from '../../schemas/tables.ts'
import {
  ClickhouseError,
  chunksOf,
  type Purpose,
  rowsOf,
  toClickhouseError,
} from './clickhouse-reply.ts'
import { migrateClickhouse } from './migrations.ts'

export { ClickhouseError } from './clickhouse-reply.ts'

// A page that takes longer is not waited for; a scan in its own lane may take minutes.
const deadlines = {
  interactive: 15_000,
  heavy: 300_000,
  insert: 120_000,
  command: 120_000,
  // A migration may write a table anew from another.
  migration: 3_600_000,
  ping: 5_000,
} as const
// Small pieces of a block are gathered, or each of its seventy would be a packet.
const gatherBytes = 64 << 10
// What a caller that wants a whole answer may be handed at most.
const wholeBytesMax = 256 << 20
const connectionsMax = 32
// Rows that are parsed and held whole.
const wholeRowsMax = 1_000_000
// What one read may use at most, whoever asks: past it the engine ends it. A scan is bounded by its time and memory alone.
const limits: Readonly<Record<'interactive' | 'heavy', ClickHouseSettings>> = {
  interactive: {
    max_execution_time: 15,
    max_memory_usage: String(768 << 20),
    max_rows_to_read: '2000000000',
  },
  heavy: { max_execution_time: 300, max_memory_usage: String(1 << 30) },
}

export type Query = {
  sql: string
  /** Bound by the server as `{name:Type}`; never part of the text. */
  params?: Record<string, unknown>
  signal?: AbortSignal
  deadlineMs?: number
  /** `heavy`: may take minutes, and waits for its like rather than holding up pages. */
  lane?: 'interactive' | 'heavy'
  settings?: Record<string, string | number>
}

export type BinaryFormat = 'RowBinary' | 'Native'

export type Clickhouse = {
  /** All rows. 64-bit integers come as strings. Rejects with a ClickhouseError. */
  query<T>(q: Query): Promise<T[]>
  /** Rows as they arrive; leaving the loop stops the query. */
  stream<T>(q: Query): AsyncGenerator<T>
  /** All bytes of a binary answer, up to 256 MiB. */
  queryBinary(q: Query, format: BinaryFormat): Promise<Buffer>
  streamBinary(q: Query, format: BinaryFormat): AsyncGenerator<Buffer>
  command(
    sql: string,
    options?: { params?: Record<string, unknown>; deadlineMs?: number },
  ): Promise<void>
  /** Stores Native blocks once per token, however often it is called with the same. Resolves when they are stored. */
  insertNative(
    table: TableName,
    body: Iterable<Buffer>,
    options: { token: string; signal?: AbortSignal; deadlineMs?: number },
  ): Promise<void>
  /** Brings the tables to the version of this program; `dir` holds NNNN-name.sql. */
  migrate(dir: string): Promise<void>
  ping(): Promise<boolean>
  close(): Promise<void>
}

// Said with every insert, because the defaults moved between versions. The data is deduplicated by its token alone.
export const insertSettings: ClickHouseSettings = {
  async_insert: 0,
  wait_end_of_query: 1,
  insert_deduplicate: 1,
  deduplicate_blocks_in_dependent_materialized_views: 1,
  materialized_views_ignore_errors: 0,
  input_format_skip_unknown_fields: 0,
  max_insert_threads: '1',
  // Blocks of the spool are put together again up to this size: one part an insert and partition.
  min_insert_block_size_rows: '1048449',
  min_insert_block_size_bytes: '201326592',
}

/** `http(s)://user:password@host:port/database`. Does not connect yet. */
export function connectClickhouse(url: string): Clickhouse {
  const client = openClient(url)
  const bytes = (q: Query, format: string) => bytesOf(client, q, format)
  const clickhouse: Clickhouse = {
    async query<T>(q: Query) {
      const rows: T[] = []
      const settings = { max_result_rows: wholeRowsMax, ...q.settings }
      for await (const row of rowsOf<T>(bytes({ ...q, settings }, 'JSONEachRow'))) rows.push(row)
      return rows
    },
    stream: <T>(q: Query) => rowsOf<T>(bytes(q, 'JSONEachRow')),
    async queryBinary(q, format) {
      const chunks: Buffer[] = []
      let size = 0
      for await (const chunk of bytes(q, format)) {
        size += chunk.length
        if (size > wholeBytesMax)
          throw new ClickhouseError('The answer is too large to be held whole.', tooLarge)
        chunks.push(chunk)
      }
      return Buffer.concat(chunks, size)
    },
    streamBinary: (q, format) => bytes(q, format),
    async command(sql, options = {}) {
      const signal = signalOf(undefined, options.deadlineMs ?? deadlines.command)
      try {
        const answer = await client.exec({
          query: sql,
          query_params: options.params ?? {},
          abort_signal: signal,
          clickhouse_settings: { wait_end_of_query: 1 },
        })
        await readToEnd(answer, { signal, purpose: 'read' })
      } catch (error) {
        throw toClickhouseError(signal.aborted ? signal.reason : error, 'read')
      }
    },
    async insertNative(table, body, options) {
      if (!Object.hasOwn(tables, table)) throw new Error(`There is no table ${table}.`)
      const signal = signalOf(options.signal, options.deadlineMs ?? deadlines.insert)
      try {
        const answer = await client.exec({
          query: `INSERT INTO ${table} FORMAT Native`,
          values: Readable.from(gathered(body), { objectMode: false }),
          abort_signal: signal,
          clickhouse_settings: { ...insertSettings, insert_deduplication_token: options.token },
        })
        await readToEnd(answer, { signal, purpose: 'insert' })
      } catch (error) {
        throw toClickhouseError(signal.aborted ? signal.reason : error, 'insert')
      }
    },
    migrate: (dir) =>
      migrateClickhouse(
        {
          query: clickhouse.query,
          command: (sql) => clickhouse.command(sql, { deadlineMs: deadlines.migration }),
        },
        dir,
      ),
    async ping() {
      const signal = AbortSignal.timeout(deadlines.ping)
      const answer = await client.ping({ select: false, abort_signal: signal })
      return answer.success
    },
    close: () => client.close(),
  }
  return clickhouse
}

function openClient(url: string): ClickHouseClient {
  const at = new URL(url)
  return createClient({
    url: at.origin,
    username: decodeURIComponent(at.username) || 'default',
    password: decodeURIComponent(at.password),
    database: decodeURIComponent(at.pathname.slice(1)) || 'default',
    application: 'runledger',
    max_open_connections: connectionsMax,
    // Ours are the deadlines; this one only ends a socket on which nothing moves.
    request_timeout: deadlines.heavy + 10_000,
    // A server may close after three seconds of idleness; a socket just closed would fail an insert.
    keep_alive: { enabled: true, idle_socket_ttl: 2000, eagerly_destroy_stale_sockets: true },
    log: { level: ClickHouseLogLevel.OFF },
  })
}

async function* bytesOf(
  client: ClickHouseClient,
  q: Query,
  format: string,
): AsyncGenerator<Buffer> {
  const lane = q.lane ?? 'interactive'
  const deadlineMs = q.deadlineMs ?? deadlines[lane]
  const signal = signalOf(q.signal, deadlineMs)
  try {
    const answer = await client.exec({
      query: `${q.sql}\nFORMAT ${format}`,
      query_params: q.params ?? {},
      abort_signal: signal,
      http_headers: { 'X-Runledger-Lane': lane },
      use_multipart_params_auto: false,
      clickhouse_settings: {
        output_format_json_quote_64bit_integers: 1,
        cancel_http_readonly_queries_on_client_close: 1,
        ...limits[lane],
        ...q.settings,
      },
    })
    yield* bodyOf(answer, { signal, purpose: 'read' })
  } catch (error) {
    throw toClickhouseError(signal.aborted ? signal.reason : error, 'read')
  }
}

type Answer = { stream: Readable; response_headers: Record<string, string | string[] | undefined> }

type Reading = { signal: AbortSignal; purpose: Purpose }

function bodyOf({ stream, response_headers }: Answer, how: Reading): AsyncGenerator<Buffer> {
  const tag = response_headers['x-clickhouse-exception-tag']
  return chunksOf(stream, { ...how, tag: typeof tag === 'string' ? tag : undefined })
}

/** An answer that says nothing is read all the same: it may end in an error, or never; and then its connection is used again. */
async function readToEnd(answer: Answer, how: Reading): Promise<void> {
  for await (const _ of bodyOf(answer, how));
}

const tooLarge = { code: 396, transient: false }

function signalOf(given: AbortSignal | undefined, deadlineMs: number): AbortSignal {
  const deadline = AbortSignal.timeout(deadlineMs)
  return given ? AbortSignal.any([given, deadline]) : deadline
}

function* gathered(body: Iterable<Buffer>): Generator<Buffer> {
  let pieces: Buffer[] = []
  let size = 0
  for (const piece of body) {
    if (piece.length < gatherBytes) {
      pieces.push(piece)
      size += piece.length
    }
    if (size >= gatherBytes || (size > 0 && piece.length >= gatherBytes)) {
      yield Buffer.concat(pieces, size)
      pieces = []
      size = 0
    }
    if (piece.length >= gatherBytes) yield piece
  }
  if (size > 0) yield Buffer.concat(pieces, size)
}
