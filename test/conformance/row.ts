// What a row of the conformance table is, and the few words rows are written in.

import { jsonRequest, type Plain, protobufRequest } from '../otlp-messages.ts'

/** MUST, SHOULD and MAY are the specification's; `ours` is what the contract of this product decides beyond it. */
export type Level = 'MUST' | 'SHOULD' | 'MAY' | 'ours'

/** Of each case its own, so that what is stored of it can be told from everything else. */
export type Fresh = { traceId: string; spanId: string; startNs: bigint }

export type Body = string | Buffer
export type Encoding = 'json' | 'protobuf'

export type Answer = {
  status: number
  headers: Record<string, string | undefined>
  body: Buffer
}

export type Expected = {
  status: number
  /** `full` when absent on 200, `status` (google.rpc.Status) on errors. `any`: the row looks for itself. */
  form?: 'full' | 'partial' | 'warning' | 'success' | 'status' | 'any'
  rejected?: number
  /** Our own words; other endpoints have theirs. */
  says?: RegExp
  headers?: Record<string, RegExp>
  /** Spans of the case's trace that can be read back. 0 on errors when absent. */
  stored?: number
  /** The spans as `GET /v1/otlp/export` gives them, judged. A row whose point this is cannot be checked elsewhere. */
  reads?: { of: (spans: Plain[]) => unknown; are: unknown }
}

export type SendOptions = {
  method?: string
  path?: string
  query?: string
  /** Without Content-Length. */
  chunked?: boolean
  headers?: Record<string, string>
  /** Without the key. */
  bare?: boolean
}

/** The endpoint under test, for rows that are more than one POST. */
export type Client = {
  /** Ours, so that what is ours alone can be looked at. */
  isOurs: boolean
  hasKey: boolean
  send(body: Body, encoding: Encoding, options?: SendOptions): Promise<Answer>
  /** Bytes on a socket of their own after the request line, Host and key; undefined when it closes without an answer. */
  raw(rest: string | Buffer, leave?: boolean): Promise<string | undefined>
  /** The same, asked for by the endpoint and then not sent. Call what it gives to end it. */
  hold(rest: string): Promise<() => void>
  get(path: string): Promise<{ status: number; body: Plain }>
}

export type Row = {
  id: string
  what: string
  level: Level
  /** The body in each encoding it applies to. Sent plain and gzipped unless `plainOnly`. */
  json?: (fresh: Fresh) => Body
  protobuf?: (fresh: Fresh) => Body
  plainOnly?: boolean
  send?: SendOptions
  /** In place of one POST. `undefined`: it does not apply to this endpoint. */
  by?: (client: Client, fresh: Fresh) => Promise<Answer | undefined>
  /** Of our own doing only: other endpoints are not asked. */
  oursOnly?: boolean
  /** Why a run leaves it out unless asked for everything. */
  slow?: string
  expect: Expected
}

export function span(fresh: Fresh, over: Plain = {}): Plain {
  return {
    traceId: fresh.traceId,
    spanId: fresh.spanId,
    name: 'op',
    kind: 2,
    startTimeUnixNano: String(fresh.startNs),
    endTimeUnixNano: String(fresh.startNs + 1_500_000n),
    ...over,
  }
}

/** A valid request of one span, as text to be spoiled. */
export function validJson(fresh: Fresh): string {
  return JSON.stringify(jsonRequest(span(fresh)))
}

/** The same spans in both encodings. */
export function spans(of: (fresh: Fresh) => Plain[]): Pick<Row, 'json' | 'protobuf'> {
  return {
    json: (fresh) => JSON.stringify(jsonRequest(...of(fresh))),
    protobuf: (fresh) => protobufRequest(...of(fresh)),
  }
}

export function oneSpan(over: Plain = {}): Pick<Row, 'json' | 'protobuf'> {
  return spans((fresh) => [span(fresh, over)])
}

export function withAttribute(value: Plain, key = 'k'): Pick<Row, 'json' | 'protobuf'> {
  return oneSpan({ attributes: [{ key, value }] })
}

/** A length-delimited field. */
export function field(number: number, inner: Buffer): Buffer {
  return Buffer.concat([fieldHead(number, inner.length), inner])
}

export function fieldHead(number: number, length: number): Buffer {
  const bytes = [(number << 3) | 2]
  let rest = length
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  bytes.push(rest)
  return Buffer.from(bytes)
}

/** One span so many times, each the same bytes. */
export function repeated(span: Buffer, times: number): Buffer {
  const one = field(2, span)
  return field(1, field(2, Buffer.alloc(one.length * times, one)))
}

/** The bytes of a Span, in its request. */
export function spanBytes(...parts: Buffer[]): Buffer {
  return field(1, field(2, field(2, Buffer.concat(parts))))
}

/** A valid span in protobuf with bytes put after its own. */
export function spanAnd(fresh: Fresh, ...more: Buffer[]): Buffer {
  return spanBytes(bareSpan(fresh), ...more)
}

/** A valid Span message. */
export function bareSpan(fresh: Fresh): Buffer {
  const start = Buffer.alloc(9)
  start[0] = (7 << 3) | 1
  start.writeBigUInt64LE(fresh.startNs, 1)
  return Buffer.concat([
    field(1, Buffer.from(fresh.traceId, 'hex')),
    field(2, Buffer.from(fresh.spanId, 'hex')),
    field(5, Buffer.from('op')),
    start,
  ])
}

export const hex = (text: string): Buffer => Buffer.from(text, 'hex')

/** The first attribute of the first span read back. */
export function firstAttribute([first]: Plain[]): Plain | undefined {
  return Array.isArray(first?.attributes) ? first.attributes[0] : undefined
}
