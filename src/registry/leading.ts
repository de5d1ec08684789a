// The one process that looks at calls: its thread is shown those that pass and those that it meets in the stores, what it finds goes
// to the registry, and what it knows is written down, so that whoever leads next goes on where it ended.

import type { SeenCall } from '../../schemas/prompt.ts'
import { type Repeated, repeatEvery, withRest } from '../repeat.ts'
import type { HeldLock, Postgres } from '../stores/postgres.ts'
import { type Host, startThread } from './discovery-host.ts'
import type { FromThread, ReservedNames } from './discovery-messages.ts'
import { type Following, startFollowing } from './following.ts'
import { openWriter, type WriterDeps } from './found-writer.ts'
import { openPassed } from './passed.ts'
import type { openSights } from './sights.ts'
import {
  type Deletion,
  loadSnapshot,
  namesSince,
  type Position,
  resumedOf,
  saveSnapshot,
  wishesSince,
} from './snapshots.ts'
import type { StoredCalls } from './stored-calls.ts'

const tellEveryMs = 5_000
// Telling stored rows rewrites parts of the table: at most a quarter of the time.
const tellRest = 3
const namesEveryMs = 2_000
const wishesEveryMs = 2_000
// After a crash the calls since are met again in the stores; a snapshot of everything costs a second or two of the thread's time.
const snapshotEveryMs = 60_000
const stopMs = 5_000
// A call that another plane accepted may bear a time ahead of that of its deletion.
const clockSkewMs = 10_000

export type LeadDeps = WriterDeps & {
  stored: StoredCalls
  /** A text of a stored span as it may be written once more. */
  redact: SeenCall['redact']
}

export type Lead = {
  isOver(): boolean
  lagMs(): number
  settled(): Promise<void>
  /** With a last snapshot. */
  close(): Promise<void>
  /** Without: the thread or the lock is gone. */
  stop(): Promise<void>
}

export async function beginLead(
  deps: LeadDeps,
  sights: ReturnType<typeof openSights>,
  lock: HeldLock,
): Promise<Lead> {
  const { postgres, counters, log } = deps
  const writer = openWriter(deps)
  const written = await loadSnapshot(postgres)
  const passed = openPassed(counters, written.position.passed)
  let following: Following | undefined
  let isOver = false
  const snapshotWaits: { position: Position; resolve: () => void }[] = []
  let saving: Promise<void> = Promise.resolve()

  function onMessage(message: FromThread): void {
    if (message.type === 'seen') {
      writer.late(sights.settle(message.sights))
      writer.found(message)
      for (const event of message.events)
        if (event.type === 'version_merged') sights.forget(event.workspace, event.from)
      return
    }
    if (message.type === 'unreadable') {
      log(`discovery starts anew: what was written down cannot be read: ${message.reason}`)
      return
    }
    // Answered in the order they were asked for.
    const asked = snapshotWaits.shift()
    writer.found({ events: [], learned: message.learned })
    saving = saving
      .then(() => asked && save(message.bytes, asked.position))
      .catch((error) => log(`discovery could not be written down: ${String(error)}`))
      .finally(() => asked?.resolve())
  }

  async function save(bytes: Uint8Array, position: Position): Promise<void> {
    // Versions of calls behind the position would be lost with the process; the next snapshot comes soon.
    if (!(await writer.written())) throw new Error('what was found before is not stored yet')
    // The lock is asked after last: a process that lost it must not overwrite what the next leader wrote.
    if (!lock.lost.aborted) await saveSnapshot(postgres, bytes, position)
  }

  const thread: Host = startThread({
    snapshot: written.snapshot,
    onMessage,
    onEnd: (reason) => {
      counters.count('prompt_discovery_ended_total', {})
      log(`discovery ended, and starts again from what was written down: ${reason}`)
      end()
    },
  })

  function end(): void {
    isOver = true
    sights.feed(undefined)
    for (const { resolve } of snapshotWaits.splice(0)) resolve()
  }

  /** Answered after everything that was sent before it. */
  function snapshot(): Promise<void> {
    if (isOver) return Promise.resolve()
    return new Promise((resolve) => {
      // In one go: what was shown is sent, and the position says no more and no less.
      sights.flush()
      const cursor = following?.cursor() ?? written.position.cursor
      snapshotWaits.push({ position: { cursor, passed: passed.bytes() }, resolve })
      thread.send({ type: 'snapshot' })
    })
  }

  /** Before its texts are let go of: none of what was accepted by then is shown any more. */
  async function forget(deletions: readonly Deletion[]): Promise<void> {
    for (const { workspace, madeMs } of deletions) {
      following?.leaveOut(workspace, madeMs + clockSkewMs)
      // What was seen before the wish goes with it.
      sights.flush()
      thread.send({ type: 'forget', workspace })
    }
    await snapshot()
  }

  const names = followNames(postgres, (message) => thread.send(message))
  await names.read().catch(async (error) => {
    await thread.stop()
    throw error
  })
  lock.lost.addEventListener('abort', end)
  sights.feed({ send: (calls) => thread.send({ type: 'observe', calls }), note: passed.note })
  // While this one was beginning: nobody heard it.
  if (lock.lost.aborted) end()
  following = startFollowing(
    { ...deps, ...writer, calls: deps.stored, sights, passed },
    written.position.cursor,
  )
  const wishes = followWishes(postgres, forget)
  const rounds = startRounds({ names, wishes, writer, snapshot, log })

  async function stop(): Promise<void> {
    end()
    await Promise.all([following?.stop(), ...rounds.map((one) => one.stop())])
    await thread.stop()
    await saving
    await writer.written()
    await lock.release()
  }

  return {
    isOver: () => isOver,
    lagMs: () => following?.lagMs() ?? 0,
    async settled() {
      await following?.now()
      await wishes.read()
      await snapshot()
      await writer.written()
      await writer.tell()
    },
    async close() {
      await Promise.race([
        snapshot(),
        new Promise((resolve) => setTimeout(resolve, stopMs).unref()),
      ])
      await stop()
    },
    stop,
  }
}

function startRounds(of: {
  names: ReturnType<typeof followNames>
  wishes: ReturnType<typeof followWishes>
  writer: ReturnType<typeof openWriter>
  snapshot: () => Promise<void>
  log: (line: string) => void
}): Repeated[] {
  const { names, wishes, writer, snapshot } = of
  const onError = (what: string) => (error: unknown) =>
    of.log(`${what}, trying again: ${String(error)}`)
  const wishing = repeatEvery(wishesEveryMs, wishes.read, onError('deletions'))
  // Before the first stored call is shown.
  void wishing.now()
  return [
    wishing,
    repeatEvery(namesEveryMs, names.read, onError('names of prompts')),
    repeatEvery(tellEveryMs, withRest(tellRest, writer.tell), onError('versions of stored runs')),
    repeatEvery(snapshotEveryMs, snapshot, onError('snapshot of discovery')),
  ]
}

/** Names that others gave since the last time, and floods that a person has looked at. */
function followNames(
  postgres: Postgres,
  send: (
    message:
      | { type: 'reserve'; names: ReservedNames[] }
      | { type: 'resume'; workspace: string; registry: string },
  ) => void,
) {
  let last = 0
  let lastChange = 0
  return {
    async read(): Promise<void> {
      const found = await namesSince(postgres, last)
      last = found.last
      if (found.names.length > 0) send({ type: 'reserve', names: found.names })
      const resumed = await resumedOf(postgres, lastChange)
      lastChange = resumed.last
      for (const at of resumed.registries) send({ type: 'resume', ...at })
    },
  }
}

/** Deletions, wherever they were asked for. A leader begins with those that the snapshot it was given may not know of. */
function followWishes(
  postgres: Postgres,
  forget: (deletions: readonly Deletion[]) => Promise<void>,
) {
  let last: string | undefined
  return {
    async read(): Promise<void> {
      const found = await wishesSince(postgres, last)
      if (found.deletions.length > 0) await forget(found.deletions)
      last = found.last
    },
  }
}
