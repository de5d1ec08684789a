// The pushers of this process: one for each destination it holds the lease of, none for any other.

import { openRedactor } from '../../collectors/otlp/redact.ts'
import type { Outbound } from '../../collectors/proxy/outbound.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { StoredSpans } from '../traces/stored-spans.ts'
import { readPushFilters } from './filters.ts'
import { openPusher, type Pusher, pushLimits } from './pusher.ts'
import { openSender } from './send.ts'
import type { Destination, DestinationStore } from './store.ts'

// Well within the lease. What another process makes or removes is noticed here within this time.
const claimEveryMs = 2_000
// Places in ingest order carry the milliseconds of their acceptance above these bits (collectors/spool/sequence.ts).
export const seqBits = 20n

export type FleetDeps = {
  store: DestinationStore
  storedSpans: StoredSpans
  /** Everything with a smaller place in ingest order has been loaded. */
  loadedBefore: () => bigint
  outbound: Outbound
  counters: Counters
  version: string
  /** What our pushes are known by, should one come back. */
  installation: string
  nowMs: () => number
  /** 0 to 1, for the jitter of retries. */
  random: () => number
  log: (line: string) => void
  limits?: Partial<typeof pushLimits>
}

export type Fleet = {
  /** Takes over what is free and lets go of what is gone, now. Never rejects: the next time comes by itself. */
  claim(): Promise<void>
  /** How far a destination of this process has come. */
  cursorOf(id: string): bigint | undefined
  /** Of all of this process: the longest lag, and how many do not take what they are given. */
  state(): { lagMs: number; failing: number }
  close(): Promise<void>
}

/** Resolves when the destinations this process holds are being pushed to. */
export async function openFleet(deps: FleetDeps): Promise<Fleet> {
  const pushers = new Map<string, { pusher: Pusher; revision: string }>()
  let claiming: Promise<void> = Promise.resolve()
  let isClosing = false

  async function reconcile(): Promise<void> {
    const ours = isClosing ? [] : await deps.store.claim()
    const kept = new Set(ours.map(({ id }) => id))
    for (const [id, { pusher }] of pushers) {
      if (kept.has(id)) continue
      pushers.delete(id)
      await pusher.stop()
    }
    for (const to of ours) {
      const revision = revisionOf(to)
      const running = pushers.get(to.id)
      if (running?.revision === revision) continue
      await running?.pusher.stop()
      pushers.delete(to.id)
      // One that an earlier version took and this one cannot start holds up no other.
      try {
        pushers.set(to.id, { pusher: start(deps, to), revision })
      } catch (error) {
        deps.counters.count('destination_push_faults_total', {})
        await deps.store.fail(to.id, {
          status: null,
          error: String(error),
          failures: to.failures + 1,
          retryAt: null,
        })
      }
    }
  }

  function claim(): Promise<void> {
    claiming = claiming.then(reconcile).catch((error) => {
      deps.counters.count('destination_push_faults_total', {})
      deps.log(`destinations, trying again: ${String(error)}`)
    })
    return claiming
  }

  await claim()
  const timer = setInterval(() => void claim(), claimEveryMs)
  timer.unref()

  return {
    claim,
    cursorOf: (id) => pushers.get(id)?.pusher.cursor(),
    state() {
      const all = [...pushers.values()].map(({ pusher }) => pusher)
      // One that has not begun, from the start of everything, lags behind nothing that has a time.
      const begun = all.map((one) => one.cursor()).filter((cursor) => cursor > 0n)
      return {
        lagMs: Math.max(0, ...begun.map((cursor) => lagOf(cursor, deps))),
        failing: all.filter((one) => one.failures() > 0).length,
      }
    },
    async close() {
      clearInterval(timer)
      isClosing = true
      await claim()
      await deps.store.release()
    },
  }
}

/** How long what stands behind a cursor has been waiting; 0 when nothing does. */
export function lagOf(
  cursor: bigint,
  { loadedBefore, nowMs }: Pick<FleetDeps, 'loadedBefore' | 'nowMs'>,
): number {
  return loadedBefore() - 1n > cursor ? Math.max(0, nowMs() - Number(cursor >> seqBits)) : 0
}

function start(deps: FleetDeps, to: Destination): Pusher {
  const filters = readPushFilters(to.filter)
  const limit = deps.limits?.pageSpans ?? pushLimits.pageSpans
  return openPusher({
    ...deps,
    id: to.id,
    cursor: to.cursor,
    failures: to.failures,
    redact: isOpen(to.redact) ? (row) => row : openRedactor({ allow: undefined, ...to.redact }),
    send: openSender(to, deps),
    async read(after) {
      const before = deps.loadedBefore()
      const range = { after, before, limit }
      const isBehind = before - 1n > after
      return isBehind
        ? deps.storedSpans.inOrder(to.workspace, filters, range)
        : { spans: [], reached: after }
    },
  })
}

/** What a running pusher was started with; another value needs another one. */
function revisionOf(to: Destination): string {
  const { url, protocol, compression, headers, filter, redact, isTrusted } = to
  return JSON.stringify([url, protocol, compression, headers, filter, redact, isTrusted])
}

function isOpen(redact: Destination['redact']): boolean {
  return !redact.content && redact.attributes.length === 0 && redact.allow === undefined
}
