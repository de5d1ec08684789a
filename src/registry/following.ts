// Calls that this process did not see pass: those of other planes, and those that exporters report. They are met in the stores, in
// ingest order, and shown to discovery like any other. Law: the cursor and what discovery knows are written down together, so
// that after a crash each call is looked at once; what is left out is counted.

import { setTimeout as wait } from 'node:timers/promises'
import { seqOf } from '../../collectors/spool/sequence.ts'
import type { Counters } from '../../schemas/counters.ts'
import type { SeenCall } from '../../schemas/prompt.ts'
import { repeatEvery } from '../repeat.ts'
import { ClickhouseError } from '../stores/clickhouse-reply.ts'
import { toRef } from './assignments.ts'
import type { Passed } from './passed.ts'
import { readCall } from './read-call.ts'
import { sharesOf } from './shares.ts'
import type { Late, Sights } from './sights.ts'
import { type CallAt, nameOf, type StoredCalls } from './stored-calls.ts'

export const followLimits = {
  everyMs: 1_000,
  /** A call of 1,700 characters costs this process 0.6 ms in all, its thread with it: an eighth of a core at most. */
  callsPerS: 200,
  /** Of one round: a minute of them. What has come in beyond, of that one in so many is looked at. */
  roundMax: 12_000,
}
// Loaded at once; between two of these, other work has its turn.
const callsAtOnce = 50
const roomEveryMs = 20
const untoldMax = 20_000
// The engine may refuse a page for a reason of its own; then it is left out rather than asked for for ever.
const refusalsMax = 3
const seqBits = 20n

export type Following = {
  /** Everything up to here has been shown, or was left out. */
  cursor(): bigint
  /** Calls of a workspace that were accepted before this time are not shown: something of it was deleted. */
  leaveOut(workspace: string, beforeMs: number): void
  /** How far it is behind. */
  lagMs(): number
  /** A round now, unless one is under way. */
  now(): Promise<void>
  stop(): Promise<void>
}

export type FollowDeps = {
  calls: StoredCalls
  sights: Pick<Sights, 'meet' | 'hasRoom'>
  passed: Passed
  /** The version that a stored call turned out to have. */
  late(runs: Late[]): void
  /** How many of these have not been told yet. */
  untold(): number
  redact: SeenCall['redact']
  counters: Counters
  log: (line: string) => void
  limits?: Partial<typeof followLimits>
}

export function startFollowing(deps: FollowDeps, from: bigint): Following {
  const { calls, sights, passed, counters } = deps
  const limits = { ...followLimits, ...deps.limits }
  const deletions = new Map<string, bigint>()
  let cursor = from
  let refusals = 0
  let isStopped = false
  const count = (outcome: string, by = 1) =>
    counters.count('prompt_followed_calls_total', { outcome }, by)

  async function round(): Promise<void> {
    const before = calls.loadedBefore()
    // While the rows cannot be told as fast as they are found, the lag grows, and then calls are left out.
    if (before - 1n <= cursor || deps.untold() > untoldMax) return
    const stretch = { after: cursor, before }
    const counts = await calls.count(stretch)
    const { roundMax } = limits
    const oneIn = sharesOf(counts, roundMax)
    const found = counts.size === 0 ? [] : await calls.list(stretch, { oneIn, limit: 2 * roundMax })
    for (let at = 0; at < found.length && !isStopped; at += callsAtOnce) {
      const startedAt = performance.now()
      const next = found[at + callsAtOnce]
      await follow(found.slice(at, at + callsAtOnce), next)
      const restMs = (1000 * callsAtOnce) / limits.callsPerS - (performance.now() - startedAt)
      if (next && restMs > 0) await wait(restMs, undefined, { ref: false })
    }
    if (isStopped) return
    // More than the shares would give: what lies behind the end is of the next round.
    const isWhole = found.length < 2 * roundMax
    if (isWhole) cursor = before - 1n
    if (isWhole) count('left_out', Math.max(0, sum(counts.values()) - found.length))
    for (const [workspace, place] of deletions) if (place <= cursor) deletions.delete(workspace)
  }

  /** A page, up to where the next one begins. */
  async function follow(page: readonly CallAt[], next: CallAt | undefined): Promise<void> {
    const seen = await readPatiently(page.filter((call) => !passed.isKnown(call)))
    for (const [i, call] of page.entries()) {
      while (!sights.hasRoom() && !isStopped) await wait(roomEveryMs, undefined, { ref: false })
      if (isStopped) return
      const known = seen.get(call)
      if (!passed.meet(call)) count('known')
      // Deleted meanwhile: discovery has let go of its workspace's texts, and must not get one again.
      else if (isDeleted(call)) count('deleted')
      else if (known) show(call, known)
      // Two planes may give out the same place: it is done with when all that have it are.
      const following = page[i + 1] ?? next
      cursor = following ? following.seq - 1n : call.seq
    }
  }

  async function readPatiently(fresh: readonly CallAt[]): Promise<Map<CallAt, SeenCall>> {
    try {
      const seen = await readAll(fresh)
      refusals = 0
      return seen
    } catch (error) {
      const isRefused = error instanceof ClickhouseError && error.code !== undefined
      if (isRefused) refusals += 1
      if (!isRefused || refusals < refusalsMax) throw error
      refusals = 0
      deps.log(`discovery leaves out ${fresh.length} stored calls: ${String(error)}`)
      count('refused', fresh.length)
      return new Map()
    }
  }

  async function readAll(fresh: readonly CallAt[]): Promise<Map<CallAt, SeenCall>> {
    const seen = new Map<CallAt, SeenCall>()
    for (const workspace of new Set(fresh.map((call) => call.workspace))) {
      const own = fresh.filter((call) => call.workspace === workspace)
      const shadowed = await calls.findShadowed(workspace, own)
      const told = own.filter((call) => !shadowed.has(nameOf(call)))
      count('told_elsewhere', own.length - told.length)
      const spans = await calls.load(workspace, told)
      for (const call of told) {
        const known = readSafely(spans.get(nameOf(call))?.span, call)
        if (known) seen.set(call, known)
        else count('no_messages')
      }
    }
    return seen
  }

  function readSafely(bytes: Uint8Array | undefined, call: CallAt): SeenCall | undefined {
    try {
      return bytes && readCall(bytes, call, deps.redact)
    } catch {
      // What a stranger wrote into a span ends no more than its own look.
      return undefined
    }
  }

  function show(call: CallAt, known: SeenCall): void {
    count('shown')
    const isTold = (versionId: string) => known.ref === undefined || versionId === call.versionId
    const versionId = sights.meet(known, isTold)
    if (versionId === undefined || isTold(versionId)) return
    deps.late([{ workspace: call.workspace, ref: toRef(call), versionId }])
  }

  function isDeleted({ workspace, seq }: CallAt): boolean {
    return seq < (deletions.get(workspace) ?? 0n)
  }

  const repeated = repeatEvery(limits.everyMs, round, (error) =>
    deps.log(`discovery follows the stored calls, trying again: ${String(error)}`),
  )
  return {
    cursor: () => cursor,
    leaveOut: (workspace, beforeMs) => void deletions.set(workspace, seqOf(beforeMs)),
    lagMs() {
      const behind = calls.loadedBefore() - 1n
      return behind > cursor ? Number((behind >> seqBits) - (cursor >> seqBits)) : 0
    },
    now: repeated.now,
    async stop() {
      isStopped = true
      await repeated.stop()
    },
  }
}

function sum(numbers: Iterable<number>): number {
  let all = 0
  for (const one of numbers) all += one
  return all
}
