// An OTLP endpoint outside, on a real socket: it says what it got, and answers as a test wants it to.

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import type { Json } from './clients.ts'
import { oracle } from './otlp-messages.ts'

export type Push = { path: string; headers: IncomingHttpHeaders; spans: Json[]; request: Json }
/** What a push is answered with; nothing: 200 and an empty success. */
export type Reply = { status: number; headers?: Record<string, string>; body?: object } | undefined

export type Receiver = {
  url: string
  /** Every push, in the order of arrival, whatever it was answered with. */
  pushes: Push[]
  /** Of the pushes that were answered with success. */
  taken: Json[]
  reply: (push: Push) => Reply | Promise<Reply>
  close(): Promise<void>
}

export async function startReceiver(): Promise<Receiver> {
  const receiver: Receiver = {
    url: '',
    pushes: [],
    taken: [],
    reply: () => undefined,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    const sent = Buffer.concat(chunks)
    const plain = req.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent
    const isJson = req.headers['content-type'] === 'application/json'
    const request: Json = isJson
      ? JSON.parse(plain.toString())
      : oracle.decode('ExportTraceServiceRequest', plain)
    const spans = (request.resourceSpans ?? []).flatMap((resource: Json) =>
      resource.scopeSpans.flatMap((scope: Json) => scope.spans),
    )
    const push = { path: req.url ?? '', headers: req.headers, spans, request }
    receiver.pushes.push(push)
    const reply = await receiver.reply(push)
    const { status = 200, headers = {}, body } = reply ?? {}
    if (status === 200) receiver.taken.push(...spans)
    const empty = isJson ? '{}' : ''
    res.writeHead(status, {
      'content-type': body ? 'application/json' : String(req.headers['content-type']),
      ...headers,
    })
    res.end(body ? JSON.stringify(body) : empty)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP
  receiver.url = `http://127.0.0.1:${port}/`
  return receiver
}
