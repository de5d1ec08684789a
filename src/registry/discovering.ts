// Discovery at work: one process of all leads, its thread looks at every call, what it finds goes to the registry, and what it
// knows is written down, so that a start goes on where the last one ended.

import type { PromptSights } from '../../schemas/prompt.ts'
import { repeatEvery } from '../repeat.ts'
import type { HeldLock, Postgres } from '../stores/postgres.ts'
import { type Host, startThread } from './discovery-host.ts'
import type { FromThread, ReservedNames } from './discovery-messages.ts'
import { openWriter, type WriterDeps } from './found-writer.ts'
import { openSights } from './sights.ts'
import { loadSnapshot, namesSince, resumedOf, saveSnapshot, wishesSince } from './snapshots.ts'

// Any number, ours alone: "discover" in ASCII, cut to what a bigint holds.
const leaderLock = 1_684_632_419
const leadEveryMs = 2_000
const tellEveryMs = 5_000
const namesEveryMs = 2_000
const wishesEveryMs = 2_000
// A crash forgets what was seen since; and a snapshot of everything costs a second or two of the thread's time at most.
const snapshotEveryMs = 60_000
const stopMs = 5_000

export type Discovering = PromptSights & {
  /** True while this process looks at its calls: one of all does. */
  leads(): boolean
  /** Calls that the thread has not answered yet. */
  waiting(): number
  /** Resolves once everything that was seen so far has been looked at and written. */
  settled(): Promise<void>
  /** Writes down what is known, and stops. */
  close(): Promise<void>
}

/** Does not wait until it leads: calls that come before are not looked at. */
export function openDiscovering(deps: WriterDeps): Discovering {
  const { postgres, counters, log } = deps
  const sights = openSights(counters)
  let lead: Lead | undefined
  let isClosing = false

  const led = repeatEvery(
    leadEveryMs,
    async () => {
      if (lead?.isOver()) {
        await lead.stop()
        lead = undefined
      }
      if (lead || isClosing) return
      const lock = await postgres.tryLock(leaderLock)
      if (lock) lead = await beginLead(deps, sights, lock)
    },
    (error) => log(`discovery, trying again: ${String(error)}`),
  )
  void led.now()

  return {
    see: sights.see,
    leads: () => lead?.isOver() === false,
    waiting: sights.waiting,
    async settled() {
      await led.now()
      await lead?.settled()
    },
    async close() {
      isClosing = true
      await led.stop()
      await lead?.close()
    },
  }
}

type Lead = {
  isOver(): boolean
  settled(): Promise<void>
  /** With a last snapshot. */
  close(): Promise<void>
  /** Without: the thread or the lock is gone. */
  stop(): Promise<void>
}

async function beginLead(
  deps: WriterDeps,
  sights: ReturnType<typeof openSights>,
  lock: HeldLock,
): Promise<Lead> {
  const { postgres, counters, log } = deps
  const writer = openWriter(deps)
  let isOver = false
  let snapshotWaits: (() => void)[] = []
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
    const resolved = snapshotWaits
    snapshotWaits = []
    writer.found({ events: [], learned: message.learned })
    saving = writer
      .written()
      // The lock is asked after last: a process that lost it must not overwrite what the next leader wrote.
      .then(() => (lock.lost.aborted ? undefined : saveSnapshot(postgres, message.bytes)))
      .catch((error) => log(`discovery could not be written down: ${String(error)}`))
      .finally(() => {
        for (const resolve of resolved) resolve()
      })
  }

  const thread: Host = startThread({
    snapshot: await loadSnapshot(postgres),
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
    for (const resolve of snapshotWaits.splice(0)) resolve()
  }

  /** Answered after everything that was sent before it. */
  function snapshot(): Promise<void> {
    if (isOver) return Promise.resolve()
    return new Promise((resolve) => {
      snapshotWaits.push(resolve)
      sights.flush()
      thread.send({ type: 'snapshot' })
    })
  }

  const names = followNames(postgres, (message) => thread.send(message))
  await names.read()
  lock.lost.addEventListener('abort', end)
  sights.feed((calls) => thread.send({ type: 'observe', calls }))
  const wishes = followWishes(postgres, async (workspaces) => {
    // What was seen before the wish goes with it.
    sights.flush()
    for (const workspace of workspaces) thread.send({ type: 'forget', workspace })
    await snapshot()
  })
  const onError = (what: string) => (error: unknown) =>
    log(`${what}, trying again: ${String(error)}`)
  const repeated = [
    repeatEvery(namesEveryMs, names.read, onError('names of prompts')),
    repeatEvery(wishesEveryMs, wishes.read, onError('deletions')),
    repeatEvery(tellEveryMs, writer.tell, onError('versions of stored runs')),
    repeatEvery(snapshotEveryMs, snapshot, onError('snapshot of discovery')),
  ]

  async function stop(): Promise<void> {
    end()
    await Promise.all(repeated.map((one) => one.stop()))
    await thread.stop()
    await saving
    await writer.written()
    await lock.release()
  }

  return {
    isOver: () => isOver,
    async settled() {
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
function followWishes(postgres: Postgres, forget: (workspaces: string[]) => Promise<void>) {
  let last: string | undefined
  return {
    async read(): Promise<void> {
      const found = await wishesSince(postgres, last)
      if (found.workspaces.length > 0) await forget(found.workspaces)
      last = found.last
    },
  }
}
