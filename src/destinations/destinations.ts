// Continuous push to OTLP endpoints outside: which there are, made through the API or named in the configuration file. One that
// is dead or slow holds up no other, and no caller.

import type { ConfiguredDestination } from '../../schemas/config.ts'
import type { DestinationInput } from '../../schemas/destination.ts'
import { Fault } from '../../schemas/faults.ts'
import type { Postgres } from '../stores/postgres.ts'
import { configureDestinations } from './configured.ts'
import { readPushFilters } from './filters.ts'
import { type FleetDeps, lagOf, openFleet, seqBits } from './fleet.ts'
import { openSender } from './send.ts'
import { type Destination, openDestinationStore } from './store.ts'

const destinationsMax = 20

/** `lagMs`: how long the oldest span that has not left has been waiting; 0 when all have. */
export type ShownDestination = Destination & { lagMs: number }

export type TestResult = { ok: boolean; status: number | null; latencyMs: number; message: string }

export type Destinations = Awaited<ReturnType<typeof openDestinations>>

export async function openDestinations(
  deps: Omit<FleetDeps, 'store'> & {
    planeId: string
    sql: Postgres
    masterKey: Uint8Array
    /** Where this plane listens. */
    url: () => string
  },
) {
  const { nowMs } = deps
  const store = openDestinationStore({ ...deps, owner: deps.planeId })
  const fleet = await openFleet({ ...deps, store })

  function show(to: Destination): ShownDestination {
    const cursor = fleet.cursorOf(to.id) ?? to.cursor
    return { ...to, cursor, lagMs: lagOf(cursor, deps) }
  }

  const firstCursor = (input: DestinationInput) =>
    input.from === 'start' ? 0n : BigInt(nowMs()) << seqBits

  async function get(workspace: string, id: string): Promise<Destination> {
    const found = (await store.list(workspace)).find((one) => one.id === id)
    if (!found) throw new Fault('not_found', { message: 'There is no such destination here.' })
    return found
  }

  return {
    state: fleet.state,

    async list(workspace: string): Promise<ShownDestination[]> {
      return (await store.list(workspace)).map(show)
    },

    /** Pushing begins before this resolves. Throws `conflict` for a name that is taken. */
    async create(workspace: string, input: DestinationInput): Promise<ShownDestination> {
      readPushFilters(input.filter)
      if ((await store.list(workspace)).length >= destinationsMax)
        throw conflict(`A workspace has at most ${destinationsMax} destinations.`)
      const cursor = firstCursor(input)
      const made = await store.insert(workspace, input, { cursor, isTrusted: false })
      if (!made) throw conflict(`There is a destination named ${input.name} already.`)
      await fleet.claim()
      return show(made)
    },

    async remove(workspace: string, id: string): Promise<void> {
      await get(workspace, id)
      await store.remove(workspace, id)
      await fleet.claim()
    },

    /** Sends a request without spans: what the address, the key and the protocol are good for, and nothing else. */
    async test(workspace: string, id: string): Promise<TestResult> {
      const send = openSender(await get(workspace, id), deps)
      const startedAt = performance.now()
      const { status, message, verdict } = await send([], new AbortController().signal)
      const latencyMs = Math.round(performance.now() - startedAt)
      return { ok: verdict === 'sent', status, latencyMs, message }
    },

    async deadLetters(workspace: string, id: string, limit: number) {
      await get(workspace, id)
      return store.deadLetters(workspace, id, limit)
    },

    /** Makes those of the configuration file what it says. Throws when it cannot be, with nothing changed that it does not name. */
    async configure(rows: readonly ConfiguredDestination[]): Promise<void> {
      await configureDestinations({ ...deps, store, firstCursor }, rows)
      await fleet.claim()
    },

    close: () => fleet.close(),
  }
}

function conflict(message: string): Fault {
  return new Fault('conflict', { message, param: 'name' })
}
