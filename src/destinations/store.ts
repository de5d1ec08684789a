// The rows of destinations: how far each has come, and which process pushes to it. Every change of one that is being pushed to
// names its owner, so that a process that lost its lease changes nothing.

import type { DestinationInput } from '../../schemas/destination.ts'
import { newId, toUuid } from '../../schemas/ids.ts'
import { seal, unseal } from '../seal.ts'
import type { Postgres } from '../stores/postgres.ts'

// A process that died is succeeded after this time; a slow one renews well before.
const leaseS = 10
// Of one destination: beyond, the oldest make room. How many there were stays in its count.
const deadLettersMax = 10_000

export type Destination = Omit<DestinationInput, 'from'> & {
  id: string
  workspace: string
  isTrusted: boolean
  createdAt: Date
  cursor: bigint
  sentSpans: number
  rejectedSpans: number
  deadSpans: number
  failures: number
  lastStatus: number | null
  lastError: string | null
  lastErrorAt: Date | null
  lastSuccessAt: Date | null
  retryAt: Date | null
}

export type DeadLetter = {
  seq: bigint
  traceId: string
  spanId: string
  status: number | null
  reason: string
}

/** What one request moved: the cursor stands behind all of its spans, whatever became of them. */
export type Step = { cursor: bigint; sent: number; rejected: number; dead: readonly DeadLetter[] }

export type DestinationStore = ReturnType<typeof openDestinationStore>

export function openDestinationStore(deps: {
  sql: Postgres
  masterKey: Uint8Array
  /** Of this process. */
  owner: string
}) {
  const { sql, masterKey, owner } = deps
  const toDestination = (row: Row): Destination => ({
    id: row.id,
    workspace: row.workspace,
    name: row.name,
    url: row.url,
    protocol: row.protocol,
    compression: row.compression,
    headers: JSON.parse(unseal(masterKey, sealedPlace(row.id), row.sealed_headers).toString()),
    filter: row.filter,
    redact: row.redact,
    isTrusted: row.is_trusted,
    createdAt: row.created_at,
    cursor: BigInt(row.cursor),
    sentSpans: row.sent_spans,
    rejectedSpans: row.rejected_spans,
    deadSpans: row.dead_spans,
    failures: row.failures,
    lastStatus: row.last_status,
    lastError: row.last_error,
    lastErrorAt: row.last_error_at,
    lastSuccessAt: row.last_success_at,
    retryAt: row.retry_at,
  })

  return {
    async list(workspace: string): Promise<Destination[]> {
      const rows = await sql.query<Row>(
        'SELECT * FROM destinations WHERE workspace = $1 ORDER BY created_at, id',
        [workspace],
      )
      return rows.map(toDestination)
    },

    /** Undefined when the workspace has one of that name. */
    async insert(
      workspace: string,
      input: DestinationInput,
      at: { cursor: bigint; isTrusted: boolean },
    ): Promise<Destination | undefined> {
      const id = toUuid(newId())
      const [row] = await sql.query<Row>(
        `INSERT INTO destinations (id, workspace, name, url, protocol, compression, sealed_headers, filter, redact, is_trusted, cursor)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (workspace, name) DO NOTHING RETURNING *`,
        [
          id,
          workspace,
          input.name,
          input.url,
          input.protocol,
          input.compression,
          seal(masterKey, sealedPlace(id), Buffer.from(JSON.stringify(input.headers))),
          JSON.stringify(input.filter),
          JSON.stringify(input.redact),
          at.isTrusted,
          String(at.cursor),
        ],
      )
      return row && toDestination(row)
    },

    /** The new headers and address of one that the configuration file names; how far it has come stays. */
    async revise(id: string, input: DestinationInput): Promise<void> {
      await sql.query(
        `UPDATE destinations SET url = $2, protocol = $3, compression = $4, sealed_headers = $5, filter = $6, redact = $7,
           is_trusted = true WHERE id = $1`,
        [
          id,
          input.url,
          input.protocol,
          input.compression,
          seal(masterKey, sealedPlace(id), Buffer.from(JSON.stringify(input.headers))),
          JSON.stringify(input.filter),
          JSON.stringify(input.redact),
        ],
      )
    },

    async remove(workspace: string, id: string): Promise<boolean> {
      const gone = await sql.query(
        'DELETE FROM destinations WHERE workspace = $1 AND id = $2 RETURNING id',
        [workspace, id],
      )
      return gone.length > 0
    },

    /** Removes those of the configuration file but for the ones given. */
    async removeConfigured(keptIds: readonly string[]): Promise<void> {
      await sql.query('DELETE FROM destinations WHERE is_trusted AND NOT id = ANY($1::uuid[])', [
        keptIds,
      ])
    },

    /** Those this process pushes to from now on: its own, renewed, and those that nobody holds. */
    async claim(): Promise<Destination[]> {
      const rows = await sql.query<Row>(
        `UPDATE destinations SET owner = $1, owned_until = now() + make_interval(secs => $2)
         WHERE owner = $1 OR owned_until <= now() RETURNING *`,
        [owner, leaseS],
      )
      return rows.map(toDestination)
    },

    async release(): Promise<void> {
      await sql.query(
        'UPDATE destinations SET owner = NULL, owned_until = now() WHERE owner = $1',
        [owner],
      )
    },

    /** False when this process no longer owns it, or it is gone: then nothing was written. */
    advance(id: string, step: Step): Promise<boolean> {
      return sql.transaction(async (inside) => {
        const moved = await inside.query(
          `UPDATE destinations SET cursor = $3, sent_spans = sent_spans + $4, rejected_spans = rejected_spans + $5,
             dead_spans = dead_spans + $6, failures = 0, retry_at = NULL,
             last_success_at = CASE WHEN $4 + $5 > 0 THEN now() ELSE last_success_at END
           WHERE id = $1 AND owner = $2 RETURNING id`,
          [id, owner, String(step.cursor), step.sent, step.rejected, step.dead.length],
        )
        if (moved.length === 0) return false
        if (step.dead.length > 0) await bury(inside, id, step.dead)
        return true
      })
    },

    async fail(
      id: string,
      failure: { status: number | null; error: string; failures: number; retryAt: Date | null },
    ): Promise<void> {
      await sql.query(
        `UPDATE destinations SET failures = $3, last_status = $4, last_error = $5, last_error_at = now(), retry_at = $6
         WHERE id = $1 AND owner = $2`,
        [id, owner, failure.failures, failure.status, failure.error, failure.retryAt],
      )
    },

    deadLetters(workspace: string, id: string, limit: number) {
      return sql.query<{
        trace_id: string
        span_id: string
        status: number | null
        reason: string
        died_at: Date
      }>(
        `SELECT l.trace_id, l.span_id, l.status, l.reason, l.died_at FROM dead_letters l JOIN destinations d ON d.id = l.destination_id
         WHERE d.workspace = $1 AND d.id = $2 ORDER BY l.seq DESC LIMIT $3`,
        [workspace, id, limit],
      )
    },
  }
}

async function bury(sql: Pick<Postgres, 'query'>, id: string, dead: readonly DeadLetter[]) {
  await sql.query(
    `INSERT INTO dead_letters (destination_id, seq, trace_id, span_id, status, reason)
     SELECT $1, * FROM unnest($2::numeric[], $3::text[], $4::text[], $5::int[], $6::text[]) ON CONFLICT DO NOTHING`,
    [
      id,
      dead.map((letter) => String(letter.seq)),
      dead.map((letter) => letter.traceId),
      dead.map((letter) => letter.spanId),
      dead.map((letter) => letter.status),
      dead.map((letter) => letter.reason),
    ],
  )
  await sql.query(
    `DELETE FROM dead_letters WHERE destination_id = $1 AND (seq, span_id) <= (
       SELECT seq, span_id FROM dead_letters WHERE destination_id = $1 ORDER BY seq DESC, span_id DESC OFFSET ${deadLettersMax} LIMIT 1)`,
    [id],
  )
}

function sealedPlace(id: string): string {
  return `destinations/${id}`
}

type Row = {
  id: string
  workspace: string
  name: string
  url: string
  protocol: Destination['protocol']
  compression: Destination['compression']
  sealed_headers: Buffer
  filter: Destination['filter']
  redact: Destination['redact']
  is_trusted: boolean
  created_at: Date
  cursor: string
  sent_spans: number
  rejected_spans: number
  dead_spans: number
  failures: number
  last_status: number | null
  last_error: string | null
  last_error_at: Date | null
  last_success_at: Date | null
  retry_at: Date | null
}
