// OTLP messages for tests: plain values to JSON and protobuf and back, with protobufjs as the oracle.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { packageRoot } from '../src/root.ts'

const protoFile = join(packageRoot(), 'schemas/proto/opentelemetry-trace.proto')
const root = protobuf.parse(readFileSync(protoFile, 'utf8')).root

/** A message as the oracle reads it: 64-bit integers as decimal strings, bytes as Buffers, enums as numbers. */
export type Plain = { [key: string]: unknown }

export const oracle = {
  encode(type: string, value: Plain): Buffer {
    const message = root.lookupType(`otlp.${type}`)
    return Buffer.from(message.encode(message.fromObject(value)).finish())
  },
  decode(type: string, bytes: Uint8Array): Plain {
    const message = root.lookupType(`otlp.${type}`)
    return message.toObject(message.decode(bytes), { longs: String, bytes: Buffer, enums: Number })
  },
}

export const nowMs = Date.UTC(2026, 10, 20, 12)
export const nowNs = BigInt(nowMs) * 1_000_000n

/** A valid span in OTLP/JSON form, with what is given in place of or beside the defaults. */
export function jsonSpan(over: Plain = {}): Plain {
  return {
    traceId: '5b8efff798038103d269b633813fc60c',
    spanId: 'eee19b7ec3c1b174',
    name: 'op',
    kind: 2,
    startTimeUnixNano: String(nowNs),
    endTimeUnixNano: String(nowNs + 1_500_000n),
    ...over,
  }
}

export function jsonRequest(...spans: Plain[]): Plain {
  return {
    resourceSpans: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
        scopeSpans: [{ scope: { name: 'lib', version: '1' }, spans }],
      },
    ],
  }
}

/** The same for the oracle: ids as bytes. */
export function toOracle(span: Plain): Plain {
  const id = (value: unknown) => (typeof value === 'string' ? Buffer.from(value, 'hex') : value)
  return {
    ...span,
    traceId: id(span.traceId),
    spanId: id(span.spanId),
    ...(span.parentSpanId === undefined ? {} : { parentSpanId: id(span.parentSpanId) }),
  }
}

export function protobufRequest(...spans: Plain[]): Buffer {
  return oracle.encode('ExportTraceServiceRequest', jsonRequest(...spans.map(toOracle)))
}
