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

/** Each span with its resource and scope: grouping and order of groups are not part of what a request says. */
export function flatten(message: Plain): Plain[] {
  const list = (value: unknown) => (value ?? []) as Plain[]
  const spans = list(message.resourceSpans).flatMap(({ scopeSpans, ...resource }) =>
    list(scopeSpans).flatMap(({ spans, ...scope }) =>
      list(spans).map((span) => normal({ resource, scope, span })),
    ),
  )
  const key = (value: Plain) =>
    JSON.stringify(value, (_, field) => (Object.is(field, -0) ? '-0' : field))
  return spans.sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

/** Absent and default are one in proto3, outside of a oneof; the oracle shows what was on the wire. */
export function normal(value: Plain): Plain {
  const entries = Object.entries(value).flatMap(([name, field]): [string, unknown][] => {
    if (Array.isArray(field))
      return field.length === 0
        ? []
        : [[name, field.map((item) => (isPlain(item) ? normal(item) : item))]]
    if (isPlain(field)) return [[name, normal(field)]]
    const isMember = /^(string|bool|int|double|bytes)Value$/.test(name)
    const isDefault =
      field === 0 || field === '' || field === '0' || (Buffer.isBuffer(field) && field.length === 0)
    return isDefault && !isMember ? [] : [[name, field]]
  })
  return Object.fromEntries(entries)
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Buffer.isBuffer(value)
}

/** OTLP/JSON by the specification's mapping, written here a second time on purpose. */
export function toJson(resourceSpans: Plain[]): string {
  return JSON.stringify({ resourceSpans }, function (this: Plain, name, value) {
    const held = this[name]
    if (Buffer.isBuffer(held)) return held.toString(name === 'bytesValue' ? 'base64' : 'hex')
    if (Object.is(value, -0)) return '-0'
    if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
    return value
  })
}
