// The one way a registry changes: whoever holds its row adds events, each with the hash of the one before, and stores what they
// fold to. Two at once: one waits, and then sees what the other did.

import { hash } from 'node:crypto'
import { Fault } from '../../schemas/faults.ts'
import {
  type Actor,
  applyEvent,
  firstState,
  hashedTextOf,
  type PromptEvent,
  type PromptFact,
  type RegistryState,
} from '../../schemas/prompt-history.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Postgres } from '../stores/postgres.ts'
import {
  findRegistry,
  lockRegistry,
  type RegistryAt,
  type RegistryFacts,
  saveState,
} from './rows.ts'

export type Because = { actor: Actor; reason: string; evidence?: unknown }
/** Adds one event within the transaction under way; the state that follows is known at once. */
export type Tell = (fact: PromptFact, because: Because) => Promise<RegistryState>
export type Held = { sql: Sql; registry: RegistryFacts; tell: Tell }

const discoverer: Actor = { kind: 'machine', id: 'discovery' }

/**
 * Runs `work` with the registry's row held; everything it tells and writes becomes true together, or nothing does. Throws
 * `not_found` for a registry that is not there.
 */
export function changeRegistry<T>(
  postgres: Pick<Postgres, 'transaction'>,
  at: RegistryAt,
  work: (held: Held) => Promise<T>,
): Promise<T> {
  return postgres
    .transaction(async (sql) => {
      const found = await lockRegistry(sql, at)
      if (!found) throw noRegistry(at.registry)
      let { state, head } = found
      const before = head
      const tell: Tell = async (fact, because) => {
        const event = toEvent(at, head, { fact, ...because })
        await insertEvent(sql, at, event)
        state = applyEvent(state, event)
        head = { seq: event.seq, hash: event.hash }
        return state
      }
      // Registries that traffic named have no history until something happens to them.
      if (head.seq === 0)
        await tell(
          { type: 'created', source: found.source, displayName: state.displayName },
          { actor: discoverer, reason: 'First named.' },
        )
      const made = head
      const result = await work({ sql, registry: { ...found, state }, tell })
      // What only looked leaves no trace.
      if (head === made && before !== made) throw new Untouched(result)
      if (head !== before) await saveState(sql, at, { state, head })
      return result
    })
    .catch((error) => {
      if (error instanceof Untouched) return error.result as T // put there above, by the same call
      throw error
    })
}

// Rolls the lone first event back when nothing followed it.
class Untouched extends Error {
  readonly result: unknown
  constructor(result: unknown) {
    super('untouched')
    this.result = result
  }
}

export function noRegistry(registry: string): Fault {
  return new Fault('not_found', {
    message: `There is no prompt ${registry}.`,
    param: 'registry_id',
  })
}

function toEvent(
  at: RegistryAt,
  head: { seq: number; hash: string },
  given: Because & { fact: PromptFact },
): PromptEvent {
  const event = {
    seq: head.seq + 1,
    at: new Date().toISOString(),
    actor: given.actor,
    reason: given.reason,
    // As it will be read back: members without a value are gone.
    evidence: JSON.parse(JSON.stringify(given.evidence ?? null)) as unknown,
    fact: given.fact,
    previousHash: head.hash,
    hash: '',
  }
  return { ...event, hash: hashOf(at, event) }
}

function hashOf(at: RegistryAt, event: PromptEvent): string {
  const { workspace, registry } = at
  return `sha256:${hash('sha256', hashedTextOf({ workspace, registry }, event), 'hex')}`
}

async function insertEvent(sql: Sql, at: RegistryAt, event: PromptEvent): Promise<void> {
  await sql.query(
    `INSERT INTO prompt_events (workspace, registry_id, seq, at, actor, reason, evidence, fact, previous_hash, hash)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      at.workspace,
      at.registry,
      event.seq,
      event.at,
      JSON.stringify(event.actor),
      event.reason,
      JSON.stringify(event.evidence),
      JSON.stringify(event.fact),
      event.previousHash,
      event.hash,
    ],
  )
}

type EventRow = {
  seq: number
  at: Date
  actor: Actor
  reason: string
  evidence: unknown
  fact: PromptFact
  previous_hash: string
  hash: string
}

/** A page of events, the newest first; `before` is the sequence number that the page ends before. */
export async function listEvents(
  sql: Sql,
  at: RegistryAt,
  page: { before?: number | undefined; limit: number },
): Promise<PromptEvent[]> {
  const rows = await sql.query<EventRow>(
    `SELECT seq, at, actor, reason, evidence, fact, previous_hash, hash FROM prompt_events
     WHERE workspace = $1 AND registry_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4`,
    [at.workspace, at.registry, page.before ?? Number.MAX_SAFE_INTEGER, page.limit],
  )
  return rows.map(({ previous_hash, at: when, ...row }) => ({
    ...row,
    at: when.toISOString(),
    previousHash: previous_hash,
  }))
}

/** `brokenAt`: the first event that is missing, was changed, or does not follow from the one before. */
export type HistoryCheck = { events: number; brokenAt: number | null; matches: boolean }

// Events are small; a history is read in pages all the same.
const pageEvents = 1_000

/** Replays the whole history: is the chain whole, and is the present state what it folds to? */
export async function checkHistory(sql: Sql, at: RegistryAt): Promise<HistoryCheck> {
  const registry = await findRegistry(sql, at)
  if (!registry) throw noRegistry(at.registry)
  let state: RegistryState = firstState
  let last = { seq: 0, hash: '' }
  let brokenAt: number | null = null
  for (;;) {
    const page = await readForward(sql, at, last.seq)
    for (const event of page) {
      const follows = event.seq === last.seq + 1 && event.previousHash === last.hash
      if (brokenAt === null && !(follows && hashOf(at, event) === event.hash)) brokenAt = event.seq
      state = applyEvent(state, event)
      last = { seq: event.seq, hash: event.hash }
    }
    if (page.length < pageEvents) break
  }
  // Without events there is nothing but the name that traffic gave.
  if (last.seq === 0) state = { ...firstState, displayName: registry.state.displayName }
  return { events: last.seq, brokenAt, matches: sameState(state, registry.state) }
}

async function readForward(sql: Sql, at: RegistryAt, after: number): Promise<PromptEvent[]> {
  const rows = await sql.query<EventRow>(
    `SELECT seq, at, actor, reason, evidence, fact, previous_hash, hash FROM prompt_events
     WHERE workspace = $1 AND registry_id = $2 AND seq > $3 ORDER BY seq LIMIT $4`,
    [at.workspace, at.registry, after, pageEvents],
  )
  return rows.map(({ previous_hash, at: when, ...row }) => ({
    ...row,
    at: when.toISOString(),
    previousHash: previous_hash,
  }))
}

// Members in one order, so that what Postgres gives back in its own order compares equal.
function sameState(a: RegistryState, b: RegistryState): boolean {
  return sorted(a) === sorted(b)
}

function sorted(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  )
}
