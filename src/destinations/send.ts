// One OTLP request to a destination, and what its answer means for the spans in it.
// Source: OTLP specification 1.11, "OTLP/HTTP Response" and "OTLP/HTTP Throttling"; what it leaves open is said beside the row.

import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { assemble, type ExportRow } from '../../collectors/otlp/export.ts'
import { readErrorMessage, readPartialSuccess } from '../../collectors/otlp/read-answer.ts'
import { type Outbound, OutboundError } from '../../collectors/proxy/outbound.ts'
import { viaHeader } from '../../schemas/destination.ts'
import { post } from '../post.ts'
import type { Destination } from './store.ts'

// The exporters' default.
const deadlineMs = 10_000
const retryAfterMaxMs = 3_600_000

/**
 * sent: taken, but for `rejected`. retry: the same again, later. split: smaller ones may pass. dead: never again.
 * hold: it is not about the spans but about the destination (a key, an address); they wait until a person has mended it.
 */
export type Answer = Settled | Later<'retry'> | Later<'hold'>
export type Settled =
  | { verdict: 'sent'; status: number; rejected: number; message: string }
  | Refused<'split'>
  | Refused<'dead'>
export type Later<V> = { verdict: V; status: number | null; message: string; afterMs: number }
type Refused<V> = { verdict: V; status: number; message: string }

export type Sender = (rows: readonly ExportRow[], signal: AbortSignal) => Promise<Answer>

/** Never rejects for what the destination does; rejects when `signal` aborts. */
export function openSender(
  to: Destination,
  deps: { outbound: Outbound; version: string; installation: string; nowMs: () => number },
): Sender {
  const url = toTracesUrl(to.url)
  const isJson = to.protocol === 'http/json'
  const headers = ['content-type', isJson ? 'application/json' : 'application/x-protobuf']
  headers.push('user-agent', `OTel-OTLP-Exporter-Runledger/${deps.version}`)
  headers.push(viaHeader, deps.installation)
  if (to.compression === 'gzip') headers.push('content-encoding', 'gzip')
  for (const [name, value] of Object.entries(to.headers)) headers.push(name.toLowerCase(), value)

  return async (rows, signal) => {
    const plain = assemble(rows, isJson ? 'json' : 'protobuf')
    const body = to.compression === 'gzip' ? await gzipped(plain) : plain
    try {
      const { isTrusted } = to
      const given = await post(deps.outbound, { url, headers, body, deadlineMs, isTrusted, signal })
      return read(given, deps.nowMs())
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof OutboundError)) throw error
      // An address that may not be reached stays so; everything else about a connection passes.
      const verdict = error.kind === 'address_refused' ? 'hold' : 'retry'
      return { verdict, status: null, message: error.message, afterMs: 0 }
    }
  }
}

const gzipped = promisify<Buffer, Buffer>(gzip)

function read(given: Awaited<ReturnType<typeof post>>, nowMs: number): Answer {
  const { status } = given
  const type = String(given.headers['content-type'] ?? '')
  if (status >= 200 && status < 300) {
    return { verdict: 'sent', status, ...readPartialSuccess(type, given.body) }
  }
  const message = readErrorMessage(type, given.body) || `It answered ${status}.`
  const verdict = verdictOf(status)
  if (verdict === 'split' || verdict === 'dead') return { verdict, status, message }
  return { verdict, status, message, afterMs: retryAfterMs(given.headers['retry-after'], nowMs) }
}

function verdictOf(status: number): 'retry' | 'split' | 'hold' | 'dead' {
  switch (status) {
    case 429:
    case 502:
    case 503:
    case 504:
      return 'retry'
    // One span of many may be what it cannot read: the halves are other requests.
    case 400:
    case 413:
      return 'split'
    case 401:
    case 403:
    case 404:
    case 405:
    case 407:
      return 'hold'
    default:
      return status < 400 ? 'hold' : 'dead'
  }
}

/** Seconds or an HTTP date, in milliseconds from now; 0 when there is none or it lies in the past. */
function retryAfterMs(value: string | undefined, nowMs: number): number {
  if (value === undefined) return 0
  const ms = /^\s*\d+\s*$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - nowMs
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), retryAfterMaxMs) : 0
}

/** A base address gets the signal's path; one that names a path is used as it is (OTLP exporter specification). */
function toTracesUrl(text: string): URL {
  const url = new URL(text)
  if (url.pathname.endsWith('/')) url.pathname += 'v1/traces'
  return url
}
