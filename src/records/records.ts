// Records as they were stored: both phases of one, by its id. The bytes come back as they were signed.

import { type Id, parsePrefixed, parseUuid } from '../../schemas/ids.ts'
import type { RecordPhase } from '../../schemas/record.ts'
import type { Rows } from '../traces/traces.ts'

/** One phase: the canonical bytes and their signature. */
export type StoredPhase = { canonical: Buffer; signature: Buffer; keyId: string; context: string }

export type StoredRecord = {
  recordId: Id
  workspace: string
  begin: StoredPhase | undefined
  /** Undefined while the call runs. */
  final: StoredPhase | undefined
}

export type Records = {
  /** Undefined when no record has this id. What was acknowledged before is found. */
  find(recordId: Id): Promise<StoredRecord | undefined>
}

type Row = {
  phase: RecordPhase
  workspace: string
  canonical: string
  signature: string
  key_id: string
  context: string
}

// A record's id is its only lock, so no workspace is bound here; what needs an owner compares the one that comes back.
// A phase is written once; should two finals exist, the first stands, as it is the one whose signature was released.
const findSql = `SELECT phase, workspace, base64Encode(canonical) AS canonical, base64Encode(signature) AS signature,
    key_id, context
  FROM records WHERE record_id = toFixedString(unhex({id:String}), 16)
  ORDER BY phase, ingest_seq LIMIT 1 BY phase`

/** `flush` resolves when what was accepted before it can be read: it is called when a record is not there yet, or not whole. */
export function openRecords(deps: {
  rows: Rows
  flush: () => Promise<void>
  /** The lane of calls alone, where nearly every record is: it does not wait behind a backlog of traces. */
  flushCalls?: () => Promise<void>
}): Records {
  async function look(recordId: Id): Promise<StoredRecord | undefined> {
    const id = Buffer.from(recordId).toString('hex')
    const rows = await deps.rows.query<Row>({ sql: findSql, params: { id } })
    const workspace = rows[0]?.workspace
    if (workspace === undefined) return undefined
    const phase = (name: RecordPhase) => toPhase(rows.find((row) => row.phase === name))
    return { recordId, workspace, begin: phase('begin'), final: phase('final') }
  }

  return {
    async find(recordId) {
      const found = await look(recordId)
      if (found?.final) return found
      const { flush, flushCalls } = deps
      if (!flushCalls) return flush().then(() => look(recordId))
      await flushCalls()
      const called = await look(recordId)
      // What is open now is a call's; what is nowhere may be of a run that was posted, in bulk.
      if (called) return called
      await flush()
      return look(recordId)
    },
  }
}

/** The sixteen bytes of a record's id in either spelling, `vaas_<ULID>` or UUID; undefined when it is neither. */
export function parseRecordId(text: string): Id | undefined {
  return parsePrefixed('vaas', text) ?? parseUuid(text)
}

function toPhase(row: Row | undefined): StoredPhase | undefined {
  if (!row) return undefined
  return {
    canonical: Buffer.from(row.canonical, 'base64'),
    signature: Buffer.from(row.signature, 'base64'),
    keyId: row.key_id,
    context: row.context,
  }
}
