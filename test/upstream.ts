// A scripted OpenAI-compatible upstream on a real socket: each test says what it plays next, and sees what it was asked.

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Seen = {
  path: string
  headers: IncomingMessage['headers']
  body: Buffer
  /** Settles when the connection's side of this request has closed; true when that was before the answer ended. */
  closed: Promise<boolean>
}

/** Plays one answer. Whatever it does to the socket is what a proxy may meet. */
export type Script = (res: ServerResponse, seen: Seen) => void | Promise<void>

export type ScriptedUpstream = {
  /** For `OPENAI_BASE_URL`. */
  baseUrl: string
  seen: Seen[]
  /** What is played from now on. */
  play(script: Script): void
  close(): Promise<void>
}

export async function startUpstream(): Promise<ScriptedUpstream> {
  let script: Script = json({ error: { message: 'nothing to play', type: 'api_error' } }, 500)
  const seen: Seen[] = []
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    const closed = new Promise<boolean>((resolve) => {
      res.once('close', () => resolve(!res.writableFinished))
    })
    const entry = { path: req.url ?? '', headers: req.headers, body: Buffer.concat(chunks), closed }
    seen.push(entry)
    res.on('error', () => {}) // the proxy may leave in the middle; `closed` tells
    await script(res, entry)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listening on TCP
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    seen,
    play(next) {
      script = next
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Script {
  return raw(JSON.stringify(value), status, headers)
}

export function raw(body: string, status = 200, headers: Record<string, string> = {}): Script {
  return (res) => {
    res.writeHead(status, {
      'content-type': 'application/json',
      'x-request-id': 'req_upstream',
      ...headers,
    })
    res.end(body)
  }
}

/** Each piece is one write, a turn of the event loop apart, so that they arrive as so many chunks. */
export function sse(pieces: readonly (string | Buffer)[]): Script {
  return async (res) => {
    startStream(res)
    for (const piece of pieces) await send(res, piece)
    res.end()
  }
}

export const byteByByte = (text: string): Script =>
  sse(Array.from(Buffer.from(text), (byte) => Buffer.of(byte)))

/** Sends the pieces, then destroys the socket. */
export function breakAfter(pieces: readonly string[]): Script {
  return async (res) => {
    startStream(res)
    for (const piece of pieces) await send(res, piece)
    res.socket?.destroy()
  }
}

/** Sends the pieces and then nothing more; the connection stays open. */
export function hangAfter(pieces: readonly string[]): Script {
  return async (res) => {
    startStream(res)
    for (const piece of pieces) await send(res, piece)
  }
}

export const hangBeforeHead: Script = () => {}

export const resetBeforeHead: Script = (res) => {
  res.socket?.resetAndDestroy()
}

/** An endless stream of events, as fast as the socket takes them; `sent` counts its bytes. */
export function flood(event: string, counter: { sent: number }): Script {
  const piece = Buffer.from(event.repeat(64))
  return async (res) => {
    startStream(res)
    while (!res.destroyed) {
      counter.sent += piece.length
      if (!res.write(piece)) await roomIn(res)
    }
  }
}

export function completion(content: string, more: Record<string, unknown> = {}): object {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_760_000_000,
    model: 'gpt-4o-mini-2024-07-18',
    system_fingerprint: 'fp_1',
    choices: [
      { index: 0, message: { role: 'assistant', content, refusal: null }, finish_reason: 'stop' },
    ],
    usage: {
      prompt_tokens: 9,
      completion_tokens: 4,
      total_tokens: 13,
      prompt_tokens_details: { cached_tokens: 2 },
    },
    ...more,
  }
}

export function chunk(choices: object[], more: Record<string, unknown> = {}): string {
  const value = {
    id: 'chatcmpl-2',
    object: 'chat.completion.chunk',
    created: 1_760_000_000,
    model: 'gpt-4o-mini-2024-07-18',
    choices,
    ...more,
  }
  return `data: ${JSON.stringify(value)}\n\n`
}

export const delta = (fields: object, finish: string | null = null): string =>
  chunk([{ index: 0, delta: fields, finish_reason: finish }])

export const usageChunk = chunk([], {
  usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
})

/** A stream of two words, with usage when it was asked for, and the end. */
export const helloEvents = [
  delta({ role: 'assistant', content: '' }),
  delta({ content: 'Hello' }),
  delta({ content: ' wörld ✓' }),
  delta({}, 'stop'),
]
export const doneEvent = 'data: [DONE]\n\n'

function startStream(res: ServerResponse): void {
  res.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'x-request-id': 'req_upstream',
  })
  res.flushHeaders()
}

async function send(res: ServerResponse, piece: string | Buffer): Promise<void> {
  if (!res.write(piece)) await roomIn(res)
  await new Promise(setImmediate)
}

/** Settles when the socket takes more, or has closed. */
function roomIn(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      res.off('drain', settle).off('close', settle)
      resolve()
    }
    res.on('drain', settle).on('close', settle)
  })
}
