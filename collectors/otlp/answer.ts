// OTLP answers: ExportTraceServiceResponse and google.rpc.Status, in the encoding the request came in.
// Content types are exact, without charset; an empty success is `{}` or no bytes at all (opentelemetry-proto, OTLP/HTTP).

import type { Context } from 'koa'
import { type Fault, faults } from '../../schemas/faults.ts'
import { WireWriter } from './wire-writer.ts'

export type Encoding = 'json' | 'protobuf'

const contentTypes: Record<Encoding, string> = {
  json: 'application/json',
  protobuf: 'application/x-protobuf',
}
// The specification bounds responses; clients cut at 4 MiB, people long before.
const messageLengthMax = 1000
const badRequestType = 'type.googleapis.com/google.rpc.BadRequest'
const retryInfoType = 'type.googleapis.com/google.rpc.RetryInfo'

/** What was left out of a success, and why; both empty when nothing was. */
export type PartialSuccess = { rejected: number; message: string }

/** The encoding that a Content-Type names; its parameters and case do not matter. */
export function encodingOf(contentType: string): Encoding | undefined {
  const [type = ''] = contentType.split(';')
  switch (type.trim().toLowerCase()) {
    case 'application/json':
      return 'json'
    case 'application/x-protobuf':
    case 'application/protobuf':
      return 'protobuf'
    default:
      return undefined
  }
}

/** 200. A message without rejected spans is a warning; without either, the partial success is left out. */
export function writeOtlpSuccess(ctx: Context, encoding: Encoding, partial: PartialSuccess): void {
  if (encoding === 'json') {
    const body = {
      ...(partial.rejected > 0 ? { rejectedSpans: String(partial.rejected) } : {}),
      ...(partial.message === '' ? {} : { errorMessage: partial.message }),
    }
    write(
      ctx,
      encoding,
      Buffer.from(JSON.stringify(isFull(partial) ? {} : { partialSuccess: body })),
    )
  } else write(ctx, encoding, successMessage(partial))
  ctx.status = 200
}

/** ExportTraceServiceResponse in protobuf. */
export function successMessage(partial: PartialSuccess): Buffer {
  const writer = new WireWriter()
  if (!isFull(partial)) {
    const start = writer.begin(1)
    writer.varintField(1, partial.rejected)
    writer.stringField(2, partial.message)
    writer.end(start)
  }
  return writer.finish()
}

function isFull(partial: PartialSuccess): boolean {
  return partial.rejected === 0 && partial.message === ''
}

/** Any failure on the OTLP paths. JSON when the request does not name an encoding we know. */
export function writeOtlpFault(ctx: Context, fault: Fault): void {
  const encoding = encodingOf(ctx.get('content-type')) ?? 'json'
  const message = fault.message.slice(0, messageLengthMax)
  const code = faults[fault.code].grpc
  const field = fault.detail.param
  if (encoding === 'json') {
    const violations = field && [
      { '@type': badRequestType, fieldViolations: [{ field, description: message }] },
    ]
    const status = { code, message, ...(violations ? { details: violations } : {}) }
    write(ctx, encoding, Buffer.from(JSON.stringify(status)))
  } else write(ctx, encoding, statusMessage({ code, message, field }))
  ctx.status = fault.status
  if (fault.retryAfterS !== undefined) ctx.set('Retry-After', String(fault.retryAfterS))
  for (const [name, value] of Object.entries(fault.detail.headers ?? {})) ctx.set(name, value)
}

type RpcStatus = {
  code: number
  message: string
  field?: string | undefined
  /** Over gRPC, where there is no Retry-After header: the same as a detail. */
  retryAfterS?: number | undefined
}

/** google.rpc.Status in protobuf, its message within the bound of every answer. */
export function statusMessage(status: RpcStatus): Buffer {
  const writer = new WireWriter()
  const message = status.message.slice(0, messageLengthMax)
  writer.varintField(1, status.code)
  writer.stringField(2, message)
  if (status.field) {
    const any = writer.begin(3)
    writer.stringField(1, badRequestType)
    const value = writer.begin(2)
    const violation = writer.begin(1)
    writer.stringField(1, status.field)
    writer.stringField(2, message)
    writer.end(violation)
    writer.end(value)
    writer.end(any)
  }
  if (status.retryAfterS !== undefined) {
    const any = writer.begin(3)
    writer.stringField(1, retryInfoType)
    const value = writer.begin(2)
    const delay = writer.begin(1)
    writer.varintField(1, status.retryAfterS)
    writer.end(delay)
    writer.end(value)
    writer.end(any)
  }
  return writer.finish()
}

/** Koa would add a charset, or turn an empty body into 204: the body is a Buffer, its type and length are set by hand. */
function write(ctx: Context, encoding: Encoding, body: Buffer): void {
  ctx.status = 200
  ctx.body = body
  ctx.set('Content-Type', contentTypes[encoding])
  ctx.set('Content-Length', String(body.length))
}
