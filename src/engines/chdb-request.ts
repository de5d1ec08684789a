// One HTTP request as ClickHouse's interface defines it: query in URL or body, param_*, settings, credentials.

import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ChdbFault } from './chdb-faults.ts'
import { type Token, tokensOf, toLiteral } from './sql-text.ts'

// A query is text for a parser; a long list of ids is the largest honest one.
const queryBytesMax = 16 << 20

export type Statement =
  | { kind: 'read'; sql: string; format: string; streams: boolean }
  | { kind: 'insert'; head: string; format: string; hasSettings: boolean }
  | { kind: 'other'; sql: string; format: string; isKill: boolean }

export type ChdbRequest = {
  statement: Statement
  /** The data of an insert, unpacked; for everything else the body is used up. */
  body: Readable
  params: [name: string, text: string][]
  settings: Map<string, string>
  database: string | undefined
  lane: 'interactive' | 'heavy'
  queryId: string | undefined
  gzip: boolean
  waitEnd: boolean
}

// Words of the HTTP interface itself; every other name in the URL is a setting.
const reserved = new Set([
  'query',
  'query_id',
  'database',
  'default_format',
  'user',
  'password',
  'wait_end_of_query',
  'http_wait_end_of_query',
  'buffer_size',
  'quota_key',
  'role',
  'stacktrace',
  'client_protocol_version',
  'session_timeout',
  'session_check',
  'close_session',
  'compress',
  'decompress',
])

// Formats whose chunks can be put one behind the other; all others are fetched whole (they have a header or a footer).
const streamable = new Set([
  'JSONEACHROW',
  'JSONCOMPACTEACHROW',
  'JSONSTRINGSEACHROW',
  'JSONCOMPACTSTRINGSEACHROW',
  'NDJSON',
  'JSONLINES',
  'TABSEPARATED',
  'TSV',
  'TABSEPARATEDRAW',
  'TSVRAW',
  'CSV',
  'ROWBINARY',
  'NATIVE',
  'LINEASSTRING',
  'RAWBLOB',
])

/** Reads a request up to the data of an insert. Throws a ChdbFault for what the interface refuses. */
export async function readRequest(req: IncomingMessage): Promise<ChdbRequest> {
  const url = new URL(req.url ?? '/', 'http://child')
  const query = url.searchParams
  if (query.has('session_id'))
    throw new ChdbFault(48, 'Sessions are not kept by the embedded ClickHouse.')
  if (query.get('compress') === '1' || query.get('decompress') === '1')
    throw new ChdbFault(
      48,
      'The native compression of the HTTP interface is not spoken here; use gzip.',
    )
  const body = unpack(req)
  const fromUrl = query.get('query') ?? ''
  let statement = toStatement(fromUrl, query.get('default_format'))
  if (statement?.kind !== 'insert') {
    const text = `${fromUrl}${fromUrl ? '\n' : ''}${await readText(body)}`
    statement = toStatement(text, query.get('default_format'), { dataIsInline: true })
  }
  if (!statement) throw new ChdbFault(62, 'Empty query.')
  const settings = new Map<string, string>()
  const params: [string, string][] = []
  for (const [name, value] of query) {
    if (name.startsWith('param_')) params.push([toName(name), value])
    else if (!reserved.has(name)) settings.set(toName(name), value)
  }
  const wantsGzip = settings.get('enable_http_compression') === '1'
  settings.delete('enable_http_compression')
  return {
    statement,
    body,
    params,
    settings,
    database: query.get('database') || undefined,
    lane: req.headers['x-runledger-lane'] === 'heavy' ? 'heavy' : 'interactive',
    queryId: query.get('query_id') || undefined,
    gzip: wantsGzip && /\bgzip\b/.test(String(req.headers['accept-encoding'] ?? '')),
    waitEnd: query.get('wait_end_of_query') === '1' || query.get('http_wait_end_of_query') === '1',
  }
}

/** Whether the request knows the password, in time that does not depend on how much of it is right. */
export function isAllowed(req: IncomingMessage, user: string, password: string): boolean {
  const basic = /^Basic (.+)$/i.exec(req.headers.authorization ?? '')?.[1]
  const given =
    basic === undefined
      ? `${String(req.headers['x-clickhouse-user'] ?? '')}:${String(req.headers['x-clickhouse-key'] ?? '')}`
      : Buffer.from(basic, 'base64').toString('utf8')
  return timingSafeEqual(digest(given), digest(`${user}:${password}`))
}

/** The statement of a text; undefined for an empty one. With inline data an INSERT is run as it stands. */
export function toStatement(
  text: string,
  defaultFormat: string | null,
  { dataIsInline = false } = {},
): Statement | undefined {
  if (text === '') return undefined
  const tokens = tokensOf(text)
  const first = tokens.find((token) => token.text !== '(')
  if (!first) return undefined
  if (first.text === 'INSERT') {
    const format = findFormat(tokens)
    if (format && !dataIsInline) return toInsert(text, tokens, format)
    return { kind: 'other', sql: text, format: 'TabSeparated', isKill: false }
  }
  refuseMany(tokens)
  refuseOutfile(tokens)
  const format = findFormat(tokens)
  const name = format
    ? text.slice(format.name.start, format.name.end)
    : defaultFormat || 'TabSeparated'
  const sql = withoutEnd(text, tokens)
  if (['SELECT', 'WITH', 'FROM'].includes(first.text))
    return {
      kind: 'read',
      sql,
      format: name,
      streams: streamable.has(name.toUpperCase()) && !isNested(tokens),
    }
  if (['SHOW', 'DESCRIBE', 'DESC', 'EXISTS', 'EXPLAIN', 'CHECK'].includes(first.text))
    return { kind: 'read', sql, format: name, streams: false }
  return { kind: 'other', sql, format: name, isKill: isKill(tokens, first) }
}

/** The statement that loads a file with the data of an insert. */
export function insertFrom(
  insert: Extract<Statement, { kind: 'insert' }>,
  file: string,
  settings: ReadonlyMap<string, string>,
): string {
  // The file becomes a SELECT, and a SELECT is deduplicated by its token only when asked; without a token it would be refused.
  const select = settings.has('insert_deduplication_token')
    ? 'force_enable'
    : 'enable_when_possible'
  const list = [...settings, ['deduplicate_insert_select', select] as const]
    .map(([name, value]) => `${name}=${toLiteral(value)}`)
    .join(', ')
  const clause = insert.hasSettings ? `, ${list}` : ` SETTINGS ${list}`
  return `${insert.head}${clause} SELECT * FROM file(${toLiteral(file)}, ${toLiteral(insert.format)})`
}

function toInsert(text: string, tokens: Token[], format: { word: Token; name: Token }): Statement {
  return {
    kind: 'insert',
    head: text.slice(0, format.word.start).trimEnd(),
    format: text.slice(format.name.start, format.name.end),
    hasSettings: tokens.some(
      (token) => token.depth === 0 && token.text === 'SETTINGS' && token.end <= format.word.start,
    ),
  }
}

/** The last FORMAT at the top level that nothing but SETTINGS follows. */
function findFormat(tokens: Token[]): { word: Token; name: Token } | undefined {
  for (let i = tokens.length - 2; i >= 0; i--) {
    const word = tokens[i]!
    const name = tokens[i + 1]!
    if (word.depth !== 0 || word.kind !== 'word' || word.text !== 'FORMAT' || name.kind !== 'word')
      continue
    const after = tokens[i + 2]
    if (!after || after.text === 'SETTINGS' || after.text === ';') return { word, name }
  }
  return undefined
}

function refuseMany(tokens: Token[]): void {
  const end = tokens.findIndex((token) => token.text === ';')
  if (end >= 0 && tokens.slice(end).some((token) => token.text !== ';'))
    throw new ChdbFault(62, 'Multi-statements are not allowed.')
}

// readonly=1 does not stop it: the engine writes the file of its own process.
function refuseOutfile(tokens: Token[]): void {
  if (tokens.some((token, i) => token.text === 'INTO' && tokens[i + 1]?.text === 'OUTFILE'))
    throw new ChdbFault(497, 'INTO OUTFILE is not allowed over HTTP.')
}

// Opening a stream analyses the query on the JavaScript thread, and analysis computes scalar subqueries: one over a large
// table held the whole child for seconds (measured). A query with a SELECT inside is therefore fetched whole, off that thread.
function isNested(tokens: Token[]): boolean {
  return tokens.filter((token) => token.text === 'SELECT').length > 1
}

function isKill(tokens: Token[], first: Token): boolean {
  const second = tokens[tokens.indexOf(first) + 1]?.text
  return (
    first.text === 'KILL' ||
    (first.text === 'SYSTEM' && (second === 'SHUTDOWN' || second === 'KILL'))
  )
}

function withoutEnd(text: string, tokens: Token[]): string {
  const last = tokens.findLast((token) => token.text !== ';')
  return last ? text.slice(0, last.end) : text
}

function toName(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_.]{0,127}$/.test(name))
    throw new ChdbFault(115, `Unknown setting ${toLiteral(name.slice(0, 128))}.`)
  return name
}

function unpack(req: IncomingMessage): Readable {
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return req
  if (encoding !== 'gzip')
    throw new ChdbFault(48, `Content-Encoding ${toLiteral(encoding)} is not supported; use gzip.`)
  // A cut or damaged body shows as an error of the unpacked stream, which whoever reads it receives.
  return pipeline(req, createGunzip(), () => {})
}

async function readText(body: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > queryBytesMax) throw new ChdbFault(307, 'The query is too large.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size).toString('utf8')
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
