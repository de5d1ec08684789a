// Spans that can be counted one by one, whoever takes them in, and the senders of them.

import { Agent, request } from 'node:http'
import { gzipSync } from 'node:zlib'
import { WireWriter } from '../../collectors/otlp/wire-writer.ts'
import type { Target } from '../clients.ts'
import {
  encodeResourceEnvelope,
  encodeScopeEnvelope,
  encodeSpanMessage,
} from '../protobuf-writer.ts'

const pageSpans = 10_000

/** What was acknowledged, by span id: sixteen hex digits. */
export type Acked = Set<string>

/** One OTLP request, gzip protobuf, of so many spans numbered from `first` on. */
export function requestOf(first: number, count: number): { body: Buffer; ids: string[] } {
  const now = BigInt(Date.now()) * 1_000_000n
  const ids: string[] = []
  const writer = new WireWriter()
  const resource = writer.begin(1)
  writer.raw(encodeResourceEnvelope([['service.name', 'chaos']]))
  const scope = writer.begin(2)
  writer.raw(encodeScopeEnvelope('chaos', '1'))
  for (let number = first; number < first + count; number++) {
    const spanId = number.toString(16).padStart(16, '0')
    ids.push(spanId)
    const span = { traceId: `${'ab'.repeat(8)}${spanId}`, spanId, name: 'numbered', kind: 1 }
    const times = { startUnixNano: now, endUnixNano: now + 5n }
    const attributes = [
      ['http.route', `/v1/items/${number % 40}`],
      ['user.id', `u-${number % 300}`],
      ['n', number],
    ] as const
    writer.bytesField(2, encodeSpanMessage({ ...span, ...times, attributes }))
  }
  writer.end(scope)
  writer.end(resource)
  return { body: gzipSync(writer.finish(), { level: 1 }), ids }
}

/** The status of one export; undefined when the connection broke before the answer was whole. */
export function post(target: Target, body: Buffer, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve) => {
    const headers = {
      'Content-Type': 'application/x-protobuf',
      'Content-Encoding': 'gzip',
      'Content-Length': body.length,
      Authorization: `Bearer ${target.key}`,
    }
    const url = `${target.url}/v1/otlp/traces`
    const sent = request(url, { agent, method: 'POST', headers }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.complete ? response.statusCode : undefined))
      response.on('error', () => resolve(undefined))
    })
    sent.on('error', () => resolve(undefined))
    sent.end(body)
  })
}

export type Sending = {
  acked: Acked
  /** Statuses other than 200. */
  refused: Map<number, number>
  next: () => number
}

/** Connections that send as fast as they are answered, until a connection breaks or `signal` aborts. */
export async function sendUntilGone(
  target: Target,
  sending: Sending,
  how: { connections: number; batch: number; signal?: AbortSignal },
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: how.connections })
  const worker = async () => {
    while (!how.signal?.aborted) {
      const { body, ids } = requestOf(sending.next(), how.batch)
      const status = await post(target, body, agent)
      if (status === undefined) return
      if (status === 200) for (const id of ids) sending.acked.add(id)
      else sending.refused.set(status, (sending.refused.get(status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: how.connections }, worker))
  agent.destroy()
}

/** How often each span is stored, through the export, page after page. */
export async function countStored(target: Target): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (let path = `/v1/otlp/export?limit=${pageSpans}`; ; ) {
    const response = await fetch(target.url + path, {
      headers: { Authorization: `Bearer ${target.key}` },
    })
    const text = await response.text()
    if (response.status !== 200) throw new Error(`The export answered ${response.status}: ${text}`)
    let found = 0
    // Reading a million spans as objects takes ten times as long as finding their ids.
    for (const [, id = ''] of text.matchAll(/"spanId":"([0-9a-f]{16})"/g)) {
      counts.set(id, (counts.get(id) ?? 0) + 1)
      found += 1
    }
    if (found === 0) return counts
    path = /<([^>]+)>/.exec(response.headers.get('link') ?? '')?.[1] ?? ''
  }
}

/** What a run of chaos comes to: both lists are empty, or something is wrong. */
export function judge(acked: Acked, stored: ReadonlyMap<string, number>) {
  return {
    lost: [...acked].filter((id) => !stored.has(id)),
    doubled: [...stored].filter(([, times]) => times !== 1).map(([id]) => id),
  }
}
