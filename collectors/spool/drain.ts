// From the spool into ClickHouse, in order: gather a batch, write the decision down, insert, move the cursor, retire segments.
// Law: the cursor passes a row only when it is in ClickHouse or in quarantine; a crash anywhere repeats the same inserts.

import { type Chunk, isBefore, type Position } from './chunk.ts'
import {
  bytesIn,
  type DeliveryDeps,
  deliver,
  type Refusals,
  rowsIn,
  Stopped,
  sliceOf,
  tokenOf,
  untilDone,
} from './deliver.ts'
import type { DrainPlan, DrainState, TablePlan } from './drain-file.ts'
import type { Source } from './source.ts'

// Two inserts at once use ClickHouse best. What a span refers to goes first, so that a reader finds it there.
const lanes = 2
const order = ['envelopes', 'records', 'payloads', 'spans'] as const

export type DrainDeps = DeliveryDeps & {
  source: Source
  /** The drain's own copy from here on. */
  state: DrainState
  save: (state: DrainState) => Promise<void>
  /** Before the cursor moves there: notes again the calls that are still open and noted before it. */
  carry: (to: Position) => Promise<void>
  /** The cursor was moved, durably, over these chunks. */
  onAdvanced: (state: DrainState, drained: readonly Chunk[]) => Promise<void>
}

type Flush = { to: Position; done: (reached: boolean) => void }

export class Drain {
  readonly #deps: DrainDeps
  #state: DrainState
  #saving: Promise<void> = Promise.resolve()
  #flushes: Flush[] = []
  #startedAt = Number.NEGATIVE_INFINITY
  #isStopping = false
  #wake: (() => void) | undefined
  #isIdle = false
  readonly #running: Promise<void>

  constructor(deps: DrainDeps) {
    this.#deps = deps
    this.#state = deps.state
    this.#running = this.#run()
  }

  /** Everything numbered below is in ClickHouse or in quarantine. */
  get seq(): bigint {
    return this.#state.seq
  }

  /** Tells the drain that there is more; cheap, for every commit calls it. */
  notice(): void {
    if (this.#isIdle || this.#deps.source.isLarge) this.#wake?.()
  }

  /** True when everything before `to` is drained; false when the deadline came first or the drain stopped. */
  reach(to: Position, deadlineMs: number): Promise<boolean> {
    if (!isBefore(this.#state.cursor, to)) return Promise.resolve(true)
    if (this.#isStopping) return Promise.resolve(false)
    return new Promise((resolve) => {
      const flush: Flush = {
        to,
        done: (reached) => {
          clearTimeout(timer)
          this.#flushes = this.#flushes.filter((other) => other !== flush)
          resolve(reached)
        },
      }
      const timer = setTimeout(() => flush.done(false), deadlineMs)
      this.#flushes.push(flush)
      this.#wake?.()
    })
  }

  /** Lets the batch in progress finish; resolves when the loop has ended. Abort the `stop` signal to cut it short. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.#wake?.()
    await this.#running
  }

  async #run(): Promise<void> {
    try {
      while (await this.#isDue()) {
        this.#startedAt = performance.now()
        await this.#drainBatch()
      }
    } catch (error) {
      if (!(error instanceof Stopped)) {
        this.#deps.onTrouble(error)
        this.#deps.log('error', 'The drain has stopped; rows stay in the spool', { error })
      }
    }
    this.#isStopping = true
    for (const flush of this.#flushes) flush.done(false)
  }

  async #isDue(): Promise<boolean> {
    for (;;) {
      const { source, limits } = this.#deps
      if (this.#isStopping) return false
      const isEmpty = !isBefore(this.#state.cursor, source.tail)
      const isUrgent = this.#state.plan || this.#flushes.length > 0 || source.isLarge
      if (!isEmpty && isUrgent) return true
      const waitMs = this.#startedAt + limits.drainEveryMs - performance.now()
      if (!isEmpty && waitMs <= 0) return true
      await this.#pause(isEmpty ? undefined : waitMs)
    }
  }

  #pause(waitMs: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      this.#isIdle = waitMs === undefined
      const timer = waitMs === undefined ? undefined : setTimeout(() => this.#wake?.(), waitMs)
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = undefined
        this.#isIdle = false
        resolve()
      }
    })
  }

  async #drainBatch(): Promise<void> {
    const { source } = this.#deps
    const { cursor, plan: planned } = this.#state
    const { chunks, to } = await untilDone(this.#deps, () => source.gather(cursor, planned?.to))
    const plan = planned ?? (await this.#decide(chunks, to))
    await this.#deliver(plan, chunks)
    await untilDone(this.#deps, () => this.#deps.carry(plan.to))
    const { firstSeq, seqs } = chunks.at(-1) ?? { firstSeq: this.#state.seq, seqs: 0 }
    const seq = firstSeq + BigInt(seqs)
    this.#state = { cursor: plan.to, seq, plan: undefined }
    await untilDone(this.#deps, () => this.#save())
    await this.#deps.onAdvanced(this.#state, chunks)
    for (const flush of this.#flushes) if (!isBefore(plan.to, flush.to)) flush.done(true)
  }

  async #decide(chunks: readonly Chunk[], to: Position): Promise<DrainPlan> {
    const tables: TablePlan[] = []
    for (const table of order) {
      const slice = sliceOf(table, chunks)
      if (slice.chunks.length === 0) continue
      const token = tokenOf(this.#deps.node, slice)
      tables.push({ table, rows: rowsIn(slice), bytes: bytesIn(slice), token })
    }
    const plan: DrainPlan = { to, tables, refused: [] }
    this.#state = { ...this.#state, plan }
    if (tables.length > 0) await untilDone(this.#deps, () => this.#save())
    return plan
  }

  async #deliver(plan: DrainPlan, chunks: readonly Chunk[]): Promise<void> {
    const refusals = this.#refusalsOf(plan)
    const waiting = [...plan.tables]
    const lane = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift())
        await deliver(this.#deps, sliceOf(next.table, chunks), { token: next.token, refusals })
    }
    const outcomes = await Promise.allSettled(Array.from({ length: lanes }, lane))
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  #refusalsOf(plan: DrainPlan): Refusals {
    return {
      has: (key) => plan.refused.includes(key),
      add: async (key) => {
        if (!plan.refused.includes(key)) plan.refused.push(key)
        await this.#save()
      },
    }
  }

  /** One save at a time: two tables may decide something at once, and the later save holds both decisions. */
  #save(): Promise<void> {
    const save = this.#saving.catch(() => {}).then(() => this.#deps.save(this.#state))
    this.#saving = save
    return save
  }
}
