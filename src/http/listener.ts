// The HTTP server: listening from the first moment, serving once there is something to serve, and patient when it ends.

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { holdContinue } from '../../collectors/continue.ts'
import type { Counters } from '../../schemas/counters.ts'
import { Fault } from '../../schemas/faults.ts'
import { newId, toPrefixed } from '../../schemas/ids.ts'
import { refuseBroken } from './broken-requests.ts'

// A head that takes longer comes from someone who means harm; bodies have deadlines of their own, per route. Idle is longer than any
// balancer's, so that the balancer closes first and no request meets a closing socket. A client that takes nothing any more has gone
// without saying so, and what was read for it is held; one that is given nothing waits for whoever is slow, and that has its own.
const patience = {
  headersMs: 10_000,
  requestMs: 300_000,
  checkEveryMs: 2_000,
  keepAliveMs: 75_000,
  stalledMs: 120_000,
}
const connectionsMax = 4_096
// Requests on one connection that are not answered yet. Node takes as many as come, and holds the answers of a client that reads
// none of them: a thousand calls, and all they brought, behind one socket.
const pipelinedMax = 32
// Streams in progress may finish for this long once a stop was asked for; then they are ended, each with its receipt, which
// takes as long as a write to the disk.
const drainDeadlineMs = 10_000
const endDeadlineMs = 2_000
const lookEveryMs = 20

export type Listener = {
  url: string
  serve(answer: RequestListener): void
  /**
   * Answers new calls 503 and waits for those in progress, up to a deadline or until `hurry`; then has them ended by
   * `interrupt`, and cuts what is still there after that.
   */
  drain(interrupt: () => void, hurry?: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** Rejects with a sentence when the address is taken or not ours. */
export async function openListener(
  at: { host: string; port: number },
  counters: Counters,
  bounds: typeof patience = patience,
): Promise<Listener> {
  let handle: RequestListener = answerStarting
  let isEnding = false
  const server = createServer(
    {
      keepAliveTimeout: bounds.keepAliveMs,
      headersTimeout: bounds.headersMs,
      requestTimeout: bounds.requestMs,
      connectionsCheckingInterval: bounds.checkEveryMs,
      requireHostHeader: false, // odd-requests.ts asks for it, and says so in words
    },
    (req, res) => {
      if (!takesTurn(req, res)) return
      if (isEnding) res.setHeader('Connection', 'close')
      handle(req, res)
    },
  )
  server.on('checkContinue', (req, res) => {
    holdContinue(req, res)
    server.emit('request', req, res)
  })
  refuseBroken(server, {
    counters,
    waitingOn: (socket) => unanswered.get(socket) ?? [],
    takesTurn,
  })
  server.setTimeout(bounds.stalledMs, (socket: Socket) => endUnlessWaiting(socket, counters))
  server.maxConnections = connectionsMax
  // Bounded by their bytes (16 KiB), and counted by odd-requests.ts: Node's own limit drops headers in silence.
  server.maxHeadersCount = 0
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(new Error(toSentence(error, at), { cause: error })),
    )
    server.listen(at.port, at.host, resolve)
  })
  const closed = new Promise<void>((resolve) => server.once('close', resolve))

  return {
    url: toUrl(server.address() as AddressInfo), // a server listening on TCP has one
    serve(answer) {
      handle = answer
    },
    async drain(interrupt, hurry) {
      handle = answerStopping
      isEnding = true
      if (!(await becomesQuiet(server, drainDeadlineMs, hurry))) {
        interrupt()
        await becomesQuiet(server, endDeadlineMs)
      }
      if (server.listening) server.close()
      server.closeAllConnections()
      await closed
    },
    async close() {
      if (server.listening) server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const unanswered = new WeakMap<Duplex, ServerResponse[]>()

/** False when too many wait on this connection before it; the connection is closed then. */
function takesTurn({ socket }: IncomingMessage, res: ServerResponse): boolean {
  const waiting = unanswered.get(socket) ?? waitingOn(socket)
  if (waiting.length >= pipelinedMax) {
    socket.destroy()
    return false
  }
  waiting.push(res)
  // Answers leave in the order of their requests.
  res.on('close', () => waiting.shift())
  return true
}

/**
 * Node tells only the answer whose turn it is that its connection has closed. Those behind it would wait for ever for a client
 * that is gone, with all that they hold.
 */
function waitingOn(socket: Socket): ServerResponse[] {
  const waiting: ServerResponse[] = []
  unanswered.set(socket, waiting)
  socket.once('close', () => {
    for (const res of waiting.splice(0)) if (res.socket === null) res.destroy().emit('close')
  })
  return waiting
}

/**
 * A connection on which nothing moved for its whole bound. Node would end it; it stays where its answer is still being made, and
 * nothing of that is left to take.
 */
function endUnlessWaiting(socket: Socket, counters: Counters): void {
  const isStalled = socket.writableLength > 0
  const isAnswering = (unanswered.get(socket)?.length ?? 0) > 0
  if (isAnswering && !isStalled) return
  if (isStalled) counters.count('http_clients_stalled_total', {})
  socket.destroy()
}

function answerStarting(req: IncomingMessage, res: ServerResponse): void {
  answerNotNow(req, res, 'starting')
}

function answerStopping(req: IncomingMessage, res: ServerResponse): void {
  answerNotNow(req, res, 'stopping')
}

function answerNotNow(
  req: IncomingMessage,
  res: ServerResponse,
  state: 'starting' | 'stopping',
): void {
  const isHealth = req.url === '/health' || req.url === '/healthz' || req.url === '/readyz'
  const message = state === 'starting' ? 'Starting.' : 'Stopping.'
  const fault = new Fault('service_unavailable', { message })
  res.setHeader('X-Request-Id', toPrefixed('req', newId()))
  res.writeHead(503, {
    'Content-Type': 'application/json',
    'Retry-After': '1',
    Connection: 'close',
  })
  res.end(JSON.stringify(isHealth ? { status: state } : fault.toBody()))
}

/** True once no call is under way; false when the deadline passes, or `hurry` aborts, before that. */
async function becomesQuiet(
  server: Server,
  deadlineMs: number,
  hurry?: AbortSignal,
): Promise<boolean> {
  const deadline = performance.now() + deadlineMs
  while (performance.now() < deadline && !hurry?.aborted) {
    server.closeIdleConnections()
    const open = await new Promise<number>((resolve) =>
      server.getConnections((error, count) => resolve(error ? 0 : count)),
    )
    if (open === 0) return true
    await wait(lookEveryMs)
  }
  return false
}

/** Why an address cannot be listened on, and what to do about it. `setting` names the port's variable. */
export function toSentence(
  error: NodeJS.ErrnoException,
  at: { host: string; port: number },
  setting = 'PORT',
): string {
  if (error.code === 'EADDRINUSE')
    return `Port ${at.port} on ${at.host} is taken by another program. Stop it, or set ${setting}.`
  if (error.code === 'EACCES')
    return `Port ${at.port} may not be opened by this user. Set ${setting} to one above 1023.`
  return `${at.host}:${at.port} cannot be listened on: ${error.message}`
}

function toUrl({ address, port, family }: AddressInfo): string {
  const host =
    address === '0.0.0.0' || address === '::'
      ? 'localhost'
      : family === 'IPv6'
        ? `[${address}]`
        : address
  return `http://${host}:${port}`
}
