// What discovery found, on its way into the stores: in its order, one at a time; what fails is tried again before what follows.

import type { Counters } from '../../schemas/counters.ts'
import type { DiscoveryEvent } from '../../schemas/discovery.ts'
import { Fault } from '../../schemas/faults.ts'
import { fromHex } from '../../schemas/ids.ts'
import { type Postgres, sqlState } from '../stores/postgres.ts'
import { keepAssignments, type StoredRuns, tellStoredRuns } from './assignments.ts'
import { writeEvent, writeLearned } from './discovered.ts'
import type { LearnedVersion } from './discovery-messages.ts'
import type { Registry, StableVersion } from './registry.ts'
import type { Late } from './sights.ts'

// Found and not yet written: Postgres is away or slow. What is beyond is told again when it is found again.
const eventsMax = 20_000

export type WriterDeps = {
  postgres: Postgres
  runs: StoredRuns
  registry: Registry
  counters: Counters
  log: (line: string) => void
}

type Found = { event: DiscoveryEvent } | { learned: LearnedVersion }

export function openWriter(deps: WriterDeps) {
  const { postgres, registry, counters, log } = deps
  const waiting: Found[] = []
  let late: Late[] = []
  let working: Promise<void> | undefined
  let untold = 0

  async function writeOne(found: Found): Promise<StableVersion | undefined> {
    if ('learned' in found) return writeLearned(postgres, found.learned)
    const { event } = found
    await writeEvent(postgres, event)
    if (event.type !== 'assigned') return undefined
    const { workspace, versionId } = event
    late = late.concat(event.refs.map((ref) => ({ workspace, ref: fromHex(ref), versionId })))
    return undefined
  }

  async function write(): Promise<void> {
    while (waiting.length > 0) {
      const [found] = waiting as [Found] // not empty
      const stable = await writeOne(found).catch((error: unknown) => {
        if (!isRefused(error)) throw error
        counters.count('prompt_discovery_events_dropped_total', {})
        log(`what discovery found cannot be stored: ${String(error)}`)
        return undefined
      })
      waiting.shift()
      if (stable) await registry.tellStable(stable)
    }
    const batch = late
    late = []
    try {
      await keepAssignments(postgres, batch)
    } catch (error) {
      late = batch.concat(late).slice(-eventsMax)
      throw error
    }
  }

  function begin(): Promise<void> {
    working ??= write()
      .catch((error) => log(`what discovery found, trying again: ${String(error)}`))
      .finally(() => {
        working = undefined
      })
    return working
  }

  return {
    found({ events, learned }: { events: DiscoveryEvent[]; learned: LearnedVersion[] }): void {
      const all: Found[] = [
        ...events.map((event) => ({ event })),
        ...learned.map((one) => ({ learned: one })),
      ]
      if (waiting.length + all.length > eventsMax) {
        counters.count('prompt_discovery_events_dropped_total', {}, all.length)
        return
      }
      waiting.push(...all)
      if (all.length > 0) void begin()
    },
    late(runs: Late[]): void {
      late = late.concat(runs)
      if (late.length > eventsMax) {
        counters.count('prompt_assignments_total', { outcome: 'dropped' }, late.length - eventsMax)
        late = late.slice(-eventsMax)
      }
    },
    /** Tells the stored runs, after whatever failed before has been tried again. */
    async tell(): Promise<void> {
      await begin()
      untold = await tellStoredRuns({ sql: postgres, runs: deps.runs, counters })
    },
    /** Calls whose stored rows do not bear their version yet, as of the last time. */
    untold: () => untold + late.length,
    /** False when something waits all the same: Postgres did not take it. */
    async written(): Promise<boolean> {
      await working
      await begin()
      return waiting.length === 0 && late.length === 0
    },
  }
}

// Of a workspace that is gone, or of a kind that is refused: trying again would hold up everything behind it.
function isRefused(error: unknown): boolean {
  return error instanceof Fault || /^2[23]/.test(sqlState(error) ?? '')
}
