// What comes back from ClickHouse: bytes with an error perhaps hidden at their end, rows, and failures with a verdict.

import type { Readable } from 'node:stream'

// After these the same bytes would be refused again: the data or the statement is wrong, not the moment.
const poison = new Set([6, 26, 27, 38, 41, 53, 69, 72, 117, 130, 131, 190, 321, 349, 407])
// A read that failed for one of these may be asked again: overload, limits of the moment, a part of the cluster away.
const passing = new Set([
  159, 160, 202, 209, 210, 225, 236, 241, 242, 243, 252, 285, 319, 394, 425, 999,
])

/** A failure of ClickHouse or of the way to it. */
export class ClickhouseError extends Error {
  /** ClickHouse's number; undefined when it never answered. */
  readonly code: number | undefined
  /**
   * Whether the same call may succeed later. For an insert only data that can never go in is not; a missing table or
   * column is, because a migration mends it. For a read, whatever the query itself causes is not.
   */
  readonly transient: boolean

  constructor(
    message: string,
    options: { code: number | undefined; transient: boolean; cause?: unknown },
  ) {
    super(message, { cause: options.cause })
    this.name = 'ClickhouseError'
    this.code = options.code
    this.transient = options.transient
  }
}

/** What was asked for: on it depends which failures pass. */
export type Purpose = 'insert' | 'read'

export function toClickhouseError(error: unknown, purpose: Purpose): ClickhouseError {
  if (error instanceof ClickhouseError) return error
  const message = error instanceof Error ? error.message : String(error)
  const code = codeOf(error)
  return new ClickhouseError(
    code === undefined ? `ClickHouse cannot be reached: ${message}` : message,
    { code, transient: isTransient(code, purpose), cause: error },
  )
}

function isTransient(code: number | undefined, purpose: Purpose): boolean {
  if (code === undefined) return true
  return purpose === 'insert' ? !poison.has(code) : passing.has(code)
}

// The client gives ClickHouse's number as text; numbers of other kinds (ECONNRESET, an aborted call) are not ClickHouse's.
function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string')
    return undefined
  return /^\d+$/.test(error.code) ? Number(error.code) : undefined
}

// Where an error after the headers begins (ClickHouse 25.11 and later); the tag is random and in a header.
const markerOf = (tag: string) => Buffer.from(`\r\n__exception__\r\n${tag}\r\n`)

/**
 * The chunks of a body. An error that the server appended to it is thrown, and none of its bytes are given out. `signal`
 * ends the body too: the client looks at it only until the headers are there.
 */
export async function* chunksOf(
  stream: Readable,
  how: { tag: string | undefined; signal: AbortSignal; purpose: Purpose },
): AsyncGenerator<Buffer> {
  const { tag, signal } = how
  const leave = () => stream.destroy(new Error(String(signal.reason)))
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave, { once: true })
  const marker = tag === undefined ? undefined : markerOf(tag)
  let held: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
      if (!marker) {
        yield held
        held = Buffer.alloc(0)
        continue
      }
      const at = held.indexOf(marker)
      if (at >= 0) continue
      // The marker may be cut in two by the chunks; its possible beginning stays here.
      const sure = Math.max(0, held.length - marker.length)
      if (sure > 0) yield held.subarray(0, sure)
      held = held.subarray(sure)
    }
    const at = marker ? held.indexOf(marker) : -1
    if (marker && at >= 0) throw appended(held.subarray(at + marker.length), how.purpose)
    if (held.length > 0) yield held
  } finally {
    signal.removeEventListener('abort', leave)
    stream.destroy()
  }
}

/** The rows of a JSON…EachRow body. */
export async function* rowsOf<T>(chunks: AsyncIterable<Buffer>): AsyncGenerator<T> {
  let rest: Buffer[] = []
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const line = chunk.subarray(from, end)
      yield JSON.parse((rest.length > 0 ? Buffer.concat([...rest, line]) : line).toString()) as T // the caller names it
      rest = []
      from = end + 1
    }
    if (from < chunk.length) rest.push(chunk.subarray(from))
  }
  if (rest.length > 0) yield JSON.parse(Buffer.concat(rest).toString()) as T // the last line may have no newline
}

function appended(tail: Buffer, purpose: Purpose): ClickhouseError {
  const text = tail.toString()
  const said = /Code: (\d+)\. /.exec(text)?.[1]
  const code = said === undefined ? undefined : Number(said)
  const message =
    text.slice(0, Math.max(0, text.lastIndexOf('\n', text.lastIndexOf('__exception__') - 3))) ||
    text
  return new ClickhouseError(message, { code, transient: isTransient(code, purpose) })
}
