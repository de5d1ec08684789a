// The OTLP route on a real Koa server, an intake that behaves as the spool does, and protobufjs as the oracle.

import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import Koa from 'koa'
import protobuf from 'protobufjs'
import { newBatch } from '../collectors/otlp/aside.ts'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { otlpTraces } from '../collectors/otlp/route.ts'
import type { OtlpLimits } from '../collectors/otlp/take.ts'
import type { Batch, Intake } from '../collectors/spool/intake.ts'
import { Fault } from '../schemas/faults.ts'
import type { TableName } from '../schemas/tables.ts'
import { type NativeRow, readNative } from './native-reader.ts'

const protoFile = fileURLToPath(
  new URL('../schemas/proto/opentelemetry-trace.proto', import.meta.url),
)
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

export type Stored = Record<Exclude<TableName, 'records'>, NativeRow[]>

export type World = {
  url: string
  /** What is durable. */
  stored: Stored
  counts: Map<string, number>
  /** While set, writes fail with it after their rows were pushed. */
  failing: Error | undefined
  /** A day passes: envelopes are written again. */
  forgetEnvelopes(): void
  post(body: Uint8Array | string, options?: PostOptions): Promise<Answer>
  close(): Promise<void>
}

export type PostOptions = {
  type?: string
  encoding?: string
  gzip?: boolean
  path?: string
  query?: string
}

export type Answer = {
  status: number
  headers: Headers
  body: Buffer
  json(): Plain
  rpcStatus(): Plain
}

export const workspace = '01900000-0000-7000-8000-00000000000a'
export const nowMs = Date.UTC(2026, 10, 20, 12)
export const nowNs = BigInt(nowMs) * 1_000_000n

export async function openWorld(limits: Partial<OtlpLimits> = {}): Promise<World> {
  const stored: Stored = { spans: [], payloads: [], envelopes: [] }
  const counts = new Map<string, number>()
  let envelopesMs = 0
  const envelopes = new EnvelopeBook(() => envelopesMs)
  const app = new Koa()
  app.silent = true
  const enter = otlpTraces({
    intake: intakeOf(stored, () => world.failing),
    prompts: { link: (_workspace, slug, version) => `${slug}@${version ?? 'latest'}` },
    counters: {
      count(name, labels, by = 1) {
        const key = `${name} ${Object.values(labels).join(' ')}`
        counts.set(key, (counts.get(key) ?? 0) + by)
      },
    },
    nowMs: () => nowMs,
    envelopes,
    limits,
  })
  app.use(async (ctx) => {
    ctx.state.caller = { workspace, keyId: 'k', scopes: ['ingest'], by: 'key' }
    await enter(ctx)
  })
  const server = createServer(app.callback())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // a TCP server that listens has one
  const url = `http://127.0.0.1:${port}`
  const world: World = {
    url,
    stored,
    counts,
    failing: undefined,
    forgetEnvelopes() {
      envelopesMs += 86_400_000
    },
    post: (body, options = {}) => post(url, body, options),
    close: () => close(server),
  }
  return world
}

/**
 * Writes of one turn of the loop share a batch and become durable together. What throws is taken back alone; a failing
 * disk fails them all.
 */
function intakeOf(stored: Stored, failing: () => Error | undefined): Intake {
  let seq = 1n
  let open: { batch: Batch; durable: Promise<void> } | undefined
  const settle = async (batch: Batch): Promise<void> => {
    await new Promise(setImmediate)
    open = undefined
    const error = failing()
    if (error) throw error
    for (const table of ['spans', 'payloads', 'envelopes'] as const) {
      const { rows } = batch[table]
      stored[table].push(...readNative(Buffer.concat(batch[table].seal(seq, 1_790_000_000))))
      seq += BigInt(rows)
    }
  }
  return {
    async write(fill) {
      if (open === undefined) {
        const batch = newBatch()
        open = { batch, durable: settle(batch) }
      }
      const { batch, durable } = open
      const blocks = [batch.spans, batch.payloads, batch.envelopes, batch.records]
      const marks = blocks.map((block) => block.mark())
      try {
        const result = fill(batch)
        await durable
        return result
      } catch (error) {
        blocks.forEach((block, i) => {
          block.rewind(marks[i]!)
        })
        throw error
      }
    },
  }
}

async function post(url: string, body: Uint8Array | string, options: PostOptions): Promise<Answer> {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const sent = options.gzip ? gzipSync(bytes) : bytes
  const encoding = options.encoding ?? (options.gzip ? 'gzip' : undefined)
  const response = await fetch(`${url}${options.path ?? '/v1/traces'}${options.query ?? ''}`, {
    method: 'POST',
    headers: {
      'content-type':
        options.type ?? (typeof body === 'string' ? 'application/json' : 'application/x-protobuf'),
      ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
    },
    body: Buffer.from(sent),
  })
  const answer = Buffer.from(await response.arrayBuffer())
  return {
    status: response.status,
    headers: response.headers,
    body: answer,
    json: () => JSON.parse(answer.toString()),
    rpcStatus: () =>
      response.headers.get('content-type') === 'application/json'
        ? JSON.parse(answer.toString())
        : oracle.decode('RpcStatus', answer),
  }
}

function close(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}

export function diskFull(): Fault {
  return new Fault('service_unavailable', { message: 'The disk is full.', retryAfterS: 2 })
}

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
