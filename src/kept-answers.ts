// Answers under an Idempotency-Key, kept for a day in Postgres, sealed. A key belongs to the API key that sent it.
// Law: of all calls with one key, body and caller at most one runs at a time, and after one was kept none runs at all.

import { hash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type {
  Claim,
  ClaimAsk,
  IdempotentAnswers,
  WholeAnswer,
} from '../collectors/proxy/answers.ts'
import type { Counters } from '../schemas/counters.ts'
import { Fault } from '../schemas/faults.ts'
import { type Id, newId, toPrefixed, toUuid } from '../schemas/ids.ts'
import { seal, unseal } from './seal.ts'
import type { Sql } from './stores/postgres.ts'

const keyCharsMax = 255
const keptFor = '24 hours'
// A claim outlives its process by this much, and is renewed three times as often.
const claimS = 60
const renewEveryMs = 20_000
const sweepEveryMs = 60_000
// Larger answers are not kept: the next call with the key is told so, rather than run and paid for again.
const answerBytesMax = 2 * 1024 * 1024
// Of all calls under way in this process.
const heldBytesMax = 64 * 1024 * 1024
const againMax = 2
const workspaceBytesMax = 256 * 1024 * 1024
// The last bytes of an answer wait for its being kept, but not for a database that is away.
const keepDeadlineMs = 3_000

type Row = { claim: string; fingerprint: Buffer; run_id: string | null; sealed: Buffer | null }
type Place = { workspace: string; keyId: string; name: Buffer }

export type KeptAnswers = IdempotentAnswers & { close(): Promise<void> }

export function openKeptAnswers(deps: {
  sql: Sql
  sealingKey: Uint8Array
  counters: Counters
  log: (line: string) => void
}): KeptAnswers {
  const { sql, counters } = deps
  const live = new Set<string>()
  let heldBytes = 0
  let working: Promise<unknown> = Promise.resolve()

  /** Claims on their way out of the table. */
  const ending = new Map<string, Promise<void>>()

  async function claim(ask: ClaimAsk): Promise<{ kept: WholeAnswer } | { claim: Claim }> {
    const place = placeOf(ask)
    const fingerprint = fingerprintOf(ask)
    let found = await take(place, fingerprint)
    // Whoever was told of a failure may be here before its claim has left, or while it does.
    for (let again = 0; again < againMax && mayBeFree(found); again++) {
      await ending.get(found?.claim ?? '')
      found = await take(place, fingerprint)
    }
    if (found instanceof Function) return { claim: found() }
    counters.count('idempotent_calls_total', { found: found?.run_id ? 'kept' : 'running' })
    if (!found) throw stillRunning()
    if (!found.fingerprint.equals(fingerprint)) throw otherBody()
    if (found.run_id === null) throw stillRunning()
    if (found.sealed === null) throw tooLarge(found.run_id)
    return { kept: decode(unseal(deps.sealingKey, nameOf(place), found.sealed)) }
  }

  function mayBeFree(found: (() => Claim) | Row | undefined): found is Row | undefined {
    return found === undefined || (isRunning(found) && !live.has(found.claim))
  }

  /** Opens the claim, if the place was free; else what stands there. */
  async function take(place: Place, fingerprint: Buffer): Promise<(() => Claim) | Row | undefined> {
    const id = toUuid(newId())
    const taken = await sql.query(
      `INSERT INTO kept_answers AS k (workspace, key_id, name, fingerprint, claim, claimed_until, expires_at)
       VALUES ($1, $2, $3, $4, $5, now() + interval '${claimS} seconds', now() + interval '${keptFor}')
       ON CONFLICT (workspace, key_id, name) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, claim = EXCLUDED.claim,
         claimed_until = EXCLUDED.claimed_until, expires_at = EXCLUDED.expires_at, run_id = NULL, sealed = NULL
       WHERE k.expires_at < now() OR (k.run_id IS NULL AND k.claimed_until < now())
       RETURNING claim`,
      [place.workspace, place.keyId, place.name, fingerprint, id],
    )
    if (taken.length > 0) return () => openClaim(id, place)
    const [row] = await sql.query<Row>(
      `SELECT claim, fingerprint, run_id, sealed FROM kept_answers
       WHERE workspace = $1 AND key_id = $2 AND name = $3`,
      [place.workspace, place.keyId, place.name],
    )
    return row
  }

  function openClaim(id: string, place: Place): Claim {
    let head: Pick<WholeAnswer, 'status' | 'headers'> | undefined
    let chunks: Uint8Array[] = []
    let bytes = 0
    let isCut = false
    let isOver = false
    live.add(id)

    function letGo(): void {
      heldBytes -= bytes
      bytes = 0
      chunks = []
    }
    function end(): void {
      isOver = true
      live.delete(id)
      letGo()
    }
    return {
      begin(status, headers) {
        head = { status, headers }
      },
      push(more) {
        if (isCut || isOver) return
        if (bytes + more.length > answerBytesMax || heldBytes + more.length > heldBytesMax) {
          isCut = true
          letGo()
          return
        }
        bytes += more.length
        heldBytes += more.length
        chunks.push(more)
      },
      async keep(runId) {
        if (isOver || !head) return
        const answer = isCut ? undefined : { ...head, body: Buffer.concat(chunks) }
        end()
        await keep(id, place, { runId, answer })
      },
      release() {
        if (isOver) return
        end()
        const left = later(() =>
          sql.query('DELETE FROM kept_answers WHERE claim = $1 AND run_id IS NULL', [id]),
        )
        ending.set(id, left)
        void left.then(() => ending.delete(id))
      },
    }
  }

  async function keep(
    id: string,
    place: Place,
    { runId, answer }: { runId: Id; answer: WholeAnswer | undefined },
  ): Promise<void> {
    const sealed = answer && seal(deps.sealingKey, nameOf(place), encode(answer))
    const kept = sql
      .query(
        `UPDATE kept_answers SET run_id = $2, sealed = $3, expires_at = now() + interval '${keptFor}' WHERE claim = $1`,
        [id, toUuid(runId), sealed ?? null],
      )
      .then(
        () => (answer ? 'kept' : 'too_large'),
        () => 'failed',
      )
    const deadline = new AbortController()
    const late = pause(keepDeadlineMs, 'late', { signal: deadline.signal }).catch(() => 'late')
    const became = await Promise.race([kept, late])
    deadline.abort()
    counters.count('idempotent_answers_total', { became })
  }

  /** One after another. What fails is counted: a claim that could not be released runs out by itself. */
  function later(work: () => Promise<unknown>): Promise<void> {
    const done = working.then(work).then(
      () => {},
      (error) => {
        counters.count('idempotent_writes_failed_total', {})
        deps.log(`kept answers: ${String(error)}`)
      },
    )
    working = done
    return done
  }

  function renew(): void {
    if (live.size === 0) return
    const claims = [...live]
    void later(() =>
      sql.query(
        `UPDATE kept_answers SET claimed_until = now() + interval '${claimS} seconds' WHERE claim = ANY($1::uuid[])`,
        [claims],
      ),
    )
  }

  const timers = [
    setInterval(renew, renewEveryMs),
    setInterval(() => void later(() => sweep(sql)), sweepEveryMs),
  ]
  for (const timer of timers) timer.unref()

  return {
    claim,
    async close() {
      for (const timer of timers) clearInterval(timer)
      await working
    },
  }
}

function isRunning(found: (() => Claim) | Row | undefined): found is Row {
  return typeof found === 'object' && found.run_id === null
}

/** What has expired goes; of a workspace that keeps too much, the oldest answers go and their keys stay taken. */
async function sweep(sql: Sql): Promise<void> {
  await sql.query('DELETE FROM kept_answers WHERE expires_at < now()')
  await sql.query(
    `UPDATE kept_answers k SET sealed = NULL FROM (
       SELECT claim, sum(length(sealed)) OVER (PARTITION BY workspace ORDER BY expires_at DESC, claim) AS bytes
       FROM kept_answers WHERE sealed IS NOT NULL
     ) s WHERE s.claim = k.claim AND s.bytes > $1`,
    [workspaceBytesMax],
  )
}

function placeOf({ workspace, keyId, idempotencyKey }: ClaimAsk): Place {
  if (!/^[\x20-\x7e]+$/.test(idempotencyKey) || idempotencyKey.length > keyCharsMax) {
    throw new Fault('invalid_request', {
      message: `Idempotency-Key must be 1 to ${keyCharsMax} printable characters.`,
      param: 'Idempotency-Key',
    })
  }
  // A session has no key; its user's own calls share one place.
  return { workspace, keyId: keyId || workspace, name: hash('sha256', idempotencyKey, 'buffer') }
}

function fingerprintOf({ path, body }: ClaimAsk): Buffer {
  const ofBody = hash('sha256', body, 'hex')
  return hash('sha256', `${path}\n${ofBody}`, 'buffer')
}

/** What a sealed answer is bound to: no row can pass for another. */
function nameOf({ workspace, keyId, name }: Place): string {
  return `kept_answers/${workspace}/${keyId}/${name.toString('hex')}`
}

const lengthBytes = 4

function encode({ body, ...head }: WholeAnswer): Buffer {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(lengthBytes)
  length.writeUInt32LE(text.length)
  return Buffer.concat([length, text, body])
}

function decode(bytes: Buffer): WholeAnswer {
  const end = lengthBytes + bytes.readUInt32LE()
  const head = JSON.parse(bytes.toString('utf8', lengthBytes, end)) as Omit<WholeAnswer, 'body'> // sealed: we wrote it
  return { ...head, body: bytes.subarray(end) }
}

function stillRunning(): Fault {
  return new Fault('conflict', {
    message: 'A call with this Idempotency-Key is still running.',
    param: 'Idempotency-Key',
    retryAfterS: 1,
  })
}

function otherBody(): Fault {
  return new Fault('conflict', {
    message: 'This Idempotency-Key was used for another request.',
    param: 'Idempotency-Key',
    // The same again would be told the same.
    headers: { 'x-should-retry': 'false' },
  })
}

function tooLarge(runId: string): Fault {
  const run = toPrefixed('run', Buffer.from(runId.replaceAll('-', ''), 'hex'))
  return new Fault('conflict', {
    message: `A call with this Idempotency-Key was made and is not repeated; its answer was too large to be kept. It is run ${run}.`,
    param: 'Idempotency-Key',
    headers: { 'x-should-retry': 'false' },
  })
}
