// The batch that is being filled: its blocks, who waits for it, and the calls that begin and end with it.

import { Fault } from '../../schemas/faults.ts'
import { type TableName, tables } from '../../schemas/tables.ts'
import type { Position } from './chunk.ts'
import type { Also, Batch } from './intake.ts'
import { type JournalEntries, keyOf } from './journal.ts'
import { type Mark, NativeBlock } from './native.ts'
import type { Refusal } from './room.ts'

export type Waiter = { resolve: () => void; reject: (fault: Fault) => void }
export type Gathered = {
  batch: Batch
  blocks: AnyBlock[]
  bytes: number
  waiters: Waiter[]
  journal: JournalEntries
  /** Bytes by workspace, of the writes that named one. */
  owners: Map<string, number>
  /** Calls that are noted before this place only are noted again here. */
  carryBefore: Position | undefined
}
export type AnyBlock = NativeBlock<TableName>

/** An empty one over blocks that may have been used before. */
export function newGathered(batch: Batch = newBatch()): Gathered {
  return {
    ...{ batch, blocks: blocksOf(batch), bytes: 0, waiters: [] },
    ...{ journal: new Map(), owners: new Map(), carryBefore: undefined },
  }
}

export function note(open: Gathered, { opens, closes, workspace }: Also, bytes: number): void {
  const { journal, owners } = open
  if (workspace !== undefined) owners.set(workspace, (owners.get(workspace) ?? 0) + bytes)
  if (opens) journal.set(keyOf(opens.id), opens)
  if (!closes) return
  const key = keyOf(closes)
  // A call that begins and ends in one chunk needs no note at all.
  if (journal.get(key) === undefined) journal.set(key, undefined)
  else journal.delete(key)
}

function newBatch(): Batch {
  return {
    spans: new NativeBlock('spans'),
    payloads: new NativeBlock('payloads'),
    envelopes: new NativeBlock('envelopes'),
    records: new NativeBlock('records'),
  }
}

const tableNames = Object.keys(tables) as TableName[] // its keys are the table names

function blocksOf(batch: Batch): AnyBlock[] {
  return tableNames.map((table) => batch[table] as AnyBlock) // only what every table's block has is used
}

export function sizeOf(blocks: AnyBlock[]): number {
  return blocks.reduce((sum, block) => sum + block.size, 0)
}

export function rewind(batch: Batch, marks: readonly Mark[]): void {
  blocksOf(batch).forEach((block, i) => {
    block.rewind(marks[i]!)
  })
}

export const emptyMarks = blocksOf(newBatch()).map((block) => block.mark())

const sayings: Record<Refusal, string> = {
  closed: 'This server is stopping. Try again shortly.',
  pending: 'More is arriving than the disk takes. Try again shortly.',
  tenant_share: 'This workspace fills the spool. Try again shortly.',
  spool_full: 'The spool is full until the database takes rows again. Try again shortly.',
  disk_full: 'The disk is nearly full. Try again shortly.',
  disk_failing: 'The disk did not take the write. Try again shortly.',
}

export function toRefused(reason: Refusal, cause?: unknown): Fault {
  // Longer, and an exporter that has ten seconds gives up; the same for all, and all come back at once.
  const retryAfterS = 1 + Math.floor(Math.random() * 3)
  if (reason === 'tenant_share')
    return new Fault('rate_limited', { message: sayings[reason], retryAfterS })
  const message = sayings[reason]
  return new Fault('service_unavailable', { message, retryAfterS }, { cause })
}
