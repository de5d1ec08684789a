// Pushes what was accepted to one destination, in ingest order, from its own cursor. Nothing is copied into a queue: the store
// is the queue, so a destination that is away for a day costs nothing but its lag.

import { setTimeout as wait } from 'node:timers/promises'
import type { ExportRow } from '../../collectors/otlp/export.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { ExportPage, StoredSpan } from '../traces/stored-spans.ts'
import type { Answer, Later, Sender, Settled } from './send.ts'
import type { DeadLetter, DestinationStore, Step } from './store.ts'

export const pushLimits = {
  /** Larger pages are fewer requests and more memory; a request is sent for each `requestBytesMax` of a page. */
  pageSpans: 2_000,
  requestBytesMax: 4 * 1024 * 1024,
  /** How late a span may leave when the destination keeps up. */
  pollMs: 500,
  backoffFirstMs: 1_000,
  backoffMaxMs: 300_000,
  /** Halvings of one page: enough to find a few bad spans among thousands, then the rest of what is refused is given up. */
  splitsMax: 64,
  /** A cursor that moved over spans which the filter leaves out is written this often. */
  idleSaveMs: 10_000,
}

export type Pusher = {
  /** The last place that is done with. */
  cursor(): bigint
  /** In a row, of the request under way. */
  failures(): number
  /** Gives up the request under way; resolves when nothing runs any more. */
  stop(): Promise<void>
}

type PusherDeps = {
  id: string
  cursor: bigint
  failures: number
  /** Spans behind `after` in ingest order, below a mark that no later load can undercut. */
  read(after: bigint): Promise<ExportPage>
  redact(row: ExportRow): ExportRow
  send: Sender
  store: Pick<DestinationStore, 'advance' | 'fail'>
  counters: Counters
  nowMs: () => number
  /** 0 to 1, for the jitter of retries. */
  random: () => number
  log: (line: string) => void
  limits?: Partial<typeof pushLimits>
}

export function openPusher(deps: PusherDeps): Pusher {
  const limits = { ...pushLimits, ...deps.limits }
  const stopping = new AbortController()
  const { signal } = stopping
  let { cursor, failures } = deps
  let savedAtMs = deps.nowMs()

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const page = await deps.read(cursor)
        if (page.spans.length > 0) await deliver(page.spans)
        else await passOver(page.reached)
      } catch (error) {
        if (signal.aborted) return
        // The store is away, or this process lost the lease: the claim that follows tells which.
        deps.counters.count('destination_push_faults_total', {})
        deps.log(`destination ${deps.id}, trying again: ${String(error)}`)
        await pause(limits.backoffFirstMs * 2)
      }
    }
  }

  async function passOver(reached: bigint): Promise<void> {
    if (reached > cursor) {
      cursor = reached
      if (deps.nowMs() - savedAtMs >= limits.idleSaveMs) await save({ ...nothing, cursor })
    }
    await pause(limits.pollMs)
  }

  /** All spans of a page, request after request: the cursor never passes one that is not settled. */
  async function deliver(spans: StoredSpan[]): Promise<void> {
    const queue = toRequests(spans, limits.requestBytesMax)
    let splits = 0
    while (queue.length > 0) {
      const [request] = queue as [StoredSpan[]] // the loop's condition
      // A retry of a client: the same bytes have left before, on whatever page.
      const fresh = request.filter((span) => span.isFirst)
      const answer: Answer =
        fresh.length === 0
          ? { verdict: 'sent', status: 200, rejected: 0, message: '' }
          : await deps.send(fresh.map(deps.redact), signal)
      if (answer.verdict === 'retry' || answer.verdict === 'hold') await backOff(answer)
      else if (answer.verdict === 'split' && request.length > 1 && splits++ < limits.splitsMax) {
        const middle = request.length >> 1
        queue.splice(0, 1, request.slice(0, middle), request.slice(middle))
      } else {
        await settle(request, fresh, answer)
        queue.shift()
      }
    }
  }

  async function settle(
    request: StoredSpan[],
    fresh: StoredSpan[],
    answer: Settled,
  ): Promise<void> {
    const isSent = answer.verdict === 'sent'
    const rejected = isSent ? Math.min(answer.rejected, fresh.length) : 0
    const sent = isSent ? fresh.length - rejected : 0
    const dead = isSent ? [] : fresh.map((span) => toDeadLetter(span, answer))
    const end = request.at(-1)?.seq ?? cursor
    await save({ cursor: end, sent, rejected, dead })
    failures = 0
    if (!isSent || rejected > 0) {
      const { status, message } = answer
      const error = message || `${rejected} spans were not taken.`
      await deps.store.fail(deps.id, { status, error, failures, retryAt: null })
    }
    deps.counters.count('destination_spans_total', { result: 'sent' }, sent)
    if (rejected > 0)
      deps.counters.count('destination_spans_total', { result: 'rejected' }, rejected)
    if (dead.length > 0)
      deps.counters.count('destination_spans_total', { result: 'dead' }, dead.length)
  }

  async function save(step: Step): Promise<void> {
    const isOurs = await deps.store.advance(deps.id, step)
    if (!isOurs) {
      stopping.abort()
      signal.throwIfAborted()
    }
    cursor = step.cursor
    savedAtMs = deps.nowMs()
  }

  /** Exponential with jitter; never sooner than the destination asked for, and a held one at the slowest pace. */
  async function backOff(answer: Later<'retry' | 'hold'>): Promise<void> {
    const { status, message } = answer
    const growing = limits.backoffFirstMs * 2 ** Math.min(failures, 20)
    const bound = answer.verdict === 'hold' ? limits.backoffMaxMs / 5 : growing
    const delayMs = Math.max(
      answer.afterMs,
      Math.min(bound, limits.backoffMaxMs) * (0.5 + deps.random() / 2),
    )
    failures += 1
    deps.counters.count('destination_retries_total', { verdict: answer.verdict })
    const retryAt = new Date(deps.nowMs() + delayMs)
    await deps.store.fail(deps.id, { status, error: message, failures, retryAt })
    await pause(delayMs)
  }

  async function pause(ms: number): Promise<void> {
    await wait(ms, undefined, { signal, ref: false }).catch(() => {}) // only an abort ends it early
  }

  const running = run()
  return {
    cursor: () => cursor,
    failures: () => failures,
    async stop() {
      stopping.abort()
      await running
    },
  }
}

const nothing: Step = { cursor: 0n, sent: 0, rejected: 0, dead: [] }

/** Cut so that each request stays within the bytes, in order; a span larger than that goes alone. */
function toRequests(spans: StoredSpan[], bytesMax: number): StoredSpan[][] {
  const requests: StoredSpan[][] = []
  let size = Number.POSITIVE_INFINITY
  for (const span of spans) {
    if (size + span.span.length > bytesMax) {
      requests.push([])
      // Resource and scope mostly repeat; a request whose spans share none is larger by that.
      size = span.resource.length + span.scope.length
    }
    size += span.span.length
    requests.at(-1)?.push(span)
  }
  return requests
}

function toDeadLetter(span: StoredSpan, answer: { status: number; message: string }): DeadLetter {
  const { seq, traceId, spanId } = span
  return { seq, traceId, spanId, status: answer.status, reason: answer.message }
}
