// The durable way from every collector into ClickHouse: rows are on disk before `write` resolves, and inserted once.
// Law: accepted = in ClickHouse + in quarantine + in the spool, whatever crashes in between.

import { setTimeout as pause } from 'node:timers/promises'
import { Fault } from '../../schemas/faults.ts'
import { Again } from './again.ts'
import type { Chunk } from './chunk.ts'
import type { Insert } from './deliver.ts'
import { nodeDisk } from './disk.ts'
import { Drain } from './drain.ts'
import { type DrainState, saveDrainState } from './drain-file.ts'
import { type Erase, type Forget, Forgetting } from './forgetting.ts'
import { GroupCommit } from './group-commit.ts'
import type { Intake, Openings } from './intake.ts'
import type { Opening } from './journal.ts'
import { reasonOf, spoolLimits } from './limits.ts'
import { openParts, type Parts, type SpoolOptions } from './parts.ts'
import type { Refusal } from './room.ts'
import { Segments } from './segments.ts'
import { Slabs } from './slabs.ts'
import { Source } from './source.ts'

export type { Erase, Forget } from './forgetting.ts'
export type { SpoolOptions } from './parts.ts'

const flushDeadlineMs = 10_000
const closeDeadlineMs = 5_000
const abortGraceMs = 1_000

export type SpoolState = {
  status: 'ready' | 'full' | 'failing' | 'closed'
  /** Why a write would be refused now. */
  reason: Refusal | undefined
  undrainedBytes: number
  undrainedChunks: number
  /** Rows of all tables together. */
  undrainedRows: number
  oldestUndrainedMs: number
  /** Calls that are noted as begun and not as ended. */
  openCalls: number
  /** Accepted and not synced yet. */
  pendingBytes: number
  retainedBytes: number
  quarantineBytes: number
  lastError: string | undefined
}

export type Spool = Intake &
  Openings & {
    /** Calls that an earlier process opened and did not live to close. Whoever ends one writes with its id as `closes`. */
    interrupted(): readonly Opening[]
    /**
     * Starts loading into ClickHouse; once per spool. `stop` lets the batch in progress finish within the deadline. Without `erase`
     * nothing can be forgotten.
     */
    drainTo(insert: Insert, erase?: Erase): { stop(deadlineMs?: number): Promise<void> }
    /**
     * Has everything that matches and was accepted before the call deleted, wherever it is on its way: in ClickHouse by `erase`, in
     * segments and in quarantine. The wish is durable when this resolves, and survives any crash. True: it is done; false: the
     * deadline (10 s) came first, and it will be done once ClickHouse takes rows again. Rejects with `service_unavailable`.
     */
    forget(what: Forget, deadlineMs?: number): Promise<boolean>
    /**
     * True when everything durable at the call is in ClickHouse or quarantine; false when the deadline (10 s) came first or nothing
     * drains. Callers share one batch.
     */
    flush(deadlineMs?: number): Promise<boolean>
    /** Removes what is set aside of these traces, before they are erased. */
    dropAside(traceIds: readonly string[]): Promise<void>
    /** Every row of this spool with a smaller `ingest_seq` is in ClickHouse or in quarantine. */
    drainedSeq(): bigint
    /** The same for those who wait for several spools: while this one is at rest it moves with the clock. */
    mark(): bigint
    state(): SpoolState
    /** Why a write would be refused now; undefined when it would be tried. For callers who must know before they begin. */
    refusal(): Refusal | undefined
    /** Refuses new writes, settles the open ones, lets the drain finish its batch within the deadline (5 s), closes files. */
    close(deadlineMs?: number): Promise<void>
  }

/** Opens the directory and finds what earlier runs left. Throws when it cannot be read or a newer version wrote it. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const limits = { ...spoolLimits, ...options.limits }
  const disk = options.disk ?? nodeDisk
  const parts = await openParts({ ...options, limits, disk })
  await parts.room.start()
  return new OpenSpool(parts)
}

class OpenSpool implements Spool {
  readonly #parts: Parts
  readonly #segments: Segments
  readonly #commit: GroupCommit
  readonly #stop = new AbortController()
  readonly #slabs: Slabs
  #drain: Drain | undefined
  #source: Source | undefined
  #forgetting: Forgetting | undefined
  #again: Again | undefined
  #closing: Promise<void> | undefined
  readonly #errors = new Map<'spool' | 'drain', string>()

  constructor(parts: Parts) {
    this.#parts = parts
    const { room, shelf, dirs, openCalls, tenants, retired } = parts
    const onTrouble = (error: unknown) => this.#note('spool', error)
    const onBytes = (bytes: number) => room.spend(bytes)
    // What is to be forgotten must not stay behind in a segment that is written over.
    const reuse = () => (this.#mayReuse() ? retired.recycle() : undefined)
    this.#segments = new Segments({ ...parts, dir: dirs.segments, onBytes, onTrouble, reuse })
    this.#slabs = new Slabs()
    this.#commit = new GroupCommit({
      ...{ limits: parts.limits, nowMs: parts.nowMs, sequence: parts.sequence },
      segments: this.#segments,
      slabs: this.#slabs,
      openCalls,
      pending: room,
      refusal: (workspace) => {
        if (this.#closing) return 'closed'
        const held = shelf.undrainedBytes
        const hasTooMuch = workspace !== undefined && tenants.hasTooMuch(workspace, held)
        return room.refusal(held) ?? (hasTooMuch ? 'tenant_share' : undefined)
      },
      onDurable: (chunk, owners) => this.#onDurable(chunk, owners),
      onRefused: (reason) => parts.counters.count('spool_rejected_writes_total', { reason }),
      onFailed: onTrouble,
    })
  }

  write: Intake['write'] = (fill, also) => this.#commit.write(fill, also)

  open: Openings['open'] = (opening) => this.#commit.open(opening)

  interrupted(): readonly Opening[] {
    return this.#parts.interrupted
  }

  drainTo(insert: Insert, erase?: Erase): { stop(deadlineMs?: number): Promise<void> } {
    if (this.#drain) throw new Error('this spool is drained already')
    const { disk, dir, dirs, rules } = this.#parts
    this.#source = new Source({ ...this.#parts, dir: dirs.segments })
    const shared = {
      ...this.#parts,
      stop: this.#stop.signal,
      onTrouble: (error: unknown) => this.#note('drain', error),
    }
    const again = new Again({ ...shared, insert })
    this.#again = again
    const hold = () => again.hold()
    if (erase) this.#forgetting = new Forgetting({ ...shared, erase, hold }, rules)
    this.#drain = new Drain({
      ...shared,
      ...{ insert, source: this.#source, state: this.#parts.drainState },
      save: (state) => saveDrainState(disk, dir, state),
      carry: (to) => this.#commit.carry(to),
      onAdvanced: (state, drained) => this.#onAdvanced(state, drained),
    })
    return { stop: (deadlineMs) => this.#stopDrain(deadlineMs ?? closeDeadlineMs) }
  }

  async forget(what: Forget, deadlineMs = flushDeadlineMs): Promise<boolean> {
    const [drain, forgetting] = [this.#drain, this.#forgetting]
    if (!drain || !forgetting || this.#closing) throw new Fault('service_unavailable')
    const { done, edge } = await forgetting.add(what, () => this.#commit.cut())
    void drain.reach(edge.at, deadlineMs)
    return within(done, deadlineMs)
  }

  async dropAside(traceIds: readonly string[]): Promise<void> {
    await this.#forgetting?.dropAside(traceIds)
  }

  async flush(deadlineMs = flushDeadlineMs): Promise<boolean> {
    const { shelf } = this.#parts
    if (!this.#drain) return shelf.undrainedChunks === 0
    return this.#drain.reach(shelf.tail, deadlineMs)
  }

  drainedSeq(): bigint {
    const { sequence, drainState } = this.#parts
    return this.#isAtRest() ? sequence.next : (this.#drain?.seq ?? drainState.seq)
  }

  mark(): bigint {
    const { sequence, nowMs } = this.#parts
    if (!this.#isAtRest()) return this.drainedSeq()
    // A batch that is open now is numbered by its arrival, which may be before this moment: not below what was said here.
    return sequence.take(nowMs(), 0)
  }

  #isAtRest(): boolean {
    return this.#parts.shelf.undrainedChunks === 0 && !this.#commit.isStoring
  }

  state(): SpoolState {
    const { shelf, room, retired, quarantine, openCalls, nowMs } = this.#parts
    const reason = this.#closing ? 'closed' : room.refusal(shelf.undrainedBytes)
    const isFailing = this.#commit.failures > 0
    return {
      status: this.#closing ? 'closed' : isFailing ? 'failing' : reason ? 'full' : 'ready',
      reason: reason ?? (isFailing ? 'disk_failing' : undefined),
      undrainedBytes: shelf.undrainedBytes,
      undrainedChunks: shelf.undrainedChunks,
      undrainedRows: shelf.undrainedRows,
      oldestUndrainedMs: shelf.oldestMs(nowMs()),
      openCalls: openCalls.size,
      pendingBytes: room.pendingBytes,
      retainedBytes: retired.bytes,
      quarantineBytes: quarantine.bytes,
      lastError: this.#errors.get('spool') ?? this.#errors.get('drain'),
    }
  }

  refusal(): Refusal | undefined {
    return this.#closing ? 'closed' : this.#commit.refusal()
  }

  close(deadlineMs = closeDeadlineMs): Promise<void> {
    this.#closing ??= this.#close(deadlineMs)
    return this.#closing
  }

  #mayReuse(): boolean {
    return this.#forgetting ? !this.#forgetting.isPending : this.#parts.rules.length === 0
  }

  async #close(deadlineMs: number): Promise<void> {
    await this.#commit.settled()
    await this.#stopDrain(deadlineMs)
    await this.#commit.settled()
    await this.#segments.close()
    await this.#parts.room.stop()
  }

  /** An insert that does not even settle when aborted is left behind; its batch is planned, and repeated at the next start. */
  async #stopDrain(deadlineMs: number): Promise<void> {
    const settled = new AbortController()
    const cut = pause(deadlineMs, undefined, { signal: settled.signal })
      .then(() => this.#stop.abort())
      .then(() => pause(abortGraceMs, undefined, { signal: settled.signal }))
      .catch(() => {})
    await Promise.race([this.#drain?.stop(), cut])
    settled.abort()
    this.#stop.abort()
    for (const one of [this.#forgetting, this.#again])
      if (one) await within(one.settled(), abortGraceMs)
    await this.#source?.close()
  }

  #onDurable(chunk: Chunk, owners: ReadonlyMap<string, number>): void {
    this.#errors.delete('spool')
    const isHeld = this.#parts.shelf.append(chunk)
    this.#parts.tenants.add(chunk, owners)
    if (!isHeld) this.#slabs.give(chunk.slabs)
    for (const { table, rows } of chunk.parts)
      this.#parts.counters.count('spool_accepted_rows_total', { table }, rows)
    this.#drain?.notice()
  }

  async #onAdvanced(state: DrainState, drained: readonly Chunk[]): Promise<void> {
    const { shelf, retired, room, tenants } = this.#parts
    this.#errors.delete('drain')
    const freed = shelf.advance(state.cursor, drained)
    tenants.advance(state.cursor, shelf.undrainedChunks === 0)
    for (const { slabs } of freed) this.#slabs.give(slabs)
    await this.#segments.ended()
    await retired.add(shelf.takeDrained())
    await retired.evict(room.isDiskLow)
    this.#forgetting?.look()
  }

  #note(where: 'spool' | 'drain', error: unknown): void {
    const reason = reasonOf(error)
    // A failing database repeats itself every few seconds: the counter counts, the log says what is new.
    if (reason !== this.#errors.get(where))
      this.#parts.log('warn', `The ${where} meets errors`, { reason })
    this.#errors.set(where, reason)
    this.#parts.counters.count('spool_errors_total', { where })
  }
}

async function within(work: Promise<void>, deadlineMs: number): Promise<boolean> {
  const settled = new AbortController()
  const late = pause(deadlineMs, false, { signal: settled.signal }).catch(() => false)
  const outcome = await Promise.race([work.then(() => true), late])
  settled.abort()
  return outcome
}
