// The OTLP route on a real Koa server, and an intake that behaves as the spool does.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import Koa from 'koa'
import { newBatch } from '../collectors/otlp/aside.ts'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { KnownBodies } from '../collectors/otlp/known-bodies.ts'
import { otlpTraces } from '../collectors/otlp/route.ts'
import type { OtlpLimits } from '../collectors/otlp/take.ts'
import type { Batch, Intake } from '../collectors/spool/intake.ts'
import { Fault } from '../schemas/faults.ts'
import type { TableName } from '../schemas/tables.ts'
import { type NativeRow, readNative } from './native-reader.ts'
import { nowMs, oracle, type Plain } from './otlp-messages.ts'

export {
  jsonRequest,
  jsonSpan,
  nowMs,
  nowNs,
  oracle,
  type Plain,
  protobufRequest,
  toOracle,
} from './otlp-messages.ts'

export type Stored = Record<Exclude<TableName, 'records'>, NativeRow[]>

export type World = {
  url: string
  /** What is durable. */
  stored: Stored
  counts: Map<string, number>
  /** While set, writes fail with it after their rows were pushed. */
  failing: Error | undefined
  /** Until set, every body is as if it were the first of its kind: most tests send one of them again and again. */
  knowsBodies: boolean
  /** A day passes: envelopes are written again, bodies are known no more. */
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
export async function openWorld(limits: Partial<OtlpLimits> = {}): Promise<World> {
  const stored: Stored = { spans: [], payloads: [], envelopes: [] }
  const counts = new Map<string, number>()
  let envelopesMs = 0
  const envelopes = new EnvelopeBook(() => envelopesMs)
  let bodiesMs = 0
  const bodies = new KnownBodies(() => {
    if (!world.knowsBodies) bodiesMs += 86_400_000
    return bodiesMs
  })
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
    bodies,
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
    knowsBodies: false,
    forgetEnvelopes() {
      envelopesMs += 86_400_000
      bodiesMs += 86_400_000
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
export function intakeOf(stored: Stored, failing: () => Error | undefined): Intake {
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
