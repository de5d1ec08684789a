// The durable way from every collector into ClickHouse: rows are on disk before `write` resolves, and inserted once.
// Law: accepted = in ClickHouse + in quarantine + in the spool, whatever crashes in between.

import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Counters } from '../../schemas/counters.ts'
import type { Chunk } from './chunk.ts'
import type { Insert } from './deliver.ts'
import { type Disk, loadFile, nodeDisk, replaceFile } from './disk.ts'
import { Drain } from './drain.ts'
import { DamagedDrainFile, type DrainState, loadDrainState, saveDrainState } from './drain-file.ts'
import { GroupCommit } from './group-commit.ts'
import type { Intake } from './intake.ts'
import { reasonOf, type SpoolLimits, type SpoolLog, spoolLimits } from './limits.ts'
import { Quarantine } from './quarantine.ts'
import { lastSeqOf, recover } from './recover.ts'
import { Retired } from './retired.ts'
import { type Refusal, Room } from './room.ts'
import { segmentName } from './segment.ts'
import { Segments } from './segments.ts'
import { Shelf } from './shelf.ts'
import { Source } from './source.ts'

const flushDeadlineMs = 10_000
const closeDeadlineMs = 5_000
const abortGraceMs = 1_000

export type SpoolOptions = {
  /** Made when missing. One process at a time: the owner of the data directory holds the lock. */
  dir: string
  nowMs: () => number
  counters: Counters
  log: SpoolLog
  limits?: Partial<SpoolLimits>
  /** Tests put faults here. */
  disk?: Disk
}

export type SpoolState = {
  status: 'ready' | 'full' | 'failing' | 'closed'
  /** Why a write would be refused now. */
  reason: Refusal | undefined
  undrainedBytes: number
  undrainedChunks: number
  /** Rows of all tables together. */
  undrainedRows: number
  oldestUndrainedMs: number
  /** Accepted and not synced yet. */
  pendingBytes: number
  retainedBytes: number
  quarantineBytes: number
  lastError: string | undefined
}

export type Spool = Intake & {
  /** Starts loading into ClickHouse; once per spool. `stop` lets the batch in progress finish within the deadline. */
  drainTo(insert: Insert): { stop(deadlineMs?: number): Promise<void> }
  /**
   * True when everything durable at the call is in ClickHouse or quarantine; false when the deadline (10 s) came first or nothing
   * drains. Callers share one batch.
   */
  flush(deadlineMs?: number): Promise<boolean>
  /** Every row of this spool with a smaller `ingest_seq` is in ClickHouse or in quarantine. */
  drainedSeq(): bigint
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

type Parts = Awaited<ReturnType<typeof openParts>>
type Full = SpoolOptions & { limits: SpoolLimits; disk: Disk }

async function openParts(options: Full) {
  const { dir, disk, limits, log, nowMs, counters } = options
  const dirs = { segments: `${dir}/segments`, drained: `${dir}/drained` }
  await disk.makeDir(dir)
  await disk.makeDir(dirs.segments)
  const quarantine = new Quarantine(disk, `${dir}/quarantine`, limits)
  await quarantine.open()
  const retired = new Retired({
    ...options,
    from: dirs.segments,
    dir: dirs.drained,
  })
  await retired.open()
  await disk.syncDir(dir)
  const node = await loadNode(disk, dir)
  const loaded = await loadState(options)
  const shelf = new Shelf(loaded?.cursor ?? { segment: 0, offset: 0 }, limits.heldBytes)
  const onTorn = (bytes: number) =>
    counters.count('spool_damaged_bytes_total', { where: 'tail' }, bytes)
  const found = await recover({ ...options, dir: dirs.segments, shelf, quarantine, onTorn })
  const last = retired.lastNumber
  const path = `${dirs.drained}/${segmentName(last)}`
  let nextSeq = loaded?.seq ?? 0n
  if (!loaded && last > 0) nextSeq = await lastSeqOf(disk, path, last)
  if (found.nextSeq > nextSeq) nextSeq = found.nextSeq
  await retired.add(shelf.takeDrained())
  const room: Room = new Room({
    ...{ disk, dir, limits, log },
    onLook: () => retired.evict(room.isDiskLow),
  })
  return {
    ...{ options, disk, dir, dirs, limits, nowMs, counters, log, node },
    ...{ quarantine, retired, shelf, room },
    previous: found.previous,
    nextNumber: Math.max(found.nextNumber, last + 1),
    nextSeq,
    drainState: loaded ?? { cursor: shelf.cursor, seq: 0n, plan: undefined },
  }
}

class OpenSpool implements Spool {
  readonly #parts: Parts
  readonly #segments: Segments
  readonly #commit: GroupCommit
  readonly #stop = new AbortController()
  #drain: Drain | undefined
  #source: Source | undefined
  #closing: Promise<void> | undefined
  readonly #errors = new Map<'spool' | 'drain', string>()

  constructor(parts: Parts) {
    this.#parts = parts
    const { room, shelf, dirs } = parts
    const onTrouble = (error: unknown) => this.#note('spool', error)
    const onBytes = (bytes: number) => room.spend(bytes)
    this.#segments = new Segments({ ...parts, dir: dirs.segments, onBytes, onTrouble })
    this.#commit = new GroupCommit({
      ...{ limits: parts.limits, nowMs: parts.nowMs, nextSeq: parts.nextSeq },
      segments: this.#segments,
      pending: room,
      refusal: () => (this.#closing ? 'closed' : room.refusal(shelf.undrainedBytes)),
      onDurable: (chunk) => this.#onDurable(chunk),
      onRefused: (reason) => parts.counters.count('spool_rejected_writes_total', { reason }),
      onFailed: onTrouble,
    })
  }

  write: Intake['write'] = (fill) => this.#commit.write(fill)

  drainTo(insert: Insert): { stop(deadlineMs?: number): Promise<void> } {
    if (this.#drain) throw new Error('this spool is drained already')
    const { disk, dir, dirs } = this.#parts
    this.#source = new Source({ ...this.#parts, dir: dirs.segments })
    this.#drain = new Drain({
      ...this.#parts,
      ...{ insert, source: this.#source, state: this.#parts.drainState, stop: this.#stop.signal },
      save: (state) => saveDrainState(disk, dir, state),
      onAdvanced: (state, drained) => this.#onAdvanced(state, drained),
      onTrouble: (error) => this.#note('drain', error),
    })
    return { stop: (deadlineMs) => this.#stopDrain(deadlineMs ?? closeDeadlineMs) }
  }

  async flush(deadlineMs = flushDeadlineMs): Promise<boolean> {
    const { shelf } = this.#parts
    if (!this.#drain) return shelf.undrainedChunks === 0
    return this.#drain.reach(shelf.tail, deadlineMs)
  }

  drainedSeq(): bigint {
    return this.#drain?.seq ?? this.#parts.drainState.seq
  }

  state(): SpoolState {
    const { shelf, room, retired, quarantine, nowMs } = this.#parts
    const reason = this.#closing ? 'closed' : room.refusal(shelf.undrainedBytes)
    const isFailing = this.#commit.failures > 0
    return {
      status: this.#closing ? 'closed' : isFailing ? 'failing' : reason ? 'full' : 'ready',
      reason: reason ?? (isFailing ? 'disk_failing' : undefined),
      undrainedBytes: shelf.undrainedBytes,
      undrainedChunks: shelf.undrainedChunks,
      undrainedRows: shelf.undrainedRows,
      oldestUndrainedMs: shelf.oldestMs(nowMs()),
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

  async #close(deadlineMs: number): Promise<void> {
    await this.#commit.settled()
    await this.#stopDrain(deadlineMs)
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
    await this.#source?.close()
  }

  #onDurable(chunk: Chunk): void {
    this.#errors.delete('spool')
    this.#parts.shelf.append(chunk)
    for (const { table, rows } of chunk.parts)
      this.#parts.counters.count('spool_accepted_rows_total', { table }, rows)
    this.#drain?.notice()
  }

  async #onAdvanced(state: DrainState, drained: readonly Chunk[]): Promise<void> {
    const { shelf, retired, room } = this.#parts
    this.#errors.delete('drain')
    shelf.advance(state.cursor, drained)
    await retired.add(shelf.takeDrained())
    await retired.evict(room.isDiskLow)
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

async function loadNode(disk: Disk, dir: string): Promise<string> {
  const text = (await loadFile(disk, `${dir}/node`))?.toString('latin1').trim()
  if (text !== undefined && /^[0-9a-f]{32}$/.test(text)) return text
  const node = randomBytes(16).toString('hex')
  await replaceFile(disk, { dir, name: 'node' }, [Buffer.from(`${node}\n`)])
  return node
}

/** A damaged file is put aside: then every segment still here is drained again, rather than any row lost. */
async function loadState({ disk, dir, log }: Full): Promise<DrainState | undefined> {
  try {
    return await loadDrainState(disk, dir)
  } catch (error) {
    if (!(error instanceof DamagedDrainFile)) throw error
    log('error', 'The drain file is damaged; segments that are still here are drained again', {
      reason: reasonOf(error),
    })
    await disk.rename(`${dir}/drain.json`, `${dir}/drain.json.damaged`)
    return undefined
  }
}
