// What never becomes a request that the app could answer: bytes that are no HTTP, heads without end, tunnels, expectations that nobody
// meets. Law: it is told in the envelope of every other fault, with an id, and the connection ends with it; where the answer
// would be taken for that of another request, the connection ends without one.

import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Counters } from '../../schemas/counters.ts'
import { Fault, type FaultCode } from '../../schemas/faults.ts'
import { newId, toPrefixed } from '../../schemas/ids.ts'
import { requestIdOf } from './middleware.ts'

const expectationFailed = 417
const told: Record<string, { code: FaultCode; message: string }> = {
  HPE_HEADER_OVERFLOW: { code: 'headers_too_large', message: 'The head is above 16 KiB.' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    code: 'payload_too_large',
    message: 'The extensions of a chunk are too large.',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { code: 'timeout', message: 'The request did not arrive in time.' },
}

type Deps = {
  counters: Counters
  /** The answers that a connection still waits for, in their order. */
  waitingOn: (socket: Duplex) => readonly ServerResponse[]
  /** Puts an answer behind them; false when they are too many, and the connection is closed. */
  takesTurn: (req: IncomingMessage, res: ServerResponse) => boolean
}

export function refuseBroken(server: Server, deps: Deps): void {
  const tell = (socket: Duplex, req: IncomingMessage | undefined, fault: Fault) => {
    deps.counters.count('http_faults_total', { code: fault.code })
    socket.write(toHttp(req, fault))
  }
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const refused = refusedOf(deps.waitingOn(socket))
    // A connection that broke hears nothing any more.
    if (socket.writable && refused && error.code !== 'ECONNRESET')
      tell(socket, refused.req, toFault(error))
    socket.destroy(error)
  })
  server.on('connect', (req: IncomingMessage, socket) => {
    socket.on('error', () => {}) // it is ours alone from here on, and over
    const headers = { Allow: 'GET, HEAD, POST' }
    if (deps.waitingOn(socket).length === 0)
      tell(socket, req, new Fault('method_not_allowed', { headers }))
    // Neither a bound of the server's nor its end reaches this socket any more.
    socket.destroy()
  })
  server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => {
    if (!deps.takesTurn(req, res)) return
    const fault = new Fault('invalid_request', {
      message: 'The only expectation met here is 100-continue.',
    })
    deps.counters.count('http_faults_total', { code: fault.code })
    res.writeHead(expectationFailed, headOf(req, fault)).end(JSON.stringify(fault.toBody()))
  })
}

/** Whose the broken bytes are; undefined when what was asked before them has not been answered, or its answer has begun. */
function refusedOf(
  waiting: readonly ServerResponse[],
): { req: IncomingMessage | undefined } | undefined {
  const [first, second] = waiting
  if (!first) return { req: undefined }
  return second || first.headersSent || first.req.complete ? undefined : { req: first.req }
}

function toFault(error: NodeJS.ErrnoException): Fault {
  const { code, message } = told[error.code ?? ''] ?? {
    code: 'invalid_request',
    message: 'This is not HTTP/1.1 as RFC 9112 has it.',
  }
  return new Fault(code, { message }, { cause: error })
}

function headOf(req: IncomingMessage | undefined, fault: Fault): Record<string, string> {
  return {
    'X-Request-Id': req ? requestIdOf(req) : toPrefixed('req', newId()),
    'X-Content-Type-Options': 'nosniff',
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(JSON.stringify(fault.toBody()))),
    Connection: 'close',
    ...fault.detail.headers,
  }
}

function toHttp(req: IncomingMessage | undefined, fault: Fault): string {
  const head = Object.entries(headOf(req, fault)).map(([name, value]) => `${name}: ${value}`)
  const first = `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status]}`
  return `${[first, ...head].join('\r\n')}\r\n\r\n${JSON.stringify(fault.toBody())}`
}
