// Two spools behind one face: what comes in bulk, and what must not wait behind it. Calls and their records have segments, room and a
// drain of their own, so that neither a backlog of traces nor a disk they have nearly filled keeps a call from being recorded.
// Law: numbers come from one sequence, so that one mark says what of both is in ClickHouse.

import { setTimeout as pause } from 'node:timers/promises'
import type { Insert } from './deliver.ts'
import type { Erase, Forget } from './forgetting.ts'
import type { Intake, Openings } from './intake.ts'
import type { Opening } from './journal.ts'
import { callLimits } from './limits.ts'
import type { SpoolOptions } from './parts.ts'
import type { Refusal } from './room.ts'
import { Sequence } from './sequence.ts'
import { openSpool, type Spool, type SpoolState } from './spool.ts'

const callsDir = 'calls'
const eraseLookMs = 20

/** The face is that of a spool whose own writes are bulk. */
export type Lanes = Omit<Spool, 'open' | 'state' | 'dropAside'> & {
  /** Of calls: their runs, records, and notes. */
  calls: Intake & Openings & Pick<Spool, 'refusal' | 'interrupted' | 'flush'>
  /** Both lanes together; `status` and `reason` are those of bulk. */
  state(): SpoolState & { lanes: { bulk: SpoolState; calls: SpoolState } }
}

export type LaneOptions = Omit<SpoolOptions, 'sequence'> & {
  /** Of the lane of calls, over its own defaults. */
  callLimits?: SpoolOptions['limits']
}

/** Opens both; `dir` is that of bulk, and holds the other. */
export async function openLanes(options: LaneOptions): Promise<Lanes> {
  const sequence = new Sequence()
  const bulk = await openSpool({ ...options, sequence })
  try {
    const limits = { ...options.limits, ...callLimits, ...options.callLimits }
    const dir = `${options.dir}/${callsDir}`
    return join(bulk, await openSpool({ ...options, dir, limits, sequence }))
  } catch (error) {
    await bulk.close()
    throw error
  }
}

function join(bulk: Spool, calls: Spool): Lanes {
  const all = async (ask: (lane: Spool) => Promise<boolean>) =>
    (await Promise.all([ask(bulk), ask(calls)])).every(Boolean)
  const drainedSeq = () => lower(bulk.drainedSeq(), calls.drainedSeq())
  const dropAside = async (traceIds: readonly string[]) => {
    for (const lane of [bulk, calls]) await lane.dropAside(traceIds)
  }
  return {
    calls,
    write: bulk.write,
    interrupted: (): readonly Opening[] => calls.interrupted(),
    refusal: (): Refusal | undefined => bulk.refusal(),
    drainTo(insert: Insert, erase?: Erase) {
      const eraseBehind = erase && behind({ drainedSeq, dropAside }, erase)
      const drains = [bulk.drainTo(insert, eraseBehind), calls.drainTo(insert, eraseBehind)]
      return {
        stop: async (deadlineMs) =>
          void (await Promise.all(drains.map((drain) => drain.stop(deadlineMs)))),
      }
    },
    flush: (deadlineMs) => all((lane) => lane.flush(deadlineMs)),
    forget: (what: Forget, deadlineMs) => all((lane) => lane.forget(what, deadlineMs)),
    drainedSeq,
    mark: () => lower(bulk.mark(), calls.mark()),
    state: () => together(bulk.state(), calls.state()),
    close: async (deadlineMs) =>
      void (await Promise.all([bulk.close(deadlineMs), calls.close(deadlineMs)])),
  }
}

function lower(one: bigint, other: bigint): bigint {
  return one < other ? one : other
}

/** Erasing finds by the one lane's rows what to delete of the other's, so it waits until both are there, and both are told. */
function behind(
  lanes: { drainedSeq: () => bigint; dropAside: (traceIds: readonly string[]) => Promise<void> },
  erase: Erase,
): Erase {
  return async (what, { signal }) => {
    while (lanes.drainedSeq() < what.beforeSeq) await pause(eraseLookMs, undefined, { signal })
    await erase(what, { signal, alsoOf: lanes.dropAside })
  }
}

function together(bulk: SpoolState, calls: SpoolState): ReturnType<Lanes['state']> {
  const sum = (of: (state: SpoolState) => number) => of(bulk) + of(calls)
  return {
    status: bulk.status,
    reason: bulk.reason,
    undrainedBytes: sum((state) => state.undrainedBytes),
    undrainedChunks: sum((state) => state.undrainedChunks),
    undrainedRows: sum((state) => state.undrainedRows),
    oldestUndrainedMs: Math.max(bulk.oldestUndrainedMs, calls.oldestUndrainedMs),
    openCalls: sum((state) => state.openCalls),
    pendingBytes: sum((state) => state.pendingBytes),
    retainedBytes: sum((state) => state.retainedBytes),
    quarantineBytes: sum((state) => state.quarantineBytes),
    lastError: bulk.lastError ?? calls.lastError,
    lanes: { bulk, calls },
  }
}
