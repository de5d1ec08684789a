// API keys and console sessions. Only digests are stored; a key is shown once, when it is made.

import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type Caller, type Scope, scopes } from '../../schemas/caller.ts'
import { newId, toUlid, toUuid } from '../../schemas/ids.ts'

// A revoked key is refused within this time on every process; a shorter one costs a lookup per key and second.
const rememberedMs = 5_000
const rememberedMax = 10_000
const tokenLengthMax = 512
const sessionDays = 7
const prefix = 'batchin_api_'
const ownerEmail = 'owner@localhost'

/** The one thing this file needs of Postgres. */
export type Sql = {
  query<T>(text: string, params?: readonly unknown[]): Promise<T[]>
}

/** What a key may use up. Undefined: as much as it likes. */
export type KeyTerms = {
  requestsPerMinute: number | undefined
  monthlyBudgetNanoUsd: bigint | undefined
}

export type Session = { cookie: string; expiresAt: Date; caller: Caller }

export type Keys = {
  /** The caller behind a bearer token; undefined when there is none. Rejects only when the key store is down. */
  find(token: string): Promise<Caller | undefined>
  /** The same at once, for a token that was found lately. */
  known(token: string): Caller | undefined
  /** The caller behind a session cookie. */
  findSession(cookie: string): Promise<Caller | undefined>
  /** A session standing for the key: the cookie's value and its last moment. Undefined when the token is no key. */
  openSession(token: string): Promise<Session | undefined>
  /** A session of a user whose password was right. */
  openUserSession(userId: string): Promise<Session>
  closeSession(cookie: string): Promise<void>
  /** At once for a key that was found lately, which is every key that is calling. */
  terms(keyId: string): KeyTerms | Promise<KeyTerms>
  /** Forgets what this process remembers of a key, so that its end or its new terms hold here at once. */
  forget(keyId: string): void
}

type KeyRow = {
  id: string
  user_id: string
  digest: Buffer
  scopes: Scope[]
  rate_limit_rpm: number | null
  budget: string | null
  responses_streaming: boolean
  email: string
}
type UserRow = { user_id: string; email: string }

const keyColumns = `k.id, k.user_id, k.digest, k.scopes, k.rate_limit_rpm, k.monthly_budget_nano_usd::text AS budget,
  k.responses_streaming, u.email`
const noTerms: KeyTerms = { requestsPerMinute: undefined, monthlyBudgetNanoUsd: undefined }

/**
 * Makes sure that a first user and a first key exist. Returns the key in clear when one was made here, to be printed once.
 * `mayMake: false` refuses instead, for an address that strangers can reach.
 */
export async function ensureFirstKey(
  sql: Sql,
  given: string | undefined,
  mayMake: boolean,
): Promise<string | undefined> {
  const owner = await ensureOwner(sql)
  if (given !== undefined) {
    await insertKey(sql, {
      owner,
      token: given,
      name: 'bootstrap',
      keyScopes: scopes,
    })
    return undefined
  }
  const existing = await sql.query<{ id: string }>('SELECT id FROM keys WHERE is_active LIMIT 1')
  if (existing.length > 0) return undefined
  if (!mayMake) {
    throw new Error(
      'No API key exists yet and HOST is not a loopback address. Start once on 127.0.0.1, or set RUNLEDGER_BOOTSTRAP_KEY.',
    )
  }
  const token = newToken()
  await insertKey(sql, { owner, token, name: 'first key', keyScopes: scopes })
  return token
}

/** `batchin_api_<id>_<secret><checksum>`: 26 digits, 256 bits in base64url, and a CRC-32 that tells a typo without a lookup. */
export function newToken(): string {
  const body = `${prefix}${toUlid(newId())}_${randomBytes(32).toString('hex')}`
  return body + checksumOf(body)
}

export function openKeys(sql: Sql, nowMs: () => number): Keys {
  const remembered = new Map<string, { caller: Caller | undefined; untilMs: number }>()
  const terms = new Map<string, { terms: KeyTerms; untilMs: number }>()

  function heldBy(name: string) {
    const held = remembered.get(name)
    return held && held.untilMs > nowMs() ? held : undefined
  }

  async function remember(kind: string, token: string, load: () => Promise<Caller | undefined>) {
    if (token.length > tokenLengthMax) return undefined
    const name = nameOf(kind, token)
    const held = heldBy(name)
    if (held) return held.caller
    const caller = await load()
    if (remembered.size >= rememberedMax) remembered.clear()
    remembered.set(name, { caller, untilMs: nowMs() + rememberedMs })
    return caller
  }

  function rememberTerms(row: KeyRow): KeyTerms {
    const made = toTerms(row)
    if (terms.size >= rememberedMax) terms.clear()
    // Twice as long as the caller: a key that is calling is loaded anew before its terms run out.
    terms.set(row.id, { terms: made, untilMs: nowMs() + 2 * rememberedMs })
    return made
  }

  async function loadKey(token: string): Promise<Caller | undefined> {
    const digest = digestOf(token)
    const [row] = await sql.query<KeyRow>(
      `SELECT ${keyColumns} FROM keys k JOIN users u ON u.id = k.user_id WHERE k.digest = $1 AND k.is_active`,
      [digest],
    )
    if (!row || !timingSafeEqual(row.digest, digest)) return undefined
    rememberTerms(row)
    return toCaller(row, 'key')
  }

  async function loadTerms(keyId: string): Promise<KeyTerms> {
    const [row] = await sql.query<KeyRow>(
      `SELECT ${keyColumns} FROM keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1`,
      [keyId],
    )
    return row ? rememberTerms(row) : noTerms
  }

  async function open(of: { keyId: string } | { userId: string }, caller: Caller) {
    const cookie = randomBytes(32).toString('base64url')
    const expiresAt = new Date(nowMs() + sessionDays * 86_400_000)
    await sql.query(
      'INSERT INTO sessions (digest, key_id, user_id, expires_at) VALUES ($1, $2, $3, $4)',
      [
        digestOf(cookie),
        'keyId' in of ? of.keyId : null,
        'userId' in of ? of.userId : null,
        expiresAt,
      ],
    )
    return { cookie, expiresAt, caller: { ...caller, by: 'session' as const } }
  }

  const find = (token: string) =>
    remember('k', token, async () => (isKnownTypo(token) ? undefined : loadKey(token)))

  return {
    find,
    known: (token) => heldBy(nameOf('k', token))?.caller,
    findSession: (cookie) =>
      remember('s', cookie, async () => {
        const row = await loadSession(sql, cookie)
        if (row && 'id' in row) rememberTerms(row)
        return row && ('id' in row ? toCaller(row, 'session') : toUserCaller(row))
      }),
    async openSession(token) {
      const caller = await find(token)
      return caller && open({ keyId: caller.keyId }, caller)
    },
    async openUserSession(userId) {
      const [row] = await sql.query<UserRow>(
        'SELECT id AS user_id, email FROM users WHERE id = $1',
        [userId],
      )
      if (!row) throw new Error('A session was asked for a user that is not there.')
      return open({ userId }, toUserCaller(row))
    },
    async closeSession(cookie) {
      await sql.query('DELETE FROM sessions WHERE digest = $1 OR expires_at < now()', [
        digestOf(cookie),
      ])
      remembered.delete(nameOf('s', cookie))
    },
    terms(keyId) {
      const held = terms.get(keyId)
      if (held && held.untilMs > nowMs()) return held.terms
      return keyId === '' ? noTerms : loadTerms(keyId)
    },
    forget(keyId) {
      terms.delete(keyId)
      for (const [name, held] of remembered) {
        if (held.caller?.keyId === keyId) remembered.delete(name)
      }
    },
  }
}

/** The first user's id: the one who runs this plane. Made when it is not there yet. */
export async function ensureOwner(sql: Sql): Promise<string> {
  const email = ownerEmail
  await sql.query(
    'INSERT INTO users (id, email, name) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING',
    [toUuid(newId()), email, 'Owner'],
  )
  const [row] = await sql.query<{ id: string }>('SELECT id FROM users WHERE email = $1', [email])
  if (!row) throw new Error('The first user could not be made.')
  return row.id
}

async function insertKey(
  sql: Sql,
  key: {
    owner: string
    token: string
    name: string
    keyScopes: readonly Scope[]
  },
): Promise<void> {
  await sql.query(
    `INSERT INTO keys (id, user_id, digest, name, scopes) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (digest) DO NOTHING`,
    [toUuid(newId()), key.owner, digestOf(key.token), key.name, key.keyScopes],
  )
}

async function loadSession(sql: Sql, cookie: string): Promise<KeyRow | UserRow | undefined> {
  const digest = digestOf(cookie)
  const [row] = await sql.query<KeyRow>(
    `SELECT ${keyColumns} FROM sessions s JOIN keys k ON k.id = s.key_id JOIN users u ON u.id = k.user_id
     WHERE s.digest = $1 AND s.expires_at > now() AND k.is_active`,
    [digest],
  )
  if (row) return row
  const [user] = await sql.query<UserRow>(
    `SELECT u.id AS user_id, u.email FROM sessions s JOIN users u ON u.id = s.user_id
     WHERE s.digest = $1 AND s.expires_at > now()`,
    [digest],
  )
  return user
}

function toCaller(row: KeyRow, by: Caller['by']): Caller {
  const caller: Caller = { workspace: row.user_id, keyId: row.id, scopes: row.scopes, by }
  if (!row.responses_streaming) caller.responsesStreaming = false
  if (row.email === ownerEmail) caller.isOwner = true
  return caller
}

// In their own workspace a user may do everything; what reaches beyond it asks for the owner.
function toUserCaller({ user_id, email }: UserRow): Caller {
  const caller: Caller = { workspace: user_id, keyId: '', scopes, by: 'session' }
  if (email === ownerEmail) caller.isOwner = true
  return caller
}

function toTerms(row: KeyRow): KeyTerms {
  return {
    requestsPerMinute: row.rate_limit_rpm ?? undefined,
    monthlyBudgetNanoUsd: row.budget === null ? undefined : BigInt(row.budget),
  }
}

/** Tokens of our own form whose checksum is wrong need no lookup. A bootstrap key has its own form and always gets one. */
function isKnownTypo(token: string): boolean {
  if (!token.startsWith(prefix)) return true
  const match = /^batchin_api_[0-9A-Z]{26}_[0-9a-f]{64}([0-9a-f]{8})$/.exec(token)
  return match !== null && checksumOf(token.slice(0, -8)) !== match[1]
}

function checksumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0')
}

export function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}

// What is remembered is found by its digest: no key or cookie lies about in memory, and no comparison tells of one.
function nameOf(kind: string, token: string): string {
  return kind + hash('sha256', token, 'binary')
}
