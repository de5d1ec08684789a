// A load of chat completions over raw sockets, because a client library costs more than the gateways that are measured: as fast as
// they are answered, at fixed times whatever the answers do, or as streams.

import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

/** Where requests go, and what each of them carries beside its body. */
export type Address = { host: string; port: number; path: string; headers: Record<string, string> }

/** Latencies in milliseconds, sorted. */
export type Load = { seconds: number; latencies: number[] }

const customers = ['Ada', 'Bo', 'Carla', 'Emil', 'Farah', 'Goran', 'Hana', 'Ines']
const topics = ['invoice', 'refund', 'parcel', 'password', 'plan', 'receipt', 'contract', 'address']
const rules = `Answer in the language of the question.
Never promise a date that the order does not say.
Offer at most three items, with their prices.
End with a question.`

/** 64 requests of 1 KB: one system prompt with a variable of eight values, and eight questions. */
export function requestsTo(at: Address, more: object = {}): Buffer[] {
  const head = Object.entries({
    host: `${at.host}:${at.port}`,
    'content-type': 'application/json',
    ...at.headers,
  })
  return customers.flatMap((customer) =>
    topics.map((topic) => {
      const system = `You are the support agent of Contoso, a shop for tools.\nCustomer: ${customer}\n${rules}`
      const question = `I wrote about my ${topic}. ${'It began last week and nobody answered. '.repeat(14)}`
      const messages = [
        { role: 'system', content: system },
        { role: 'user', content: question },
      ]
      const body = JSON.stringify({ model: 'gpt-4o-mini', temperature: 0.2, messages, ...more })
      const lines = [
        `POST ${at.path}/chat/completions HTTP/1.1`,
        ...head.map(([name, value]) => `${name}: ${value}`),
        `content-length: ${Buffer.byteLength(body)}`,
      ]
      return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
    }),
  )
}

/** Every connection sends its next request when its answer is complete. */
export async function closedLoop(
  at: Address,
  { connections, forMs }: { connections: number; forMs: number },
): Promise<Load> {
  const requests = requestsTo(at)
  const latencies: number[] = []
  const startedAt = performance.now()
  let turn = 0
  const keepAsking = async (): Promise<void> => {
    const line = await Line.open(at)
    while (performance.now() - startedAt < forMs) {
      const sentAt = performance.now()
      await line.ask(requests[turn++ % requests.length]!)
      latencies.push(performance.now() - sentAt)
    }
    line.close()
  }
  await Promise.all(Array.from({ length: connections }, keepAsking))
  return { seconds: (performance.now() - startedAt) / 1000, latencies: latencies.sort(byValue) }
}

/** So many requests a second at their times; a latency counts from when its request should have left, not from when it did. */
export async function openLoop(
  at: Address,
  of: { perSecond: number; forMs: number; requests?: readonly Buffer[] },
): Promise<Load> {
  const { perSecond, forMs, requests = requestsTo(at) } = of
  const latencies: number[] = []
  const idle: Line[] = []
  const startedAt = performance.now()
  const due = Math.round((perSecond * forMs) / 1000)
  const askOne = async (i: number): Promise<void> => {
    const intendedAt = startedAt + (i * 1000) / perSecond
    const line = idle.pop() ?? (await Line.open(at))
    await line.ask(requests[i % requests.length]!)
    latencies.push(performance.now() - intendedAt)
    idle.push(line)
  }
  const asked: Promise<void>[] = []
  while (asked.length < due) {
    const now = performance.now() - startedAt
    while (asked.length < due && (asked.length * 1000) / perSecond <= now)
      asked.push(askOne(asked.length))
    await wait(1)
  }
  await Promise.all(asked)
  for (const line of idle) line.close()
  return { seconds: (performance.now() - startedAt) / 1000, latencies: latencies.sort(byValue) }
}

export type StreamLoad = {
  /**
   * From when a stream should have begun to its first token, and from a token's sending to its arrival; in milliseconds, sorted.
   */
  firstToken: number[]
  held: number[]
}

/**
 * Streams side by side, of so many tokens each, that begin evenly over `spreadMs`, whatever those before them do. `onTokens` hears
 * how many of all are here.
 */
export async function streams(
  at: Address,
  of: { count: number; tokens: number; spreadMs: number; onTokens: (sofar: number) => void },
): Promise<StreamLoad> {
  const requests = requestsTo(at, { stream: true, max_tokens: of.tokens })
  const firstToken: number[] = []
  const held: number[] = []
  const startedAt = performance.now()
  const one = async (i: number): Promise<void> => {
    const intendedAt = startedAt + (i * of.spreadMs) / of.count
    // A timer counts in whole milliseconds; early would be flattering.
    await wait(Math.ceil(intendedAt - performance.now()))
    const socket = await opened(at)
    let isFirst = true
    let tail = ''
    let last = ''
    await new Promise<void>((resolve, reject) => {
      socket.on('error', reject)
      socket.on('close', () => reject(new Error(`A stream of ${at.port} was cut off: ${last}`)))
      socket.on('data', (bytes) => {
        const text = tail + bytes.toString('latin1')
        last = (last + text).slice(-200)
        if (/^HTTP\/1.1 (?!200)/.test(text)) reject(new Error(`refused, ${text.split('\r\n')[0]}`))
        // Whole lines are read; a token that was cut in two waits for its rest.
        const end = text.lastIndexOf('\n') + 1
        tail = text.slice(end)
        const now = Number(process.hrtime.bigint())
        const tokens = [...text.slice(0, end).matchAll(/"t(\d+) "/g)]
        for (const [, sentNs] of tokens) held.push((now - Number(sentNs)) / 1e6)
        if (isFirst && tokens.length > 0) {
          firstToken.push(performance.now() - intendedAt)
          isFirst = false
        }
        of.onTokens(held.length)
        if (last.endsWith('\r\n0\r\n\r\n')) resolve()
      })
      socket.write(requests[i % requests.length]!)
    })
    socket.destroy()
  }
  await Promise.all(Array.from({ length: of.count }, (_, i) => one(i)))
  return { firstToken: firstToken.sort(byValue), held: held.sort(byValue) }
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

function byValue(a: number, b: number): number {
  return a - b
}

function opened(at: Address): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: at.port, host: at.host, noDelay: true })
    socket.once('connect', () => resolve(socket))
    socket.once('error', reject)
  })
}

/** A connection with one request at a time under way. */
class Line {
  readonly #socket: Socket
  #held: Buffer = Buffer.alloc(0)
  #resolve: (() => void) | undefined
  #reject: ((error: Error) => void) | undefined

  static async open(at: Address): Promise<Line> {
    return new Line(await opened(at))
  }

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes) => this.#take(bytes))
    socket.on('error', (error) => this.#reject?.(error))
    socket.on('close', () => this.#reject?.(new Error('A connection was closed under a request.')))
  }

  /** Resolves when the answer is complete; rejects unless its status is 200. */
  ask(request: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#socket.write(request)
    })
  }

  close(): void {
    this.#reject = undefined
    this.#socket.destroy()
  }

  #take(bytes: Buffer): void {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const headEnd = this.#held.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const head = this.#held.toString('latin1', 0, headEnd)
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
    const isWhole =
      length === undefined
        ? this.#held.subarray(-5).equals(lastChunk)
        : this.#held.length >= headEnd + 4 + Number(length)
    if (!isWhole) return
    const isOk = head.startsWith('HTTP/1.1 200')
    if (!isOk) this.#reject?.(new Error(`An answer was not 200:\n${this.#held.toString()}`))
    this.#held = Buffer.alloc(0)
    this.#resolve?.()
  }
}

const lastChunk = Buffer.from('0\r\n\r\n')
