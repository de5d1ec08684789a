// ClickHouse's HTTP interface in front of chDB: /ping, and / for queries. Loopback only, one user, one password.

import { createWriteStream, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Session } from 'chdb'
import { answerError, answerRows } from './chdb-answer.ts'
import { ChdbFault } from './chdb-faults.ts'
import { afterFailure, type Lanes, run } from './chdb-lanes.ts'
import { type ChdbRequest, insertFrom, isAllowed, readRequest } from './chdb-request.ts'
import type { Pace } from './pace.ts'
import { toLiteral } from './sql-text.ts'

// ClickHouse's own bound of a URL; parameters travel there.
const headerBytesMax = 1 << 20
// One insert: ten times what the spool sends.
const insertBytesMax = 1 << 30
// A result that cannot be streamed is held whole, twice.
const wholeBytesMax = 256 << 20
const keepAliveMs = 30_000

export type ChdbHttpOptions = {
  lanes: Lanes
  /** Hears when inserts begin and end. */
  pace: Pick<Pace, 'begin' | 'end'>
  spillDir: string
  user: string
  password: string
}

/** The server, not yet listening. Files that a killed child left in `spillDir` are deleted. */
export function createChdbHttp(options: ChdbHttpOptions): Server {
  mkdirSync(options.spillDir, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(options.spillDir))
    rmSync(join(options.spillDir, name), { force: true })
  let spilled = 0
  const server = createServer(
    { maxHeaderSize: headerBytesMax, keepAliveTimeout: keepAliveMs },
    (req, res) => {
      const path = (req.url ?? '/').split('?', 1)[0]
      if (path === '/ping') void answerPing(options.lanes, res)
      else if (path !== '/') res.writeHead(404).end('There is no handle for this path.\n')
      else {
        spilled += 1
        void answerQuery({
          ...options,
          req,
          res,
          spillFile: join(options.spillDir, `${spilled}.insert`),
        })
      }
    },
  )
  // A body may be long in coming while its sender reads it from disk.
  server.requestTimeout = 600_000
  return server
}

type Call = ChdbHttpOptions & { req: IncomingMessage; res: ServerResponse; spillFile: string }

async function answerPing(lanes: Lanes, res: ServerResponse): Promise<void> {
  try {
    await lanes.ping()
    res.writeHead(200, { 'Content-Type': 'text/plain' }).end('Ok.\n')
  } catch (error) {
    answerError(res, error, undefined)
  }
}

async function answerQuery(call: Call): Promise<void> {
  const { req, res } = call
  const queryId = new URL(req.url ?? '/', 'http://child').searchParams.get('query_id') ?? undefined
  const left = new AbortController()
  res.on('close', () => {
    if (!res.writableFinished) left.abort(new ChdbFault(394, 'The client left.'))
  })
  try {
    if (!isAllowed(req, call.user, call.password))
      throw new ChdbFault(
        516,
        'Authentication failed: password is incorrect, or there is no such user.',
      )
    const request = await readRequest(req)
    if (request.statement.kind === 'read') await read(call, request, left.signal)
    else if (request.statement.kind === 'insert') await insert(call, request, left.signal)
    else await state(call, request, left.signal)
  } catch (error) {
    // What is left of a refused body is read and thrown away, or its sender could not read the answer.
    req.resume()
    answerError(res, error, queryId)
  }
}

async function read(call: Call, request: ChdbRequest, signal: AbortSignal): Promise<void> {
  const { statement } = request
  if (statement.kind !== 'read') return
  const streams = statement.streams && !request.waitEnd
  const settings = new Map(request.settings)
  if (!streams) settings.set('max_result_bytes', String(wholeBytesMax))
  const wishes = { settings, database: request.database, lane: request.lane, signal }
  await call.lanes.read(wishes, async (session, tag) => {
    await setParams(session, request.params)
    const sql = tag + statement.sql
    const chunks = streams
      ? streamed(session, sql, statement.format)
      : whole(session, sql, statement.format)
    await answerRows(call.res, { ...request, format: statement.format }, chunks)
  })
}

async function insert(call: Call, request: ChdbRequest, signal: AbortSignal): Promise<void> {
  const { statement } = request
  if (statement.kind !== 'insert') return
  call.pace.begin()
  try {
    // Before a lane is taken: a slow sender must not hold one.
    const bytes = await spill(request.body, call.spillFile, signal)
    if (bytes > 0)
      await call.lanes.insert(
        { settings: new Map(), database: request.database, signal },
        async (session, tag) => {
          await setParams(session, request.params)
          await run(session, tag + insertFrom(statement, call.spillFile, request.settings)).catch(
            (error) => afterFailure(session, error),
          )
        },
      )
  } finally {
    call.pace.end()
    rmSync(call.spillFile, { force: true })
  }
  await answerRows(call.res, { ...request, format: 'TabSeparated' }, nothing())
}

async function state(call: Call, request: ChdbRequest, signal: AbortSignal): Promise<void> {
  const { statement } = request
  if (statement.kind !== 'other') return
  if (statement.isKill)
    throw new ChdbFault(497, 'Queries are cancelled by closing their connection.')
  const wishes = { settings: request.settings, database: request.database, signal }
  await call.lanes.statement(wishes, async (session, tag) => {
    await setParams(session, request.params)
    await answerRows(
      call.res,
      { ...request, format: statement.format },
      whole(session, tag + statement.sql, statement.format),
    )
  })
}

/** The file is not flushed: it is not kept over a crash, only handed to the engine. */
async function spill(body: Readable, file: string, signal: AbortSignal): Promise<number> {
  let bytes = 0
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > insertBytesMax) done(new ChdbFault(307, 'The data of one insert is too large.'))
      else done(null, chunk)
    },
  })
  await pipeline(body, count, createWriteStream(file, { mode: 0o600, highWaterMark: 1 << 20 }), {
    signal,
  })
  return bytes
}

// The binding's own way to bind runs all bound queries of the process one after the other.
async function setParams(session: Session, params: ChdbRequest['params']): Promise<void> {
  if (params.length === 0) return
  await run(session, `SET ${params.map(([name, text]) => `${name}=${toLiteral(text)}`).join(', ')}`)
}

async function* streamed(session: Session, sql: string, format: string): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of session.queryStream(sql, { format })) yield chunk.raw()
  } catch (error) {
    await afterFailure(session, error)
  }
}

async function* whole(session: Session, sql: string, format: string): AsyncIterable<Uint8Array> {
  const result = await session
    .queryAsync(sql, { format })
    .catch((error) => afterFailure(session, error))
  yield result.bytes()
}

async function* nothing(): AsyncIterable<Uint8Array> {}
