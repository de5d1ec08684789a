// What was asked to be forgotten while rows of it were still on the way: erased in ClickHouse once the drain has passed them,
// and then removed from segments and quarantine. Law: a rule is on disk before it is acknowledged, and leaves when nothing is left.

import { crc32 } from 'node:zlib'
import { Fault } from '../../schemas/faults.ts'
import { isBefore, type Position } from './chunk.ts'
import { StringColumn } from './columns.ts'
import { type DeliveryDeps, Stopped, untilDone } from './deliver.ts'
import { type Disk, loadFile, replaceFile } from './disk.ts'
import type { Edge } from './group-commit.ts'
import type { SpoolLog } from './limits.ts'
import type { Quarantine } from './quarantine.ts'
import type { Retired } from './retired.ts'
import { seqOf } from './sequence.ts'
import type { Shelf } from './shelf.ts'

const name = 'forget.json'
// All of them are written again for each: beyond this the caller is told to come again.
const rulesMax = 1_000

/**
 * A trace, a user's data, or, with neither, all of a workspace. `traceId`: 32 hex digits. `beforeMs`: only what arrived before that
 * time, for a wish that is taken later than it was made.
 */
export type Forget = { workspace: string; traceId?: string; userId?: string; beforeMs?: number }

/**
 * Deletes in ClickHouse what matches and has a smaller `ingest_seq` than `beforeSeq`; resolves when it is gone. Every such row of
 * this spool is in ClickHouse by then. May be called again for the same. After `signal` aborts it must settle soon.
 */
export type Erase = (
  what: Omit<Forget, 'beforeMs'> & { beforeSeq: bigint },
  opts: {
    signal: AbortSignal
    /** To be told of every trace that goes, before it goes: rows of it may be set aside. */
    alsoOf: (traceIds: readonly string[]) => Promise<void>
  },
) => Promise<void>

type Rule = { what: Forget; edge: Edge; erased: boolean; done: (() => void)[] }

export type ForgettingDeps = Pick<DeliveryDeps, 'limits' | 'stop' | 'onTrouble' | 'log'> & {
  disk: Disk
  dir: string
  erase: Erase
  shelf: Shelf
  retired: Retired
  quarantine: Quarantine
  /** Keeps what is set aside from being loaded again meanwhile; resolves when none of it is on its way. */
  hold: () => Promise<() => void>
}

export type StoredRules = readonly Omit<Rule, 'done'>[]

export class Forgetting {
  readonly #deps: ForgettingDeps
  #rules: Rule[]
  #saving: Promise<void> = Promise.resolve()
  #working: Promise<void> | undefined
  #isAgain = false
  #adding = 0

  constructor(deps: ForgettingDeps, stored: StoredRules) {
    this.#deps = deps
    this.#rules = stored.map((rule) => ({ ...rule, done: [] }))
    this.look()
  }

  /** True while bytes that are to be forgotten may stand in a segment. */
  get isPending(): boolean {
    return this.#adding > 0 || this.#rules.length > 0
  }

  /** Resolves once the rule is durable. `cut` gives the place behind everything that was accepted before. */
  async add(what: Forget, cut: () => Promise<Edge>): Promise<{ done: Promise<void>; edge: Edge }> {
    if (this.#rules.length >= rulesMax) throw new Fault('service_unavailable')
    this.#adding += 1
    const edge = await cut().finally(() => {
      this.#adding -= 1
    })
    const rule: Rule = { what, edge, erased: false, done: [] }
    const done = new Promise<void>((resolve) => rule.done.push(resolve))
    this.#rules.push(rule)
    try {
      await this.#save()
    } catch (error) {
      this.#rules = this.#rules.filter((one) => one !== rule)
      throw new Fault('service_unavailable', {}, { cause: error })
    }
    this.look()
    return { done, edge }
  }

  /** Does what has become possible; called whenever the cursor has moved. */
  look(): void {
    this.#isAgain = true
    if (this.#rules.length === 0) return
    this.#working ??= this.#work()
      .catch((error) => {
        if (!(error instanceof Stopped)) this.#deps.onTrouble(error)
      })
      .finally(() => {
        this.#working = undefined
        if (this.#isAgain) this.look()
      })
  }

  /** Removes what is set aside of these traces. */
  async dropAside(traceIds: readonly string[]): Promise<void> {
    const { quarantine, hold } = this.#deps
    if (quarantine.bytes === 0) return
    const ids = traceIds.map((id) => Buffer.from(id, 'hex'))
    const release = await hold()
    try {
      this.#said(await quarantine.removeHoldingIds(ids))
    } finally {
      release()
    }
  }

  /** Resolves when nothing is under way any more; abort the `stop` signal first. */
  async settled(): Promise<void> {
    await this.#working
  }

  async #work(): Promise<void> {
    while (this.#isAgain) {
      this.#isAgain = false
      const { cursor } = this.#deps.shelf
      for (const rule of [...this.#rules]) {
        if (isBefore(cursor, rule.edge.at)) continue
        await untilDone(this.#deps, () => this.#finishHolding(rule))
        for (const done of rule.done) done()
      }
    }
  }

  async #finishHolding(rule: Rule): Promise<void> {
    const release = await this.#deps.hold()
    try {
      await this.#finish(rule)
    } finally {
      release()
    }
  }

  async #finish(rule: Rule): Promise<void> {
    const { erase, shelf, retired, stop: signal } = this.#deps
    const { beforeMs, ...what } = rule.what
    const beforeSeq = least(rule.edge.seq, beforeMs)
    const alsoOf = (ids: readonly string[]) => this.dropAside(ids)
    if (!rule.erased) await erase({ ...what, beforeSeq }, { signal, alsoOf })
    rule.erased = true
    // The segment was ended when the rule was made; if it was drained already, nobody else would put it away.
    await retired.add(shelf.takeDrained())
    if (shelf.segments.some(({ number }) => number <= rule.edge.at.segment))
      throw new Error('a segment that holds rows to be forgotten is still being drained')
    await retired.purge(rule.edge.at.segment)
    const { traceId, userId } = rule.what
    // Spans that do not name their user came in one chunk with one that does.
    const isShared = traceId === undefined && userId !== undefined
    this.#said(await this.#deps.quarantine.removeHolding(toBytes(rule.what), isShared))
    this.#rules = this.#rules.filter((one) => one !== rule)
    await this.#save()
  }

  #said(files: number): void {
    if (files > 0) this.#deps.log('warn', 'Rows in quarantine were removed on request', { files })
  }

  /** One save at a time; each writes the rules as they are when its turn comes. */
  #save(): Promise<void> {
    const { disk, dir } = this.#deps
    const save = this.#saving.catch(() => {}).then(() => saveRules(disk, dir, this.#rules))
    this.#saving = save
    return save
  }
}

type Written = { what: Forget; at: Position; seq: string; erased: boolean }

/** The rules on disk. `isRepeated`: rows may have been inserted again, so all of them have to be erased again. */
export async function loadRules(from: {
  disk: Disk
  dir: string
  log: SpoolLog
  isRepeated: boolean
}): Promise<StoredRules> {
  const { disk, dir, log, isRepeated } = from
  const bytes = await loadFile(disk, `${dir}/${name}`)
  if (!bytes) return []
  const [text = '', sum] = bytes.toString('utf8').split('\n')
  if (sum !== crc32(text).toString(16)) {
    log('error', 'The list of what is to be deleted is damaged; ask for those deletions again', {})
    await disk.rename(`${dir}/${name}`, `${dir}/${name}.damaged`)
    return []
  }
  const written = JSON.parse(text) as Written[] // its checksum holds: we wrote it
  return written.map(({ what, at, seq, erased }) => ({
    what,
    edge: { at, seq: BigInt(seq) },
    erased: erased && !isRepeated,
  }))
}

async function saveRules(disk: Disk, dir: string, rules: readonly Rule[]): Promise<void> {
  const written = rules.map(
    ({ what, edge, erased }): Written => ({ what, at: edge.at, seq: String(edge.seq), erased }),
  )
  const text = JSON.stringify(written)
  await replaceFile(disk, { dir, name }, [Buffer.from(`${text}\n${crc32(text).toString(16)}\n`)])
}

function least(seq: bigint, beforeMs: number | undefined): bigint {
  const bound = beforeMs === undefined ? seq : seqOf(beforeMs)
  return bound < seq ? bound : seq
}

/** How it stands in the bytes of a row: an id as it is, a text behind its length, in a Native column and in a Span message alike. */
function toBytes({ workspace, traceId, userId }: Forget): Buffer {
  if (traceId !== undefined) return Buffer.from(traceId, 'hex')
  const column = new StringColumn()
  column.pushText(userId ?? workspace)
  return column.filled()
}
