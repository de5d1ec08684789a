// OTLP over gRPC: TraceService/Export with raw bytes in and out, so that what HTTP takes is taken here by the same function.
// The key is checked before a byte of the message is read. The only importer of @grpc/grpc-js.

import { createServer, type Server as NetServer, type Socket } from 'node:net'
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type StatusObject,
  status,
} from '@grpc/grpc-js'
import type { Caller } from '../../schemas/caller.ts'
import { type Fault, faults } from '../../schemas/faults.ts'
import type { ByteBudget, Lease } from '../body.ts'
import { statusMessage, successMessage } from './answer.ts'
import { type Arrival, Arrivals } from './arrivals.ts'
import type { EnvelopeBook } from './envelopes.ts'
import type { KnownBodies } from './known-bodies.ts'
import { type OtlpDeps, otlpLimits, takeOnce, takeSpans, toOtlpFault } from './take.ts'

// Dead peers are noticed in a minute and a half; connections that no exporter uses are given up, as over HTTP.
const keepaliveMs = 60_000
const keepaliveAnswerMs = 20_000
const idleMs = 300_000
// What a client may have open at once: more than any exporter, few enough for the windows of all connections to fit in memory.
const streamsMax = 100
const connectionsMax = 1_024
// 32 messages of 64 MiB unpacking at the same moment are the most memory that gzip can ask for beside the bytes in flight.
const arrivingMax = 32
// Calls in progress may finish for this long once a stop was asked for.
const drainDeadlineMs = 10_000

export type OtlpGrpcDeps = OtlpDeps & {
  envelopes: EnvelopeBook
  budget: ByteBudget
  bodies: KnownBodies
  /** Who sent this `authorization`; rejects with the fault to answer when it may not send spans. */
  admit: (authorization: string) => Promise<Caller>
  log: (line: string) => void
}

export type OtlpGrpc = {
  port: number
  /** Takes no new calls and waits for those in progress, up to a deadline; then cuts them. */
  drain(): Promise<void>
  close(): Promise<void>
}

/** Rejects as `listen` does when the address is taken or not ours. */
export async function openOtlpGrpc(
  deps: OtlpGrpcDeps,
  at: { host: string; port: number },
): Promise<OtlpGrpc> {
  const limits = { ...otlpLimits, ...deps.limits }
  const arrivals = new Arrivals(deps.budget, {
    atOnceMax: arrivingMax,
    deadlineMs: limits.bodyDeadlineMs,
  })
  const admitted = new WeakMap<Metadata, Admitted>()
  const server = new Server({
    'grpc.max_receive_message_length': limits.bodyBytesMax,
    'grpc.max_concurrent_streams': streamsMax,
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveAnswerMs,
    'grpc.max_connection_idle_ms': idleMs,
    interceptors: [gate(deps, arrivals, admitted)],
  })
  server.addService(traceService, { Export: exportSpans(deps, admitted) })
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const sockets = new Set<Socket>()
  // A listener of our own, because only a socket tells how much has arrived on it.
  const listener = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => {}) // 'close' follows, and every call on it is cancelled
    arrivals.watch(socket)
    injector.injectConnection(socket)
  })
  listener.maxConnections = connectionsMax
  const port = await listen(listener, at)
  const cut = () => {
    server.forceShutdown()
    for (const socket of sockets) socket.destroy()
  }

  return {
    port,
    async drain() {
      const deadline = setTimeout(cut, drainDeadlineMs)
      const closed = closing(listener)
      // Its callback may come before the last call has ended (Node 24); the listener's waits for every connection.
      server.tryShutdown(() => {})
      await closed
      clearTimeout(deadline)
    },
    async close() {
      const closed = closing(listener)
      cut()
      await closed
    },
  }
}

const same = (bytes: Buffer): Buffer => bytes

const traceService = {
  Export: {
    path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  },
} as const

type Admitted = { caller: Caller; lease: Lease; isTaken: boolean }

/** Before the message: the key, and room for what comes. After it: its bytes are held until it is answered. */
function gate(
  deps: OtlpGrpcDeps,
  arrivals: Arrivals,
  admitted: WeakMap<Metadata, Admitted>,
): ServerInterceptor {
  return (_method, call) => {
    const lease = deps.budget.lease()
    let entry: Admitted | undefined
    let arrival: Arrival | undefined
    let isOver = false
    let isAnswered = false
    const refuse = (error: unknown): void => {
      if (isOver) return
      isAnswered = true
      call.sendStatus(refusal(error, deps))
    }
    const admit = async (metadata: Metadata): Promise<void> => {
      const caller = await deps.admit(String(metadata.get('authorization')[0] ?? ''))
      entry = { caller, lease, isTaken: false }
      admitted.set(metadata, entry)
      arrival = await arrivals.begin(call.getConnectionInfo(), refuse)
      if (isOver) arrival.end(false)
    }
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            admit(metadata).then(() => pass(metadata), refuse)
          },
          onReceiveMessage: (message: Buffer, pass) => {
            arrival?.end(true)
            try {
              lease.hold(message.length)
            } catch (error) {
              refuse(error)
              return
            }
            pass(message)
          },
          // Also called when the call has been answered. What never came whole was too large, not gzip, or given up.
          onCancel: () => {
            isOver = true
            arrival?.end(false)
            if (entry?.isTaken) return
            lease.release()
            if (!isAnswered) count(deps, 'unread')
          },
        }),
    })
  }
}

function exportSpans(
  deps: OtlpGrpcDeps,
  admitted: WeakMap<Metadata, Admitted>,
): handleUnaryCall<Buffer, Buffer> {
  return async (call, answer) => {
    const entry = admitted.get(call.metadata)
    if (!entry) return answer(refusal(new Error('A call passed without its gate.'), deps))
    entry.isTaken = true
    const { workspace } = entry.caller
    try {
      const taken = { body: call.request, encoding: 'protobuf', workspace, strict: false } as const
      const key = { workspace, form: 'grpc', bytes: taken.body }
      const outcome = await takeOnce(key, deps, () => takeSpans(taken, deps))
      count(deps, status.OK)
      answer(null, successMessage(outcome))
    } catch (error) {
      answer(refusal(error, deps))
    } finally {
      entry.lease.release()
    }
  }
}

/** A failure as gRPC says it. RetryInfo goes only with what passes: a client must not send again what never fits. */
function refusal(error: unknown, deps: OtlpGrpcDeps): StatusObject {
  const fault: Fault = toOtlpFault(error)
  if (fault.code === 'service_unavailable' && fault.cause instanceof Error)
    deps.log(String(fault.cause.stack ?? fault.cause))
  const code = faults[fault.code].grpc
  count(deps, code)
  const metadata = new Metadata()
  const { message, retryAfterS } = fault
  const detail = { code, message, field: fault.detail.param, retryAfterS }
  metadata.set('grpc-status-details-bin', statusMessage(detail))
  return { code, details: message, metadata }
}

function count(deps: OtlpGrpcDeps, code: number | 'unread'): void {
  deps.counters.count('otlp_requests_total', { encoding: 'grpc', status: String(code) })
}

async function listen(listener: NetServer, at: { host: string; port: number }): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(at.port, at.host, resolve)
  })
  const address = listener.address()
  return typeof address === 'object' && address ? address.port : at.port
}

function closing(listener: NetServer): Promise<void> {
  return new Promise((resolve) => listener.close(() => resolve()))
}
