// The way out: the bytes of a result to an HTTP client that may read slowly, leave, or learn of an error half-way.

import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream'
import { constants, createGzip } from 'node:zlib'
import { toTold } from './chdb-faults.ts'

const contentTypes: Record<string, string> = {
  JSON: 'application/json; charset=UTF-8',
  JSONCOMPACT: 'application/json; charset=UTF-8',
  JSONEACHROW: 'application/x-ndjson; charset=UTF-8',
  JSONCOMPACTEACHROW: 'application/x-ndjson; charset=UTF-8',
  TABSEPARATED: 'text/tab-separated-values; charset=UTF-8',
  CSV: 'text/csv; charset=UTF-8; header=absent',
}

export type Answer = { format: string; gzip: boolean; queryId: string | undefined }

/** Answers 200 and passes the chunks on. Nothing is sent before the first chunk is there, so most errors get a status. */
export async function answerRows(
  res: ServerResponse,
  answer: Answer,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const iterator = chunks[Symbol.asyncIterator]()
  let next = await iterator.next()
  const tag = randomBytes(8).toString('hex')
  const out = openBody(res, answer, tag)
  try {
    while (!next.done) {
      // A client that left makes the stream closed, and then nothing would ever drain.
      if (res.destroyed) return
      if (!out.write(next.value)) await drainedOrLeft(out, res)
      next = await iterator.next()
    }
  } catch (error) {
    out.write(trailer(tag, toTold(error).text))
  } finally {
    await iterator.return?.()
  }
  out.end()
}

export function answerError(
  res: ServerResponse,
  error: unknown,
  queryId: string | undefined,
): void {
  if (res.destroyed || res.headersSent) {
    res.destroy()
    return
  }
  const told = toTold(error)
  const text = Buffer.from(`${told.text}\n`)
  res.writeHead(told.status, {
    'Content-Type': 'text/plain; charset=UTF-8',
    'Content-Length': text.length,
    'X-ClickHouse-Exception-Code': told.code,
    ...(queryId === undefined ? {} : { 'X-ClickHouse-Query-Id': toHeader(queryId) }),
  })
  res.end(text)
}

function drainedOrLeft(out: Writable, res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      out.off('drain', end)
      res.off('close', end)
      resolve()
    }
    out.on('drain', end)
    res.on('close', end)
  })
}

function openBody(res: ServerResponse, answer: Answer, tag: string): Writable {
  res.writeHead(200, {
    'Content-Type': contentTypes[answer.format.toUpperCase()] ?? 'application/octet-stream',
    'X-ClickHouse-Format': answer.format,
    'X-ClickHouse-Exception-Tag': tag,
    ...(answer.queryId === undefined ? {} : { 'X-ClickHouse-Query-Id': toHeader(answer.queryId) }),
    ...(answer.gzip ? { 'Content-Encoding': 'gzip' } : {}),
  })
  if (!answer.gzip) return res
  const gzip = createGzip({ level: 3, flush: constants.Z_NO_FLUSH })
  pipeline(gzip, res, () => {}) // a client that left ends both; the caller sees it on the response
  return gzip
}

// What the server sends since 25.11 when an error comes after the headers; clients know it by the tag in the header.
function trailer(tag: string, text: string): Buffer {
  const message = `${text}\n`
  return Buffer.from(
    `\r\n__exception__\r\n${tag}\r\n${message}${Buffer.byteLength(message)} ${tag}\r\n__exception__\r\n`,
  )
}

function toHeader(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, '?').slice(0, 256)
}
