// OTLP over gRPC, over real sockets: what HTTP takes is taken here, refusals say whether to send again, and nothing is unbounded.

import { type ClientHttp2Session, connect } from 'node:http2'
import { createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import {
  Client,
  compressionAlgorithms,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js'
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, test } from 'vitest'
import { ByteBudget } from '../collectors/body.ts'
import { EnvelopeBook } from '../collectors/otlp/envelopes.ts'
import { type OtlpGrpc, type OtlpGrpcDeps, openOtlpGrpc } from '../collectors/otlp/grpc.ts'
import { KnownBodies } from '../collectors/otlp/known-bodies.ts'
import type { Caller, Scope } from '../schemas/caller.ts'
import { readSettings } from '../schemas/settings.ts'
import { admitBy, openGrpcDoor } from '../src/http/grpc-door.ts'
import { get } from './clients.ts'
import {
  diskFull,
  intakeOf,
  jsonRequest,
  jsonSpan,
  nowMs,
  openWorld,
  oracle,
  type Plain,
  protobufRequest,
  type Stored,
  workspace,
} from './otlp-world.ts'
import { startWorld } from './world.ts'

const path = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const mib = 1024 * 1024
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

type GrpcWorld = {
  grpc: OtlpGrpc
  deps: OtlpGrpcDeps
  stored: Stored
  counts: Map<string, number>
  failing: Error | undefined
  /** The answer's bytes; rejects with gRPC's error. */
  send(body: Buffer, options?: { key?: string | undefined; gzip?: boolean }): Promise<Buffer>
}

async function openGrpcWorld(over: Partial<OtlpGrpcDeps> = {}): Promise<GrpcWorld> {
  const stored: Stored = { spans: [], payloads: [], envelopes: [] }
  const counts = new Map<string, number>()
  const callers: Record<string, Scope[]> = { sender: ['ingest'], reader: ['read'] }
  const deps: OtlpGrpcDeps = {
    intake: intakeOf(stored, () => world.failing),
    prompts: { link: () => '' },
    counters: {
      count(name, labels, by = 1) {
        const key = `${name} ${Object.values(labels).join(' ')}`
        counts.set(key, (counts.get(key) ?? 0) + by)
      },
    },
    nowMs: () => nowMs,
    envelopes: new EnvelopeBook(),
    bodies: new KnownBodies(),
    budget: new ByteBudget(256 * mib),
    admit: admitBy({
      find: async (token): Promise<Caller | undefined> =>
        callers[token] && { workspace, keyId: token, scopes: callers[token], by: 'key' },
    }),
    log: () => {},
    ...over,
  }
  const grpc = await openOtlpGrpc(deps, { host: '127.0.0.1', port: 0 })
  closers.push(() => grpc.close())
  const world: GrpcWorld = {
    grpc,
    deps,
    stored,
    counts,
    failing: undefined,
    send: (body, options = {}) => {
      const client = newClient(grpc.port, options.gzip)
      return call(client, body, 'key' in options ? options.key : 'sender').finally(() =>
        client.close(),
      )
    },
  }
  return world
}

function newClient(port: number, gzip = false): Client {
  return new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    ...(gzip ? { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip } : {}),
  })
}

const same = (bytes: Buffer): Buffer => bytes

function call(client: Client, body: Buffer, key: string | undefined): Promise<Buffer> {
  const metadata = new Metadata()
  if (key !== undefined) metadata.set('authorization', `Bearer ${key}`)
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, body, metadata, (error, answer) =>
      error ? reject(error) : resolve(answer ?? Buffer.alloc(0)),
    )
  })
}

/** What a refusal says: the code, and the names of the details that travel with it. */
async function refusalOf(
  sent: Promise<Buffer>,
): Promise<{ code: number; says: string; status: Plain }> {
  const error = await sent.then(
    () => {
      throw new Error('it was accepted')
    },
    (refused: ServiceError) => refused,
  )
  const [bytes] = error.metadata.get('grpc-status-details-bin')
  return {
    code: error.code,
    says: error.details,
    status: Buffer.isBuffer(bytes) ? oracle.decode('RpcStatus', bytes) : {},
  }
}

const retryInfo = 'type.googleapis.com/google.rpc.RetryInfo'

describe('what is taken', () => {
  test('a request is stored as the same request over HTTP is, gzip or not, and answered with an empty message', async () => {
    const body = protobufRequest(jsonSpan(), jsonSpan({ name: 'second' }))
    const http = await openWorld()
    closers.push(() => http.close())
    await http.post(body)
    for (const gzip of [false, true]) {
      const world = await openGrpcWorld()
      expect(await world.send(body, { gzip })).toEqual(Buffer.alloc(0))
      expect(world.stored).toEqual(http.stored)
      expect(world.counts.get('otlp_requests_total grpc 0')).toBe(1)
      expect(world.deps.budget.held).toBe(0)
    }
  })

  test('bad spans are rejected alone, and the partial success counts them', async () => {
    const world = await openGrpcWorld()
    const answer = await world.send(protobufRequest(jsonSpan(), jsonSpan({ spanId: '' })))
    expect(oracle.decode('ExportTraceServiceResponse', answer)).toEqual({
      partialSuccess: {
        rejectedSpans: '1',
        errorMessage:
          '1 of 2 spans rejected (invalid_span_id 1); first: span_id has 0 bytes, not 8',
      },
    })
    expect(world.stored.spans).toHaveLength(1)
  })

  test('a message of 20 MiB, larger than what gRPC libraries take unless told, is taken', async () => {
    const world = await openGrpcWorld()
    const value = { stringValue: 'x'.repeat(20 * mib) }
    await world.send(protobufRequest(jsonSpan({ attributes: [{ key: 'k', value }] })))
    expect(world.stored.spans).toHaveLength(1)
    expect(world.deps.budget.held).toBe(0)
  })
})

describe('what is refused', () => {
  test('no key and a wrong key are UNAUTHENTICATED, a key that may not ingest PERMISSION_DENIED', async () => {
    const world = await openGrpcWorld()
    const body = protobufRequest(jsonSpan())
    for (const key of [undefined, 'stranger'])
      expect(await refusalOf(world.send(body, { key }))).toMatchObject({
        code: 16,
        status: { code: 16 },
      })
    expect(await refusalOf(world.send(body, { key: 'reader' }))).toMatchObject({
      code: 7,
      says: 'This key lacks the scope `ingest`.',
    })
    expect(world.stored.spans).toHaveLength(0)
  })

  test('a stranger is refused before a byte of the message is asked for', async () => {
    const world = await openGrpcWorld()
    const stream = rawCall(world.grpc.port, 'stranger')
    expect(await stream.status).toBe('16')
  })

  test('a key store that is away is UNAVAILABLE, and may be tried again', async () => {
    const admit = () => Promise.reject(new Error('no database, with a secret'))
    const world = await openGrpcWorld({ admit })
    const { code, says, status } = await refusalOf(world.send(protobufRequest(jsonSpan())))
    expect([code, says]).toEqual([14, expect.not.stringContaining('secret')])
    expect(status).toMatchObject({ details: [{ typeUrl: retryInfo }] })
  })

  test.each<[string, Buffer]>([
    ['a cut message', protobufRequest(jsonSpan()).subarray(0, -5)],
    ['JSON', Buffer.from(JSON.stringify(jsonRequest(jsonSpan())))],
    ['gzip inside', gzipSync(protobufRequest(jsonSpan()))],
  ])('%s is INVALID_ARGUMENT with nothing that asks for another try', async (_, body) => {
    const world = await openGrpcWorld()
    const { code, says, status } = await refusalOf(world.send(body))
    expect([code, status]).toEqual([3, { code: 3, message: says }])
    expect(world.stored.spans).toHaveLength(0)
  })

  test('a message over the limit, before or after decompression, is RESOURCE_EXHAUSTED without RetryInfo', async () => {
    const world = await openGrpcWorld({ limits: { bodyBytesMax: mib } })
    const large = protobufRequest(
      jsonSpan({ attributes: [{ key: 'k', value: { stringValue: 'x'.repeat(mib) } }] }),
    )
    for (const gzip of [false, true])
      expect(await refusalOf(world.send(large, { gzip }))).toMatchObject({ code: 8, status: {} })
    expect(world.counts.get('otlp_requests_total grpc unread')).toBe(2)
    expect([world.stored.spans.length, world.deps.budget.held]).toEqual([0, 0])
    expect(await world.send(protobufRequest(jsonSpan()))).toEqual(Buffer.alloc(0))
  })

  test('a disk that fails is UNAVAILABLE with RetryInfo of its own delay', async () => {
    const world = await openGrpcWorld()
    world.failing = diskFull()
    const { code, says, status } = await refusalOf(world.send(protobufRequest(jsonSpan())))
    expect([code, says]).toEqual([14, 'The disk is full.'])
    // RetryInfo { retry_delay { seconds: 2 } }
    expect(status).toEqual({
      code: 14,
      message: 'The disk is full.',
      details: [{ typeUrl: retryInfo, value: Buffer.from('0a020802', 'hex') }],
    })
    world.failing = undefined
    await world.send(protobufRequest(jsonSpan()))
    expect(world.stored.spans).toHaveLength(1)
  })
})

describe('what is bounded', () => {
  test('bytes that are still arriving count, and a sender that fills the room is UNAVAILABLE before its message ends', async () => {
    const world = await openGrpcWorld({ budget: new ByteBudget(2 * mib) })
    const stream = rawCall(world.grpc.port, 'sender')
    stream.write(frame(20 * mib, Buffer.alloc(3 * mib)))
    expect(await stream.status).toBe('14')
    expect(world.deps.budget.held).toBeLessThanOrEqual(2 * mib)
    // What the library still holds of it goes with its connection, which does not outlive the refusal by long.
    await stream.closed
    await until(() => world.deps.budget.held === 0)
    await world.send(protobufRequest(jsonSpan()))
    expect(world.stored.spans).toHaveLength(1)
  })

  test('room that others hold is respected over gRPC too', async () => {
    const budget = new ByteBudget(mib)
    const world = await openGrpcWorld({ budget })
    const others = budget.lease()
    others.hold(mib)
    expect((await refusalOf(world.send(protobufRequest(jsonSpan())))).code).toBe(14)
    others.release()
    await world.send(protobufRequest(jsonSpan()))
    expect(budget.held).toBe(0)
  })

  test('a message that does not come to its end in time is DEADLINE_EXCEEDED', async () => {
    const world = await openGrpcWorld({ limits: { bodyDeadlineMs: 50 } })
    const stream = rawCall(world.grpc.port, 'sender')
    stream.write(frame(100, Buffer.alloc(10)))
    expect(await stream.status).toBe('4')
    expect(world.deps.budget.held).toBe(0)
  })

  test('more messages at once than may arrive together all come through', async () => {
    const world = await openGrpcWorld()
    const client = newClient(world.grpc.port)
    closers.push(() => client.close())
    const bodies = Array.from({ length: 300 }, (_, i) =>
      protobufRequest(jsonSpan({ name: `${i}` })),
    )
    await Promise.all(bodies.map((body) => call(client, body, 'sender')))
    expect([world.stored.spans.length, world.deps.budget.held]).toEqual([300, 0])
  })
})

describe('its life', () => {
  test('a call in progress is finished and answered by a stop; a new one finds nobody', async () => {
    const stored: Stored = { spans: [], payloads: [], envelopes: [] }
    const intake = intakeOf(stored, () => undefined)
    const begun = signal()
    const disk = signal()
    const world = await openGrpcWorld({
      intake: {
        async write(fill) {
          begun.resolve()
          await disk.promise
          return intake.write(fill)
        },
      },
    })
    const body = protobufRequest(jsonSpan())
    const sent = world.send(body)
    await begun.promise
    expect(world.deps.budget.held).toBeGreaterThanOrEqual(body.length)
    const drained = world.grpc.drain()
    expect((await refusalOf(world.send(protobufRequest(jsonSpan())))).code).toBe(14)
    disk.resolve()
    expect(await sent).toEqual(Buffer.alloc(0))
    await drained
    expect([stored.spans.length, world.deps.budget.held]).toEqual([1, 0])
  })

  test('a port that is taken is said in a sentence that names its setting', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    closers.push(() => new Promise((resolve) => other.close(resolve)))
    const address = other.address()
    const OTLP_GRPC_PORT = String(typeof address === 'object' ? address?.port : 0)
    const { deps } = await openGrpcWorld()
    const keys = { find: async () => undefined } as unknown as Parameters<
      typeof openGrpcDoor
    >[1]['keys'] // no call gets as far as a key
    await expect(openGrpcDoor(readSettings({ OTLP_GRPC_PORT }), { ...deps, keys })).rejects.toThrow(
      `Port ${OTLP_GRPC_PORT} on 127.0.0.1 is taken by another program. Stop it, or set OTLP_GRPC_PORT.`,
    )
    expect(await openGrpcDoor(readSettings({}), { ...deps, keys })).toBeUndefined()
  })

  test('the OpenTelemetry gRPC exporter delivers to the whole product, and its trace is read over HTTP', async () => {
    const world = await startWorld({ OTLP_GRPC_PORT: '0' })
    closers.push(() => world.end())
    for (const compression of ['none', 'gzip'] as const) {
      const traceId = await exportOne(world.plane.otlpGrpcPort, world.key, compression)
      const { body } = await get(world, `/v1/traces/${traceId}`)
      expect([body.span_count, body.service]).toEqual([1, `shop-${compression}`])
    }
  })
})

/** A call by hand: headers at once, bytes as they are written; the status that comes back, and the end of the connection. */
function rawCall(port: number, key: string) {
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${port}`)
  closers.push(() => session.destroy())
  session.on('error', () => {}) // its end is what the test looks at
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${key}`,
  })
  stream.on('error', () => {})
  const status = new Promise<string>((resolve) => {
    stream.on('response', (headers) => resolve(String(headers['grpc-status'])))
  })
  const closed = new Promise<void>((resolve) => session.once('close', () => resolve()))
  return { status, closed, write: (bytes: Buffer) => stream.write(bytes) }
}

/** The head of a message of `length` bytes, and as much of it as is given. */
function frame(length: number, begin: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, begin])
}

/** One span by the real exporter; its trace id. */
async function exportOne(
  port: number | undefined,
  key: string,
  compression: 'none' | 'gzip',
): Promise<string> {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${key}`)
  type Config = NonNullable<ConstructorParameters<typeof GrpcExporter>[0]>
  const exporter = new GrpcExporter({
    url: `http://127.0.0.1:${port}`,
    metadata,
    compression: compression as NonNullable<Config['compression']>, // an enum of a package that is not ours to import
  })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': `shop-${compression}` }),
    spanProcessors: [new SimpleSpanProcessor(exporter)],
  })
  const span = provider.getTracer('t').startSpan('over gRPC')
  span.end()
  await provider.forceFlush()
  await provider.shutdown()
  return span.spanContext().traceId
}

function signal() {
  let resolve = (): void => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve: () => resolve() }
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await wait(5)
}
