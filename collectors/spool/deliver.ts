// One table's rows of one batch into ClickHouse: the same bytes under the same token until they are in, or refused for good.
// Law: a range is split only after the decision is on disk, so that no row can go in under two tokens.

import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Counters } from '../../schemas/counters.ts'
import type { TableName } from '../../schemas/tables.ts'
import type { Chunk, Part } from './chunk.ts'
import { joined } from './join.ts'
import { reasonOf, type SpoolLimits, type SpoolLog } from './limits.ts'
import type { Quarantine } from './quarantine.ts'

/**
 * Inserts the body, Native blocks of one table behind one another, as one INSERT with `insert_deduplication_token` = token.
 * Resolves when ClickHouse confirmed it. An error with `transient === false` says that these bytes will never be taken; any other
 * is tried again with the same bytes. After `signal` aborts it must settle soon.
 */
export type Insert = (
  table: TableName,
  body: Iterable<Buffer>,
  opts: { token: string; rows: number; signal: AbortSignal },
) => Promise<void>

export type DeliveryDeps = {
  insert: Insert
  node: string
  limits: SpoolLimits
  counters: Counters
  log: SpoolLog
  quarantine: Quarantine
  /** Aborts when the drain must stop; work in progress then throws `Stopped`. */
  stop: AbortSignal
  onTrouble: (error: unknown) => void
}

/** Thrown out of a delivery that was told to stop. The plan on disk says where to go on. */
export class Stopped extends Error {}

export type TableSlice = { table: TableName; chunks: readonly Chunk[] }

/** Where a range was split, and the way to make that durable. */
export type Refusals = { has(key: string): boolean; add(key: string): Promise<void> }

export function sliceOf(table: TableName, chunks: readonly Chunk[]): TableSlice {
  return { table, chunks: chunks.filter((chunk) => partOf(chunk, table)) }
}

/**
 * `v2:<node>:<first chunk>:<last chunk>:<table>:<digest>`. The digest is there because ClickHouse drops other bytes too, should a
 * spool be put back from a copy: it is over the checksum and the sequence numbers of each chunk, which name its bytes.
 */
export function tokenOf(node: string, slice: TableSlice): string {
  const hash = createHash('sha256')
  for (const { bodyCrc, firstSeq, bytes } of slice.chunks)
    hash.update(`${bodyCrc} ${firstSeq} ${bytes}\n`)
  return `v2:${node}:${rangeOf(slice)}:${hash.digest('hex').slice(0, 16)}`
}

export function rowsIn(slice: TableSlice): number {
  return slice.chunks.reduce((sum, chunk) => sum + (partOf(chunk, slice.table)?.rows ?? 0), 0)
}

export function bytesIn(slice: TableSlice): number {
  return slice.chunks.reduce((sum, chunk) => sum + (partOf(chunk, slice.table)?.bytes ?? 0), 0)
}

/** Resolves when every row of the slice is in ClickHouse or in quarantine. */
export async function deliver(
  deps: DeliveryDeps,
  slice: TableSlice,
  at: { token: string | undefined; refusals: Refusals },
): Promise<void> {
  if (slice.chunks.length === 0) return
  const key = rangeOf(slice)
  let reason = 'refused before'
  if (!at.refusals.has(key)) {
    const refused = await insertOrRefuse(deps, {
      ...{ table: slice.table, rows: rowsIn(slice), body: bodyOf(slice) },
      token: at.token ?? tokenOf(deps.node, slice),
    })
    if (refused === undefined) {
      deps.counters.count('spool_drained_rows_total', { table: slice.table }, rowsIn(slice))
      return
    }
    reason = reasonOf(refused)
    await untilDone(deps, () => at.refusals.add(key))
  }
  if (slice.chunks.length === 1) {
    await setAside(deps, slice, reason)
    return
  }
  const middle = slice.chunks.length >> 1
  const { table, chunks } = slice
  const rest = { token: undefined, refusals: at.refusals }
  await deliver(deps, { table, chunks: chunks.slice(0, middle) }, rest)
  await deliver(deps, { table, chunks: chunks.slice(middle) }, rest)
}

/** Tries until it succeeds, with growing pauses. Throws only `Stopped`. */
export async function untilDone<T>(
  deps: Pick<DeliveryDeps, 'limits' | 'stop' | 'onTrouble'>,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let tries = 0; ; tries++) {
    if (deps.stop.aborted) throw new Stopped()
    try {
      return await attempt()
    } catch (error) {
      if (deps.stop.aborted) throw new Stopped()
      deps.onTrouble(error)
    }
    const { backoffFirstMs, backoffLastMs } = deps.limits
    const waitMs = Math.min(backoffLastMs, backoffFirstMs * 2 ** Math.min(tries, 20))
    // Two tables that a server short of memory refused together are not offered together again.
    await pause(waitMs * (0.5 + Math.random() / 2), undefined, { signal: deps.stop }).catch(() => {
      throw new Stopped()
    })
  }
}

/** One INSERT until it is in. Undefined when stored; the error when ClickHouse will never take these bytes. */
export async function insertOrRefuse(
  deps: DeliveryDeps,
  of: { table: TableName; rows: number; body: Iterable<Buffer>; token: string },
): Promise<unknown> {
  const { table, rows, body, token } = of
  return untilDone(deps, async () => {
    // Not AbortSignal.any: on Node 20 every use leaves a listener on the long-lived signal.
    const attempt = new AbortController()
    const abort = () => attempt.abort()
    deps.stop.addEventListener('abort', abort)
    const deadline = setTimeout(abort, deps.limits.insertDeadlineMs)
    try {
      await deps.insert(table, body, { token, rows, signal: attempt.signal })
      deps.counters.count('spool_inserts_total', { table, outcome: 'stored' })
      return undefined
    } catch (error) {
      // An attempt that we cut off ourselves says nothing about its bytes.
      const outcome = attempt.signal.aborted || isTransient(error) ? 'retried' : 'refused'
      deps.counters.count('spool_inserts_total', { table, outcome })
      if (outcome === 'retried') throw error
      return error ?? new Error('refused')
    } finally {
      clearTimeout(deadline)
      deps.stop.removeEventListener('abort', abort)
    }
  })
}

async function setAside(deps: DeliveryDeps, slice: TableSlice, reason: string): Promise<void> {
  const chunk = slice.chunks[0]!
  const { table } = slice
  const rows = rowsIn(slice)
  const facts = { segment: chunk.at.segment, offset: chunk.at.offset, table, rows, reason }
  const name = `${chunk.at.segment}-${chunk.at.offset}.${table}`
  const said = { ...facts, token: tokenOf(deps.node, slice) }
  const isNew = await untilDone(deps, () => deps.quarantine.save(name, [...bodyOf(slice)], said))
  if (!isNew) return
  deps.counters.count('spool_quarantined_rows_total', { table }, rows)
  deps.log('error', 'ClickHouse refused rows for good; they are kept in quarantine', facts)
}

function isTransient(error: unknown): boolean {
  const isSaid = typeof error === 'object' && error !== null && 'transient' in error
  return !isSaid || error.transient !== false
}

function rangeOf({ table, chunks }: TableSlice): string {
  const first = chunks[0]!.at
  const last = chunks.at(-1)!.at
  return `${first.segment}-${first.offset}:${last.segment}-${last.offset}:${table}`
}

/** Made anew each time it is gone through, and the same bytes each time. */
function bodyOf({ table, chunks }: TableSlice): Iterable<Buffer> {
  const parts = chunks.flatMap((chunk) => partOf(chunk, table) ?? [])
  return { [Symbol.iterator]: () => joined(table, parts) }
}

function partOf(chunk: Chunk, table: TableName): Part | undefined {
  return chunk.parts.find((part) => part.table === table)
}
