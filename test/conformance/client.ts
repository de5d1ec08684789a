// One endpoint under test: requests exactly as a row has them, bytes on sockets, and what can be read back.

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { gunzipSync } from 'node:zlib'
import type { Plain } from '../otlp-messages.ts'
import type { Answer, Client } from './row.ts'

const answerDeadlineMs = 90_000
const contentTypes = { json: 'application/json', protobuf: 'application/x-protobuf' }

export type Target = {
  /** A base, to which /v1/traces is added; one with a path is used as it is. */
  url: string
  headers: Record<string, string>
  /** A Runledger whose key may read: what was stored is looked at too. */
  isOurs: boolean
}

export function openClient(target: Target): Client {
  const base = new URL(target.url)
  const path = base.pathname === '/' ? '/v1/traces' : base.pathname
  const send = (url: URL, options: Sending) => exchange(url, options)
  const open = (rest: string | Buffer): Socket => {
    const socket = connectTo(base)
    const headers = Object.entries({ Host: base.host, ...target.headers })
    const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    socket.on('error', () => {}) // 'close' follows
    socket.write(`POST ${path} HTTP/1.1\r\n${head}`)
    socket.write(typeof rest === 'string' ? Buffer.from(rest, 'latin1') : rest)
    return socket
  }
  return {
    isOurs: target.isOurs,
    hasKey: Object.keys(target.headers).length > 0,
    send: (body, encoding, options = {}) =>
      send(new URL((options.path ?? path) + (options.query ?? ''), base), {
        method: options.method ?? 'POST',
        body: Buffer.from(body),
        chunked: options.chunked ?? false,
        headers: dropEmpty({
          ...(options.bare ? {} : target.headers),
          'content-type': contentTypes[encoding],
          ...options.headers,
        }),
      }),
    raw: (rest, leave = false) =>
      new Promise((resolve) => {
        const socket = open(rest)
        let text: string | undefined
        socket.on('data', (chunk) => {
          text = (text ?? '') + chunk.toString('latin1')
          socket.destroy()
        })
        socket.on('close', () => resolve(text))
        if (leave) socket.end()
      }),
    hold: (rest) =>
      new Promise((resolve, reject) => {
        const socket = open(`Expect: 100-continue\r\n${rest}`)
        socket.once('data', () => resolve(() => socket.destroy()))
        socket.once('close', () => reject(new Error('the endpoint closed the connection')))
      }),
    async get(at) {
      const { status, body } = await send(new URL(at, base), {
        method: 'GET',
        body: Buffer.alloc(0),
        chunked: false,
        headers: target.headers,
      })
      return { status, body: JSON.parse(body.toString()) as Plain } // judged field by field
    },
  }
}

type Sending = { method: string; body: Buffer; chunked: boolean; headers: Record<string, string> }

/** Resolves with whatever was answered, also when the rest of the body could no longer be sent. */
function exchange(url: URL, sending: Sending): Promise<Answer> {
  const { method, body, headers } = sending
  const hasBody = body.length > 0 || method === 'POST'
  const length = sending.chunked || !hasBody ? {} : { 'content-length': String(body.length) }
  return new Promise((resolve, reject) => {
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest
    const request: ClientRequest = open(url, { method, headers: { ...headers, ...length } })
    let answered = false
    request.setTimeout(answerDeadlineMs, () => request.destroy(new Error('no answer in time')))
    request.on('error', (error) => {
      if (!answered) reject(error)
    })
    request.on('socket', quieten)
    request.on('response', (response) => {
      answered = true
      collect(response).then(resolve, reject)
    })
    if (headers.expect) request.on('continue', () => request.end(body))
    else if (sending.chunked) sendInChunks(request, body)
    else request.end(body)
  })
}

const quiet = new WeakSet<Socket>()

/** A connection may be reset after its answer has come, while the rest of a refused body is on its way: no event of ours. */
function quieten(socket: Socket): void {
  if (quiet.has(socket)) return
  quiet.add(socket)
  socket.on('error', () => {})
}

function sendInChunks(request: ClientRequest, body: Buffer): void {
  const step = 64 * 1024
  for (let at = 0; at < body.length; at += step) request.write(body.subarray(at, at + step))
  request.end()
}

async function collect(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  const headers: Answer['headers'] = {}
  for (const [name, value] of Object.entries(response.headers)) headers[name] = String(value)
  const body = Buffer.concat(chunks)
  const isGzip = headers['content-encoding'] === 'gzip' && body.length > 0
  return { status: response.statusCode ?? 0, headers, body: isGzip ? gunzipSync(body) : body }
}

function connectTo(url: URL): Socket {
  const isTls = url.protocol === 'https:'
  const port = Number(url.port || (isTls ? 443 : 80))
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return isTls ? connectTls({ host, port, servername: host }) : connect({ host, port })
}

/** An empty header stands for an absent one. */
function dropEmpty(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''))
}
